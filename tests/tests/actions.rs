//! Every action and question of the interface does what it says in a session: a plugin does what a scripted peer tells it, in a
//! hook and in a thread of its own, in virtual time.

use bytes::Bytes;
use reef_engine::status::{PeerStatus, TorrentStatus};
use reef_engine::{Alert, Command, Reply, Settings, TorrentId};
use reef_plugin_host::{PluginHost, PluginHostConfig};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message};
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::{Heard, NodeId, Wire, World};
use reef_tests::plugins::plugin_library;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const ID: TorrentId = TorrentId(1);
const BLOCK: u32 = 16 << 10;
/// Longer than a message and its answer are under way, in milliseconds.
const ROUND: u64 = 150;
/// How long a thread of a plugin may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the session has the files.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    Seed,
    Leech,
}

/// A session with the puppet, its torrent, and a peer that gives the orders.
struct Stage {
    world: World,
    node: NodeId,
    torrent: Torrent,
    wire: Wire,
}

impl Stage {
    fn new(cast: Cast) -> Self {
        Self::with(cast, "", None)
    }

    fn with(cast: Cast, settings: &str, data_dir: Option<PathBuf>) -> Self {
        let torrent = Torrent::random(7, "a", 1 << 20, 64 << 10);
        Self::of(cast, torrent, settings, data_dir)
    }

    fn of(cast: Cast, torrent: Torrent, settings: &str, data_dir: Option<PathBuf>) -> Self {
        let (library, settings) = (plugin_library("puppet-plugin"), settings.to_owned());
        let make = move || -> Box<dyn reef_engine::Hooks> {
            let config = PluginHostConfig { data_dir: data_dir.clone(), ..PluginHostConfig::default() };
            let mut host = PluginHost::new(config);
            host.load_file(&library, &settings).expect("the puppet can be loaded");
            Box::new(host)
        };
        let mut world = World::new(7);
        let node = world.add_node_with(Settings::default(), Some(Box::new(make)));
        match cast {
            Cast::Seed => world.seed(node, &torrent),
            Cast::Leech => world.leech(node, &torrent, &[]),
        }
        world.run_for(ROUND);
        let script = world.add_script();
        let wire = world.script_dial(script, node);
        let reserved = Reserved([0; 8]).with(Feature::Fast).with(Feature::Extended);
        let (info_hash, peer_id) = (torrent.meta.info_hashes.wire(), PeerId(*b"-ZZ0001-000000000000"));
        world.shake_hands(wire, &Handshake { reserved, info_hash, peer_id });
        world.run_for(ROUND);
        Self { world, node, torrent, wire }
    }

    /// Says something and returns what was heard since the last time.
    fn say(&mut self, messages: &[Message]) -> Vec<Message> {
        self.world.say(self.wire, messages);
        self.world.run_for(ROUND);
        self.hear()
    }

    fn hear(&mut self) -> Vec<Message> {
        let heard = self.world.hear(self.wire).into_iter();
        heard.filter_map(|heard| if let Heard::Message(message) = heard { Some(message) } else { None }).collect()
    }

    /// Has the puppet do something in its hook; returns what came of it.
    fn hook(&mut self, line: &str) -> String {
        self.order("hook", line, &[])
    }

    /// The same in its thread.
    fn thread(&mut self, line: &str) -> String {
        self.order("thread", line, &[])
    }

    fn order(&mut self, place: &str, line: &str, data: &[u8]) -> String {
        let payload = Bytes::from([format!("{place} {line}\n").as_bytes(), data].concat());
        let before = self.world.alerts(self.node).len();
        self.world.say(self.wire, &[Message::Extended { id: 1, payload }]);
        self.world.run_for(ROUND);
        let what = line.split_whitespace().next().unwrap_or_default().to_owned();
        self.wait(before, &what)
    }

