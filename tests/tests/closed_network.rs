//! The example `closed_network` in swarms and from the command line: members have their torrent, strangers are shown nothing.

use reef_engine::{Alert, Settings};
use reef_plugin_host::{PluginHost, PluginHostConfig};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::Message;
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::{Heard, NodeId, World};
use reef_tests::content::{Content, temporary};
use reef_tests::plugins::plugin_library;
use reef_tests::process::SOON;
use reef_tests::program::{User, text};
use std::fs;
use std::path::Path;

const KEY: &str = "key = \"a key for members alone\"";

fn torrent() -> Torrent {
    Torrent::random(3, "data.bin", 500_000, 32 << 10)
}

/// A node with the standard plugins that fetch metadata and find peers, and with these settings of `closed_network`; none: a stranger.
fn add(world: &mut World, settings: Option<&str>) -> NodeId {
    let settings = settings.map(str::to_owned);
    let make = move || -> Box<dyn reef_engine::Hooks> {
        let mut host = PluginHost::new(PluginHostConfig::default());
        for name in ["ut_metadata", "ut_pex"] {
            host.load_file(&plugin_library(name), "").expect("a plugin of ours can be loaded");
        }
        if let Some(settings) = &settings {
            host.load_file(&plugin_library("closed_network"), settings).expect("good settings");
        }
        Box::new(host)
    };
    world.add_node_with(Settings::default(), Some(Box::new(make)))
}

fn run(world: &mut World, seconds: u64, done: impl FnMut(&mut World) -> bool) {
    if let Err(why) = world.run_until(seconds, done) {
        panic!("{why}");
    }
}

/// Members with these settings complete from a magnet link; a stranger that asks all of them gets not even the metadata.
#[track_caller]
fn check_swarm(settings: &str) {
    let (mut world, torrent) = (World::new(8), torrent());
    let seed = add(&mut world, Some(settings));
    world.seed(seed, &torrent);
    let mut members = vec![seed];
    for _ in 0..5 {
        let member = add(&mut world, Some(settings));
        world.magnet(member, &torrent, &members);
        members.push(member);
    }
    let stranger = add(&mut world, None);
    world.magnet(stranger, &torrent, &members);
    let another = add(&mut world, Some("key = \"the key of another network\""));
    world.magnet(another, &torrent, &members);
    run(&mut world, 300, |world| members.iter().all(|&member| world.is_complete(member)));
    world.run_for(60_000);
    for &member in &members {
        assert!(world.disk(member).holds(&torrent));
        assert!(!world.alerts(member).iter().any(|alert| matches!(alert, Alert::PluginQuarantined { .. })));
    }
    for outside in [stranger, another] {
        let status = &world.torrents(outside)[0];
        assert!(!status.has_metadata, "it has the metadata");
        assert_eq!((status.downloaded, status.num_peers), (0, 0));
        let connected = world.alerts(outside).iter().any(|alert| matches!(alert, Alert::PeerDisconnected { .. }));
        assert!(connected, "it was never there");
    }
}

#[test]
fn members_complete_and_strangers_get_nothing() {
    check_swarm(KEY);
}

#[test]
fn members_complete_with_message_numbers_of_their_own() {
    check_swarm(&format!("{KEY}\nmessage_ids = true"));
}

/// What a stranger hears of a member before the connection is closed, and when it says this.
fn heard(settings: &str, features: &[Feature], said: &[Message], seconds: u64) -> Vec<Heard> {
    let (mut world, torrent) = (World::new(9), torrent());
    let seed = add(&mut world, Some(settings));
    world.seed(seed, &torrent);
    run(&mut world, 60, |world| world.is_complete(seed));
    let script = world.add_script();
    let wire = world.script_dial(script, seed);
    let reserved = features.iter().fold(Reserved([0; 8]), |reserved, feature| reserved.with(*feature));
    let info_hash = torrent.meta.info_hashes.wire();
    world.shake_hands(wire, &Handshake { reserved, info_hash, peer_id: PeerId(*b"-ZZ0001-aaaaaaaaaaaa") });
    world.run_for(200);
    world.say(wire, said);
    world.run_for(seconds * 1000);
    assert_eq!(world.torrents(seed)[0].uploaded, 0);
    world.hear(wire)
}

/// Of what was heard, the messages.
fn messages(heard: &[Heard]) -> Vec<&Message> {
    let mut messages = Vec::new();
    for one in heard {
        if let Heard::Message(message) = one {
            messages.push(message);
        }
    }
    messages
}

