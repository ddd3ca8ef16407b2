//! A plugin that panics in a hook, for every hook there is: it is quarantined with the hook's name, and the download that it sits in
//! completes with the right bytes.

use bytes::Bytes;
use reef_engine::hooks::Hooks;
use reef_engine::{Alert, Command, Settings, TorrentId};
use reef_plugin_api::bits;
use reef_plugin_host::{PluginHost, PluginHostConfig, STANDARD_PLUGINS};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message};
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, Wire, World};
use reef_tests::plugins::plugin_library;
use std::collections::BTreeSet;

const ID: TorrentId = TorrentId(1);
const BLOCK: u32 = 16 << 10;

/// Hooks that are called while a plugin starts: one that panics there is not loaded.
const AT_THE_START: [&str; 2] = ["session.load_state", "session.added"];

/// Hooks that are not called in a simulated session, which has no DHT, suggests no pieces, keeps nothing of its plugins when it ends, and
/// has the same plugins all the time. Those that save are tried in reef-plugin-host.
const NEVER: [&str; 6] = [
    "session.on_dht_request",
    "session.save_state",
    "torrent.save_state",
    "peer.save_state",
    "peer.load_state",
    "peer.sent_suggest",
];

/// Every hook, with its level.
fn hooks() -> Vec<String> {
    let level = |level: &'static str, all: &[(&str, u64)]| -> Vec<String> {
        all.iter().map(|(hook, _)| format!("{level}.{hook}")).collect()
    };
    [
        level("session", bits::SessionPlugin::ALL),
        level("torrent", bits::TorrentPlugin::ALL),
        level("peer", bits::PeerPlugin::ALL),
    ]
    .concat()
}

/// A session that fetches a magnet link with the recorder in it, while strangers say to it all that can be said.
struct Play {
    world: World,
    torrent: Torrent,
    node: NodeId,
    strangers: u8,
}

impl Play {
    fn new(orders: &str) -> Self {
        let mut world = World::new(5);
        let torrent = Torrent::random(5, "data.bin", 600_000, 32 << 10);
        let seed = world.add_node_with(Settings::default(), Some(Box::new(|| with_plugins(None))));
        let orders = orders.to_owned();
        let node = world.add_node_with(Settings::default(), Some(Box::new(move || with_plugins(Some(&orders)))));
        let liar = world.add_node();
        world.set_faults(liar, Faults { corrupt_blocks: 300, ..Faults::default() });
        for source in [seed, liar] {
            world.seed(source, &torrent);
            // So that there is time for all of it.
            world.set_line(source, 30_000, 30_000, 20);
        }
        world.magnet(node, &torrent, &[seed, liar]);
        world.run_for(2_000);
        Self { world, torrent, node, strangers: 0 }
    }

    /// Somebody connects, says something, and goes.
    fn stranger(&mut self, info_hash: [u8; 20], said: &[Message]) {
        let wire = self.connect(info_hash);
        self.world.say(wire, said);
        self.world.run_for(200);
        self.world.hang_up(wire);
    }

    /// Somebody fetches a block from the session that has everything, and stays until the next choke rounds.
    fn be_served(&mut self, info_hash: [u8; 20]) {
        let request = Message::Request(BlockRequest { piece: 0, begin: 0, length: BLOCK });
        let wire = self.connect(info_hash);
        for said in [vec![Message::HaveNone, Message::Interested], vec![request.clone()]] {
            self.world.say(wire, &said);
            self.world.run_for(31_000);
        }
        let nonsense = BlockRequest { piece: 0, begin: 1, length: BLOCK };
        self.world.say(wire, &[Message::Request(nonsense), Message::NotInterested]);
        self.world.run_for(31_000);
        self.world.hang_up(wire);
    }

    fn connect(&mut self, info_hash: [u8; 20]) -> Wire {
        let script = self.world.add_script();
        let wire = self.world.script_dial(script, self.node);
        let reserved = Reserved([0; 8]).with(Feature::Fast).with(Feature::Extended);
        let mut peer_id = PeerId(*b"-ZZ0001-000000000000");
        self.strangers += 1;
        peer_id.0[19] = self.strangers;
        self.world.shake_hands(wire, &Handshake { reserved, info_hash, peer_id });
        self.world.run_for(200);
        wire
    }

    /// All that a download may meet, from its start to the session's end.
    fn run(&mut self) {
        let hash = self.torrent.meta.info_hashes.wire();
        for said in everything(&self.torrent) {
            self.stranger(hash, &said);
        }
        self.stranger([0xab; 20], &[]);
        let nobody = self.world.add_script().address();
        self.world.command(self.node, Command::AddPeer { torrent: ID, address: nobody });
        self.world.command(self.node, Command::Pause(ID));
        self.world.command(self.node, Command::Resume(ID));
        // This one is asked for blocks and gives none, so that others are asked for them at the end.
        let silent = self.connect(hash);
        self.world.say(silent, &[Message::HaveAll, Message::Unchoke]);
        let node = self.node;
        if let Err(why) = self.world.run_until(600, |world| world.is_complete(node)) {
            panic!("{why}");
        }
        self.be_served(hash);
        let wants_nothing = Message::Extended { id: 0, payload: Bytes::from_static(b"d1:mde11:upload_onlyi1ee") };
        self.stranger(hash, &[Message::HaveAll, wants_nothing]);
        assert!(self.world.stop(node, 60), "the session ends");
        assert!(self.world.disk(node).holds(&self.torrent), "it has other bytes");
    }

