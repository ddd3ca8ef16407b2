//! Every hook runs when it should, and its verdict counts. A session with the plugin that records all hooks meets a scripted peer;
//! each row of the tables says what the peer does and what of it is the standard behaviour.

use bytes::Bytes;
use reef_engine::status::PeerStatus;
use reef_engine::{Alert, Command, Reply, Settings, TorrentId};
use reef_plugin_host::{Isolation, PluginHost, PluginHostConfig};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message};
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::{Heard, NodeId, Wire, World};
use reef_tests::plugins::plugin_library;
use reef_tests::program::reef;
use std::time::Duration;

const ID: TorrentId = TorrentId(1);
const BLOCK: u32 = 16 << 10;
/// Longer than a message and its answer are under way, in milliseconds.
const ROUND: u64 = 150;

/// Where the recorder runs: `hooks_isolated` has this file as a module, and the recorder in a process of its own.
fn host_config() -> PluginHostConfig {
    if !module_path!().contains("isolated") {
        return PluginHostConfig::default();
    }
    let isolation = Isolation { deadline: Duration::from_secs(60), block_hooks: true, ..Isolation::default() };
    PluginHostConfig {
        isolation: [("recorder".to_owned(), isolation)].into(),
        plugin_program: Some(reef()),
        ..PluginHostConfig::default()
    }
}

/// A session with the recorder, its torrent of 16 pieces of 64 KiB, and a peer.
struct Stage {
    world: World,
    node: NodeId,
    torrent: Torrent,
    wire: Option<Wire>,
}

/// What the session has and the peer can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cast {
    /// The session has everything.
    Seed,
    /// The session has nothing.
    Leech,
    /// The session has nothing, and the peer knows BEP 3 alone.
    LeechAndPlain,
}

impl Stage {
    fn new(cast: Cast, orders: &str) -> Self {
        let mut stage = Self::alone(cast, orders);
        let features = if cast == Cast::LeechAndPlain { &[][..] } else { &[Feature::Fast, Feature::Extended] };
        stage.wire = Some(stage.dial(features, stage.torrent.meta.info_hashes.wire()));
        stage
    }

    fn alone(cast: Cast, orders: &str) -> Self {
        let (library, orders) = (plugin_library("recorder-plugin"), orders.to_owned());
        let make = move || -> Box<dyn reef_engine::Hooks> {
            let mut host = PluginHost::new(host_config());
            host.load_file(&library, &orders).expect("the recorder can be loaded");
            Box::new(host)
        };
        let mut world = World::new(7);
        let node = world.add_node_with(Settings::default(), Some(Box::new(make)));
        let torrent = Torrent::random(7, "a", 1 << 20, 64 << 10);
        match cast {
            Cast::Seed => world.seed(node, &torrent),
            _ => world.leech(node, &torrent, &[]),
        }
        world.run_for(ROUND);
        Self { world, node, torrent, wire: None }
    }

    /// Another script that has shaken hands.
    fn dial(&mut self, features: &[Feature], info_hash: [u8; 20]) -> Wire {
        let script = self.world.add_script();
        let wire = self.world.script_dial(script, self.node);
        let reserved = features.iter().fold(Reserved([0; 8]), |reserved, feature| reserved.with(*feature));
        let mut peer_id = PeerId(*b"-ZZ0001-000000000000");
        peer_id.0[12..].copy_from_slice(&self.world.steps().to_be_bytes());
        self.world.shake_hands(wire, &Handshake { reserved, info_hash, peer_id });
        self.world.run_for(ROUND);
        wire
    }

    fn wire(&self) -> Wire {
        self.wire.expect("there is a peer")
    }

    /// Says something and returns what was heard since the last time.
    fn say(&mut self, messages: &[Message]) -> Vec<Heard> {
        let wire = self.wire();
        self.world.say(wire, messages);
        self.world.run_for(ROUND);
        self.world.hear(wire)
    }

    /// Whether something was heard after this.
    fn hears(&mut self, said: &[Message], is_it: impl Fn(&Message) -> bool) -> bool {
        self.say(said).iter().any(|heard| matches!(heard, Heard::Message(m) if is_it(m)))
    }

    fn closes(&mut self, said: &[Message]) -> bool {
        self.say(said).contains(&Heard::Closed)
    }

    fn peer(&mut self) -> PeerStatus {
        match self.world.command(self.node, Command::Peers(ID)) {
            Some(Reply::Peers(list)) if list.len() == 1 => list.into_iter().next().expect("it has one"),
            other => panic!("not one peer but {other:?}"),
        }
    }