    /// The text of the puppet's next alert of this name. A thread of it runs in real time: until it is done, no virtual time goes
    /// by but what reading a disk takes.
    fn wait(&mut self, before: usize, what: &str) -> String {
        let begin = Instant::now();
        for turn in 1.. {
            if let Some(text) = self.puppet_alerts(before, what).into_iter().next() {
                return text;
            }
            assert!(begin.elapsed() < PATIENCE, "no word of {what}");
            // The session asks its plugins.
            self.world.command(self.node, Command::PluginsChanged);
            if turn % 100 == 0 && what.contains("read") {
                self.world.run_for(1);
            }
            std::thread::yield_now();
        }
        unreachable!("there is always another turn")
    }

    fn puppet_alerts(&self, before: usize, what: &str) -> Vec<String> {
        let alerts = self.world.alerts(self.node)[before..].iter();
        let text = |alert: &Alert| match alert {
            Alert::Custom(custom) if custom.what == what => Some(custom.message.clone()),
            _ => None,
        };
        alerts.filter_map(text).collect()
    }

    fn status(&mut self) -> TorrentStatus {
        self.world.torrents(self.node).into_iter().find(|torrent| torrent.id == ID).expect("the torrent is there")
    }

    fn peer(&mut self) -> PeerStatus {
        match self.world.command(self.node, Command::Peers(ID)) {
            Some(Reply::Peers(list)) if list.len() == 1 => list.into_iter().next().expect("it has one"),
            other => panic!("not one peer but {other:?}"),
        }
    }

    fn data(&self, piece: u32, start: u32, length: u32) -> Bytes {
        let from = self.torrent.meta.info.layout.piece_offset(piece) as usize + start as usize;
        self.torrent.data.slice(from..from + length as usize)
    }

    fn block(&self, piece: u32, block: u32) -> Message {
        Message::Piece { piece, begin: block * BLOCK, data: self.data(piece, block * BLOCK, BLOCK) }
    }
}

/// As the puppet sums bytes up.
fn summary(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", bytes.len())
}

fn request(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece, begin: block * BLOCK, length: BLOCK }
}

/// The same thing from a hook and from a thread.
#[track_caller]
fn both(play: impl Fn(&mut dyn FnMut(&mut Stage, &str) -> String)) {
    play(&mut |stage, line| stage.hook(line));
    play(&mut |stage, line| stage.thread(line));
}

#[test]
fn a_message_is_sent_by_its_number() {
    both(|order| {
        let mut s = Stage::new(Cast::Leech);
        assert_eq!(order(&mut s, "message 4 00000003"), "done");
        assert_eq!(order(&mut s, "message 99 0102"), "done");
        s.world.run_for(ROUND);
        let heard = s.hear();
        assert!(heard.contains(&Message::Have(3)), "{heard:?}");
        assert!(heard.contains(&Message::Unknown { id: 99, payload: Bytes::from_static(&[1, 2]) }), "{heard:?}");
        assert_eq!(order(&mut s, "message 4 0003"), "BadArgument");
    });
    let mut s = Stage::new(Cast::Leech);
    assert_eq!(s.hook("message 5 ffffff"), "BadArgument", "the number of pieces is known");
}

#[test]
fn a_request_of_a_plugin_is_answered_and_can_be_cancelled() {
    let mut s = Stage::new(Cast::Leech);
    let asked = |heard: &[Message], wanted: Message| heard.contains(&wanted);
    s.hook("message 6 000000020000400000004000");
    assert!(asked(&s.hear(), Message::Request(request(2, 1))));
    assert_eq!(s.peer().outstanding, 1);
    let block = s.block(2, 1);
    s.say(&[block]);
    let peer = s.peer();
    assert_eq!((peer.outstanding, peer.downloaded), (0, u64::from(BLOCK)));
    assert_eq!(s.status().wasted_bytes, 0, "it is wanted, though the session did not ask for it");
    s.hook("message 6 000000020000000000004000");
    s.hook("message 8 000000020000000000004000");
    assert!(asked(&s.hear(), Message::Cancel(request(2, 0))));
    assert_eq!(s.peer().outstanding, 0);
    // Not a whole block.
    s.hook("message 6 000000020000000100004000");
    assert_eq!((s.peer().outstanding, s.hear()), (0, Vec::new()));
}

