//! The plugin's hooks through the interface's own glue, with a host that records what is asked of it.

use reef_plugin_api::bencode::{Dict, Value, decode_prefix};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    HandshakeEntries, Outcome, PeerInfo, PeerKey, PeerObj, SessionObj, TorrentId, TorrentInfo, TorrentObj,
};
use sha1::{Digest, Sha1};
use ut_metadata::UtMetadata;

const TORRENT: TorrentId = TorrentId(1);
const NAME: &str = "ut_metadata";
const BLOCK: usize = 16 * 1024;

/// A torrent of a session with this plugin, and its peers.
struct Swarm {
    host: FakeHost,
    _session: SessionObj,
    torrent: TorrentObj,
}

impl Swarm {
    fn new(host: FakeHost, info: TorrentInfo) -> Option<Self> {
        host.set_torrent(TORRENT, info);
        let mut session = host.start::<UtMetadata>("").expect("no settings to refuse");
        let torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers")?;
        Some(Self { host, _session: session, torrent })
    }

    /// One that has to fetch `metadata()`.
    fn magnet() -> Self {
        let mut info = TorrentInfo::default();
        info.info_hash_v1 = Some(Sha1::digest(metadata()).into());
        Self::new(FakeHost::new(), info).expect("a magnet is not private")
    }

    /// One that has it.
    fn seed() -> Self {
        let host = FakeHost::new();
        let mut info = TorrentInfo::default();
        info.has_metadata = true;
        let swarm = Self::new(host, info).expect("not private");
        swarm.host.set_metadata(TORRENT, metadata());
        swarm
    }

    /// A peer that speaks `ut_metadata` and whose extension handshake says this.
    fn peer(&mut self, key: u64, handshake: &[u8]) -> PeerObj {
        let peer = PeerKey(key);
        self.host.set_peer(TORRENT, peer, PeerInfo::default());
        self.host.set_supports(TORRENT, peer, NAME);
        let call = self.host.torrent_call(TORRENT);
        let mut object = self.torrent.new_connection(&call, peer).expect("it answers").expect("an object");
        let call = self.host.peer_call(TORRENT, peer);
        assert_eq!(object.on_extension_handshake(&call, handshake), Outcome::Pass);
        object
    }

    fn receive(&self, object: &mut PeerObj, key: u64, payload: &[u8]) -> Outcome {
        object.on_extended(&self.host.peer_call(TORRENT, PeerKey(key)), NAME, payload)
    }

    /// What was sent, as (peer, msg_type, piece, bytes after the dictionary); nothing else may have been asked for.
    fn sent(&self) -> Vec<(u64, i64, i64, usize)> {
        self.host.actions().iter().map(describe).collect()
    }
}

fn describe(action: &Action) -> (u64, i64, i64, usize) {
    let Action::SendExtended { torrent: TORRENT, peer, name, payload } = action else { panic!("{action:?}") };
    assert_eq!(name, NAME);
    let (dict, block) = decode_prefix(payload).expect("a dictionary");
    let number = |key| dict.get(key).and_then(Value::as_int).expect("a number");
    (peer.0, number("msg_type"), number("piece"), block.len())
}

fn metadata() -> Vec<u8> {
    (0..BLOCK + 5).map(|at| (at / 3) as u8).collect()
}

fn claim() -> Vec<u8> {
    Dict::new().int("metadata_size", metadata().len() as i64).encode()
}

fn request(piece: i64) -> Vec<u8> {
    Dict::new().int("msg_type", 0).int("piece", piece).encode()
}

fn data(piece: usize) -> Vec<u8> {
    let total = metadata().len();
    let dict = Dict::new().int("msg_type", 1).int("piece", piece as i64).int("total_size", total as i64).encode();
    [&dict, &metadata()[piece * BLOCK..total.min((piece + 1) * BLOCK)]].concat()
}

