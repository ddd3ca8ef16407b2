//! Two sessions with the plugin, and a host that carries what one says to the other by hand.

use hello::{GREETED, Hello};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{HandshakeEntries, Outcome, PeerInfo, PeerKey, PeerObj, SessionObj, TorrentId, TorrentObj};

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(1);
const MESSAGE: &str = "x_hello";

/// A session with one torrent and one connection.
struct Side {
    host: FakeHost,
    peer: PeerObj,
    _torrent: TorrentObj,
    _session: SessionObj,
}

impl Side {
    fn new(settings: &str) -> Self {
        let host = FakeHost::new();
        host.set_peer(TORRENT, PEER, PeerInfo::new(([1, 2, 3, 4], 5).into()));
        let mut session = host.start::<Hello>(settings).expect("good settings");
        let mut torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers").expect("an object");
        let peer = torrent.new_connection(&host.torrent_call(TORRENT), PEER).expect("it answers").expect("an object");
        Self { host, peer, _torrent: torrent, _session: session }
    }

    fn receive(&mut self, payload: &[u8]) -> Outcome {
        self.peer.on_extended(&self.host.peer_call(TORRENT, PEER), MESSAGE, payload)
    }
}

#[test]
fn peers_greet_each_other_once() {
    let mut ours = Side::new("greeting = \"good morning\"");
    let mut theirs = Side::new("");

    let mut entries = HandshakeEntries::new();
    theirs.peer.add_handshake(&theirs.host.peer_call(TORRENT, PEER), &mut entries);
    assert_eq!(entries.extensions().collect::<Vec<_>>(), [MESSAGE]);

    ours.host.set_supports(TORRENT, PEER, MESSAGE);
    for _ in 0..2 {
        ours.peer.on_extension_handshake(&ours.host.peer_call(TORRENT, PEER), b"de");
    }
    let said = b"good morning".to_vec();
    let sent = Action::SendExtended { torrent: TORRENT, peer: PEER, name: MESSAGE.to_owned(), payload: said.clone() };
    assert_eq!(ours.host.actions(), [sent]);

    assert_eq!(theirs.receive(&said), Outcome::Handled);
    let alert = &theirs.host.actions()[..];
    let [Action::Alert { kind: GREETED, torrent: Some(TORRENT), message, .. }] = alert else { panic!("{alert:?}") };
    assert_eq!(message, "1.2.3.4:5 says: good morning");
}

#[test]
fn who_does_not_know_the_message_is_not_greeted() {
    let mut side = Side::new("");
    side.peer.on_extension_handshake(&side.host.peer_call(TORRENT, PEER), b"de");
    assert_eq!(side.host.actions(), []);
}

#[test]
fn a_greeting_without_end_closes_the_connection() {
    let mut side = Side::new("");
    assert_eq!(side.receive(&[b'x'; 200]), Outcome::Handled);
    assert_eq!(side.receive(&[b'x'; 201]), Outcome::Error("a greeting of 201 bytes".to_owned()));
    assert_eq!(side.receive(b"\xff\x00"), Outcome::Handled, "not a text, but harmless");
}

#[test]
fn settings_that_mean_nothing_are_refused_by_name() {
    for (settings, named) in [("greeting = 1", "greeting"), ("greting = \"hi\"", "greting"), ("greeting", "expected")] {
        let error = FakeHost::new().start::<Hello>(settings).err().expect("refused");
        assert!(error.contains(named), "{settings}: {error}");
    }
}
