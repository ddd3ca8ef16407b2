//! Swarms whose sessions run the real plugins: their libraries as they are installed, many instances in one process.

use reef_engine::{Alert, Settings};
use reef_plugin_host::{PluginHost, PluginHostConfig};
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};
use reef_tests::plugins::plugin_library;
use std::path::PathBuf;

/// A node whose session loads these plugins each time it starts.
fn add_node(world: &mut World, plugins: &[&str]) -> NodeId {
    let libraries: Vec<PathBuf> = plugins.iter().map(|name| plugin_library(name)).collect();
    let make = move || -> Box<dyn reef_engine::Hooks> {
        let mut host = PluginHost::new(PluginHostConfig::default());
        for library in &libraries {
            host.load_file(library, "").expect("a plugin of ours can be loaded");
        }
        Box::new(host)
    };
    world.add_node_with(Settings::default(), Some(Box::new(make)))
}

/// One seed and many that know the seed and a few of those before them; all run the same plugins.
fn swarm(seed: u64, leeches: u32, plugins: &[&str], magnet: bool) -> (World, Torrent, Vec<NodeId>) {
    let torrent = Torrent::random(seed, "data.bin", 500_000, 32 << 10);
    let mut world = World::new(seed);
    let first = add_node(&mut world, plugins);
    world.seed(first, &torrent);
    let mut nodes = vec![first];
    for _ in 0..leeches {
        let node = add_node(&mut world, plugins);
        let mut known: Vec<NodeId> = nodes.iter().rev().take(4).copied().collect();
        known.push(first);
        if magnet {
            world.magnet(node, &torrent, &known);
        } else {
            world.leech(node, &torrent, &known);
        }
        nodes.push(node);
    }
    (world, torrent, nodes)
}

#[track_caller]
fn check(world: &mut World, torrent: &Torrent, nodes: &[NodeId], seconds: u64) {
    if let Err(e) = world.run_until(seconds, |w| nodes.iter().all(|&n| w.is_complete(n))) {
        panic!("{e}");
    }
    for &n in nodes {
        assert!(world.disk(n).holds(torrent), "node {} has wrong bytes", n.0);
        assert!(!world.alerts(n).iter().any(|a| matches!(a, Alert::PluginQuarantined { .. })), "a plugin failed");
    }
}

/// The nodes that a node has banned.
fn banned_by(world: &World, node: NodeId) -> Vec<std::net::IpAddr> {
    let banned = |a: &Alert| if let Alert::PeerBanned { address, .. } = a { Some(address.ip()) } else { None };
    world.alerts(node).iter().filter_map(banned).collect()
}

#[test]
fn magnet_becomes_a_torrent_through_ut_metadata() {
    let (mut world, torrent, nodes) = swarm(1, 1, &["ut_metadata"], true);
    check(&mut world, &torrent, &nodes, 60);
}

#[test]
fn large_metadata_comes_in_blocks_from_several_peers() {
    // 20 bytes a piece: 16 KiB of metadata hold 819 pieces.
    let torrent = Torrent::random(2, "data.bin", 32 << 20, 16 << 10);
    let mut world = World::new(2);
    let seeds: Vec<NodeId> = (0..3).map(|_| add_node(&mut world, &["ut_metadata"])).collect();
    seeds.iter().for_each(|&n| world.seed(n, &torrent));
    // A torrent that is being checked takes no peers.
    world.run_until(60, |w| seeds.iter().all(|&n| w.is_complete(n))).unwrap();
    let leech = add_node(&mut world, &["ut_metadata"]);
    world.magnet(leech, &torrent, &seeds);
    world.run_until(60, |w| w.torrents(leech)[0].has_metadata).unwrap();
    assert_eq!(world.torrents(leech)[0].num_pieces, 2048);
}

#[test]
fn magnet_finds_metadata_at_peers_that_themselves_began_with_none() {
    let (mut world, torrent, nodes) = swarm(3, 12, &["ut_metadata"], true);
    check(&mut world, &torrent, &nodes, 300);
}