#[test]
fn interest_and_offers_go_into_the_sessions_books() {
    let mut s = Stage::new(Cast::Leech);
    s.hook("message 2");
    assert!(s.peer().interesting && s.hear().contains(&Message::Interested));
    s.hook("message 3");
    assert!(!s.peer().interesting && s.hear().contains(&Message::NotInterested));
    let mut seed = Stage::new(Cast::Seed);
    let answers = |s: &mut Stage| s.say(&[Message::Request(request(9, 0))]).contains(&s.block(9, 0));
    // Piece 9 is not of the standard set for this address.
    assert!(!answers(&mut seed));
    seed.hook("message 17 00000009");
    assert!(seed.hear().contains(&Message::AllowedFast(9)));
    assert!(answers(&mut seed), "offered by a plugin");
    seed.hook("message 16 000000030000000000004000");
    assert!(seed.hear().contains(&Message::Reject(request(3, 0))));
}

#[test]
fn a_plugin_keeps_a_peer_choked_or_unchoked_until_it_lets_go() {
    both(|order| {
        let mut s = Stage::new(Cast::Seed);
        assert!(s.say(&[Message::Interested]).contains(&Message::Unchoke));
        assert_eq!(order(&mut s, "choke"), "done");
        s.world.run_for(60_000);
        assert!(s.peer().choked, "whatever the rounds decide");
        order(&mut s, "as_usual");
        s.world.run_for(ROUND);
        assert!(!s.peer().choked);
        s.say(&[Message::NotInterested]);
        order(&mut s, "unchoke");
        s.world.run_for(60_000);
        assert!(!s.peer().choked, "though it wants nothing");
        order(&mut s, "as_usual");
        s.world.run_for(60_000);
        assert!(s.peer().choked);
        order(&mut s, "message 1");
        s.world.run_for(ROUND);
        assert!(!s.peer().choked, "the message says the same");
    });
}

#[test]
fn a_plugin_that_leaves_holds_nobody_any_more() {
    let mut world = World::new(3);
    let library = plugin_library("puppet-plugin");
    let make = move || -> Box<dyn reef_engine::Hooks> {
        let mut host = PluginHost::new(PluginHostConfig::default());
        host.load_file(&library, "hello = \"count puppet.hello 1\"").expect("the puppet can be loaded");
        // It is withdrawn when the session next lets plugins change.
        host.request_change(reef_plugin_host::Change::Withdraw("puppet".to_owned()));
        Box::new(host)
    };
    let node = world.add_node_with(Settings::default(), Some(Box::new(make)));
    let counted = |world: &mut World| match world.command(node, Command::SessionStatus) {
        Some(Reply::Session(status)) => status.stats.into_iter().find(|(name, _)| name == "puppet.hello"),
        other => panic!("{other:?}"),
    };
    assert_eq!(counted(&mut world), Some(("puppet.hello".into(), 1)));
    world.command(node, Command::PluginsChanged);
    assert_eq!(counted(&mut world), None);
}

#[test]
fn a_plugin_connects_to_an_address() {
    both(|order| {
        let mut s = Stage::new(Cast::Leech);
        let script = s.world.add_script();
        assert_eq!(order(&mut s, &format!("connect {}", script.address())), "done");
        s.world.run_for(ROUND);
        assert_eq!(s.world.script_accepted(script).len(), 1);
    });
}

#[test]
fn torrents_are_added_paused_resumed_and_removed() {
    both(|order| {
        let mut s = Stage::new(Cast::Seed);
        let hash = "ab".repeat(20);
        assert_eq!(order(&mut s, &format!("add {hash}")), "done");
        let added = s.world.torrents(s.node).into_iter().find(|torrent| torrent.id != ID).expect("there are two");
        assert_eq!((added.name.as_str(), added.paused), (hash.as_str(), true));
        order(&mut s, "resume");
        // It is closed by the pause, so the rest is another peer's to order.
        order(&mut s, "pause");
        s.world.run_for(ROUND);
        assert!(s.status().paused);
        s.world.command(s.node, Command::Resume(ID));
        assert!(!s.status().paused);
    });
    both(|order| {
        for (files, left) in [("keep", true), ("delete", false)] {
            let mut s = Stage::new(Cast::Seed);
            assert_eq!(order(&mut s, &format!("remove {files}")), "done");
            s.world.run_for(ROUND);
            assert!(s.world.torrents(s.node).is_empty());
            let torrent = s.torrent.clone();
            assert_eq!(s.world.disk(s.node).holds(&torrent), left, "{files}");
        }
    });
}

