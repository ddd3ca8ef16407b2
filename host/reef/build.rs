//! Collects what `reef plugin new` writes: the plugin interface's sources and the example that a new plugin starts as.
//!
//! They travel in the program, because an author's machine has nothing else of reef.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says it"));
    let root = here.join("../..").canonicalize().expect("the workspace");
    let mut files = Vec::new();
    for (folder, name) in [("plugin-api", "reef-plugin-api"), ("plugin-api/macros", "reef-plugin-api/macros")] {
        files.push((format!("{name}/Cargo.toml"), root.join(folder).join("Cargo.toml")));
        collect(&root.join(folder).join("src"), &format!("{name}/src"), &mut files);
    }
    for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
        files.push((license.to_owned(), root.join(license)));
    }
    let workspace = out.join("vendor-Cargo.toml");
    fs::write(&workspace, vendor_workspace(&root)).expect("cargo's folder can be written");
    files.push(("Cargo.toml".to_owned(), workspace.clone()));

    let mut table = String::from("&[\n");
    for (name, path) in &files {
        writeln!(table, "    ({name:?}, include_str!({:?})),", path.display().to_string()).expect("a text");
        if *path != workspace {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    table.push_str("]\n");
    fs::write(out.join("interface.rs"), table).expect("cargo's folder can be written");
    for folder in ["plugin-api/src", "plugin-api/macros/src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
    }
}

fn collect(folder: &Path, name: &str, files: &mut Vec<(String, PathBuf)>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder of sources").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = format!("{name}/{}", path.file_name().expect("it has a name").to_string_lossy());
        if path.is_dir() {
            collect(&path, &name, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((name, path));
        }
    }
}

/// A workspace of the interface's crates alone, with what they inherit from ours.
fn vendor_workspace(root: &Path) -> String {
    let read = |path: &str| fs::read_to_string(root.join(path)).expect("a manifest");
    let members = read("plugin-api/Cargo.toml") + &read("plugin-api/macros/Cargo.toml");
    let mut text = "# The interface's sources, as they came with `reef`.\n[workspace]\nresolver = \"3\"\n\
                    members = [\"reef-plugin-api\", \"reef-plugin-api/macros\"]\n"
        .to_owned();
    let mut section = String::new();
    for line in read("Cargo.toml").lines() {
        if line.starts_with('[') {
            section = line.to_owned();
            if is_inherited(&section) {
                text.push('\n');
            }
        }
        let key = line.split(' ').next().unwrap_or_default();
        let wanted = match section.as_str() {
            "[workspace.dependencies]" => line == section || members.contains(&format!("{key}.workspace")),
            _ => is_inherited(&section),
        };
        if wanted && !line.trim().is_empty() && !line.starts_with('#') {
            let line = line.replace("path = \"plugin-api", "path = \"reef-plugin-api");
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

fn is_inherited(section: &str) -> bool {
    matches!(section, "[workspace.package]" | "[workspace.dependencies]") || section.starts_with("[workspace.lints")
}
