//! The rules on plain numbers, and the hooks without a network.

use leech_guard::{BANNED, Deeds, LeechGuard, Rules};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    Outcome, PeerInfo, PeerKey, PeerObj, PeerRequest, SessionObj, TorrentId, TorrentInfo, TorrentObj,
};

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(1);
const MIB: u64 = 1 << 20;

#[track_caller]
fn check(deeds: Deeds, words: Option<&str>) {
    let verdict = Rules { clients: Vec::new(), fake_progress_mib: 16, free_mib: 100 }.judge(&deeds);
    match words {
        Some(words) => assert!(verdict.as_ref().is_some_and(|why| why.contains(words)), "{deeds:?}: {verdict:?}"),
        None => assert_eq!(verdict, None, "{deeds:?}"),
    }
}

#[test]
fn who_takes_and_does_not_announce_it_lies() {
    let deeds = Deeds { asked: 17 * MIB, ..Deeds::default() };
    check(deeds, Some("took 17 MiB and says that it has got 0"));
    check(Deeds { asked: 16 * MIB, ..deeds }, None);
    check(Deeds { announced: 2 * MIB, ..deeds }, None);
    check(Deeds { announced: 50 * MIB, had_at_first: 50 * MIB, ..deeds }, Some("has got 0"));
}

#[test]
fn who_gives_nothing_while_it_could_takes_only_so_much() {
    let deeds = Deeds { asked: 101 * MIB, announced: 101 * MIB, we_want: true, ..Deeds::default() };
    check(deeds, Some("gave nothing"));
    check(Deeds { given: 1, ..deeds }, None);
    check(Deeds { we_want: false, ..deeds }, None);
    check(Deeds { asked: 99 * MIB, ..deeds }, None);
}

struct Side {
    host: FakeHost,
    peer: PeerObj,
    _torrent: TorrentObj,
    _session: SessionObj,
}

impl Side {
    fn new(settings: &str) -> Self {
        let host = FakeHost::new();
        let mut info = TorrentInfo::default();
        (info.num_pieces, info.piece_length) = (100, 1 << 20);
        host.set_torrent(TORRENT, info);
        let mut peer = PeerInfo::new(([1, 2, 3, 4], 5).into());
        peer.peer_id = Some(*b"-XL0012-abcdefghijkl");
        host.set_peer(TORRENT, PEER, peer);
        let mut session = host.start::<LeechGuard>(settings).expect("good settings");
        let mut torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers").expect("an object");
        let peer = torrent.new_connection(&host.torrent_call(TORRENT), PEER).expect("it answers").expect("an object");
        Self { host, peer, _torrent: torrent, _session: session }
    }

    /// Who was banned since this was last asked.
    #[track_caller]
    fn banned(&self) -> bool {
        let actions = self.host.actions();
        match &actions[..] {
            [] => false,
            [Action::Ban { .. }, Action::Alert { kind: BANNED, message, .. }] => {
                message.starts_with("1.2.3.4:5 is banned")
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn requests_count_and_what_was_announced_is_set_against_them() {
    for (announced, banned) in [(0, true), (10, false)] {
        let mut side = Side::new("");
        let call = side.host.clone();
        let call = call.peer_call(TORRENT, PEER);
        for piece in 0..20 {
            side.peer.on_request(&call, PeerRequest { piece, start: 0, length: 1 << 20 });
        }
        for piece in 0..announced {
            // Twice the same piece is one piece, and one that the torrent does not have is none.
            side.peer.on_have(&call, piece);
            side.peer.on_have(&call, piece);
            side.peer.on_have(&call, 1000 + piece);
        }
        assert_eq!(side.peer.tick(&call), Outcome::Pass);
        assert_eq!(side.banned(), banned, "{announced} announced");
    }
}

#[test]
fn clients_are_banned_by_peer_id_and_by_name() {
    let host = |side: &Side| side.host.clone();
    for (settings, banned) in [("", false), ("clients = [\"-XL\"]", true), ("clients = [\"-UT\"]", false)] {
        let mut side = Side::new(settings);
        side.peer.on_handshake(&host(&side).peer_call(TORRENT, PEER), &[0; 8]);
        assert_eq!(side.banned(), banned, "{settings}");
    }
    let mut side = Side::new("clients = [\"xunlei\"]");
    side.peer.on_extension_handshake(&host(&side).peer_call(TORRENT, PEER), b"d1:v12:XunLei 0.0.1e");
    assert!(side.banned());
    side.peer.on_extension_handshake(&host(&side).peer_call(TORRENT, PEER), b"d1:v9:reef 0.1e");
    assert!(!side.banned());
}

#[test]
fn a_setting_that_does_not_exist_is_named() {
    let error = FakeHost::new().start::<LeechGuard>("free = 3").err().expect("refused");
    assert!(error.contains("free_mib"), "{error}");
}