#[test]
fn a_torrent_from_metainfo_is_added_and_resumed_by_a_plugin() {
    let mut s = Stage::new(Cast::Leech);
    let other = Torrent::random(8, "b", 100_000, 32 << 10);
    let metainfo = other.meta.to_bytes();
    assert_eq!(s.order("hook", "add file", &metainfo), "done");
    let torrents = s.world.torrents(s.node);
    let added = torrents.iter().find(|torrent| torrent.name == "b").expect("it is there");
    assert!(added.has_metadata && added.paused);
    assert_eq!(s.order("hook", "add file", b"nonsense"), "BadArgument");
}

#[test]
fn a_recheck_and_an_announce_happen() {
    both(|order| {
        let mut s = Stage::new(Cast::Seed);
        let before = s.world.tally(s.node).checks;
        assert_eq!(order(&mut s, "recheck"), "done");
        s.world.run_for(2_000);
        assert_eq!(s.world.tally(s.node).checks, before + 16);
        assert!(s.status().complete);
    });
    both(|order| {
        let mut s = Stage::new(Cast::Seed);
        let mut params = reef_engine::AddTorrent { metainfo: Some(s.torrent.meta.clone()), ..Default::default() };
        params.trackers = vec![vec!["http://tracker.example/announce".to_owned()]];
        s.world.command(s.node, Command::AddTorrent(Box::new(params)));
        s.world.run_for(2_000);
        let failures = |s: &Stage| {
            s.world.alerts(s.node).iter().filter(|alert| matches!(alert, Alert::TrackerError { .. })).count()
        };
        let before = failures(&s);
        assert!(before > 0, "it has announced once");
        assert_eq!(order(&mut s, "announce"), "done");
        s.world.run_for(2_000);
        assert!(failures(&s) > before, "and once more");
        assert!(order(&mut s, "trackers").contains("http://tracker.example/announce"));
    });
}

#[test]
fn priorities_of_files_and_pieces_are_kept() {
    both(|order| {
        let files = Torrent::folder(5, "folder", &[("one", 128 << 10), ("two", 128 << 10)], 64 << 10);
        let mut s = Stage::of(Cast::Leech, files, "", None);
        assert_eq!(order(&mut s, "file_priorities 0=0 1=7"), "done");
        assert_eq!(s.status().wanted, 128 << 10);
        assert!(order(&mut s, "files").contains("priority: 7"));
        assert_eq!(order(&mut s, "piece_priorities 2=0 0=1"), "done");
        assert_eq!(s.status().wanted, 2 * (64 << 10));
        let heard = s.say(&[Message::HaveAll, Message::Unchoke]);
        let pieces: Vec<u32> =
            heard.iter().filter_map(|m| if let Message::Request(r) = m { Some(r.piece) } else { None }).collect();
        assert!(!pieces.is_empty() && pieces.iter().all(|piece| [0, 3].contains(piece)), "{pieces:?}");
        // What files are wanted counts for all their pieces.
        order(&mut s, "file_priorities 0=4 1=4");
        assert_eq!(s.status().wanted, 256 << 10);
    });
}

#[test]
fn priorities_of_pieces_are_there_after_a_restart() {
    let mut s = Stage::new(Cast::Leech);
    s.hook("piece_priorities 0=0 1=0 2=0");
    let node = s.node;
    assert!(s.world.stop(node, 30));
    s.world.restart(node, &[]);
    s.world.run_for(1_000);
    assert_eq!(s.status().wanted, 13 * (64 << 10));
}

#[test]
fn an_action_that_fails_is_told() {
    let mut s = Stage::new(Cast::Leech);
    s.hook("piece_priorities 99=1");
    let told = s.world.alerts(s.node).iter().filter_map(|alert| match alert {
        Alert::PluginActionFailed { plugin, action, error } => Some(format!("{plugin}: {action}: {error}")),
        _ => None,
    });
    let told: Vec<String> = told.collect();
    assert_eq!(told, ["puppet: set piece priorities: there is no piece 99: the torrent has 16, counted from 0"]);
}