#[test]
fn the_handshake_names_the_message_and_the_size_if_it_is_known() {
    let size = Dict::new().int("x", metadata().len() as i64).encode();
    for (mut swarm, expected) in [(Swarm::magnet(), None), (Swarm::seed(), Some(&size[4..size.len() - 1]))] {
        let mut peer = swarm.peer(1, b"de");
        let mut entries = HandshakeEntries::new();
        peer.add_handshake(&swarm.host.peer_call(TORRENT, PeerKey(1)), &mut entries);
        assert_eq!(entries.extensions().collect::<Vec<_>>(), [NAME]);
        assert_eq!(
            entries.values().collect::<Vec<_>>(),
            expected.map(|size| ("metadata_size", size)).into_iter().collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_magnet_is_fetched_without_waiting_for_a_tick() {
    let mut swarm = Swarm::magnet();
    let mut peer = swarm.peer(1, &claim());
    assert_eq!(swarm.sent(), [(1, 0, 0, 0), (1, 0, 1, 0)]);
    assert_eq!(swarm.receive(&mut peer, 1, &data(1)), Outcome::Handled);
    assert_eq!(swarm.sent(), []);
    assert_eq!(swarm.receive(&mut peer, 1, &data(0)), Outcome::Handled);
    assert_eq!(swarm.host.actions(), [Action::GiveMetadata { torrent: TORRENT, info: metadata() }]);
    assert_eq!(swarm.receive(&mut peer, 1, &data(0)), Outcome::Handled);
    peer.tick(&swarm.host.peer_call(TORRENT, PeerKey(1)));
    assert_eq!(swarm.host.actions(), [], "once is enough");
}

#[test]
fn what_a_peer_leaves_or_refuses_is_asked_of_the_next_at_once() {
    let mut swarm = Swarm::magnet();
    let mut first = swarm.peer(1, &claim());
    let mut second = swarm.peer(2, &claim());
    assert_eq!(swarm.sent(), [(1, 0, 0, 0), (1, 0, 1, 0)]);
    assert_eq!(swarm.receive(&mut first, 1, b"d8:msg_typei2e5:piecei1ee"), Outcome::Handled);
    assert_eq!(swarm.sent(), [(2, 0, 1, 0)]);
    first.on_disconnect(&swarm.host.peer_call(TORRENT, PeerKey(1)), "gone");
    assert_eq!(swarm.sent(), [(2, 0, 0, 0)]);
    drop(first);
    swarm.receive(&mut second, 2, &data(0));
    swarm.receive(&mut second, 2, &data(1));
    assert_eq!(swarm.host.actions(), [Action::GiveMetadata { torrent: TORRENT, info: metadata() }]);
}

#[test]
fn ticks_ask_again_after_a_refusal() {
    let mut swarm = Swarm::magnet();
    let mut peer = swarm.peer(1, b"d1:md11:ut_metadatai3eee");
    assert_eq!(swarm.sent(), [(1, 0, 0, 0)]);
    swarm.receive(&mut peer, 1, b"d8:msg_typei2e5:piecei0ee");
    swarm.host.advance(59_000_000);
    peer.tick(&swarm.host.peer_call(TORRENT, PeerKey(1)));
    assert_eq!(swarm.sent(), []);
    swarm.host.advance(1_000_000);
    peer.tick(&swarm.host.peer_call(TORRENT, PeerKey(1)));
    assert_eq!(swarm.sent(), [(1, 0, 0, 0)]);
}

#[test]
fn requests_are_answered_with_blocks_or_refusals() {
    let mut swarm = Swarm::seed();
    let mut peer = swarm.peer(1, b"de");
    for (piece, kind, bytes) in [(0, 1, BLOCK), (1, 1, 5), (2, 2, 0), (-1, 2, 0), (i64::MAX, 2, 0)] {
        assert_eq!(swarm.receive(&mut peer, 1, &request(piece)), Outcome::Handled);
        assert_eq!(swarm.sent(), [(1, kind, piece, bytes)]);
    }
    let mut magnet = Swarm::magnet();
    let mut peer = magnet.peer(1, b"d13:metadata_sizei0ee");
    magnet.receive(&mut peer, 1, &request(0));
    assert_eq!(magnet.sent(), [(1, 2, 0, 0)]);
}

#[test]
fn a_slow_reader_is_answered_on_ticks() {
    let mut swarm = Swarm::seed();
    let mut peer = swarm.peer(1, b"de");
    let queue = |bytes| {
        let mut info = PeerInfo::default();
        info.send_queue = bytes;
        swarm.host.set_peer(TORRENT, PeerKey(1), info);
    };
    queue(160 * 1024);
    for _ in 0..1024 {
        swarm.receive(&mut peer, 1, &request(0));
    }
    assert_eq!(swarm.sent(), []);
    swarm.receive(&mut peer, 1, &request(0));
    assert_eq!(swarm.sent(), [(1, 2, 0, 0)], "too many");
    queue(100 * 1024);
    peer.tick(&swarm.host.peer_call(TORRENT, PeerKey(1)));
    assert_eq!(swarm.sent(), [(1, 1, 0, BLOCK); 4]);
}

#[test]
fn nonsense_closes_the_connection_and_the_unknown_does_not() {
    let mut swarm = Swarm::seed();
    let mut peer = swarm.peer(1, b"de");
    for (payload, handled) in [
        (&b"d8:msg_typei9e5:piecei0ee"[..], true),
        (b"d8:msg_typei1e5:piecei0e10:total_sizei100ee1234", true),
        (b"d8:msg_typei2e5:piecei0ee", true),
        (b"", false),
        (b"li0ee", false),
        (b"d8:msg_typei0ee", false),
        (&[b'd'; 17 * 1024 + 1], false),
    ] {
        let outcome = swarm.receive(&mut peer, 1, payload);
        assert_eq!(matches!(outcome, Outcome::Handled), handled, "{outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Error(_)), !handled, "{outcome:?}");
    }
    assert_eq!(swarm.sent(), []);
}

#[test]
fn a_peer_that_does_not_speak_it_is_not_asked() {
    let mut swarm = Swarm::magnet();
    let peer = PeerKey(1);
    swarm.host.set_peer(TORRENT, peer, PeerInfo::default());
    let call = swarm.host.torrent_call(TORRENT);
    let mut object = swarm.torrent.new_connection(&call, peer).expect("it answers").expect("an object");
    object.on_extension_handshake(&swarm.host.peer_call(TORRENT, peer), &claim());
    object.tick(&swarm.host.peer_call(TORRENT, peer));
    swarm.receive(&mut object, 1, &request(0));
    assert_eq!(swarm.sent(), []);
}

#[test]
fn private_torrents_are_left_alone_and_left() {
    let mut info = TorrentInfo::default();
    (info.has_metadata, info.private) = (true, true);
    assert!(Swarm::new(FakeHost::new(), info).is_none());

    for (private, outcome) in [(true, Outcome::Detach), (false, Outcome::Pass)] {
        let mut swarm = Swarm::magnet();
        info.private = private;
        swarm.host.set_torrent(TORRENT, info);
        assert_eq!(swarm.torrent.on_metadata(&swarm.host.torrent_call(TORRENT)), outcome);
        let _peer = swarm.peer(1, &claim());
        assert_eq!(swarm.sent(), [], "it has what it needs");
    }
}
