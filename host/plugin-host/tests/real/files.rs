//! Files that are no plugins, or not whole, or not ours: one clear line each, and the host goes on.

use crate::rig::{Rig, evil_bytes, manifest_at, write_plugin};
use reef_plugin_host::{PluginHost, PluginHostConfig, SearchPath, check, find, inspect, library_file};
use std::fs;
use std::path::Path;

/// Writes these bytes as a plugin file of a private folder and loads it: the message, after the file's name.
fn load(bytes: &[u8]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("some.so");
    fs::write(&path, bytes).expect("written");
    load_path(&path, folder.path())
}

fn load_path(path: &Path, folder: &Path) -> Result<String, String> {
    let config = PluginHostConfig { cache_dir: Some(folder.join("cache")), ..PluginHostConfig::default() };
    let loaded = PluginHost::new(config).load_file(path, "").map(|info| info.name);
    let prefix = format!("{}: ", path.display());
    loaded.map_err(|error| error.to_string().strip_prefix(&prefix).expect("the file is named first").to_owned())
}

fn check_refused(bytes: &[u8], expected: &str) {
    let refused = load(bytes).expect_err(expected);
    assert!(refused.starts_with(expected) && !refused.contains('\n'), "{refused}");
}

#[test]
fn the_name_comes_from_the_manifest_and_not_from_the_file() {
    assert_eq!(load(&evil_bytes()), Ok("evil".to_owned()));
}

#[test]
fn what_is_no_library_is_refused() {
    check_refused(b"", "not a shared library (no ELF header)");
    check_refused(b"#!/bin/sh\n", "not a shared library (no ELF header)");
    check_refused(&[0; 4096], "not a shared library (no ELF header)");
}

#[test]
fn a_truncated_library_is_refused_wherever_it_was_cut() {
    let whole = evil_bytes();
    let cuts = (0..whole.len()).step_by(whole.len() / 40).chain([40, 64, 100, whole.len() - 1]);
    for len in cuts.filter(|len| *len > 4) {
        let refused = load(&whole[..len]).expect_err("cut off");
        assert!(refused.starts_with("truncated file"), "{len} bytes: {refused}");
    }
}

#[test]
fn a_library_for_another_machine_is_refused() {
    let mut other = evil_bytes();
    other[18..20].copy_from_slice(&8u16.to_le_bytes());
    check_refused(&other, "built for another CPU (ELF machine 8, this host is ");
    let mut narrow = evil_bytes();
    narrow[4] = 1;
    check_refused(&narrow, "built for a machine with another word size");
    let mut program = evil_bytes();
    program[16] = 2;
    check_refused(&program, "an ELF file, but not a shared library");
}

#[test]
fn an_ordinary_library_is_refused() {
    let mut ordinary = evil_bytes();
    let at = manifest_at(&ordinary);
    ordinary[at] = 0;
    check_refused(&ordinary, "a shared library, but not a reef plugin (it has no manifest)");
}

#[test]
fn a_plugin_of_another_interface_is_refused() {
    let mut newer = evil_bytes();
    let at = manifest_at(&newer) + 16;
    newer[at..at + 4].copy_from_slice(&2u32.to_le_bytes());
    check_refused(&newer, "plugin evil 0.1.0 was built for plugin-api 2.0, this host speaks 1.x: rebuild it");
}

#[test]
fn a_missing_file_and_a_folder_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(load_path(&folder.path().join("none.so"), folder.path()), Err("no such file".to_owned()));
    assert_eq!(load_path(folder.path(), folder.path()), Err("not a file".to_owned()));
}

#[cfg(unix)]
#[test]
fn what_everybody_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).expect("made");
    let path = write_plugin(&inner, "evil");
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("ours");
    allow(&path, 0o666);
    let refused = load_path(&path, folder.path()).expect_err("the file is open to all");
    assert_eq!(refused, format!("the file is writable by everybody: run chmod o-w {}", path.display()));
    allow(&path, 0o644);
    allow(&inner, 0o777);
    let refused = load_path(&path, folder.path()).expect_err("the folder is open to all");
    assert_eq!(refused, format!("its folder is writable by everybody: run chmod o-w {}", inner.display()));
}

#[test]
fn a_folder_with_broken_files_gives_its_plugins_and_one_line_for_each_other() {
    let folder = tempfile::tempdir().expect("a folder");
    write_plugin(folder.path(), "one");
    fs::write(folder.path().join("broken.so"), "text").expect("written");
    fs::write(folder.path().join("half.so"), &evil_bytes()[..9000]).expect("written");
    fs::write(folder.path().join("notes.txt"), "text").expect("written");
    let config = PluginHostConfig { cache_dir: Some(folder.path().join("cache")), ..PluginHostConfig::default() };
    let mut host = PluginHost::new(config);
    let missing = folder.path().join("missing");
    let errors = host.load_dirs(&[folder.path().to_owned(), missing.clone()]);
    let names: Vec<_> = host.plugins().into_iter().map(|plugin| plugin.name).collect();
    assert_eq!(names, ["one"]);
    let files: Vec<_> = errors.iter().map(|error| error.path.clone()).collect();
    assert_eq!(files, [folder.path().join("broken.so"), folder.path().join("half.so"), missing]);
    assert!(errors.iter().all(|error| !error.to_string().contains('\n')));
    let (found, wrong) = find(&SearchPath::only(&[folder.path().to_owned()]));
    assert_eq!(found.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["one"]);
    assert_eq!(wrong.len(), 2);
}

#[test]
fn of_two_plugins_with_one_name_the_first_wins() {
    let mut rig = Rig::new(&[("one", "")]);
    let second = tempfile::tempdir().expect("a folder");
    write_plugin(second.path(), "one");
    let errors = rig.host.load_dirs(&[rig.folder.path().to_owned(), second.path().to_owned()]);
    let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    let (left_out, first) = (second.path().join(library_file("one")), rig.folder.path().join(library_file("one")));
    let expected = format!("{}: plugin one is left out: {} was loaded first", left_out.display(), first.display());
    assert_eq!(texts, [expected]);
    assert_eq!(rig.host.plugins().len(), 1);
}

#[test]
fn overwriting_the_file_does_not_touch_what_runs() {
    let mut rig = Rig::connected(&[("overwritten", "")]);
    let path = rig.folder.path().join(library_file("overwritten"));
    fs::write(&path, "").expect("ours");
    rig.calls();
    rig.peer(&reef_engine::hooks::PeerEvent::Have(1));
    assert_eq!(rig.calls(), ["overwritten on_have"]);
    assert!(fs::read_dir(rig.folder.path().join("cache")).expect("made").next().is_none(), "no copy has a name");
}

#[test]
fn a_file_can_be_looked_at_without_starting_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write_plugin(folder.path(), "evil");
    let info = inspect(&path).expect("a plugin");
    assert_eq!((info.name.as_str(), info.version.as_str(), info.api), ("evil", "0.1.0", (1, 0)));
    assert!(info.description.starts_with("Does what its settings say"));
    assert_eq!(check(&path).expect("a plugin that fits"), info);
}