#[test]
fn what_is_on_disk_is_read_for_a_hook_and_for_a_thread() {
    let mut s = Stage::new(Cast::Seed);
    let before = s.world.alerts(s.node).len();
    assert_eq!(s.hook("read 3 100 50 7"), "done");
    assert_eq!(s.wait(before, "on_read_done"), format!("7 3 {}", summary(&s.data(3, 100, 50))));
    let before = s.world.alerts(s.node).len();
    assert_eq!(s.thread("read 15 0 65536 8"), "done");
    assert_eq!(s.wait(before, "on_read_done"), format!("8 15 {}", summary(&s.data(15, 0, 65536))));
    assert_eq!(s.thread("read_and_wait 0 16384 16384"), summary(&s.data(0, BLOCK, BLOCK)));
    assert_eq!(s.hook("read_and_wait 0 0 1"), "InHook");
    for beyond in ["16 0 1", "0 65536 1", "0 1 65536", "0 0 0"] {
        assert_eq!(s.thread(&format!("read_and_wait {beyond}")), "NotFound", "{beyond}");
    }
    let mut leech = Stage::new(Cast::Leech);
    let before = leech.world.alerts(leech.node).len();
    leech.hook("read 3 0 10 9");
    assert_eq!(leech.wait(before, "on_read_done"), "9 3 the bytes are not of a piece that is verified");
}

#[test]
fn who_reads_while_the_files_are_closed_is_told() {
    let mut s = Stage::new(Cast::Seed);
    let before = s.world.alerts(s.node).len();
    let order = |line: &str| Message::Extended { id: 1, payload: Bytes::from(format!("hook {line}")) };
    // In one turn: the read is given to the disk, then the files are closed.
    s.world.say(s.wire, &[order("read 3 0 10 9"), order("recheck")]);
    s.world.run_for(2_000);
    let told = s.puppet_alerts(before, "on_read_done");
    assert_eq!(told, ["9 3 the torrent's files were closed before it was read"]);
}

#[test]
fn blocks_that_a_plugin_gives_make_a_piece() {
    for place in ["hook", "thread"] {
        let mut s = Stage::new(Cast::Leech);
        for block in 0..4 {
            let data = s.data(5, block * BLOCK, BLOCK);
            let line = format!("give 5 {} {BLOCK}", block * BLOCK);
            assert_eq!(s.order(place, &line, &data), "done");
        }
        s.world.run_for(1_000);
        assert_eq!((s.status().have_pieces, s.status().wasted_bytes), (1, 0));
        assert_eq!(s.hook("has_piece 5"), "true");
        assert_eq!(s.order(place, "give 5 0 7", &[0; 8]), "BadArgument");
    }
}

#[test]
fn bad_blocks_of_a_plugin_are_nobodys_fault() {
    let mut s = Stage::new(Cast::Leech);
    for block in 0..4 {
        s.order("hook", &format!("give 5 {} {BLOCK}", block * BLOCK), &[9; BLOCK as usize]);
    }
    s.world.run_for(1_000);
    let count = |s: &Stage, what: &str| s.world.alerts(s.node).iter().filter(|alert| alert.what() == what).count();
    assert_eq!((count(&s, "hash_failed"), count(&s, "peer_ban")), (1, 0));
    assert_eq!((s.status().have_pieces, s.status().num_peers), (0, 1));
}

#[test]
fn blocks_that_a_plugin_decodes_are_their_peers_answers() {
    let mut s = Stage::with(Cast::Leech, "decode = true", None);
    let mut heard = s.say(&[Message::HaveAll, Message::Unchoke]);
    for _ in 0..200 {
        let wanted = |message: &Message| if let Message::Request(r) = message { Some(*r) } else { None };
        let answers = heard.iter().filter_map(wanted).map(|r| {
            let data: Vec<u8> = s.data(r.piece, r.begin, r.length).iter().map(|byte| !byte).collect();
            Message::Piece { piece: r.piece, begin: r.begin, data: data.into() }
        });
        let answers: Vec<Message> = answers.collect();
        heard = s.say(&answers);
        if s.status().complete {
            break;
        }
    }
    let torrent = s.torrent.clone();
    assert!(s.world.disk(s.node).holds(&torrent), "{:?}", s.status());
    assert_eq!(s.status().failed_bytes, 0);
}

