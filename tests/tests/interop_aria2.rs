//! Transfers with aria2: each side as the seed, by torrent file and by magnet link. Nobody can tell aria2 a peer's address
//! but a tracker, so reef connects to it.

use reef_tests::clients::aria2::Aria2;
use reef_tests::content::{Content, temporary};
use reef_tests::process::SOON;
use reef_tests::program::{Torrent, User};

/// Downloads from aria2.
#[track_caller]
fn check_get(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(aria2) = Aria2::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let seed = aria2.seed(torrent.path(), content.folder());
    user.get(&source(&torrent), folder.path(), &["--peer", &seed.address.to_string()]);
    content.assert_is_in(folder.path());
}

/// Serves to aria2.
#[track_caller]
fn check_seed(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(aria2) = Aria2::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let peer = aria2.download(&source(&torrent), folder.path());
    // It hangs up once it has the metadata, to begin anew.
    let more = ["--peer", &peer.address.to_string(), "--set", "min_reconnect_time=1"];
    let _seed = user.seed(&torrent, content.folder(), &more);
    peer.process.wait_for_status(SOON, 0);
    content.assert_is_in(folder.path());
}

#[test]
fn a_tree_comes_from_aria2_by_torrent_file() {
    check_get(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_comes_from_aria2_by_magnet_link() {
    check_get(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_comes_from_aria2() {
    check_get(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_goes_to_aria2_by_torrent_file() {
    check_seed(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_goes_to_aria2_by_magnet_link() {
    check_seed(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_goes_to_aria2() {
    check_seed(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}
