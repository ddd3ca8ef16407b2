//! Rules of the house that the compiler does not know: who may name whom, what a file looks like, and that the map of the
//! code is one of this code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reef_tests::artifacts::workspace;

/// Lines of a file at most.
const LONGEST_FILE: usize = 700;

/// Lines of the page on the architecture at most.
const LONGEST_PAGE: usize = 400;

/// A source file: its path from the workspace, with slashes, and its text.
struct Source {
    path: String,
    text: String,
}

/// Every Rust file of the repository.
fn sources() -> Vec<Source> {
    let (root, mut sources) = (workspace(), Vec::new());
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the workspace is readable") {
            let path = entry.expect("the workspace is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let path = path.strip_prefix(&root).expect("it is below").to_string_lossy().replace('\\', "/");
                sources.push(Source { path, text });
            }
        }
    }
    assert!(sources.len() > 100, "the sources were not found");
    sources
}

/// Fails with the names of the files that `is_wrong`, of those that `concerns`.
#[track_caller]
fn check(rule: &str, concerns: impl Fn(&str) -> bool, is_wrong: impl Fn(&Source) -> bool) {
    let wrong: Vec<_> = sources().into_iter().filter(|file| concerns(&file.path) && is_wrong(file)).collect();
    let names: Vec<_> = wrong.iter().map(|file| file.path.as_str()).collect();
    assert!(names.is_empty(), "{rule}:\n{}", names.join("\n"));
}

/// Whether the text has the word in code, not in a comment.
fn names(file: &Source, word: &str) -> bool {
    file.text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(word))
}

fn is_pure(path: &str) -> bool {
    path.starts_with("host/proto/src/") || path.starts_with("host/engine/src/")
}

/// This file is about the words that it forbids.
fn is_other(path: &str) -> bool {
    path != "tests/tests/tidy.rs"
}

#[test]
fn the_runtime_has_one_door() {
    let is_outside = |path: &str| is_other(path) && !path.starts_with("host/reef/src/rt");
    check("async_std is named outside rt", is_outside, |file| names(file, "async_std"));
}

#[test]
fn the_plugins_binary_interface_has_one_door() {
    // A frozen copy of it is one as well.
    let is_door = |path: &str| path.starts_with("plugin-api/") || path.starts_with("tests/frozen/");
    let is_outside = |path: &str| is_other(path) && !is_door(path);
    check("abi_stable is named outside plugin-api", is_outside, |file| names(file, "abi_stable"));
}

#[test]
fn the_pure_crates_know_no_world() {
    let world = [
        "Instant::now",
        "SystemTime",
        "std::thread",
        "std::fs",
        "std::env",
        "std::process",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "getrandom",
        "RandomState",
        "async fn",
    ];
    check("a pure crate names the outside world", is_pure, |file| world.iter().any(|word| names(file, word)));
    let is_root = |path: &str| is_pure(path) && path.ends_with("/src/lib.rs");
    check("unsafe code is not forbidden", is_root, |file| !names(file, "#![forbid(unsafe_code)]"));
}

#[test]
fn each_file_says_what_it_is_for_and_is_not_too_long() {
    check("the header is missing", |_| true, |file| !file.text.starts_with("//!"));
    check("the file is too long", |_| true, |file| file.text.lines().count() > LONGEST_FILE);
}

#[test]
fn nothing_is_left_for_later() {
    let words = ["todo!(", "unimplemented!(", "#[ignore", "allow(dead_code)", "dbg!("];
    check("something is unfinished", is_other, |file| words.iter().any(|word| names(file, word)));
}

#[test]
fn no_test_sleeps() {
    let is_test = |path: &str| is_other(path) && (path.contains("/tests/") || path.starts_with("tests/"));
    check("a test sleeps", is_test, |file| names(file, "thread::sleep"));
}

/// The crates of the workspace that a package depends on, tests apart.
fn dependencies(package: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(workspace().join(package).join("Cargo.toml")).expect("the package is there");
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split(['.', ' ', '=']).next());
    names.filter(|name| name.starts_with("reef")).map(str::to_owned).collect()
}

#[test]
fn each_crate_knows_only_those_it_may() {
    let allowed: [(&str, &[&str]); 8] = [
        ("host/proto", &[]),
        ("host/engine", &["reef-proto"]),
        ("plugin-api", &["reef-plugin-macros"]),
        ("plugins/ut_metadata", &["reef-plugin-api"]),
        ("plugins/ut_pex", &["reef-plugin-api"]),
        ("plugins/smart_ban", &["reef-plugin-api"]),
        ("host/plugin-host", &["reef-engine", "reef-plugin-api", "reef-proto"]),
        ("host/sim", &["reef-engine", "reef-plugin-host", "reef-proto"]),
    ];
    for (package, allowed) in allowed {
        let foreign: Vec<_> =
            dependencies(package).into_iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(foreign.is_empty(), "{package} depends on {foreign:?}");
    }
}

#[test]
fn the_map_of_the_code_names_each_module() {
    let map = fs::read_to_string(workspace().join("docs/architecture.md")).expect("the page is there");
    assert!(map.lines().count() <= LONGEST_PAGE, "docs/architecture.md has more than {LONGEST_PAGE} lines");
    let is_missing = |path: &str| module_of(path).is_some_and(|module| !map.contains(&format!("`{module}`")));
    check("docs/architecture.md does not name the module of", is_missing, |_| true);
}

/// The name of a module that lies directly in the `src` of a package, or whose folder does.
fn module_of(path: &str) -> Option<&str> {
    let packages = ["host/proto", "host/engine", "host/plugin-host", "host/sim", "host/reef", "plugin-api"];
    let rest = packages.iter().find_map(|package| path.strip_prefix(package)?.strip_prefix("/src/"))?;
    let module = rest.split_once('/').map_or_else(|| rest.trim_end_matches(".rs"), |(folder, _)| folder);
    (!matches!(module, "lib" | "main")).then_some(module)
}

#[test]
fn links_between_documents_lead_somewhere() {
    for page in [
        "README.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "docs/plugin-guide.md",
        "docs/plugin-abi.md",
        "docs/run.md",
    ] {
        let path = workspace().join(page);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        for target in targets.filter(|target| !target.is_empty() && !target.contains("://")) {
            let found = path.parent().unwrap_or_else(|| Path::new(".")).join(target).exists();
            assert!(found, "{page} links to {target}, which is not there");
        }
    }
}
