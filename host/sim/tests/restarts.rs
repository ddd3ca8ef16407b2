//! Sessions that end, in order or not, and go on from what their disks hold.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use reef_engine::resume::{Have, Resume};
use reef_engine::{Command, ErrorCode, Reply, TorrentId};
use reef_sim::content::Torrent;
use reef_sim::{NodeId, World};

const ID: TorrentId = TorrentId(1);

/// How a session ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Crash,
    Stop,
}

/// A seed and a leech, each connected to the other.
fn pair(seed: u64, torrent: &Torrent) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed);
    let first = world.add_node();
    world.seed(first, torrent);
    let leech = world.add_node();
    world.leech(leech, torrent, &[first]);
    (world, first, leech)
}

fn have_pieces(world: &mut World, node: NodeId) -> u32 {
    world.torrents(node).first().map_or(0, |t| t.have_pieces)
}

/// What the store vouches for, given the files that are there; nothing else may be believed without a hash.
fn vouched_for(world: &World, node: NodeId, torrent: &Torrent) -> Vec<u32> {
    let disk = world.disk(node);
    let Some(record) = disk.stored().get(&ID).and_then(|r| r.have.clone()) else { return Vec::new() };
    let (have, found) = (Have::parse(&record).unwrap(), disk.look(torrent));
    if have.kept_by.is_some() && have.kept_by != found.mount {
        return Vec::new();
    }
    let unchanged = |file: usize| found.files[file] == have.file_stats.get(file).copied();
    let layout = &torrent.meta.info.layout;
    have.pieces.iter().filter(|&piece| layout.files_of_piece(piece).all(unchanged)).collect()
}

/// Every piece that the store vouches for is on the disk, and as many as the session says.
#[track_caller]
fn check_claims(world: &mut World, node: NodeId, torrent: &Torrent) {
    let pieces = torrent.meta.info.layout.num_pieces();
    for piece in vouched_for(world, node, torrent) {
        assert!(world.disk(node).holds_piece(torrent, piece), "piece {piece} is claimed and not there");
    }
    let there = (0..pieces).filter(|&p| world.disk(node).holds_piece(torrent, p)).count() as u32;
    let claimed = have_pieces(world, node);
    assert!(claimed <= there, "{claimed} pieces are claimed and {there} are there");
}

/// Ends a leech at random moments until it has had `times` ends, then lets it complete.
fn interrupted(seed: u64, torrent: &Torrent, ends: &[End], times: u32) {
    let (world, first, leech) = pair(seed, torrent);
    interrupt((world, first, leech), torrent, (seed, ends), times);
}

fn interrupt(
    (mut world, first, leech): (World, NodeId, NodeId),
    torrent: &Torrent,
    (seed, ends): (u64, &[End]),
    times: u32,
) {
    let mut random = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
    for _ in 0..times {
        world.run_for(u64::from(random.next_u32() % 900));
        let end = ends[random.next_u32() as usize % ends.len()];
        match end {
            End::Kill => world.kill(leech),
            End::Crash => world.crash(leech),
            End::Stop => assert!(world.stop(leech, 30), "seed {seed}: it does not stop"),
        }
        check_claims(&mut world, leech, torrent);
        let sure: Vec<u32> = vouched_for(&world, leech, torrent);
        let fetched: Vec<u64> = sure.iter().map(|&p| world.fetched(leech, p)).collect();
        world.run_for(u64::from(random.next_u32() % 200));
        world.restart(leech, &[first]);
        world.run_for(u64::from(random.next_u32() % 600));
        check_claims(&mut world, leech, torrent);
        let again: Vec<u64> = sure.iter().map(|&p| world.fetched(leech, p)).collect();
        assert_eq!(fetched, again, "seed {seed}, {end:?}: pieces {sure:?} are fetched again");
    }
    if world.torrents(leech).is_empty() {
        world.leech(leech, torrent, &[first]);
    }
    if let Err(e) = world.run_until(600, |w| w.is_complete(leech)) {
        panic!("{e}");
    }
    check_claims(&mut world, leech, torrent);
    assert!(world.disk(leech).holds(torrent));
}

#[test]
fn killed_session_claims_nothing_false_and_completes() {
    let torrent = Torrent::random(1, "a", 3_000_000, 64 << 10);
    for seed in 0..12 {
        interrupted(seed, &torrent, &[End::Kill], 4);
    }
}

#[test]
fn crashed_machine_claims_nothing_false_and_completes() {
    let torrent = Torrent::random(2, "a", 3_000_000, 64 << 10);
    for seed in 0..12 {
        interrupted(seed, &torrent, &[End::Crash], 4);
    }
}