#[test]
fn a_stranger_hears_random_bytes_and_the_end() {
    let both = [Feature::Extended, Feature::Fast];
    let extended = |payload: &'static [u8]| Message::Extended { id: 0, payload: payload.into() };
    let metadata = Message::Extended { id: 2, payload: b"d8:msg_typei0e5:piecei0ee"[..].into() };
    let all: [&[Message]; 5] = [
        &[Message::HaveNone, Message::Interested],
        &[extended(b"d1:md11:ut_metadatai1eee"), metadata.clone()],
        &[
            extended(b"d8:cn_nonce32:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa6:cn_you20:bbbbbbbbbbbbbbbbbbbbe"),
            Message::HaveAll,
        ],
        &[metadata],
        // Nothing at all, until its time is over.
        &[],
    ];
    for said in all {
        let heard = heard(KEY, &both, said, 15);
        assert!(heard.contains(&Heard::Closed), "{said:?}: {heard:?}");
        let messages = messages(&heard);
        let handshakes =
            |message: &&&Message| matches!(message, Message::Extended { id: 0, payload } if is_of_ours(payload));
        assert!(!messages.is_empty() && messages.iter().all(|message| handshakes(&message)), "{said:?}: {messages:?}");
    }
    let heard = heard(KEY, &[Feature::Fast], &[], 1);
    assert!(heard.contains(&Heard::Closed) && messages(&heard).is_empty(), "{heard:?}");
}

/// An extension handshake with nothing in it that says anything.
fn is_of_ours(payload: &[u8]) -> bool {
    let text = payload.escape_ascii().to_string();
    let starts = text.starts_with("d8:cn_nonce32:") || text.starts_with("d8:cn_proof32:");
    starts && text.ends_with("1:mdee") && payload.len() < 120
}

#[test]
fn a_stranger_hears_nothing_that_it_understands_where_messages_have_numbers_of_their_own() {
    let settings = format!("{KEY}\nmessage_ids = true");
    let heard = heard(&settings, &[Feature::Extended, Feature::Fast], &[Message::HaveNone], 15);
    assert!(heard.contains(&Heard::Closed), "{heard:?}");
    let extended = |message: &&Message| matches!(message, Message::Extended { .. });
    assert!(!messages(&heard).iter().any(extended), "{heard:?}");
}

/// Runs `reef` with the plugin, which it finds in a folder of its own.
fn network(folder: &Path) -> [String; 4] {
    let library = plugin_library("closed_network");
    fs::copy(&library, folder.join(library.file_name().expect("it is a file"))).expect("ours");
    let config = folder.join("reef.toml");
    fs::write(&config, format!("[plugins.closed_network]\n{KEY}\nmessage_ids = true\n")).expect("ours");
    let plugin_dir = text(folder).to_owned();
    ["--plugin-dir".to_owned(), plugin_dir, "--config".to_owned(), text(&config).to_owned()]
}

#[test]
fn two_processes_of_a_network_share_a_torrent_and_a_third_gets_nothing() {
    let (member, stranger, content, plugins) = (User::new(), User::new(), Content::tree(), temporary());
    let network = network(plugins.path());
    let network: Vec<&str> = network.iter().map(String::as_str).collect();
    let torrent = member.create(&content, &[]);
    let seed = member.seed(&torrent, content.folder(), &network);
    let peer = seed.address.to_string();
    let (inside, outside) = (temporary(), temporary());
    member.get(&torrent.magnet(), inside.path(), &[&["--peer", &peer], &network[..]].concat());
    content.assert_is_in(inside.path());
    let arguments =
        ["get", &torrent.magnet(), "-o", text(outside.path()), "--peer", &peer, "--json", "--timeout", "15s"];
    let ended = stranger.start(&arguments).wait(SOON);
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.text());
    assert!(ended.text().contains(r#""event":"peer_connected""#), "{}", ended.text());
    assert!(!ended.text().contains("metadata_received"), "{}", ended.text());
    let left: Vec<_> =
        fs::read_dir(outside.path()).expect("ours").map(|entry| entry.expect("an entry").path()).collect();
    assert!(left.is_empty(), "{left:?}");
    // The seed is still there for members.
    let again = temporary();
    member.get(&torrent.magnet(), again.path(), &[&["--peer", &peer], &network[..]].concat());
    content.assert_is_in(again.path());
}
