//! A line typed at the port goes to the peer, and what the peer says is shown there; without reef and without a swarm.

use chat::{Chat, SAID};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{Outcome, PeerInfo, PeerKey, PeerObj, SessionObj, TorrentId, TorrentObj};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(1);
const MESSAGE: &str = "x_chat";

struct Side {
    host: FakeHost,
    peer: PeerObj,
    _torrent: TorrentObj,
    session: SessionObj,
}

impl Side {
    fn new(settings: &str) -> Self {
        let host = FakeHost::new();
        host.set_peer(TORRENT, PEER, PeerInfo::new(([1, 2, 3, 4], 5).into()));
        host.set_supports(TORRENT, PEER, MESSAGE);
        let mut session = host.start::<Chat>(settings).expect("good settings");
        let mut torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers").expect("an object");
        let mut peer =
            torrent.new_connection(&host.torrent_call(TORRENT), PEER).expect("it answers").expect("an object");
        peer.on_extension_handshake(&host.peer_call(TORRENT, PEER), b"de");
        Self { host, peer, _torrent: torrent, session }
    }

    fn hear(&mut self, line: &[u8]) -> Outcome {
        self.peer.on_extended(&self.host.peer_call(TORRENT, PEER), MESSAGE, line)
    }

    fn said(&self) -> Vec<String> {
        let text = |action| match action {
            Action::Alert { kind: SAID, message, .. } => message,
            other => panic!("{other:?}"),
        };
        self.host.actions().into_iter().map(text).collect()
    }
}

#[test]
fn people_and_peers_hear_each_other() {
    let mut side = Side::new("listen = \"127.0.0.1:0\"");
    let lines = side.host.log_lines();
    let address = lines.iter().find_map(|line| line.split("chat at ").nth(1)).expect("it says where");
    let mut person = TcpStream::connect(address).expect("the door is open");
    let mut shown = BufReader::new(person.try_clone().expect("a second handle"));

    writeln!(person, "hello there").expect("sent");
    let sent = loop {
        match side.host.actions().pop() {
            Some(action) => break action,
            None => std::thread::yield_now(),
        }
    };
    let line = b"hello there".to_vec();
    assert_eq!(sent, Action::SendExtended { torrent: TORRENT, peer: PEER, name: MESSAGE.to_owned(), payload: line });

    // The person is in the room, as a line came through.
    assert_eq!(side.hear("good \u{1b}[2J day".as_bytes()), Outcome::Handled);
    let mut line = String::new();
    shown.read_line(&mut line).expect("a line");
    assert_eq!(line, "1.2.3.4:5: good  [2J day\n");

    side.session.abort(&side.host.session_call());
    line.clear();
    assert_eq!(shown.read_line(&mut line).ok(), Some(0), "the door is closed");
}

#[test]
fn who_talks_too_much_is_not_heard() {
    let mut side = Side::new("");
    for _ in 0..20 {
        assert_eq!(side.hear(b"me"), Outcome::Handled);
    }
    assert_eq!(side.said().len(), 5);
    side.peer.tick(&side.host.peer_call(TORRENT, PEER));
    side.hear(b"again");
    assert_eq!(side.said(), ["1.2.3.4:5: again"]);
    assert_eq!(side.hear(&[b'x'; 1001]), Outcome::Error("a line of 1001 bytes".to_owned()));
}

#[test]
fn the_port_is_for_this_machine_alone() {
    for (settings, words) in
        [("listen = \"0.0.0.0:7000\"", "127.0.0.1"), ("listen = \"x\"", "127.0.0.1:7000"), ("lissen = 1", "lissen")]
    {
        let error = FakeHost::new().start::<Chat>(settings).err().expect("refused");
        assert!(error.contains(words), "{settings}: {error}");
    }
}