#[test]
fn any_ends_in_any_order_leave_a_folder_whole() {
    let files = [("a", 700_001), ("b/c", 5), ("b/d", 1_300_000), ("e", 0), ("f", 900_000)];
    let torrent = Torrent::folder(3, "folder", &files, 128 << 10);
    for seed in 0..12 {
        interrupted(seed, &torrent, &[End::Kill, End::Crash, End::Stop], 5);
    }
}

#[test]
fn any_ends_leave_a_folder_whole_where_mounts_have_no_names() {
    let torrent = Torrent::folder(11, "folder", &[("a", 700_001), ("b", 1_300_000), ("c", 900_000)], 128 << 10);
    for seed in 0..8 {
        let (mut world, first, leech) = pair(seed, &torrent);
        world.disk_mut(leech).hide_mount();
        interrupt((world, first, leech), &torrent, (seed, &[End::Kill, End::Crash, End::Stop]), 5);
    }
}

#[test]
fn large_pieces_survive_any_end() {
    let torrent = Torrent::random(4, "large", 9_000_000, 4 << 20);
    for seed in 0..6 {
        interrupted(seed, &torrent, &[End::Kill, End::Crash, End::Stop, End::Stop], 4);
    }
}

#[test]
fn clean_stop_hashes_nothing_and_keeps_unfinished_blocks() {
    let torrent = Torrent::random(5, "a", 6_000_000, 1 << 20);
    let mut with_unfinished = 0;
    for seed in 0..8 {
        let (mut world, first, leech) = pair(seed, &torrent);
        world.run_for(700 + seed * 130);
        assert!(world.stop(leech, 30));
        let (have, checks) = (vouched_for(&world, leech, &torrent), world.tally(leech).checks);
        let record = world.disk(leech).stored()[&ID].have.clone().unwrap();
        let kept: u64 =
            Have::parse(&record).unwrap().unfinished.iter().map(|(_, blocks)| blocks.len() as u64 * 16_384).sum();
        with_unfinished += u32::from(kept > 0);
        let before: u64 = (0..6).map(|p| world.fetched(leech, p)).sum();
        // Alone it can only believe, not fetch.
        world.restart(leech, &[]);
        world.run_for(500);
        assert_eq!(have_pieces(&mut world, leech), have.len() as u32, "seed {seed}");
        assert_eq!(world.tally(leech).checks, checks, "seed {seed}: pieces are hashed that the store vouches for");
        world.command(leech, Command::AddPeer { torrent: ID, address: first.address() });
        world.run_until(60, |w| w.is_complete(leech)).unwrap();
        assert!(world.disk(leech).holds(&torrent));
        let fetched: u64 = (0..6).map(|p| world.fetched(leech, p)).sum::<u64>() - before;
        let layout = &torrent.meta.info.layout;
        let missing = 6_000_000 - have.iter().map(|&p| u64::from(layout.piece_size(p))).sum::<u64>() - kept;
        assert!(fetched <= missing + 16_384, "seed {seed}: {fetched} bytes for {missing} that are missing");
    }
    assert!(with_unfinished >= 4, "only {with_unfinished} stops came in the middle of a piece");
}

#[test]
fn piece_priorities_outlive_a_kill() {
    let torrent = Torrent::random(8, "a", 2_000_000, 64 << 10);
    let mut world = World::new(8);
    let leech = world.add_node();
    // Alone, so that nothing else of it changes that would be saved.
    world.leech(leech, &torrent, &[]);
    world.run_for(10_000);
    let priorities = vec![(0, 0), (30, 7)];
    assert!(matches!(world.command(leech, Command::SetPiecePriorities { torrent: ID, priorities }), Some(Reply::Done)));
    world.run_for(10_000);
    world.kill(leech);
    let record = world.disk(leech).stored()[&ID].resume.clone().unwrap();
    let kept = Resume::parse(&record).unwrap().piece_priorities;
    assert_eq!((kept.len(), kept[0], kept[1], kept[30]), (31, 0, 4, 7));
}

#[test]
fn seed_that_stopped_in_order_is_a_seed_at_once() {
    let torrent = Torrent::random(6, "a", 2_000_000, 64 << 10);
    let (mut world, first, leech) = pair(6, &torrent);
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    for node in [first, leech] {
        assert!(world.stop(node, 30));
        let checks = world.tally(node).checks;
        world.restart(node, &[]);
        world.run_for(100);
        assert_eq!(have_pieces(&mut world, node), 31);
        assert_eq!(world.tally(node).checks, checks);
        assert!(world.is_complete(node));
    }
}

