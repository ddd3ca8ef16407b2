//! Transfers with transmission: each side as the seed, by torrent file and by magnet link. reef connects to it in both
//! directions, as transmission takes no peer of this machine from a tracker.

use reef_tests::clients::transmission::Transmission;
use reef_tests::content::{Content, temporary};
use reef_tests::program::{Torrent, User};

/// Downloads from transmission.
#[track_caller]
fn check_get(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(transmission) = Transmission::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let seed = transmission.seed(torrent.path(), content.folder());
    user.get(&source(&torrent), folder.path(), &["--peer", &seed.address.to_string()]);
    content.assert_is_in(folder.path());
}

/// Serves to transmission.
#[track_caller]
fn check_seed(content: &Content, source: impl Fn(&Torrent) -> String) {
    let Some(transmission) = Transmission::find() else { return };
    let (user, folder) = (User::new(), temporary());
    let torrent = user.create(content, &[]);
    let mut peer = transmission.download(&source(&torrent), folder.path());
    // It hangs up once it has the metadata, to look for files.
    let more = ["--peer", &peer.address.to_string(), "--set", "min_reconnect_time=1"];
    let _seed = user.seed(&torrent, content.folder(), &more);
    peer.wait_until_complete();
    // It makes no files without content.
    content.assert_is_in_but_for_empty_files(folder.path());
}

#[test]
fn a_tree_comes_from_transmission_by_torrent_file() {
    check_get(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_comes_from_transmission_by_magnet_link() {
    check_get(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_comes_from_transmission() {
    check_get(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_goes_to_transmission_by_torrent_file() {
    check_seed(&Content::tree(), |torrent| torrent.path().to_owned());
}

#[test]
fn a_tree_goes_to_transmission_by_magnet_link() {
    check_seed(&Content::tree(), Torrent::magnet);
}

#[test]
fn a_file_smaller_than_a_block_goes_to_transmission() {
    check_seed(&Content::smaller_than_a_block(), |torrent| torrent.path().to_owned());
}
