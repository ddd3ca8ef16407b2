//! Whole swarms, each from one seed.

use reef_engine::Alert;
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};

/// A swarm around one seed: each leech knows the seed and the few nodes that came just before it.
fn swarm(seed: u64, leeches: u32) -> (World, Torrent, Vec<NodeId>) {
    let torrent = Torrent::random(seed, "data.bin", 2_000_000, 64 << 10);
    let mut world = World::new(seed);
    let first = world.add_node();
    world.seed(first, &torrent);
    let mut nodes = vec![first];
    for _ in 0..leeches {
        let node = world.add_node();
        let mut known: Vec<NodeId> = nodes.iter().rev().take(8).copied().collect();
        known.push(first);
        world.leech(node, &torrent, &known);
        nodes.push(node);
    }
    (world, torrent, nodes)
}

#[track_caller]
fn check(mut world: World, torrent: &Torrent, nodes: &[NodeId], seconds: u64) -> World {
    if let Err(e) = world.run_until(seconds, |w| nodes.iter().all(|&n| w.is_complete(n))) {
        panic!("{e}");
    }
    for &n in nodes {
        assert!(world.disk(n).holds(torrent), "node {} has wrong bytes", n.0);
    }
    world
}

#[test]
fn one_seed_and_one_leech() {
    let (world, torrent, nodes) = swarm(1, 1);
    check(world, &torrent, &nodes, 60);
}

#[test]
fn fifty_peers_complete_from_one_seed() {
    let (world, torrent, nodes) = swarm(2, 50);
    check(world, &torrent, &nodes, 600);
}

#[test]
fn same_seed_gives_the_same_trace() {
    let run = |seed| {
        let (world, torrent, nodes) = swarm(seed, 8);
        check(world, &torrent, &nodes, 600).trace()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn folders_with_odd_sizes_arrive_whole() {
    let files = [("a/one", 100_001), ("a/empty", 0), ("b", 1), ("c/d/e", 65_536), ("f", 300_000), ("z", 16_383)];
    let torrent = Torrent::folder(5, "folder", &files, 32 << 10);
    let mut world = World::new(5);
    let seed = world.add_node();
    world.seed(seed, &torrent);
    let leech = world.add_node();
    world.leech(leech, &torrent, &[seed]);
    check(world, &torrent, &[seed, leech], 60);
}

#[test]
fn pieces_larger_than_a_run_arrive_whole() {
    let torrent = Torrent::random(6, "large", 9_000_000, 4 << 20);
    let mut world = World::new(6);
    let seed = world.add_node();
    world.seed(seed, &torrent);
    let nodes: Vec<NodeId> = (0..3)
        .map(|_| {
            let n = world.add_node();
            world.leech(n, &torrent, &[seed]);
            n
        })
        .collect();
    check(world, &torrent, &nodes, 120);
}

#[test]
fn liars_stallers_and_broken_lines_do_not_stop_it() {
    for seed in 10..14 {
        let (mut world, torrent, nodes) = swarm(seed, 12);
        let faults = |f: fn(&mut Faults)| {
            let mut faults = Faults::default();
            f(&mut faults);
            faults
        };
        // Nodes 2 to 4 finish as the others do, but what they send on is bad, late or cut off.
        world.set_faults(nodes[1], faults(|f| f.corrupt_blocks = 300));
        world.set_faults(nodes[2], faults(|f| f.withhold_blocks = 200));
        world.set_faults(nodes[3], faults(|f| f.break_connections = 20));
        world.set_faults(nodes[4], faults(|f| f.refuse_dials = 500));
        check(world, &torrent, &nodes, 3600);
    }
}

#[test]
fn liar_is_banned_and_no_honest_peer_is_also_without_plugins() {
    for seed in 30..36 {
        let torrent = Torrent::random(seed, "data.bin", 4_000_000, 128 << 10);
        let mut world = World::new(seed);
        let seeds: Vec<NodeId> = (0..5).map(|_| world.add_node()).collect();
        for &n in &seeds {
            world.set_line(n, 200_000, 200_000, 20);
            world.seed(n, &torrent);
        }
        world.set_faults(seeds[2], Faults { corrupt_blocks: 300, ..Faults::default() });
        let leech = world.add_node();
        world.leech(leech, &torrent, &seeds);
        let world = check(world, &torrent, &[leech], 600);
        let banned = |a: &Alert| if let Alert::PeerBanned { address, .. } = a { Some(*address) } else { None };
        let banned: Vec<_> = world.alerts(leech).iter().filter_map(banned).collect();
        assert_eq!(banned, [seeds[2].address()], "seed {seed}");
    }
}
