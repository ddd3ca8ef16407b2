//! The plugin's hooks through the interface's own glue, with a host that records what is asked of it.

use reef_plugin_api::bencode::{Dict, Value, decode};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    HandshakeEntries, Outcome, PeerInfo, PeerKey, PeerObj, SessionObj, TorrentFlags, TorrentId, TorrentInfo,
    TorrentObj, pex_flags, source,
};
use std::net::SocketAddr;
use ut_pex::UtPex;

const TORRENT: TorrentId = TorrentId(1);
const NAME: &str = "ut_pex";
const MINUTE: u64 = 60_000_000;

/// A torrent of a session with this plugin, and its peers.
struct Swarm {
    host: FakeHost,
    _session: SessionObj,
    torrent: TorrentObj,
}

impl Swarm {
    fn new(info: TorrentInfo) -> Option<Self> {
        let host = FakeHost::new();
        host.set_torrent(TORRENT, info);
        let mut session = host.start::<UtPex>("").expect("no settings to refuse");
        let torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers")?;
        Some(Self { host, _session: session, torrent })
    }

    fn public() -> Self {
        Self::new(TorrentInfo::default()).expect("not private")
    }

    fn peer(&mut self, key: u64, info: PeerInfo) -> PeerObj {
        self.host.set_peer(TORRENT, PeerKey(key), info);
        self.host.set_supports(TORRENT, PeerKey(key), NAME);
        self.torrent
            .new_connection(&self.host.torrent_call(TORRENT), PeerKey(key))
            .expect("it answers")
            .expect("an object")
    }

    fn tick(&self, object: &mut PeerObj, key: u64) {
        assert_eq!(object.tick(&self.host.peer_call(TORRENT, PeerKey(key))), Outcome::Pass);
    }

    fn receive(&self, object: &mut PeerObj, payload: &[u8]) -> Outcome {
        object.on_extended(&self.host.peer_call(TORRENT, PeerKey(1)), NAME, payload)
    }