/// What a session that became complete `after` milliseconds ago does to have all again: how many pieces it hashes, and how
/// many bytes it fetches.
fn work_after(end: End, after: u64) -> (u64, u64) {
    let torrent = Torrent::random(9, "a", 2_000_000, 64 << 10);
    let (mut world, first, leech) = pair(9, &torrent);
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    world.run_for(after);
    match end {
        End::Kill => world.kill(leech),
        End::Crash => world.crash(leech),
        End::Stop => assert!(world.stop(leech, 30)),
    }
    let fetched = |world: &World| (0..31).map(|piece| world.fetched(leech, piece)).sum::<u64>();
    let before = (world.tally(leech).checks, fetched(&world));
    world.restart(leech, &[first]);
    world.run_until(60, |w| w.is_complete(leech) && w.disk(leech).holds(&torrent)).unwrap();
    check_claims(&mut world, leech, &torrent);
    (world.tally(leech).checks - before.0, fetched(&world) - before.1)
}

#[test]
fn what_just_became_complete_is_believed_as_long_as_the_machine_goes_on() {
    for end in [End::Kill, End::Stop] {
        assert_eq!(work_after(end, 5_000), (0, 0), "{end:?}");
    }
    assert_ne!(work_after(End::Crash, 5_000), (0, 0));
}

#[test]
fn what_is_complete_is_synced_after_a_while_and_believed_after_a_crash() {
    for end in [End::Kill, End::Stop, End::Crash] {
        assert_eq!(work_after(end, 45_000), (0, 0), "{end:?}");
    }
}

/// A session whose files could not be synced while it seeded, ended and started again on a machine that then stops.
fn after_a_failed_sync(end: End) -> (World, NodeId, NodeId, Torrent) {
    let torrent = Torrent::random(12, "a", 2_000_000, 64 << 10);
    let (mut world, first, leech) = pair(12, &torrent);
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    world.disk_mut(leech).fail_next_sync();
    world.run_for(45_000);
    let error = world.torrents(leech)[0].error.clone();
    assert!(error.is_some_and(|e| e.message.contains("input/output error")));
    match end {
        End::Kill => world.kill(leech),
        End::Crash => world.crash(leech),
        End::Stop => assert!(world.stop(leech, 30)),
    }
    (world, first, leech, torrent)
}

#[test]
fn what_could_not_be_synced_is_not_believed_again() {
    for end in [End::Kill, End::Stop, End::Crash] {
        let (mut world, first, leech, torrent) = after_a_failed_sync(end);
        assert_eq!(vouched_for(&world, leech, &torrent), [0_u32; 0], "{end:?}");
        let checks = world.tally(leech).checks;
        world.restart(leech, &[first]);
        world.command(leech, Command::Resume(ID));
        world.run_until(60, |w| w.is_complete(leech)).unwrap();
        assert!(world.tally(leech).checks > checks, "{end:?}: nothing was hashed");
        assert!(world.disk(leech).holds(&torrent), "{end:?}");
    }
}

#[test]
fn what_an_earlier_run_left_unsynced_is_synced_by_the_next() {
    let torrent = Torrent::random(10, "a", 2_000_000, 64 << 10);
    let (mut world, first, leech) = pair(10, &torrent);
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    assert!(world.stop(leech, 30));
    world.restart(leech, &[]);
    world.run_for(45_000);
    world.crash(leech);
    let checks = world.tally(leech).checks;
    world.restart(leech, &[first]);
    world.run_for(1_000);
    assert!(world.is_complete(leech) && world.disk(leech).holds(&torrent));
    assert_eq!(world.tally(leech).checks, checks);
}

#[test]
fn file_that_changed_while_the_session_was_down_is_hashed_and_mended() {
    let torrent = Torrent::random(7, "a", 2_000_000, 64 << 10);
    let (mut world, first, leech) = pair(7, &torrent);
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    assert!(world.stop(leech, 30));
    world.disk_mut(leech).truncate("a", 1_000_000);
    let checks = world.tally(leech).checks;
    world.restart(leech, &[first]);
    world.run_until(10, |w| w.tally(leech).checks == checks + 15).unwrap();
    world.run_for(10);
    assert_eq!(have_pieces(&mut world, leech), 15, "what is left of the file");
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    assert!(world.disk(leech).holds(&torrent));
    assert_eq!(world.fetched(leech, 0), 65_536, "what was left of the file is fetched once");
}

#[test]
fn stop_with_a_full_disk_ends_and_believes_no_lost_block() {
    let torrent = Torrent::random(8, "a", 4_000_000, 1 << 20);
    let (mut world, first, leech) = pair(8, &torrent);
    world.run_for(1_000);
    let used = world.disk(leech).used();
    world.disk_mut(leech).set_room(Some(used));
    assert!(world.stop(leech, 30));
    world.disk_mut(leech).set_room(None);
    world.restart(leech, &[first]);
    world.run_until(120, |w| w.is_complete(leech)).unwrap();
    assert!(world.disk(leech).holds(&torrent));
    let Some(Reply::Torrent(status)) = world.command(leech, Command::TorrentStatus(ID)) else { panic!("no status") };
    assert_eq!(status.failed_bytes, 0, "a piece was put together with blocks that were never written");
    assert!(status.error.is_none_or(|e| e.code != ErrorCode::NoSpace));
}
