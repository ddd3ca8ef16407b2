//! Rate limits, and a clock that rings no more than it must.

use reef_engine::Settings;
use reef_engine::settings::Value;
use reef_sim::content::Torrent;
use reef_sim::{NodeId, World};
use std::sync::LazyLock;

/// A limited session among others, `uploads` to them or downloads from them, and how much it moves in 25 seconds.
fn moved(settings: Settings, peers: u32, uploads: bool) -> (World, NodeId, u64) {
    static TORRENT: LazyLock<Torrent> = LazyLock::new(|| Torrent::random(1, "a", 8 << 20, 256 << 10));
    let torrent = &*TORRENT;
    let mut world = World::new(1);
    let limited = world.add_node_with(settings, None);
    let others: Vec<NodeId> = (0..peers).map(|_| world.add_node()).collect();
    if uploads {
        world.seed(limited, torrent);
        others.iter().for_each(|&n| world.leech(n, torrent, &[limited]));
    } else {
        others.iter().for_each(|&n| world.seed(n, torrent));
        world.leech(limited, torrent, &others);
    }
    world.run_for(3_000);
    let amount = |w: &World| if uploads { w.tally(limited).sent } else { w.tally(limited).read };
    let before = amount(&world);
    world.run_for(25_000);
    let after = amount(&world);
    (world, limited, (after - before) / 25)
}

#[track_caller]
fn check_rate(got: u64, limit: u64) {
    let (low, high) = (limit * 98 / 100, limit * 102 / 100);
    assert!((low..=high).contains(&got), "{got} bytes a second under a limit of {limit}");
}

#[test]
fn upload_limit_holds() {
    for (limit, peers) in [(40_000, 1), (100_000, 5), (250_000, 3), (1_000_000, 20)] {
        let settings = Settings { upload_rate_limit: limit, ..Settings::default() };
        let (_, _, rate) = moved(settings, peers, true);
        check_rate(rate, limit as u64);
    }
}

#[test]
fn download_limit_holds() {
    for (limit, peers) in [(40_000, 1), (100_000, 5), (250_000, 3)] {
        let settings = Settings { download_rate_limit: limit, ..Settings::default() };
        let (_, _, rate) = moved(settings, peers, false);
        check_rate(rate, limit as u64);
    }
}

#[test]
fn peers_of_a_limited_seed_get_equal_shares() {
    for limit in [200_000, 1_000_000] {
        let settings = Settings { upload_rate_limit: limit, unchoke_slots_limit: -1, ..Settings::default() };
        let (world, _, _) = moved(settings, 12, true);
        let shares: Vec<u64> = (2..14).map(|n| world.tally(NodeId(n)).received).collect();
        let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
        assert!(most * 10 <= least * 13, "under {limit}: {shares:?}");
    }
}

#[test]
fn clock_of_a_limited_session_does_not_spin() {
    for uploads in [true, false] {
        let settings = Settings { upload_rate_limit: 100_000, download_rate_limit: 100_000, ..Settings::default() };
        let (mut world, node, _) = moved(settings, 4, uploads);
        let before = world.tally(node).timeouts;
        world.run_for(10_000);
        let a_second = (world.tally(node).timeouts - before) / 10;
        assert!(a_second <= 55, "{a_second} timeouts a second");
    }
}

#[test]
fn clock_of_an_idle_session_rings_once_a_second() {
    let torrent = Torrent::random(1, "a", 100_000, 32 << 10);
    let mut world = World::new(1);
    let node = world.add_node();
    world.seed(node, &torrent);
    world.run_for(2_000);
    let before = world.tally(node).timeouts;
    world.run_for(60_000);
    assert!(world.tally(node).timeouts - before <= 61);
}

#[test]
fn limit_that_is_taken_away_is_gone_at_once() {
    let settings = Settings { upload_rate_limit: 50_000, download_rate_limit: 50_000, ..Settings::default() };
    for uploads in [true, false] {
        let (mut world, node, _) = moved(settings.clone(), 2, uploads);
        let none = |name: &str| (name.to_owned(), Value::Int(0));
        let list = vec![none("upload_rate_limit"), none("download_rate_limit")];
        world.command(node, reef_engine::Command::SetSettings(list));
        let nodes: Vec<NodeId> = if uploads { vec![NodeId(2), NodeId(3)] } else { vec![node] };
        if let Err(e) = world.run_until(60, |w| nodes.iter().all(|&n| w.is_complete(n))) {
            panic!("{e}");
        }
    }
}
