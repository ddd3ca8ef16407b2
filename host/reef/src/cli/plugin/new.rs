//! `reef plugin new`: a crate with a plugin that builds, loads and is tested.
//!
//! It needs this program and the crate registry alone: the interface's sources travel in the program. Nothing that is
//! there already is written over.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use reef_plugin_host::{STANDARD_PLUGINS, library_file};

use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::out;
use crate::cli::text::clean;

/// Makes the crate `name` in `dir`, or here.
pub(super) fn run(name: &str, dir: Option<&Path>) -> Outcome {
    check_name(name)?;
    let root = dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
    if root.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "{}: this is there already and stays as it is; choose another name, or another folder with --dir",
            root.display()
        )));
    }
    if let Err(failure) = write_all(&root, &files(name)) {
        // It was made a moment ago, and is of no use.
        let _ = fs::remove_dir_all(&root);
        return Err(failure);
    }
    let library = library_file(&crate_name(name));
    out::line(&clean(&format!("{} is made. Next:", root.display())));
    out::line(&clean(&format!("  cd {}", root.display())));
    out::line("  cargo build");
    out::line(&format!("  reef plugin check target/debug/{library}"));
    out::line(&format!("  reef plugin test target/debug/{library}"));
    Ok(Exit::Success)
}

/// A name must be one for a plugin, for a package and for a crate.
fn check_name(name: &str) -> Result<(), Failure> {
    let refuse = |why: &str| Err(Failure::usage(format!("{name}: {why}")));
    if name.len() > MAX_NAME {
        return refuse("a plugin's name has at most 64 characters");
    }
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !starts || !name.chars().all(fits) {
        return refuse("a plugin's name is of lower case letters, digits, `_` and `-`, and begins with a letter");
    }
    if STANDARD_PLUGINS.contains(&name) {
        return refuse("a standard plugin has this name; choose another");
    }
    if TAKEN.contains(&name) {
        return refuse(
            "Rust or cargo uses this name for something else; choose another, such as one with `_plugin` after it",
        );
    }
    Ok(())
}

/// The crate's files, by path.
fn files(name: &str) -> Vec<(String, String)> {
    let library = library_file(&crate_name(name));
    let fill = |template: &str| {
        let text = template.replace("{{name}}", name).replace("{{crate}}", &crate_name(name));
        text.replace("{{library}}", &library)
    };
    let mut files = vec![
        ("Cargo.toml".to_owned(), fill(MANIFEST)),
        ("README.md".to_owned(), fill(README)),
        (".gitignore".to_owned(), "/target\n".to_owned()),
        ("src/lib.rs".to_owned(), renamed(PLUGIN, name)),
        ("tests/hooks.rs".to_owned(), renamed(HOOKS_TEST, name)),
        ("tests/swarm.rs".to_owned(), fill(SWARM_TEST)),
    ];
    files.extend(INTERFACE.iter().map(|(path, text)| (format!("vendor/{path}"), (*text).to_owned())));
    files
}

/// The example `hello` under another name.
fn renamed(source: &str, name: &str) -> String {
    source
        .replace("use hello::", &format!("use {}::", crate_name(name)))
        .replace("x_hello", &format!("x_{}", crate_name(name)))
        .replace("\"hello\"", &format!("\"{name}\""))
        .replace("of hello;", &format!("of {name};"))
        .replace("[plugins.hello]", &format!("[plugins.{name}]"))
        .replace("Hello", &type_name(name))
}

fn crate_name(name: &str) -> String {
    name.replace('-', "_")
}

/// `my-first_plugin` is `MyFirstPlugin`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    let camel: String = name.split(['-', '_']).map(capital).collect();
    let taken = name != "hello" && (PLUGIN.contains(&camel) || HOOKS_TEST.contains(&camel));
    if taken { camel + "Extension" } else { camel }
}

fn write_all(root: &Path, files: &[(String, String)]) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path: PathBuf = path.to_owned();
        move |error: std::io::Error| Failure::io(&path, &error)
    };
    fs::create_dir_all(root).map_err(failed(root))?;
    for (name, text) in files {
        let path = root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        let mut file = fs::File::create_new(&path).map_err(failed(&path))?;
        file.write_all(text.as_bytes()).map_err(failed(&path))?;
    }
    Ok(())
}

const MANIFEST: &str = include_str!("template/manifest.txt");
const README: &str = include_str!("template/readme.txt");
const SWARM_TEST: &str = include_str!("template/swarm.txt");
const PLUGIN: &str = include_str!("../../../../../examples/hello/src/lib.rs");
const HOOKS_TEST: &str = include_str!("../../../../../examples/hello/tests/hello.rs");
/// The sources of the interface, by path under `vendor/`.
const INTERFACE: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/interface.rs"));

/// Bytes of a plugin's name at most.
const MAX_NAME: usize = 64;

/// Keywords, crates that the new one depends on, and folders that cargo has in its target folder.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "log",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "reef-plugin-api",
    "reef_plugin_api",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "toml",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_or_the_host_would_refuse_are_refused() {
        let check = |name: &str, fits: bool| assert_eq!(check_name(name).is_ok(), fits, "{name}");
        for name in ["a", "my_plugin", "my-plugin2", "hello"] {
            check(name, true);
        }
        for name in ["", "My", "1a", "-a", "a b", "a/b", "../a", "é", "fn", "test", "toml", "ut_pex", &"a".repeat(65)]
        {
            check(name, false);
        }
    }

    #[test]
    fn a_plugin_named_hello_is_the_example() {
        let files = files("hello");
        let text = |name: &str| files.iter().find(|(path, _)| path == name).map(|(_, text)| text.as_str());
        assert_eq!(text("src/lib.rs"), Some(PLUGIN));
        assert_eq!(text("tests/hooks.rs"), Some(HOOKS_TEST));
    }

    #[test]
    fn nothing_of_the_example_is_left_under_another_name() {
        for (path, text) in files("my-plugin").iter().filter(|(path, _)| !path.starts_with("vendor/")) {
            let left = text.to_lowercase().matches("hello").count();
            let said = text.matches("Says hello").count() + text.matches("say hello").count();
            assert_eq!(left, said, "{path}: {text}");
            assert!(!text.contains("{{"), "{path}: {text}");
        }
        assert_eq!(type_name("my-first_plugin"), "MyFirstPlugin");
        assert_eq!(type_name("host"), "HostExtension", "the example uses Host");
    }

    #[test]
    fn what_the_interface_inherits_travels_with_it() {
        let text = INTERFACE.iter().find(|(path, _)| *path == "Cargo.toml").map_or("", |(_, text)| text);
        for words in ["log = ", "edition = ", "[workspace.lints.clippy]", "\"reef-plugin-api/macros\""] {
            assert!(text.contains(words), "no {words} in {text}");
        }
        assert!(!text.contains("async-std"), "{text}");
        assert!(INTERFACE.iter().any(|(path, _)| *path == "reef-plugin-api/src/lib.rs"));
        assert!(INTERFACE.iter().any(|(path, _)| *path == "reef-plugin-api/macros/src/lib.rs"));
    }
}
