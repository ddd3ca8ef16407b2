//! Two ends of a connection without a network: what one sends is given to the other.

use closed_network::ClosedNetwork;
use closed_network::proof::{Connection, Key, Part, Side};
use reef_plugin_api::bencode::{Dict, decode};
use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{Outcome, PeerInfo, PeerKey, PeerObj, SessionObj, TorrentId, TorrentInfo, TorrentObj};

const TORRENT: TorrentId = TorrentId(1);
const PEER: PeerKey = PeerKey(1);
const KEY: &str = "key = \"correct horse battery\"";
const HASH: [u8; 20] = [7; 20];
const RESERVED: [u8; 8] = [0, 0, 0, 0, 0, 0x10, 0, 0];

/// One end, with the objects that a session would have.
struct End {
    host: FakeHost,
    peer: PeerObj,
    _torrent: TorrentObj,
    _session: SessionObj,
}

impl End {
    /// An end whose peer has this id; `salt` makes its random bytes its own.
    fn new(settings: &str, outgoing: bool, peer_id: [u8; 20], salt: u32) -> Self {
        let host = FakeHost::new();
        let mut torrent = TorrentInfo::default();
        torrent.info_hash_v1 = Some(HASH);
        host.set_torrent(TORRENT, torrent);
        let mut info = PeerInfo::new(([1, 2, 3, 4], 5).into());
        (info.outgoing, info.peer_id) = (outgoing, Some(peer_id));
        host.set_peer(TORRENT, PEER, info);
        let mut session = host.start::<ClosedNetwork>(settings).expect("good settings");
        let mut torrent = session.new_torrent(&host.session_call(), TORRENT).expect("it answers").expect("an object");
        for _ in 0..salt {
            drop(torrent.new_connection(&host.torrent_call(TORRENT), PEER));
        }
        let peer = torrent.new_connection(&host.torrent_call(TORRENT), PEER).expect("it answers").expect("an object");
        Self { host, peer, _torrent: torrent, _session: session }
    }

    fn shakes_hands(&mut self) -> Outcome {
        let call = self.host.peer_call(TORRENT, PEER);
        self.peer.on_handshake(&call, &RESERVED)
    }

    /// What passes the gate of all that was asked to be sent, and of what the session says itself.
    fn says(&mut self, session: &[(u8, &[u8])]) -> Vec<(u8, Vec<u8>)> {
        let mut messages: Vec<(u8, Vec<u8>)> = Vec::new();
        for action in self.host.actions() {
            match action {
                Action::SendMessage { id, payload, .. } => messages.push((id, payload)),
                other => panic!("{other:?}"),
            }
        }
        messages.extend(session.iter().map(|(id, payload)| (*id, payload.to_vec())));
        let call = self.host.peer_call(TORRENT, PEER);
        messages.retain(|(id, payload)| self.peer.write_message(&call, *id, payload) == Outcome::Pass);
        messages
    }

    fn hears(&mut self, messages: &[(u8, Vec<u8>)]) -> Vec<Outcome> {
        let call = self.host.peer_call(TORRENT, PEER);
        let hear = |(id, payload): &(u8, Vec<u8>)| match (id, payload.as_slice()) {
            (20, [0, dict @ ..]) => self.peer.on_extension_handshake(&call, dict),
            (5, bits) => self.peer.on_bitfield(&call, bits),
            (14, _) => self.peer.on_have_all(&call),
            other => panic!("{other:?}"),
        };
        messages.iter().map(hear).collect()
    }
}

/// Two members of networks with these settings, after their handshakes.
fn ends(one: &str, other: &str) -> (End, End) {
    let (mut dialler, mut acceptor) = (End::new(one, true, [2; 20], 1), End::new(other, false, [1; 20], 2));
    assert_eq!((dialler.shakes_hands(), acceptor.shakes_hands()), (Outcome::Pass, Outcome::Pass));
    (dialler, acceptor)
}

#[track_caller]
fn check_refused(outcomes: &[Outcome], why: &str) {
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Error(text) if text.contains(why));
    assert!(outcomes.iter().any(refused), "{why}: {outcomes:?}");
}