#[test]
fn settings_are_read_and_set_by_name() {
    both(|order| {
        let mut s = Stage::new(Cast::Leech);
        assert_eq!(order(&mut s, "setting connections_limit"), "Int(200)");
        assert_eq!(order(&mut s, "set connections_limit 50"), "done");
        assert_eq!(order(&mut s, "setting connections_limit"), "Int(50)");
        assert_eq!(order(&mut s, "setting send_client_name"), "Bool(true)");
        assert_eq!(order(&mut s, "set user_agent x/1"), "done");
        assert_eq!(order(&mut s, "setting user_agent"), "Text(\"x/1\")");
        assert_eq!(order(&mut s, "set connections_limit true"), "BadArgument");
        assert_eq!(order(&mut s, "set connections_limit 0"), "BadArgument");
        assert_eq!(
            (order(&mut s, "set nothing 1"), order(&mut s, "setting nothing")),
            ("NotFound".into(), "NotFound".into())
        );
    });
}

#[test]
fn everything_that_is_known_can_be_asked() {
    both(|order| {
        let mut s = Stage::new(Cast::Seed);
        let check = |s: &mut Stage, order: &mut dyn FnMut(&mut Stage, &str) -> String, line: &str, words: &[&str]| {
            let answer = order(s, line);
            assert!(words.iter().all(|word| answer.contains(word)), "{line}: {answer}");
        };
        check(&mut s, order, "status", &["num_torrents: 1", "num_connections: 1", ":6881"]);
        check(&mut s, order, "torrents", &["[TorrentId(1)]"]);
        check(&mut s, order, "torrent", &["name: \"a\"", "have_pieces: 16", "complete: true", "TorrentState(5)"]);
        check(&mut s, order, "peers", &["handshaken: true", "addr: Some(20.0."]);
        check(&mut s, order, "peer", &["handshaken: true", "choked: true"]);
        check(&mut s, order, "files", &["path: \"a\"", "size: 1048576", "done: 1048576"]);
        check(&mut s, order, "trackers", &["[]"]);
        check(&mut s, order, "pieces", &["16 of 16"]);
        check(&mut s, order, "statistics", &["ses.num_torrents Gauge 1 Torrents.", "net.recv_bytes Counter"]);
        check(&mut s, order, "torrent_info", &["num_pieces: 16"]);
        check(&mut s, order, "peer_info", &["extended: true"]);
        check(&mut s, order, "has_piece 3", &["true"]);
        let metadata = s.torrent.meta.info_bytes.len().to_string();
        check(&mut s, order, "metadata", &[&metadata]);
    });
}

#[test]
fn a_question_of_a_thread_sees_what_was_asked_for_before_it() {
    let mut s = Stage::new(Cast::Leech);
    let before = s.world.alerts(s.node).len();
    let order = |line: &str| Message::Extended { id: 1, payload: Bytes::from(format!("thread {line}")) };
    s.world.say(s.wire, &[order("set num_want 11"), order("setting num_want")]);
    s.world.run_for(ROUND);
    assert_eq!(s.wait(before, "setting"), "Int(11)");
}

#[test]
fn timers_run_out_in_virtual_time_and_once() {
    both(|order| {
        let mut s = Stage::new(Cast::Leech);
        let before = s.world.alerts(s.node).len();
        assert_eq!(order(&mut s, "timer 5 3500000"), "done");
        assert_eq!(order(&mut s, "timer 6 3500000"), "done");
        assert_eq!(order(&mut s, "cancel_timer 6"), "done");
        let now = s.world.now().0;
        s.world.run_for(20_000);
        let told = s.puppet_alerts(before, "on_timer");
        let [one] = told.as_slice() else { panic!("{told:?}") };
        let at: u64 = one.strip_prefix("5 at ").expect("timer 5").parse().expect("a time");
        // It was set at most the three orders' time before.
        assert!(at <= now + 3_500_000 && at + 3 * 2_000_000 > now + 3_500_000, "{at} from {now}");
        assert_eq!(order(&mut s, "timers 257"), "Busy");
    });
}

