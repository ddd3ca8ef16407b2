//! Plugins as a user meets them: a missing one is named, a failing one takes nothing down with it.

use std::fs;
use std::path::Path;

use reef_tests::content::{Content, temporary};
use reef_tests::plugins::plugin_library;
use reef_tests::process::SOON;
use reef_tests::program::{Seed, Torrent, User, reef, standard_plugin, text};

const STANDARD: [&str; 3] = ["ut_metadata", "ut_pex", "smart_ban"];

/// Puts a file into a folder, under its own name.
fn install(file: &Path, folder: &Path) {
    let to = folder.join(file.file_name().expect("it is a file"));
    if fs::hard_link(file, &to).is_err() {
        fs::copy(file, &to).expect("the folder is writable");
    }
}

/// A seed of some content, and its torrent.
fn seed(user: &User, content: &Content) -> (Torrent, Seed) {
    let torrent = user.create(content, &[]);
    let seed = user.seed(&torrent, content.folder(), &[]);
    (torrent, seed)
}

#[test]
fn a_magnet_link_without_its_plugin_names_the_plugin_and_works_when_it_is_back() {
    let (installed, folder, content) = (temporary(), temporary(), Content::tree());
    install(&reef(), installed.path());
    STANDARD.iter().for_each(|name| install(&standard_plugin(name), installed.path()));
    let file_name = standard_plugin("ut_metadata").file_name().expect("it is a file").to_owned();
    let plugin = installed.path().join(&file_name);
    let user = User::with_program(installed.path().join(reef().file_name().expect("it is a file")));
    let (torrent, seed) = seed(&user, &content);
    let peer = seed.address.to_string();

    fs::remove_file(&plugin).expect("the folder is writable");
    let ended = user.run(&["get", &torrent.magnet(), "-o", text(folder.path()), "--peer", &peer]);
    assert_eq!(ended.code, Some(1), "{}", ended.text());
    let sentences: Vec<_> = ended.lines.iter().filter(|line| line.starts_with("reef: ")).collect();
    assert!(sentences.len() == 1 && sentences[0].contains(text(Path::new(&file_name))), "{}", ended.text());

    install(&standard_plugin("ut_metadata"), installed.path());
    user.get(&torrent.magnet(), folder.path(), &["--peer", &peer]);
    content.assert_is_in(folder.path());
}

#[test]
fn the_standard_plugins_are_found_beside_the_program() {
    let ended = User::new().run(&["plugin", "list"]);
    let missing: Vec<_> = STANDARD.iter().filter(|name| !ended.text().contains(*name)).collect();
    assert!(missing.is_empty(), "{}", ended.text());
}

/// Downloads by magnet link while the evil plugin does `act` in the hook `at`, and returns what was reported.
#[track_caller]
fn check_evil(at: &str, act: &str) -> String {
    let (user, plugins, folder, content) = (User::new(), temporary(), temporary(), Content::tree());
    install(&plugin_library("evil-plugin"), plugins.path());
    let config = plugins.path().join("reef.toml");
    fs::write(&config, format!("[plugins.evil]\nat = \"{at}\"\ndo = \"{act}\"\n")).expect("the folder is writable");
    let (torrent, seed) = seed(&user, &content);
    let peer = seed.address.to_string();
    let more = ["--peer", &peer, "--plugin-dir", text(plugins.path()), "--config", text(&config)];
    let ended = user.get(&torrent.magnet(), folder.path(), &more);
    content.assert_is_in(folder.path());
    ended.text()
}

#[test]
fn a_plugin_that_panics_in_a_hook_of_a_peer_is_quarantined_and_the_download_completes() {
    let said = check_evil("add_handshake", "panic");
    assert!(said.contains(r#""event":"plugin_quarantined","plugin":"evil""#), "{said}");
}

#[test]
fn a_plugin_that_panics_when_the_metadata_is_there_is_quarantined_and_the_download_completes() {
    let said = check_evil("on_metadata", "panic");
    assert!(said.contains(r#""event":"plugin_quarantined","plugin":"evil""#), "{said}");
}

#[test]
fn a_plugin_that_panics_on_a_thread_of_its_own_does_not_stop_a_download() {
    check_evil("new_torrent", "thread");
}

#[test]
fn a_plugin_that_cannot_be_created_does_not_stop_a_download() {
    check_evil("create", "panic");
}

#[test]
fn a_file_that_is_no_plugin_is_one_line_and_the_download_goes_on() {
    let (user, plugins, folder, content) = (User::new(), temporary(), temporary(), Content::tree());
    let broken = plugins.path().join("libbroken.so");
    fs::write(&broken, b"no library").expect("the folder is writable");
    let (torrent, seed) = seed(&user, &content);
    let peer = seed.address.to_string();
    let more = ["--peer", &peer, "--plugin-dir", text(plugins.path())];
    let ended = user.get(&torrent.magnet(), folder.path(), &more);
    assert_eq!(ended.lines.iter().filter(|line| line.contains("libbroken.so")).count(), 1, "{}", ended.text());
    content.assert_is_in(folder.path());
}

#[test]
fn a_plugin_folder_that_is_missing_is_said() {
    let (user, folder) = (User::new(), temporary());
    let missing = folder.path().join("no plugins here");
    let torrent = user.create(&Content::smaller_than_a_block(), &[]);
    let process = user.start(&["get", torrent.path(), "-o", text(folder.path()), "--plugin-dir", text(&missing)]);
    let ended = process.wait(SOON);
    assert!(ended.code.is_some_and(|code| code != 0) && ended.text().contains("no plugins here"), "{}", ended.text());
}