    fn block(&self, piece: u32, block: u32) -> Message {
        let from = self.torrent.meta.info.layout.piece_offset(piece) as usize + (block * BLOCK) as usize;
        Message::Piece { piece, begin: block * BLOCK, data: self.torrent.data.slice(from..from + BLOCK as usize) }
    }

    /// Whether a hook was called with these arguments.
    fn recorded(&self, hook: &str, arguments: &str) -> bool {
        let is_it = |alert: &Alert| matches!(alert, Alert::Custom(call) if call.what == hook && (arguments.is_empty() || call.message == arguments));
        self.world.alerts(self.node).iter().any(is_it)
    }

    #[track_caller]
    fn check_recorded(&self, hook: &str, arguments: &str) {
        let calls = self.world.alerts(self.node).iter().filter_map(|alert| match alert {
            Alert::Custom(call) => Some(format!("{}{}", call.what, call.message)),
            _ => None,
        });
        assert!(self.recorded(hook, arguments), "{hook} {arguments} was not called: {:?}", calls.collect::<Vec<_>>());
    }
}

/// A hook with a say: the standard behaviour happens, and does not where the plugin answers `Handled`.
#[track_caller]
fn check(hook: &str, arguments: &str, cast: Cast, play: impl Fn(&mut Stage) -> bool) {
    for (answer, standard) in [("pass", true), ("handled", false)] {
        let mut stage = Stage::new(cast, &format!("at = \"{hook}\"\ndo = \"{answer}\""));
        assert_eq!(play(&mut stage), standard, "{hook}: {answer}");
        stage.check_recorded(hook, arguments);
    }
}

fn request(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece, begin: block * BLOCK, length: BLOCK }
}

fn extended(id: u8, payload: &'static [u8]) -> Message {
    Message::Extended { id, payload: Bytes::from_static(payload) }
}

const REQUEST_0: &str = "(PeerRequest { piece: 0, start: 0, length: 16384 },)";

#[test]
fn what_a_peer_says_about_its_pieces_can_be_taken_over() {
    let interested = |m: &Message| *m == Message::Interested;
    check("on_have", "(3,)", Cast::Leech, |s| s.hears(&[Message::Have(3)], interested));
    check("on_have_all", "()", Cast::Leech, |s| s.hears(&[Message::HaveAll], interested));
    let bits = Message::Bitfield(Bytes::from_static(&[0x80, 1]));
    check("on_bitfield", "([128, 1],)", Cast::Leech, |s| s.hears(std::slice::from_ref(&bits), interested));
    check("on_have_none", "()", Cast::Leech, |s| s.closes(&[Message::HaveNone, Message::HaveNone]));
    check("on_dont_have", "(3,)", Cast::Leech, |s| {
        s.say(&[Message::HaveAll, extended(7, &[0, 0, 0, 3])]);
        s.peer().have_pieces == 15
    });
    let mut beyond = Stage::new(Cast::Leech, "");
    beyond.say(&[Message::HaveAll, extended(7, &[0, 0, 0, 16])]);
    assert!(!beyond.recorded("on_dont_have", ""), "the piece does not exist");
}

#[test]
fn what_a_peer_says_about_requests_can_be_taken_over() {
    let go = [Message::HaveAll, Message::Unchoke];
    let is_request = |m: &Message| matches!(m, Message::Request(_));
    check("on_unchoke", "()", Cast::Leech, |s| s.hears(&go, is_request));
    check("on_choke", "()", Cast::Leech, |s| {
        s.say(&[Message::HaveAll, Message::Unchoke, Message::Choke]);
        s.peer().remote_choking
    });
    check("on_allowed_fast", "(3,)", Cast::Leech, |s| {
        s.hears(&[Message::HaveAll, Message::AllowedFast(3)], |m| matches!(m, Message::Request(r) if r.piece == 3))
    });
    check("on_suggest", "(5,)", Cast::Leech, |s| {
        s.say(&[Message::HaveAll, Message::Suggest(5)]);
        let heard = s.say(&[Message::Unchoke]);
        matches!(heard.iter().find(|h| matches!(h, Heard::Message(m) if is_request(m))),
            Some(Heard::Message(Message::Request(r))) if r.piece == 5)
    });
    check("on_reject", REQUEST_0, Cast::LeechAndPlain, |s| s.closes(&[Message::Reject(request(0, 0))]));
    check("on_piece", "", Cast::Leech, |s| {
        let heard = s.say(&go);
        let asked =
            heard.iter().find_map(|h| if let Heard::Message(Message::Request(r)) = h { Some(*r) } else { None });
        let asked = asked.expect("it asks");
        let block = s.block(asked.piece, asked.begin / BLOCK);
        let before = s.peer().outstanding;
        s.say(&[block]);
        let peer = s.peer();
        assert!(peer.downloaded > 0 || peer.outstanding == before, "a block that was taken stays on the list");
        peer.downloaded > 0
    });
}

