//! An interface that is newer than this one, made from it: a hook at the end of each level's table, a function at the end of the
//! host's, a field at the end of a record, and the next number. What a later version will be, before there is one.

use reef_tests::artifacts::{Artifacts, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A plugin that uses all that the newer interface has more.
const PLUGIN: &str = include_str!("future_plugin.rs");

/// Builds it, and the same plugins and host as for a frozen copy, against it.
pub(crate) fn build(target: &Path) -> Artifacts {
    let source = Source::copy(target.join("newer"));
    source.grow();
    Artifacts::build_workspace(&source.0, &[], target, &target.join("kept-newer"))
}

/// A plugin of an interface that calls itself this one and has a hook with another argument.
pub(crate) fn build_wrong(target: &Path) -> Artifacts {
    let source = Source::copy(target.join("wrong"));
    let (right, wrong) = ("fn on_have(piece: (u32) as (u32));", "fn on_have(piece: (u64) as (u64));");
    source.edit("plugin-api/src/peer.rs", |text| {
        assert!(text.contains(right), "peer.rs has no {right:?}");
        text.replace(right, wrong)
    });
    source.set_versions(".0\"", ".999\"");
    source.lock();
    Artifacts::build_workspace(&source.0, &["--package", "caller-plugin"], target, &target.join("kept-wrong"))
}

/// A copy of the interface's sources, which is changed by texts that must be there.
struct Source(PathBuf);

impl Source {
    fn copy(to: PathBuf) -> Self {
        let freeze = workspace().join("tests/frozen/freeze");
        let output = Command::new(&freeze).arg(&to).output().unwrap_or_else(|error| panic!("{freeze:?}: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(to)
    }

    fn grow(&self) {
        let (major, minor) = self.next_version();
        for level in ["session", "torrent", "peer"] {
            self.add_hook(&format!("plugin-api/src/{level}.rs"));
        }
        self.add_host_function();
        self.add_field();
        self.add_host();
        self.add_plugin();
        self.set_versions(&format!("\"{major}.{}.0\"", minor - 1), &format!("\"{major}.{minor}.0\""));
        self.lock();
    }

    /// Changes the ends of the packages' versions: cargo tells packages of one name in one target folder apart by them.
    fn set_versions(&self, old: &str, new: &str) {
        for manifest in ["Cargo.toml", "plugin-api/Cargo.toml", "plugin-api/macros/Cargo.toml"] {
            self.edit(manifest, |text| {
                let change = |line: &str| match line.strip_prefix("version = ") {
                    Some(_) => line.replace(old, new),
                    None => line.to_owned(),
                };
                let changed: Vec<String> = text.lines().map(change).collect();
                let changed = changed.join("\n") + "\n";
                assert_ne!(changed, text, "{manifest} has no version {old}");
                changed
            });
        }
    }

    fn edit(&self, file: &str, change: impl FnOnce(&str) -> String) {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
        fs::write(&path, change(&text)).expect("ours");
    }

    /// Inserts right after the first of a text, or right before the first end that follows it.
    fn insert(&self, file: &str, anchor: &str, before: Option<&str>, what: &str) {
        self.edit(file, |text| {
            let at = text.find(anchor).unwrap_or_else(|| panic!("{file} has no {anchor:?}")) + anchor.len();
            let rest = &text[at..];
            let skip = before.map_or(0, |end| rest.find(end).unwrap_or_else(|| panic!("{file} has no {end:?}")));
            format!("{}{what}{}", &text[..at + skip], &rest[skip..])
        });
    }

    fn next_version(&self) -> (u32, u32) {
        let text = fs::read_to_string(self.0.join("plugin-api/src/lib.rs")).expect("it was copied");
        let number = |name: &str| {
            let rest = text.split(&format!("pub const {name}: u32 = ")).nth(1)?;
            rest.split(';').next()?.parse::<u32>().ok()
        };
        let (major, minor) = (number("API_MAJOR").expect("a number"), number("API_MINOR").expect("a number"));
        let line = |minor| format!("pub const API_MINOR: u32 = {minor};");
        self.edit("plugin-api/src/lib.rs", |text| text.replace(&line(minor), &line(minor + 1)));
        (major, minor + 1)
    }

    fn add_hook(&self, file: &str) {
        self.edit(file, |text| {
            let rows = text.lines().filter(|line| line.starts_with("    [") && line.contains("] fn ")).count();
            let body = text.trim_end().strip_suffix('}').expect("the table ends the file");
            format!("{body}    /// What a later version has.\n    [{rows}] fn on_future(value: (u32) as (u32));\n}}\n")
        });
    }

    fn add_host_function(&self) {
        let row = "\n    fn future(value: u64, out: &mut u64) |host| { *out = host.future(value)?; Ok(()) };";
        self.insert("plugin-api/src/table.rs", "\nhost_table! {", Some("\n}\n"), row);
        let method = "\n\n    /// What a later version has.\n    fn future(&self, value: u64) -> Result<u64, HostError> {\n        \
                      Err(HostError::Unsupported)\n    }";
        self.insert("plugin-api/src/calls.rs", "pub trait HostCalls {", Some("\n}\n"), method);
        let fake = "\n    fn future(&self, value: u64) -> Result<u64, HostError> {\n        Ok(value + 1)\n    }";
        self.insert("plugin-api/src/testing/calls.rs", "impl HostCalls for FakeHost {", None, fake);
        let call = "\nimpl SessionCx<'_> {\n    /// What a later version has.\n    pub fn future(&self, value: u64) -> Result<u64, \
                    HostError> {\n        host_value!(0, self.handle, future(value))\n    }\n}\n";
        self.edit("plugin-api/src/context.rs", |text| format!("{text}{call}"));
    }

    fn add_field(&self) {
        let file = "plugin-api/src/info.rs";
        self.insert(
            file,
            "pub struct PeerInfo {",
            Some("\n}\n"),
            "\n    /// What a later version has.\n    pub future: u64,",
        );
        self.insert(file, "pub(crate) struct RawPeerInfo {", Some("\n}\n"), "\n    future: u64,");
        self.insert(file, "impl RawPeerInfo {\n    const ZERO: Self = Self {", None, " future: 0,");
        self.insert(file, "plain!(RawPeerInfo {", Some(" }"), ", future");
        self.insert(file, "fn to_raw(&self) -> RawPeerInfo {\n        RawPeerInfo {", None, " future: self.future,");
        self.insert(file, "fn from_raw(raw: RawPeerInfo) -> Self {", Some("addr:"), "future: raw.future, ");
    }

    fn add_host(&self) {
        self.edit("bare_host/src/main.rs", |text| {
            let line = "load_state(b\"saved\");";
            assert_eq!(text.matches(line).count(), 3, "one a level");
            text.replace(line, &format!("{line} on_future(7);"))
        });
        let known = "let mut peer = PeerInfo::new(address());";
        self.insert("bare_host/src/main.rs", known, None, " peer.future = 5;");
    }

    fn add_plugin(&self) {
        let manifest = fs::read_to_string(self.0.join("caller/Cargo.toml")).expect("it was copied");
        fs::create_dir_all(self.0.join("future/src")).expect("ours");
        fs::write(self.0.join("future/Cargo.toml"), manifest.replace("caller-plugin", "future-plugin")).expect("ours");
        fs::write(self.0.join("future/src/lib.rs"), PLUGIN).expect("ours");
        self.insert("Cargo.toml", "members = [", None, "\n    \"future\",");
    }

    /// Takes the new package and the new versions into the lock file; no other version changes.
    fn lock(&self) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
        let arguments = ["metadata", "--quiet", "--offline", "--format-version", "1"];
        let output = Command::new(cargo).args(arguments).current_dir(&self.0).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