#[test]
fn members_prove_themselves_and_then_say_what_was_held_back() {
    let (mut dialler, mut acceptor) = ends(KEY, KEY);
    // Both sessions say at once what they have; nobody hears it yet.
    let hello = dialler.says(&[(20, b"\0d1:v4:reefe"), (14, b"")]);
    let other_hello = acceptor.says(&[(20, b"\0d1:v4:reefe"), (5, &[0x80])]);
    assert_eq!((hello.len(), other_hello.len()), (1, 1));
    assert_eq!(acceptor.hears(&hello), [Outcome::Handled]);
    assert_eq!(dialler.hears(&other_hello), [Outcome::Handled]);
    let (proof, other_proof) = (dialler.says(&[]), acceptor.says(&[]));
    assert_eq!(acceptor.hears(&proof), [Outcome::Handled]);
    assert_eq!(dialler.hears(&other_proof), [Outcome::Handled]);
    let (said, other_said) = (dialler.says(&[(4, &[0, 0, 0, 1])]), acceptor.says(&[]));
    let handshake = (20, b"\0d1:v4:reefe".to_vec());
    assert_eq!(said, [handshake.clone(), (14, vec![]), (4, vec![0, 0, 0, 1])]);
    assert_eq!(other_said, [handshake, (5, vec![0x80])]);
    assert_eq!(acceptor.hears(&said[..2]), [Outcome::Pass, Outcome::Pass]);
}

#[test]
fn nothing_is_in_what_a_stranger_hears_but_random_bytes_and_its_own_id() {
    let (mut dialler, _) = ends(KEY, KEY);
    let hello = dialler.says(&[(20, b"\0d1:v4:reefe")]);
    let dict = decode(&hello[0].1[1..]).expect("a dictionary");
    let keys: Vec<&[u8]> = dict.as_dict().expect("a dictionary").iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, [&b"cn_nonce"[..], b"cn_you", b"m"]);
    assert_eq!(dict.get("cn_you").and_then(|id| id.as_bytes()), Some(&[2; 20][..]));
}

#[test]
fn another_key_is_none() {
    let (mut dialler, mut acceptor) = ends(KEY, "key = \"a wrong horse battery\"");
    let (hello, other) = (dialler.says(&[]), acceptor.says(&[]));
    acceptor.hears(&hello);
    dialler.hears(&other);
    let (proof, other) = (dialler.says(&[]), acceptor.says(&[(14, b"")]));
    check_refused(&acceptor.hears(&proof), "its proof is wrong");
    check_refused(&dialler.hears(&other), "its proof is wrong");
}

#[test]
fn a_proof_that_was_recorded_or_is_sent_back_is_none() {
    // What a member said on one connection, said again on the next.
    let (mut dialler, mut acceptor) = ends(KEY, KEY);
    let hello = dialler.says(&[]);
    dialler.hears(&acceptor.says(&[]));
    let proof = dialler.says(&[]);
    let mut next = End::new(KEY, false, [1; 20], 9);
    next.shakes_hands();
    next.says(&[]);
    assert_eq!(next.hears(&hello), [Outcome::Handled]);
    next.says(&[]);
    check_refused(&next.hears(&proof), "its proof is wrong");
    // What a member says, said back to it.
    let mut alone = End::new(KEY, true, [2; 20], 3);
    alone.shakes_hands();
    let own = alone.says(&[]);
    check_refused(&alone.hears(&own), "a greeting that was said before");
    // A greeting of one's own, then the member's own proof.
    let mut alone = End::new(KEY, true, [2; 20], 3);
    alone.shakes_hands();
    alone.says(&[]);
    let greeting = Dict::new().bytes("cn_nonce", [5; 32]).bytes("cn_you", [1; 20]).encode();
    assert_eq!(alone.hears(&[(20, [&b"\0"[..], &greeting].concat())]), [Outcome::Handled]);
    let own = alone.says(&[]);
    check_refused(&alone.hears(&own), "its proof is wrong");
}