    /// The reasons for which plugins were quarantined.
    fn quarantined(&self) -> Vec<(String, String)> {
        let quarantined = |alert: &Alert| match alert {
            Alert::PluginQuarantined { plugin, reason } => Some((plugin.clone(), reason.clone())),
            _ => None,
        };
        self.world.alerts(self.node).iter().filter_map(quarantined).collect()
    }

    /// The hooks that were called, without their level.
    fn called(&self) -> BTreeSet<String> {
        let call = |alert: &Alert| match alert {
            Alert::Custom(call) if call.plugin == "recorder" => Some(call.what.clone()),
            _ => None,
        };
        self.world.alerts(self.node).iter().filter_map(call).collect()
    }
}

/// The standard plugins, and the recorder with these orders, which has something saved.
fn with_plugins(orders: Option<&str>) -> Box<dyn Hooks> {
    let saved = [("plugin/recorder".to_owned(), b"x".to_vec()), ("plugin/recorder/1".to_owned(), b"x".to_vec())];
    let mut host = PluginHost::new(PluginHostConfig { saved: saved.into(), ..PluginHostConfig::default() });
    for name in STANDARD_PLUGINS {
        host.load_file(&plugin_library(name), "").unwrap_or_else(|error| panic!("{error}"));
    }
    if let Some(orders) = orders {
        // One that panics while it starts is not loaded, which is all that becomes of it.
        let _ = host.load_file(&plugin_library("recorder-plugin"), orders);
    }
    Box::new(host)
}

/// What strangers say, each on a connection of its own, as much of it is a mistake.
fn everything(torrent: &Torrent) -> Vec<Vec<Message>> {
    let request = BlockRequest { piece: 0, begin: 0, length: BLOCK };
    let wrong = |begin| Message::Piece { piece: 0, begin, data: Bytes::from(vec![9; BLOCK as usize]) };
    let extended = |id, payload: &'static [u8]| Message::Extended { id, payload: Bytes::from_static(payload) };
    let bytes = torrent.meta.info.layout.num_pieces().div_ceil(8) as usize;
    vec![
        vec![Message::HaveAll, Message::Unchoke, Message::Choke],
        vec![Message::HaveNone, Message::Have(0), Message::Interested, Message::NotInterested],
        vec![Message::Bitfield(Bytes::from(vec![0; bytes])), Message::AllowedFast(0), Message::Suggest(1)],
        vec![Message::HaveAll, Message::Cancel(request), Message::Reject(request)],
        vec![Message::HaveNone, Message::Request(request)],
        vec![Message::HaveAll, extended(0, b"d1:md10:x_recorderi9eee"), extended(7, &[0, 0, 0, 1])],
        // The number of the recorder's message is the first after those of the standard plugins.
        vec![Message::HaveAll, extended(0, b"d1:md10:x_recorderi9eee"), extended(4, b"hello")],
        vec![Message::HaveAll, Message::Unchoke, wrong(0), wrong(BLOCK)],
        vec![Message::HaveAll, Message::Unknown { id: 100, payload: Bytes::new() }],
    ]
}

#[test]
fn a_panic_in_any_hook_ends_the_plugin_and_not_the_download() {
    let mut plain = Play::new("ask = true");
    plain.run();
    assert_eq!(plain.quarantined(), []);
    let called = plain.called();
    let mut never = Vec::new();
    for hook in hooks().into_iter().filter(|hook| !AT_THE_START.contains(&hook.as_str())) {
        let (_, name) = hook.split_once('.').expect("a level and a name");
        let mut play = Play::new(&format!("ask = true\nat = \"{hook}\"\ndo = \"panic\""));
        play.run();
        match play.quarantined().as_slice() {
            [(plugin, reason)] => {
                assert!(called.contains(name), "{hook}");
                let expected = format!("panic in {name}: ordered to panic (at ");
                assert!(plugin == "recorder" && reason.starts_with(&expected), "{hook}: {plugin}: {reason}");
            }
            [] => never.push(hook),
            several => panic!("{hook}: {several:?}"),
        }
    }
    assert_eq!(never, hooks().into_iter().filter(|hook| NEVER.contains(&hook.as_str())).collect::<Vec<_>>());
}

#[test]
fn a_plugin_that_panics_while_it_starts_is_not_loaded() {
    for hook in AT_THE_START {
        let (_, name) = hook.split_once('.').expect("a level and a name");
        let saved = [("plugin/recorder".to_owned(), b"x".to_vec())].into();
        let mut host = PluginHost::new(PluginHostConfig { saved, ..PluginHostConfig::default() });
        let refused = host.load_file(&plugin_library("recorder-plugin"), &format!("at = \"{hook}\"\ndo = \"panic\""));
        let refused = refused.map_or_else(|error| error.to_string(), |_| panic!("{hook}: loaded"));
        let expected = format!("plugin recorder did not start: panic in {name}: ordered to panic (at ");
        assert!(refused.contains(&expected), "{refused}");
    }
}