#[test]
fn a_timer_in_a_hook_keeps_its_time_to_the_microsecond() {
    let mut s = Stage::new(Cast::Leech);
    let before = s.world.alerts(s.node).len();
    s.hook("timer 1 1234567");
    s.hook("timer 2 1234567");
    s.world.run_for(5_000);
    let times: Vec<u64> =
        s.puppet_alerts(before, "on_timer").iter().map(|text| text[5..].parse().expect("a time")).collect();
    // The orders came one round apart.
    assert_eq!(times.len(), 2);
    assert_eq!(times[1] - times[0], ROUND * 1000);
}

#[test]
fn a_plugin_sees_every_alert_with_its_fields() {
    let see = "see = \"listen_succeeded torrent_added state_changed peer_connected plugin_action_failed\"";
    let mut s = Stage::with(Cast::Leech, see, None);
    s.hook("file_priorities 7=1");
    let check = |what: &str, expected: &str| {
        let seen = s.puppet_alerts(0, &format!("saw {what}"));
        assert!(seen.iter().any(|text| text.contains(expected)), "{what}: {expected} is not in {seen:?}");
    };
    check("listen_succeeded", "20 0x40 None d7:address13:20.0.1.1:6881e \"listening on 20.0.1.1:6881\"");
    check("torrent_added", "1 0x40 Some(1) d4:name1:a7:torrenti1ee \"a: added\"");
    check("state_changed", "3 0x40 Some(1) d5:state11:downloading7:torrenti1ee");
    check("peer_connected", "14 0x2 Some(1) d7:address");
    check("plugin_action_failed", "6:action19:set file priorities5:error");
}

#[test]
fn a_plugins_counters_are_among_the_sessions_statistics() {
    both(|order| {
        let mut s = Stage::new(Cast::Leech);
        assert_eq!(order(&mut s, "count puppet.things 3"), "done");
        assert_eq!(order(&mut s, "count puppet.things 4"), "done");
        assert_eq!(order(&mut s, "gauge puppet.level -2"), "done");
        let Some(Reply::Session(status)) = s.world.command(s.node, Command::SessionStatus) else { panic!("no status") };
        let value = |name: &str| status.stats.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
        assert_eq!((value("puppet.things"), value("puppet.level")), (Some(7), Some(-2)));
        assert!(value("ses.num_torrents") == Some(1));
        let listed = order(&mut s, "statistics");
        assert!(listed.contains("puppet.things Counter 7 Things."), "{listed}");
        assert_eq!(order(&mut s, "count net.recv_bytes 1"), "Taken");
        assert_eq!(order(&mut s, "gauge puppet.things 1"), "Taken");
        assert_eq!(order(&mut s, "count Puppet 1"), "BadArgument");
    });
}

#[test]
fn a_plugin_has_a_folder_where_it_is_given_one() {
    let mut s = Stage::new(Cast::Leech);
    assert_eq!(s.hook("data_dir"), "Unsupported", "a simulation has none");
    let top = tempfile::tempdir().expect("a folder");
    both(|order| {
        let mut s = Stage::with(Cast::Leech, "", Some(top.path().to_owned()));
        let folder = order(&mut s, "data_dir");
        assert_eq!(PathBuf::from(&folder), top.path().join("puppet"));
        assert!(PathBuf::from(folder).is_dir());
    });
}

#[test]
fn a_thread_that_asks_while_its_session_stops_is_not_waited_for() {
    let mut s = Stage::new(Cast::Seed);
    let order = |line: &str| Message::Extended { id: 1, payload: Bytes::from(format!("thread {line}")) };
    s.world.say(s.wire, &vec![order("status"); 50]);
    s.world.run_for(ROUND);
    let begin = Instant::now();
    let node = s.node;
    assert!(s.world.stop(node, 30));
    drop(s);
    // One question alone would wait for ten seconds, and nobody answers any of fifty.
    assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
}
