//! Peers find each other through trackers of other makers, over HTTP and UDP, and each tracker is told once of a start, a
//! completion and a stop.

use std::net::SocketAddr;

use reef_tests::clients::libtorrent::Libtorrent;
use reef_tests::clients::opentracker::Opentracker;
use reef_tests::clients::tracker::{NpmTracker, Tracker};
use reef_tests::content::{Content, temporary};
use reef_tests::loopback::{default_address, fresh_address};
use reef_tests::process::{SOON, Signal};
use reef_tests::program::{User, text};

/// A download by reef, from libtorrent, whom the tracker names: the tracker hears of a start, a completion and a stop.
#[track_caller]
fn check_get(url: impl Fn(&Tracker) -> String) {
    let (Some(tracker), Some(libtorrent)) = (NpmTracker::find(), Libtorrent::find()) else { return };
    let mut tracker = tracker.start();
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let torrent = user.create(&content, &["--tracker", &url(&tracker)]);
    let seed = libtorrent.seed(torrent.path(), content.folder());
    tracker.wait_for_event("start", seed.address);
    let listen = default_address();
    user.get(torrent.path(), folder.path(), &["--listen", &listen.to_string()]);
    content.assert_is_in(folder.path());
    tracker.wait_for_event("stop", listen);
    assert_eq!(tracker.counts(listen), [1, 1, 1], "{}", tracker.process.seen().join("\n"));
}

/// An upload by reef, to libtorrent, to whom the tracker names it: the tracker hears of a start and a stop, as nothing
/// was completed.
#[track_caller]
fn check_seed(url: impl Fn(&Tracker) -> String) {
    let (Some(tracker), Some(libtorrent)) = (NpmTracker::find(), Libtorrent::find()) else { return };
    let mut tracker = tracker.start();
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let torrent = user.create(&content, &["--tracker", &url(&tracker)]);
    let seed = user.seed_at(default_address(), &torrent, content.folder(), &[]);
    tracker.wait_for_event("start", seed.address);
    let mut peer = libtorrent.download(torrent.path(), folder.path(), &[]);
    peer.wait_until_finished();
    content.assert_is_in(folder.path());
    seed.process.signal(Signal::INT);
    seed.process.wait_for_status(SOON, 130);
    tracker.wait_for_event("stop", seed.address);
    assert_eq!(tracker.counts(seed.address), [1, 0, 1], "{}", tracker.process.seen().join("\n"));
}

/// Two sessions of reef meet at opentracker.
#[track_caller]
fn check_opentracker(url: impl Fn(SocketAddr) -> String) {
    let Some(tracker) = Opentracker::find() else { return };
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let tracker = tracker.start(user.create(&content, &[]).hash());
    let torrent = user.create(&content, &["--tracker", &url(tracker.address)]);
    let _seed = user.seed_at(default_address(), &torrent, content.folder(), &[]);
    user.get(torrent.path(), folder.path(), &["--listen", &default_address().to_string()]);
    content.assert_is_in(folder.path());
}

#[test]
fn a_tracker_over_http_names_a_seed() {
    check_get(Tracker::http);
}

#[test]
fn a_tracker_over_udp_names_a_seed() {
    check_get(Tracker::udp);
}

#[test]
fn a_tracker_over_http_names_us() {
    check_seed(Tracker::http);
}

#[test]
fn a_tracker_over_udp_names_us() {
    check_seed(Tracker::udp);
}

#[test]
fn two_meet_at_opentracker_over_http() {
    check_opentracker(|address| format!("http://{address}/announce"));
}

#[test]
fn two_meet_at_opentracker_over_udp() {
    check_opentracker(|address| format!("udp://{address}/announce"));
}

#[test]
fn a_tracker_of_the_next_tier_is_asked_when_the_first_does_not_answer() {
    let (Some(tracker), Some(libtorrent)) = (NpmTracker::find(), Libtorrent::find()) else { return };
    let mut tracker = tracker.start();
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let nobody = format!("http://{}/announce", fresh_address());
    let torrent = user.create(&content, &["--tracker", &nobody, "--tracker", &tracker.udp()]);
    let seed = libtorrent.seed(torrent.path(), content.folder());
    tracker.wait_for_event("start", seed.address);
    user.get(torrent.path(), folder.path(), &["--listen", &default_address().to_string()]);
    content.assert_is_in(folder.path());
}

#[test]
fn a_trackers_refusal_is_shown_in_its_own_words() {
    let Some(tracker) = Opentracker::find() else { return };
    let (user, content, folder) = (User::new(), Content::tree(), temporary());
    let tracker = tracker.start("00112233445566778899aabbccddeeff00112233");
    let torrent = user.create(&content, &["--tracker", &tracker.http()]);
    let listen = default_address().to_string();
    let mut process = user.start(&["get", torrent.path(), "-o", text(folder.path()), "--listen", &listen]);
    process.wait_for_text(SOON, "not authorized");
}
