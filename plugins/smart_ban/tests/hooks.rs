//! The plugin's hooks through the interface's own glue, with a host that records what is asked of it.

use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{BlockSender, Outcome, Sender, SessionObj, TorrentId, TorrentInfo, TorrentObj, TorrentState};
use smart_ban::SmartBan;
use std::net::SocketAddr;

const TORRENT: TorrentId = TorrentId(1);
const PIECE: u32 = 7;

/// What happens to `PIECE`, with its blocks in order as (who sent it, what it sent).
enum Step<'a> {
    Fails(&'a [(u16, &'a str)]),
    Passes(&'a [(u16, &'a str)]),
    /// It passes, and the host cannot read its blocks.
    PassesUnread,
    Seeding,
}
use Step::{Fails, Passes, PassesUnread, Seeding};

fn attach(host: &FakeHost, info: TorrentInfo) -> Option<(SessionObj, TorrentObj)> {
    host.set_torrent(TORRENT, info);
    let mut session = host.start::<SmartBan>("").expect("no settings to refuse");
    let torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers")?;
    Some((session, torrent))
}

fn set_blocks(host: &FakeHost, blocks: &[(u16, &str)]) {
    for (block, (number, data)) in (0..).zip(blocks) {
        host.set_block(TORRENT, PIECE, BlockSender { block, sender: sender(*number) }, *data);
    }
}

fn sender(number: u16) -> Sender {
    Sender { addr: SocketAddr::from(([1, 2, 3, 4], number)), peer_id: [number as u8; 20] }
}

/// Runs the steps and compares who is banned.
#[track_caller]
fn check(steps: &[Step<'_>], banned: &[u16]) {
    let host = FakeHost::new();
    let (_session, mut torrent) = attach(&host, TorrentInfo::default()).expect("no v2 part");
    let call = host.torrent_call(TORRENT);
    for step in steps {
        let outcome = match step {
            Fails(blocks) => {
                set_blocks(&host, blocks);
                torrent.on_piece_failed(&call, PIECE)
            }
            Passes(blocks) => {
                set_blocks(&host, blocks);
                torrent.on_piece_pass(&call, PIECE)
            }
            PassesUnread => torrent.on_piece_pass(&host.torrent_call(TorrentId(99)), PIECE),
            Seeding => torrent.on_state(&call, TorrentState::SEEDING),
        };
        assert_eq!(outcome, Outcome::Pass);
    }
    let actions = host.actions();
    let bans = actions.iter().filter_map(|action| match action {
        Action::Ban { torrent: TORRENT, sender, reason } => {
            assert!(reason.contains("piece 7"), "{reason}");
            Some(*sender)
        }
        _ => None,
    });
    assert_eq!(bans.collect::<Vec<_>>(), banned.iter().map(|number| sender(*number)).collect::<Vec<_>>());
}

#[test]
fn the_sender_of_the_bad_block_is_banned_when_the_piece_passes() {
    check(&[Fails(&[(1, "a"), (2, "X")]), Passes(&[(1, "a"), (1, "b")])], &[2]);
    check(&[Fails(&[(1, "X"), (2, "X")]), Passes(&[(3, "a"), (3, "b")])], &[1, 2]);
    check(&[Fails(&[(1, "X"), (1, "X")]), Passes(&[(3, "a"), (3, "b")])], &[1]);
    check(&[Fails(&[(1, "a"), (2, "b")]), Passes(&[(1, "a"), (2, "b")])], &[]);
}

#[test]
fn every_suspect_of_a_block_is_remembered() {
    check(&[Fails(&[(1, "a"), (2, "b")]), Fails(&[(3, "X"), (2, "b")]), Passes(&[(1, "a"), (4, "b")])], &[3]);
    check(&[Fails(&[(1, "X")]), Fails(&[(2, "Y")]), Fails(&[(3, "a")]), Passes(&[(4, "a")])], &[1, 2]);
}

#[test]
fn two_versions_of_a_block_are_enough() {
    check(&[Fails(&[(1, "X"), (2, "b")]), Fails(&[(1, "Y"), (2, "b")])], &[1]);
    check(&[Fails(&[(1, "X")]), Fails(&[(1, "X")])], &[]);
}

#[test]
fn a_settled_piece_is_forgotten() {
    check(&[Fails(&[(1, "X")]), Passes(&[(2, "a")]), Passes(&[(2, "a")])], &[1]);
    check(&[Fails(&[(1, "X")]), PassesUnread, Passes(&[(2, "a")])], &[]);
    check(&[Fails(&[(1, "X")]), Seeding, Passes(&[(2, "a")])], &[]);
}

#[test]
fn a_failed_piece_is_watched_and_others_are_not_read() {
    let host = FakeHost::new();
    let (_session, mut torrent) = attach(&host, TorrentInfo::default()).expect("no v2 part");
    set_blocks(&host, &[(1, "a")]);
    let call = host.torrent_call(TORRENT);
    torrent.on_piece_pass(&call, PIECE);
    assert_eq!(host.actions(), []);
    torrent.on_piece_failed(&call, PIECE);
    assert_eq!(host.actions(), [Action::WatchPiece { torrent: TORRENT, piece: PIECE }]);
}

#[test]
fn torrents_with_a_v2_part_are_left_alone_and_left() {
    let mut hybrid = TorrentInfo::default();
    (hybrid.info_hash_v1, hybrid.info_hash_v2) = (Some([1; 20]), Some([2; 32]));
    let host = FakeHost::new();
    assert!(attach(&host, hybrid).is_none());

    let (_session, mut torrent) = attach(&host, TorrentInfo::default()).expect("no v2 part");
    assert_eq!(torrent.on_metadata(&host.torrent_call(TORRENT)), Outcome::Pass);
    host.set_torrent(TORRENT, hybrid);
    assert_eq!(torrent.on_metadata(&host.torrent_call(TORRENT)), Outcome::Detach);
}