#[test]
fn ut_pex_finds_peers_that_nobody_named() {
    let torrent = Torrent::random(4, "data.bin", 8_000_000, 64 << 10);
    let mut world = World::new(4);
    let first = add_node(&mut world, &["ut_pex"]);
    // Slow, so that nobody is done before they have found each other.
    world.set_line(first, 30_000, 30_000, 20);
    world.seed(first, &torrent);
    let leeches: Vec<NodeId> = (0..6).map(|_| add_node(&mut world, &["ut_pex"])).collect();
    leeches.iter().for_each(|&n| world.leech(n, &torrent, &[first]));
    let others = leeches.len() as u32;
    let met = |w: &mut World, n: NodeId| w.torrents(n)[0].num_peers == others;
    if let Err(e) = world.run_until(180, |w| leeches.iter().all(|&n| met(w, n))) {
        panic!("{e}");
    }
}

#[test]
fn without_ut_pex_nobody_is_found() {
    let torrent = Torrent::random(4, "data.bin", 1_500_000, 64 << 10);
    let mut world = World::new(4);
    let first = add_node(&mut world, &[]);
    world.set_line(first, 30_000, 30_000, 20);
    world.seed(first, &torrent);
    let leeches: Vec<NodeId> = (0..3).map(|_| add_node(&mut world, &["ut_metadata"])).collect();
    leeches.iter().for_each(|&n| world.leech(n, &torrent, &[first]));
    world.run_for(20_000);
    assert!(leeches.iter().all(|&n| world.torrents(n)[0].num_peers == 1));
}

#[test]
fn ut_pex_is_silent_in_a_private_swarm() {
    let torrent = Torrent::private(5, "data.bin", 1_500_000, 64 << 10);
    let mut world = World::new(5);
    let first = add_node(&mut world, &["ut_pex"]);
    world.set_line(first, 10_000, 10_000, 20);
    world.seed(first, &torrent);
    let leeches: Vec<NodeId> = (0..3).map(|_| add_node(&mut world, &["ut_pex"])).collect();
    leeches.iter().for_each(|&n| world.leech(n, &torrent, &[first]));
    world.run_for(70_000);
    assert!(leeches.iter().all(|&n| world.torrents(n)[0].num_peers == 1));
}

#[test]
fn smart_ban_bans_the_liar_among_honest_peers_and_nobody_else() {
    for seed in 20..24 {
        let torrent = Torrent::random(seed, "data.bin", 3_000_000, 256 << 10);
        let mut world = World::new(seed);
        let seeds: Vec<NodeId> = (0..5).map(|_| world.add_node()).collect();
        for &n in &seeds {
            world.set_line(n, 200_000, 200_000, 20);
            world.seed(n, &torrent);
        }
        let liar = seeds[2];
        world.set_faults(liar, Faults { corrupt_blocks: 200, ..Faults::default() });
        let leech = add_node(&mut world, &["smart_ban"]);
        world.leech(leech, &torrent, &seeds);
        check(&mut world, &torrent, &[leech], 600);
        assert_eq!(banned_by(&world, leech), [liar.address().ip()], "seed {seed}");
    }
}

#[test]
fn fifty_sessions_with_every_standard_plugin_in_one_process() {
    let all = ["ut_metadata", "ut_pex", "smart_ban"];
    let (mut world, torrent, nodes) = swarm(6, 49, &all, true);
    check(&mut world, &torrent, &nodes, 900);
}

#[test]
fn same_seed_gives_the_same_trace_with_plugins() {
    let run = |seed| {
        let all = ["ut_metadata", "ut_pex", "smart_ban"];
        let (mut world, torrent, nodes) = swarm(seed, 8, &all, true);
        world.set_faults(nodes[3], Faults { corrupt_blocks: 100, ..Faults::default() });
        check(&mut world, &torrent, &nodes, 900);
        world.trace()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn session_with_plugins_is_killed_and_goes_on() {
    let all = ["ut_metadata", "ut_pex", "smart_ban"];
    let (mut world, torrent, nodes) = swarm(9, 4, &all, true);
    for round in 0..4 {
        world.run_for(700);
        let node = nodes[1 + round % 4];
        world.kill(node);
        world.run_for(300);
        world.restart(node, &nodes[..1]);
        if world.torrents(node).is_empty() {
            world.magnet(node, &torrent, &nodes[..1]);
        }
    }
    check(&mut world, &torrent, &nodes, 600);
}