#[test]
fn the_proof_is_the_one_that_is_written_down() {
    let mut end = End::new(KEY, false, [1; 20], 4);
    end.shakes_hands();
    let hello = end.says(&[]);
    let dict = decode(&hello[0].1[1..]).expect("a dictionary");
    let nonce = dict.get("cn_nonce").and_then(|nonce| nonce.as_bytes()?.try_into().ok()).expect("random bytes");
    let greeting = Dict::new().bytes("cn_nonce", [5; 32]).bytes("cn_you", [2; 20]).encode();
    end.hears(&[(20, [&b"\0"[..], &greeting].concat())]);
    let connection = Connection {
        info_hash: HASH,
        dialler: Part { peer_id: [1; 20], nonce: [5; 32] },
        acceptor: Part { peer_id: [2; 20], nonce },
    };
    let key = Key::new("correct horse battery").expect("long enough");
    let expected =
        Dict::new().bytes("cn_proof", key.proof(&connection, Side::Acceptor)).raw("m", b"de".to_vec()).encode();
    assert_eq!(end.says(&[]), [(20, [&b"\0"[..], &expected].concat())]);
}

#[test]
fn whoever_says_something_else_first_or_nothing_at_all_is_a_stranger() {
    let heard = |messages: &[(u8, Vec<u8>)]| {
        let mut end = End::new(KEY, false, [1; 20], 0);
        end.shakes_hands();
        end.hears(messages)
    };
    check_refused(&heard(&[(14, vec![])]), "a stranger");
    check_refused(&heard(&[(5, vec![0x80])]), "a stranger");
    check_refused(&heard(&[(20, b"\0d1:md11:ut_metadatai2eee".to_vec())]), "a stranger");
    check_refused(&heard(&[(20, b"\0d8:cn_proof32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaae".to_vec())]), "its proof is wrong");
    check_refused(&heard(&[(20, b"\0d8:cn_nonce3:abc6:cn_you3:abce".to_vec())]), "of another length");
    check_refused(&heard(&[(20, b"\0nonsense".to_vec())]), "");
    let mut plain = End::new(KEY, false, [1; 20], 0);
    let call = plain.host.peer_call(TORRENT, PEER);
    check_refused(&[plain.peer.on_handshake(&call, &[0; 8])], "no extension messages");
    let mut silent = End::new(KEY, false, [1; 20], 0);
    silent.host.advance(60_000_000);
    let call = silent.host.peer_call(TORRENT, PEER);
    assert_eq!(silent.peer.tick(&call), Outcome::Pass, "it is still being connected to");
    silent.shakes_hands();
    let call = silent.host.peer_call(TORRENT, PEER);
    silent.host.advance(10_000_000);
    assert_eq!(silent.peer.tick(&call), Outcome::Pass);
    silent.host.advance(1);
    check_refused(&[silent.peer.tick(&call)], "in time");
}

#[test]
fn members_have_the_same_numbers_and_none_unless_asked_for() {
    let ids = |settings: &str| {
        let mut end = End::new(settings, true, [2; 20], 0);
        let call = end.host.peer_call(TORRENT, PEER);
        end.peer.message_ids(&call).expect("it answers")
    };
    assert_eq!(ids(KEY), [0; 0]);
    let own = ids(&format!("{KEY}\nmessage_ids = true"));
    assert_eq!(own, Key::new("correct horse battery").expect("long enough").message_ids(&HASH));
}

#[test]
fn a_new_version_of_the_plugin_knows_who_has_proven_itself() {
    let mut old = End::new(KEY, true, [2; 20], 0);
    let call = old.host.peer_call(TORRENT, PEER);
    assert_eq!(old.peer.save_state(&call), Ok(Vec::new()));
    let mut new = End::new(KEY, true, [2; 20], 0);
    let call = new.host.peer_call(TORRENT, PEER);
    assert_eq!(new.peer.load_state(&call, b"proven"), Outcome::Pass);
    assert_eq!(new.shakes_hands(), Outcome::Pass);
    assert_eq!(new.says(&[(14, b"")]), [(14, vec![])]);
    let call = new.host.peer_call(TORRENT, PEER);
    assert_eq!((new.peer.on_have_all(&call), new.peer.save_state(&call)), (Outcome::Pass, Ok(b"proven".to_vec())));
}

#[test]
fn settings_that_make_no_sense_are_said() {
    let refused = |settings: &str| FakeHost::new().start::<ClosedNetwork>(settings).err().expect("refused");
    assert!(refused("").contains("key"));
    assert!(refused("key = \"short\"").contains("at least 16 characters"));
    assert!(refused(&format!("{KEY}\nkeys = 1")).contains("unknown field"));
}
