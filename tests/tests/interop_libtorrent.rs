//! Transfers with libtorrent, the standard of behaviour: each side as the seed, by torrent file and by magnet link.

use reef_tests::clients::libtorrent::Libtorrent;
use reef_tests::content::{Content, temporary};
use reef_tests::loopback::fresh_address;
use reef_tests::process::SOON;
use reef_tests::program::{Torrent, User, text};

/// Downloads from libtorrent; the source is the torrent file, or its magnet link.
#[track_caller]
fn check_get(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(libtorrent) = Libtorrent::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let seed = libtorrent.seed(torrent.path(), content.folder());
    user.get(&source(&torrent), folder.path(), &["--peer", &seed.address.to_string()]);
    content.assert_is_in(folder.path());
}

/// Serves to libtorrent.
#[track_caller]
fn check_seed(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(libtorrent) = Libtorrent::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let seed = user.seed(&torrent, content.folder(), &[]);
    let mut peer = libtorrent.download(&source(&torrent), folder.path(), &[seed.address]);
    peer.wait_until_finished();
    content.assert_is_in(folder.path());
}

#[test]
fn a_tree_comes_from_libtorrent_by_torrent_file() {
    check_get(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_comes_from_libtorrent_by_magnet_link() {
    check_get(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_comes_from_libtorrent() {
    check_get(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_large_file_comes_from_libtorrent() {
    check_get(&Content::file(20_000_003), Torrent::magnet);
}

#[test]
fn a_tree_goes_to_libtorrent_by_torrent_file() {
    check_seed(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_goes_to_libtorrent_by_magnet_link() {
    check_seed(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_goes_to_libtorrent() {
    check_seed(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_large_file_goes_to_libtorrent() {
    check_seed(&Content::file(20_000_003), |torrent| torrent.path().to_owned());
}

#[test]
fn a_hybrid_torrent_is_transferred_both_ways() {
    let Some(libtorrent) = Libtorrent::find() else { return };
    let (user, content, made) = (User::new(), Content::tree(), temporary());
    let file = made.path().join("hybrid.torrent");
    libtorrent.create_hybrid(&content.path(), &file);
    let torrent = user.torrent(&file);

    let (from, to) = (temporary(), temporary());
    let seed = libtorrent.seed(text(&file), content.folder());
    user.get(torrent.path(), from.path(), &["--peer", &seed.address.to_string()]);
    content.assert_is_in(from.path());

    let seed = user.seed(&torrent, content.folder(), &[]);
    let mut peer = libtorrent.download(torrent.path(), to.path(), &[seed.address]);
    peer.wait_until_finished();
    content.assert_is_in(to.path());
}

#[test]
fn what_reef_fetches_it_serves_while_it_fetches() {
    let Some(libtorrent) = Libtorrent::find() else { return };
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let torrent = user.create(&content, &[]);
    let seed = libtorrent.seed(torrent.path(), content.folder());
    let listen = fresh_address();
    let (listen_text, seed_text) = (listen.to_string(), seed.address.to_string());
    let more = ["--listen", &listen_text, "--peer", &seed_text, "--keep-seeding", "--json"];
    let middle = temporary();
    let arguments = [&["get", torrent.path(), "-o", text(middle.path())], &more[..]].concat();
    let mut process = user.start(&arguments);
    process.wait_for_text(SOON, &listen_text);
    let mut peer = libtorrent.download(torrent.path(), folder.path(), &[listen]);
    peer.wait_until_finished();
    content.assert_is_in(folder.path());
    content.assert_is_in(middle.path());
}

#[test]
fn each_torrent_of_a_running_session_is_served_also_after_a_restart() {
    let Some(libtorrent) = Libtorrent::find() else { return };
    let (user, state, listen) = (User::new(), temporary(), fresh_address());
    let contents = [Content::tree(), Content::smaller_than_a_block(), Content::file(100_003)];
    let torrents: Vec<Torrent> = contents.iter().map(|content| user.create(content, &[])).collect();
    let (state, listen_text) = (text(state.path()).to_owned(), listen.to_string());
    let run = || user.start(&["run", "--state", &state, "--listen", &listen_text]);
    let mut session = run();
    for (torrent, content) in torrents.iter().zip(&contents) {
        let (source, save_path) = (torrent.path(), text(content.folder()));
        let add = serde_json::json!({ "command": "add", "source": source, "save_path": save_path, "seed_mode": true });
        session.tell(&add.to_string());
        session.wait_for_text(SOON, "\"ok\":true");
    }
    for restarts in 0..2 {
        for (torrent, content) in torrents.iter().zip(&contents) {
            let folder = temporary();
            let source = if restarts == 0 { torrent.path().to_owned() } else { torrent.magnet() };
            let mut peer = libtorrent.download(&source, folder.path(), &[listen]);
            peer.wait_until_finished();
            content.assert_is_in(folder.path());
        }
        session.tell("{\"command\":\"stop\"}");
        session.wait_for_status(SOON, 0);
        session = run();
        session.wait_for_text(SOON, "\"torrents\":3");
    }
}
