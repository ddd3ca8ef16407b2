//! Test material of other projects, which lies outside the repository.

use std::path::PathBuf;

use crate::artifacts::workspace;

/// A file of the cases, by its name there: `$REEF_CASES/NAME`, or `../shared/cases/NAME` beside the checkout.
///
/// Without it the test is skipped, which is said, unless `REEF_REQUIRE_CASES` is set.
///
/// # Panics
/// If it is missing and required.
pub fn case(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("REEF_CASES").map_or_else(|| workspace().join("../shared/cases"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("REEF_REQUIRE_CASES").is_none(), "{} is missing", path.display());
    eprintln!("skipped: {} is missing", path.display());
    None
}