    /// The one message that was sent, as its dictionary.
    fn sent_to(&self, key: u64) -> Option<Vec<u8>> {
        match &self.host.actions()[..] {
            [] => None,
            [Action::SendExtended { peer, name, payload, .. }] => {
                assert_eq!((*peer, &name[..]), (PeerKey(key), NAME));
                Some(payload.clone())
            }
            other => panic!("{other:?}"),
        }
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A peer that we connected to.
fn outgoing(at: &str) -> PeerInfo {
    let mut info = PeerInfo::new(addr(at));
    info.listen = Some(addr(at));
    (info.outgoing, info.connected, info.handshaken) = (true, true, true);
    info
}

/// A peer that connected to us, and told us its listen port.
fn incoming(at: &str, listen: u16) -> PeerInfo {
    let mut info = outgoing(at);
    info.outgoing = false;
    info.listen = Some(SocketAddr::new(addr(at).ip(), listen));
    info
}

#[track_caller]
fn check_message(payload: Option<Vec<u8>>, expected: [(&str, &[u8]); 6]) {
    let payload = payload.expect("a message");
    let dict = decode(&payload).expect("a dictionary");
    for (key, value) in expected {
        assert_eq!(dict.get(key).and_then(Value::as_bytes), Some(value), "{key}");
    }
}

#[test]
fn the_handshake_names_the_message() {
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    let mut entries = HandshakeEntries::new();
    peer.add_handshake(&swarm.host.peer_call(TORRENT, PeerKey(1)), &mut entries);
    assert_eq!(entries.extensions().collect::<Vec<_>>(), [NAME]);
}

#[test]
fn a_peer_hears_of_all_others_at_once_and_of_changes_by_the_minute() {
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    swarm.tick(&mut peer, 1);
    assert_eq!(swarm.sent_to(1), None, "there is nobody else");
    swarm.host.set_peer(TORRENT, PeerKey(2), incoming("2.2.2.2:40000", 2));
    swarm.host.set_peer(TORRENT, PeerKey(3), outgoing("[2001:db8::3]:3"));
    swarm.host.advance(1);
    swarm.tick(&mut peer, 1);
    let v6 = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x03\0\x03";
    check_message(
        swarm.sent_to(1),
        [
            ("added", b"\x02\x02\x02\x02\0\x02"),
            ("added.f", b"\0"),
            ("added6", v6),
            ("added6.f", b"\x10"),
            ("dropped", b""),
            ("dropped6", b""),
        ],
    );
    swarm.host.remove_peer(TORRENT, PeerKey(2));
    swarm.host.advance(MINUTE - 1);
    swarm.tick(&mut peer, 1);
    assert_eq!(swarm.sent_to(1), None);
    swarm.host.advance(1);
    swarm.tick(&mut peer, 1);
    let none = &b""[..];
    check_message(
        swarm.sent_to(1),
        [
            ("added", none),
            ("added.f", none),
            ("added6", none),
            ("added6.f", none),
            ("dropped", b"\x02\x02\x02\x02\0\x02"),
            ("dropped6", none),
        ],
    );
}

#[test]
fn peers_are_told_of_with_what_is_known_of_them() {
    type Change = fn(&mut PeerInfo);
    let table: [(Change, u8); 6] = [
        (|_| (), 0),
        (|info| info.encrypted = true, pex_flags::ENCRYPTION),
        (|info| info.seed = true, pex_flags::SEED),
        (|info| info.upload_only = true, pex_flags::SEED),
        (|info| info.utp = true, pex_flags::UTP),
        (|info| info.outgoing = true, pex_flags::REACHABLE),
    ];
    for (change, flags) in table {
        for holepunch in [0, pex_flags::HOLEPUNCH] {
            let mut swarm = Swarm::public();
            let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
            let mut info = incoming("2.2.2.2:2", 2);
            change(&mut info);
            swarm.host.set_peer(TORRENT, PeerKey(2), info);
            if holepunch != 0 {
                swarm.host.set_supports(TORRENT, PeerKey(2), "ut_holepunch");
            }
            swarm.tick(&mut peer, 1);
            let message = swarm.sent_to(1).expect("a message");
            let dict = decode(&message).expect("a dictionary");
            assert_eq!(dict.get("added.f").and_then(Value::as_bytes), Some(&[flags | holepunch][..]));
        }
    }
}

#[test]
fn nobody_is_told_of_itself_or_of_peers_that_cannot_be_reached() {
    let remote = outgoing("1.1.1.1:1");
    let mut local = remote;
    local.local = true;
    let mut same_id = outgoing("9.9.9.9:9");
    same_id.peer_id = Some([7; 20]);
    let mut receiver_with_id = remote;
    receiver_with_id.peer_id = Some([7; 20]);
    let mut connecting = outgoing("2.2.2.2:2");
    connecting.handshaken = false;
    let mut hidden = incoming("2.2.2.2:2", 2);
    hidden.listen = None;
    let mut neighbour = outgoing("10.0.0.2:2");
    neighbour.local = true;
    let table = [
        ("another connection of it", remote, incoming("1.1.1.1:50000", 1), false),
        ("its peer id", receiver_with_id, same_id, false),
        ("another peer at its address", remote, incoming("1.1.1.1:50000", 2), true),
        ("no handshake", remote, connecting, false),
        ("no listen port", remote, hidden, false),
        ("port 0", remote, incoming("2.2.2.2:2", 0), false),
        ("our network, to a peer outside", remote, neighbour, false),
        ("our network, to a peer inside", local, neighbour, true),
        ("a peer outside, to one inside", local, outgoing("2.2.2.2:2"), true),
    ];
    for (what, receiver, other, told) in table {
        let mut swarm = Swarm::public();
        let mut peer = swarm.peer(1, receiver);
        swarm.host.set_peer(TORRENT, PeerKey(2), other);
        swarm.tick(&mut peer, 1);
        assert_eq!(swarm.sent_to(1).is_some(), told, "{what}");
    }
}

#[test]
fn only_peers_that_speak_it_are_told() {
    let mut swarm = Swarm::public();
    swarm.host.set_peer(TORRENT, PeerKey(1), outgoing("1.1.1.1:1"));
    swarm.host.set_peer(TORRENT, PeerKey(2), outgoing("2.2.2.2:2"));
    let call = swarm.host.torrent_call(TORRENT);
    let mut peer = swarm.torrent.new_connection(&call, PeerKey(1)).expect("it answers").expect("an object");
    swarm.tick(&mut peer, 1);
    assert_eq!(swarm.sent_to(1), None);
    swarm.host.set_supports(TORRENT, PeerKey(1), NAME);
    swarm.tick(&mut peer, 1);
    assert!(swarm.sent_to(1).is_some());
}

#[test]
fn what_a_peer_tells_becomes_candidates() {
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    let message = Dict::new()
        .bytes("added", b"\x02\x02\x02\x02\0\x02\x0a\0\0\x01\0\x05\x03\x03\x03\x03\0\x03")
        .bytes("added.f", [0x82, 0, 0])
        .bytes("dropped", b"\x03\x03\x03\x03\0\x03\x04\x04\x04\x04\0\x04")
        .encode();
    assert_eq!(swarm.receive(&mut peer, &message), Outcome::Handled);
    let expected = Action::AddPeer { torrent: TORRENT, addr: addr("2.2.2.2:2"), source: source::PEX, pex_flags: 2 };
    assert_eq!(swarm.host.actions(), [expected]);
}

#[test]
fn floods_and_nonsense_close_the_connection() {
    let table: [(&[u8], bool); 6] = [
        (b"de", true),
        (b"d5:added7:1234567e", true),
        (b"", false),
        (b"li1ee", false),
        (b"d", false),
        (&[b'd'; 500 * 1024 + 1], false),
    ];
    for (payload, fine) in table {
        let mut swarm = Swarm::public();
        let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
        let outcome = swarm.receive(&mut peer, payload);
        assert_eq!(outcome == Outcome::Handled, fine, "{outcome:?}");
        assert_eq!(matches!(outcome, Outcome::Error(_)), !fine, "{outcome:?}");
    }
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    assert!((0..6).all(|_| swarm.receive(&mut peer, b"de") == Outcome::Handled));
    assert!(matches!(swarm.receive(&mut peer, b"de"), Outcome::Error(_)));
}

#[test]
fn private_torrents_have_no_peer_exchange() {
    let mut private = TorrentInfo::default();
    private.private = true;
    assert!(Swarm::new(private).is_none());

    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    swarm.host.set_peer(TORRENT, PeerKey(2), outgoing("2.2.2.2:2"));
    assert_eq!(swarm.torrent.on_metadata(&swarm.host.torrent_call(TORRENT)), Outcome::Pass);
    swarm.host.set_torrent(TORRENT, private);
    swarm.tick(&mut peer, 1);
    assert_eq!(swarm.sent_to(1), None, "not even before the hook");
    assert_eq!(swarm.torrent.on_metadata(&swarm.host.torrent_call(TORRENT)), Outcome::Detach);
}

#[test]
fn a_torrent_may_be_without_peer_exchange() {
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    swarm.host.set_peer(TORRENT, PeerKey(2), outgoing("2.2.2.2:2"));
    let mut info = TorrentInfo::default();
    info.flags = TorrentFlags::DISABLE_PEX;
    swarm.host.set_torrent(TORRENT, info);
    swarm.tick(&mut peer, 1);
    assert_eq!(swarm.receive(&mut peer, b"d5:added6:\x02\x02\x02\x02\0\x02e"), Outcome::Handled);
    assert_eq!(swarm.host.actions(), []);
}

#[test]
fn a_replacement_goes_on_where_its_predecessor_was() {
    let mut swarm = Swarm::public();
    let mut peer = swarm.peer(1, outgoing("1.1.1.1:1"));
    swarm.host.set_peer(TORRENT, PeerKey(2), outgoing("2.2.2.2:2"));
    swarm.tick(&mut peer, 1);
    assert!(swarm.sent_to(1).is_some());
    let call = swarm.host.peer_call(TORRENT, PeerKey(1));
    let state = peer.save_state(&call).expect("it answers");
    let mut next = swarm.peer(1, outgoing("1.1.1.1:1"));
    assert_eq!(next.load_state(&swarm.host.peer_call(TORRENT, PeerKey(1)), &state), Outcome::Pass);
    swarm.host.set_peer(TORRENT, PeerKey(3), outgoing("3.3.3.3:3"));
    swarm.tick(&mut next, 1);
    assert_eq!(swarm.sent_to(1), None);
    swarm.host.advance(MINUTE);
    swarm.tick(&mut next, 1);
    let message = swarm.sent_to(1).expect("a message");
    let dict = decode(&message).expect("a dictionary");
    assert_eq!(dict.get("added").and_then(Value::as_bytes), Some(&b"\x03\x03\x03\x03\0\x03"[..]));
}
