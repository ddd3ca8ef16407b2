//! How well swarms use their lines: little is sent twice, and time is near what the lines allow.

use reef_sim::content::Torrent;
use reef_sim::{NodeId, World};

const SIZE: u64 = 4 << 20;

/// One seed and leeches on equal lines; returns seconds and bytes sent when all are done.
fn swarm(seed: u64, leeches: u32, up: u64) -> (f64, u64) {
    let torrent = Torrent::random(seed, "data.bin", SIZE, 64 << 10);
    let mut world = World::new(seed);
    let first = world.add_node();
    world.set_line(first, up, up * 4, 20);
    world.seed(first, &torrent);
    let nodes: Vec<NodeId> = (0..leeches).map(|_| world.add_node()).collect();
    world.run_for(1_000);
    let start = world.now();
    for (i, &node) in nodes.iter().enumerate() {
        world.set_line(node, up, up * 4, 20);
        let mut known: Vec<NodeId> = nodes[..i].iter().rev().take(10).copied().collect();
        known.push(first);
        world.leech(node, &torrent, &known);
    }
    if let Err(e) = world.run_until(3_600, |w| nodes.iter().all(|&n| w.is_complete(n))) {
        panic!("{e}");
    }
    let sent = nodes.iter().chain([&first]).map(|&n| world.tally(n).sent).sum();
    (world.now().since(start).as_secs_f64(), sent)
}

/// `times` is how often one copy may go through one line until all have it.
#[track_caller]
fn check(leeches: u32, up: u64, times: f64) {
    let (seconds, sent) = swarm(1, leeches, up);
    // Two seconds for the start, and for the look whether all are done.
    let most = times * SIZE as f64 / up as f64 + 2.0;
    assert!(seconds < most, "{leeches} leeches on lines of {up} took {seconds:.1} s, more than {most:.1}");
    let copies = sent as f64 / (SIZE * u64::from(leeches)) as f64;
    assert!(copies < 1.1, "{leeches} leeches on lines of {up}: {copies:.3} copies were sent for each");
}

#[test]
fn lone_leech_fills_its_seeds_line() {
    check(1, 100_000, 1.05);
    check(1, 4_000_000, 1.2);
}

#[test]
fn few_leeches_share_what_one_seed_gives() {
    check(5, 100_000, 2.0);
}

#[test]
fn more_leeches_take_little_longer() {
    check(20, 100_000, 2.5);
    check(20, 1_000_000, 2.8);
}