#[test]
fn what_a_peer_wants_can_be_taken_over() {
    let is_unchoke = |m: &Message| *m == Message::Unchoke;
    check("on_interested", "()", Cast::Seed, |s| s.hears(&[Message::Interested], is_unchoke));
    check("on_not_interested", "()", Cast::Seed, |s| {
        s.say(&[Message::Interested, Message::NotInterested]);
        !s.peer().remote_interested
    });
    check("on_request", REQUEST_0, Cast::Seed, |s| {
        s.say(&[Message::Interested]);
        s.hears(&[Message::Request(request(0, 0))], |m| matches!(m, Message::Piece { .. }))
    });
    check("on_unknown_message", "(100, [1])", Cast::Seed, |s| {
        s.closes(&[Message::Unknown { id: 100, payload: Bytes::from_static(&[1]) }])
    });
    let wants_nothing = extended(0, b"d1:md11:upload_onlyi3ee11:upload_onlyi1ee");
    for hook in ["on_extension_handshake", "can_disconnect"] {
        check(hook, "", Cast::Seed, |s| s.closes(std::slice::from_ref(&wants_nothing)));
    }
}

#[test]
fn a_cancelled_block_is_not_sent_unless_a_plugin_takes_the_cancel() {
    // More than is queued for the line at once, so that the last can still be cancelled.
    let all: Vec<BlockRequest> = (0..60).map(|n| request(n / 4, n % 4)).collect();
    check("on_cancel", "(PeerRequest { piece: 14, start: 49152, length: 16384 },)", Cast::Seed, |s| {
        s.world.set_line(s.node, 20_000, 20_000, 20);
        s.say(&[Message::Interested]);
        let mut said: Vec<Message> = all.iter().map(|r| Message::Request(*r)).collect();
        said.push(Message::Cancel(request(14, 3)));
        s.hears(&said, |m| *m == Message::Reject(request(14, 3)))
    });
}

#[test]
fn what_is_sent_can_be_held_back_and_is_told() {
    let interested = [Message::Interested];
    check("write_message", "(1, [])", Cast::Seed, |s| s.hears(&interested, |m| *m == Message::Unchoke));
    check("write_request", "", Cast::Leech, |s| {
        s.hears(&[Message::HaveAll, Message::Unchoke], |m| matches!(m, Message::Request(_)))
    });
    let mut seed = Stage::new(Cast::Seed, "");
    seed.say(&interested);
    seed.say(&[Message::Request(request(0, 0)), Message::Request(request(99, 0))]);
    seed.say(&[Message::NotInterested]);
    seed.world.run_for(31_000);
    for (hook, arguments) in [
        ("sent_have_all", "()"),
        ("sent_unchoke", "()"),
        ("write_message", "(7, [0, 0, 0, 0, 0, 0, 0, 0])"),
        ("sent_piece", REQUEST_0),
        ("sent_payload", "(16384,)"),
        ("sent_reject", "(PeerRequest { piece: 99, start: 0, length: 16384 },)"),
        ("sent_choke", "()"),
    ] {
        seed.check_recorded(hook, arguments);
    }
    let mut leech = Stage::new(Cast::Leech, "");
    leech.say(&[Message::HaveAll, Message::Unchoke]);
    leech.world.run_for(70_000);
    for hook in ["sent_have_none", "sent_interested", "sent_request", "sent_cancel"] {
        leech.check_recorded(hook, "");
    }
}

#[test]
fn pieces_that_come_are_told_and_what_is_sent_of_them() {
    let mut s = Stage::new(Cast::Leech, "");
    s.say(&[Message::Bitfield(Bytes::from_static(&[0x80, 0]))]);
    let wire = s.wire();
    let other = s.dial(&[Feature::Fast], s.torrent.meta.info_hashes.wire());
    s.wire = Some(wire);
    s.say(&[Message::Unchoke]);
    let blocks: Vec<Message> = (0..4).map(|block| s.block(0, block)).collect();
    s.say(&blocks);
    s.world.run_for(2_000);
    let _ = other;
    for hook in ["on_piece_pass", "sent_have", "sent_not_interested"] {
        s.check_recorded(hook, "");
    }
    let mut bad = Stage::new(Cast::Leech, "");
    bad.say(&[Message::Bitfield(Bytes::from_static(&[0x80, 0])), Message::Unchoke]);
    let wrong = |begin| Message::Piece { piece: 0, begin, data: Bytes::from(vec![9; BLOCK as usize]) };
    bad.say(&[wrong(0), wrong(BLOCK), wrong(2 * BLOCK), wrong(3 * BLOCK)]);
    bad.world.run_for(2_000);
    bad.check_recorded("on_piece_failed", "(0,)");
}

