//! Finds the test data that is shared by all: `$REEF_CASES`, or else the folder beside the checkout.

use std::path::PathBuf;

use serde_json::Value;

/// The folder of cases. None (said on the output) where there is none, unless `REEF_REQUIRE_CASES` is `1`.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("REEF_CASES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases"), PathBuf::from);
    if folder.join("vectors.json").exists() {
        return Some(folder);
    }
    let required = std::env::var("REEF_REQUIRE_CASES").is_ok_and(|value| value == "1");
    assert!(!required, "no cases in {}: set REEF_CASES", folder.display());
    println!("skipped: no cases in {}", folder.display());
    None
}

/// A JSON file of the folder.
pub(crate) fn json(name: &str) -> Option<Value> {
    let text = std::fs::read_to_string(folder()?.join(name)).unwrap();
    Some(serde_json::from_str(&text).unwrap())
}

/// One group of `vectors.json`.
#[allow(dead_code, reason = "each test program that includes this module uses a part of it")]
pub(crate) fn vectors(group: &str) -> Option<Value> {
    Some(json("vectors.json")?[group].clone())
}

/// The bytes of a hexadecimal JSON string.
#[allow(dead_code, reason = "each test program that includes this module uses a part of it")]
pub(crate) fn hex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER_PERMISSIVE.decode(value.as_str().unwrap().as_bytes()).unwrap()
}