#[test]
fn a_peers_life_is_told_from_its_handshake_to_its_end() {
    let greeted = |m: &Message| matches!(m, Message::HaveAll);
    check("on_handshake", "", Cast::Seed, |s| s.hears(&[], greeted));
    let mut s = Stage::new(Cast::Seed, "");
    s.say(&[extended(0, b"d1:md10:x_recorderi9eee"), extended(1, b"hello")]);
    s.world.run_for(1_500);
    let wire = s.wire();
    s.world.hang_up(wire);
    s.world.run_for(ROUND);
    for hook in ["new_connection", "add_handshake", "message_ids", "on_extended", "tick", "on_disconnect"] {
        s.check_recorded(hook, "");
    }
    s.check_recorded("on_extended", "(\"x_recorder\", [104, 101, 108, 108, 111])");
    let mut dialler = Stage::alone(Cast::Leech, "");
    let script = dialler.world.add_script();
    dialler.world.command(dialler.node, Command::AddPeer { torrent: ID, address: script.address() });
    dialler.world.run_for(ROUND);
    dialler.check_recorded("on_add_peer", "");
    dialler.check_recorded("on_connected", "()");
}

#[test]
fn a_connection_may_have_message_numbers_of_its_own() {
    let mut s = Stage::new(Cast::Leech, "ids = \"2 200\"");
    let unknown = |id| Message::Unknown { id, payload: Bytes::new() };
    assert!(s.hears(&[Message::HaveAll], |m| *m == unknown(200)), "interested has another number");
    s.say(&[unknown(200)]);
    s.check_recorded("on_interested", "()");
    let mut wrong = Stage::new(Cast::Seed, "ids = \"4 4000\"");
    assert!(wrong.closes(&[]), "an error of a hook that says who may come in");
    // The numbers of blocks are the shell's to write.
    let mut seed = Stage::new(Cast::Seed, "ids = \"7 201\"");
    seed.say(&[Message::Interested]);
    assert!(seed.hears(&[Message::Request(request(0, 0))], |m| {
        matches!(m, Message::Unknown { id: 201, payload } if payload.len() == 8 + BLOCK as usize)
    }));
}

#[test]
fn what_a_torrent_does_is_told_and_pause_and_resume_can_be_taken_over() {
    let paused = |s: &mut Stage| s.world.torrents(s.node)[0].paused;
    let pause = |s: &mut Stage| s.world.command(s.node, Command::Pause(ID));
    check("on_pause", "()", Cast::Seed, |s| {
        pause(s);
        paused(s)
    });
    check("on_resume", "()", Cast::Seed, |s| {
        pause(s);
        s.world.command(s.node, Command::Resume(ID));
        !paused(s)
    });
    let mut s = Stage::alone(Cast::Leech, "");
    s.world.run_for(1_500);
    for hook in ["new_torrent", "on_files_checked", "on_state", "on_tick", "on_alert"] {
        s.check_recorded(hook, "");
    }
    let seed = Stage::alone(Cast::Seed, "");
    seed.check_recorded("on_piece_pass", "(15,)");
}

#[test]
fn a_torrent_that_nobody_knows_can_be_added_for_the_peer_that_asks() {
    let unknown = [0xab; 20];
    let is_closed = |s: &mut Stage, wire| s.world.hear(wire).contains(&Heard::Closed);
    for (orders, closed) in [(String::new(), true), (format!("hash = \"{}\"", "ab".repeat(20)), false)] {
        let mut s = Stage::alone(Cast::Seed, &orders);
        let wire = s.dial(&[Feature::Fast], unknown);
        assert_eq!(is_closed(&mut s, wire), closed, "{orders}");
        assert_eq!(s.world.torrents(s.node).len(), 1 + usize::from(!closed));
        s.check_recorded("on_unknown_torrent", "");
        assert!(s.recorded("on_handshake", "") != closed, "the connection is one of the new torrent's");
    }
}

#[test]
fn a_session_asks_for_priorities_and_says_when_it_ends() {
    let mut s = Stage::new(Cast::Seed, "priority = 3");
    s.say(&[Message::Interested]);
    s.world.run_for(31_000);
    s.check_recorded("get_unchoke_priority", "TorrentId(1)");
    let node = s.node;
    assert!(s.world.stop(node, 30));
    s.check_recorded("abort", "()");
}
