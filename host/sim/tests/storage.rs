//! Disks that are full or lose data, and files that nobody wants.

use reef_engine::status::TorrentState;
use reef_engine::{AddTorrent, Alert, Command, ErrorCode, Reply, Settings, TorrentFlags, TorrentId};
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};

const ID: TorrentId = TorrentId(1);

fn pair(seed: u64, torrent: &Torrent) -> (World, NodeId, NodeId) {
    let mut world = World::new(seed);
    let first = world.add_node();
    world.seed(first, torrent);
    let leech = world.add_node();
    world.leech(leech, torrent, &[first]);
    (world, first, leech)
}

fn error_of(world: &mut World, node: NodeId) -> Option<ErrorCode> {
    world.torrents(node).first().and_then(|t| t.error.as_ref().map(|e| e.code))
}

#[track_caller]
fn check_complete(world: &mut World, node: NodeId, torrent: &Torrent) {
    if let Err(e) = world.run_until(120, |w| w.is_complete(node)) {
        panic!("{e}");
    }
    assert!(world.disk(node).holds(torrent));
    let status = &world.torrents(node)[0];
    assert_eq!(status.failed_bytes, 0);
    assert!(!world.alerts(node).iter().any(|a| matches!(a, Alert::PeerBanned { .. })), "an honest peer is banned");
}

#[test]
fn full_disk_stops_one_torrent_and_resume_completes_it_without_fetching_again() {
    let torrent = Torrent::random(1, "a", 4_000_000, 64 << 10);
    let other = Torrent::random(2, "b", 300_000, 64 << 10);
    let (mut world, first, leech) = pair(1, &torrent);
    world.seed(first, &other);
    world.run_for(600);
    let used = world.disk(leech).used();
    assert!(used > 500_000);
    world.disk_mut(leech).set_room(Some(used));
    world.run_until(30, |w| error_of(w, leech).is_some()).unwrap();
    assert_eq!(error_of(&mut world, leech), Some(ErrorCode::NoSpace));
    world.run_for(5_000);
    let have: Vec<u32> = (0..62).filter(|&p| world.disk(leech).holds_piece(&torrent, p)).collect();
    let before: Vec<u64> = have.iter().map(|&p| world.fetched(leech, p)).collect();
    assert!(!have.is_empty() && world.torrents(leech)[0].num_peers == 0);
    world.disk_mut(leech).set_room(Some(used + 10_000_000));
    world.command(leech, Command::Resume(ID));
    check_complete(&mut world, leech, &torrent);
    let after: Vec<u64> = have.iter().map(|&p| world.fetched(leech, p)).collect();
    assert_eq!(before, after, "pieces that are on the disk are fetched again");
}

#[test]
fn other_torrents_go_on_when_the_disk_is_full_for_one() {
    let large = Torrent::random(3, "a", 4_000_000, 64 << 10);
    let small = Torrent::random(4, "b", 100_000, 32 << 10);
    let (mut world, first, leech) = pair(2, &large);
    world.seed(first, &small);
    world.run_for(500);
    let used = world.disk(leech).used();
    world.disk_mut(leech).set_room(Some(used));
    world.run_until(30, |w| error_of(w, leech).is_some()).unwrap();
    world.disk_mut(leech).set_room(Some(used + 150_000));
    world.leech(leech, &small, &[first]);
    world.run_until(60, |w| w.torrents(leech).iter().any(|t| t.complete)).unwrap();
    assert!(world.disk(leech).holds(&small));
    assert_eq!(error_of(&mut world, leech), Some(ErrorCode::NoSpace));
}

#[test]
fn disk_without_room_for_the_whole_is_told_before_anything_is_fetched() {
    let torrent = Torrent::random(5, "a", 400_000, 64 << 10);
    let mut world = World::new(3);
    let first = world.add_node();
    world.seed(first, &torrent);
    let leech = world.add_node();
    world.disk_mut(leech).set_room(Some(100_000));
    world.leech(leech, &torrent, &[first]);
    world.run_for(2_000);
    assert_eq!(error_of(&mut world, leech), Some(ErrorCode::NoSpace));
    assert_eq!(world.tally(leech).received, 0);
    world.disk_mut(leech).set_room(None);
    world.command(leech, Command::Resume(ID));
    check_complete(&mut world, leech, &torrent);
}

#[test]
fn blocks_that_could_not_be_written_are_not_believed() {
    let torrent = Torrent::random(6, "a", 4_000_000, 2 << 20);
    let (mut world, first, leech) = pair(4, &torrent);
    // A stop leaves unfinished blocks with a file that is known to the time of its last write.
    world.run_for(500);
    assert!(world.stop(leech, 30));
    world.restart(leech, &[]);
    world.run_for(50);
    let used = world.disk(leech).used();
    world.disk_mut(leech).set_room(Some(used));
    world.command(leech, Command::AddPeer { torrent: ID, address: first.address() });
    world.run_until(60, |w| error_of(w, leech).is_some()).unwrap();
    world.run_for(1_000);
    world.disk_mut(leech).set_room(None);
    world.command(leech, Command::Resume(ID));
    check_complete(&mut world, leech, &torrent);
}

#[test]
fn blocks_that_changed_on_disk_cost_no_peer_its_place() {
    // Blocks from an earlier run have no sender. That a piece fails with them says nothing of who sent the rest.
    let torrent = Torrent::random(7, "a", 4_000_000, 2 << 20);
    let (mut world, first, leech) = pair(5, &torrent);
    world.run_for(500);
    assert!(world.stop(leech, 30));
    world.disk_mut(leech).spoil("a", 40_000);
    world.restart(leech, &[first]);
    world.run_until(120, |w| w.is_complete(leech)).unwrap();
    assert!(world.disk(leech).holds(&torrent));
    assert!(!world.alerts(leech).iter().any(|a| matches!(a, Alert::PeerBanned { .. })));
}

#[test]
fn file_cut_off_while_seeding_stops_the_torrent_with_an_error() {
    let torrent = Torrent::random(8, "a", 1_000_000, 64 << 10);
    let (mut world, first, leech) = pair(6, &torrent);
    world.run_for(250);
    world.disk_mut(first).truncate("a", 100_000);
    world.run_until(60, |w| error_of(w, first).is_some()).unwrap();
    assert_eq!(error_of(&mut world, first), Some(ErrorCode::MissingFile));
    world.run_for(1_000);
    assert_eq!(world.torrents(leech)[0].num_peers, 0);
    // Checked again it is what it is, and what is left of it can be had.
    world.command(first, Command::Recheck(ID));
    world.run_for(500);
    assert_eq!(world.torrents(first)[0].have_pieces, 1);
    assert!(world.torrents(first)[0].error.is_none());
}

#[test]
fn what_was_only_believed_is_hashed_when_it_is_checked_again() {
    let torrent = Torrent::random(13, "a", 1_000_000, 64 << 10);
    let mut world = World::new(13);
    let seed = world.add_node();
    world.disk_mut(seed).put(&torrent);
    world.disk_mut(seed).spoil("a", 500_000);
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED).with(TorrentFlags::SEED_MODE);
    let params = AddTorrent { metainfo: Some(torrent.meta.clone()), flags, ..AddTorrent::default() };
    world.command(seed, Command::AddTorrent(Box::new(params)));
    world.run_for(10_000);
    assert_eq!((world.torrents(seed)[0].have_pieces, world.tally(seed).checks), (16, 0), "believed");
    world.command(seed, Command::Recheck(ID));
    world.run_for(10_000);
    assert_eq!((world.torrents(seed)[0].have_pieces, world.tally(seed).checks), (15, 16), "hashed");
}

#[test]
fn only_wanted_files_are_fetched_and_the_rest_when_it_is_wanted() {
    let files = [("a", 300_000), ("b", 200_000), ("c", 500_000)];
    let torrent = Torrent::folder(9, "folder", &files, 64 << 10);
    let mut world = World::new(7);
    let first = world.add_node();
    world.seed(first, &torrent);
    let leech = world.add_node_with(Settings::default(), None);
    let params = AddTorrent {
        metainfo: Some(torrent.meta.clone()),
        flags: TorrentFlags(0),
        file_priorities: vec![0, 4, 0],
        peers: vec![first.address()],
        ..AddTorrent::default()
    };
    world.command(leech, Command::AddTorrent(Box::new(params)));
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    world.run_for(1_000);
    let file = |world: &World, name: &str| world.disk(leech).file(name).map(<[u8]>::len);
    assert_eq!(file(&world, "folder/b"), Some(200_000));
    assert_eq!((file(&world, "folder/a"), file(&world, "folder/c")), (None, None), "files that nobody wants");
    let pieces: u64 = (0..16).map(|p| world.fetched(leech, p)).sum();
    assert!(pieces <= 200_000 + 2 * 65_536, "{pieces} bytes were fetched");
    // It stops and starts and still knows what is in the part file.
    assert!(world.stop(leech, 30));
    let checks = world.tally(leech).checks;
    world.restart(leech, &[first]);
    world.run_for(200);
    assert!(world.is_complete(leech));
    assert_eq!(world.tally(leech).checks, checks);
    world.command(leech, Command::SetFilePriorities { torrent: ID, priorities: vec![(0, 4), (2, 1)] });
    check_complete(&mut world, leech, &torrent);
    let pieces: u64 = (0..16).map(|p| world.fetched(leech, p)).sum();
    assert_eq!(pieces, 1_000_000, "pieces on the border are not fetched twice");
    let Some(Reply::Files(files)) = world.command(leech, Command::Files(ID)) else { panic!("no files") };
    assert!(files.iter().all(|f| f.done == f.size));
}

#[test]
fn file_that_came_along_with_others_is_put_in_its_place_when_it_is_wanted() {
    let torrent = Torrent::folder(11, "folder", &[("a", 100_000), ("b", 10), ("empty", 0)], 64 << 10);
    let mut world = World::new(9);
    let first = world.add_node();
    world.seed(first, &torrent);
    let leech = world.add_node();
    let params = AddTorrent {
        metainfo: Some(torrent.meta.clone()),
        flags: TorrentFlags(0),
        file_priorities: vec![4, 0, 0],
        peers: vec![first.address()],
        ..AddTorrent::default()
    };
    world.command(leech, Command::AddTorrent(Box::new(params)));
    world.run_until(60, |w| w.is_complete(leech)).unwrap();
    assert_eq!(world.disk(leech).file("folder/b"), None);
    world.command(leech, Command::SetFilePriorities { torrent: ID, priorities: vec![(1, 4), (2, 4)] });
    assert!(!world.is_complete(leech), "it is not yet where it belongs");
    check_complete(&mut world, leech, &torrent);
    assert_eq!(world.torrents(leech)[0].state, TorrentState::Seeding);
}

#[test]
fn nothing_is_wanted_and_nothing_is_done() {
    let torrent = Torrent::folder(10, "folder", &[("a", 300_000)], 64 << 10);
    let (mut world, _, leech) = pair(8, &torrent);
    world.command(leech, Command::SetFilePriorities { torrent: ID, priorities: vec![(0, 0)] });
    world.run_for(5_000);
    assert_eq!(world.tally(leech).received, 0);
    world.command(leech, Command::SetFilePriorities { torrent: ID, priorities: vec![(0, 7)] });
    check_complete(&mut world, leech, &torrent);
}

#[test]
fn slow_disk_holds_up_reading_and_memory_stays_within_the_setting() {
    for piece_length in [64 << 10, 1 << 20, 4 << 20] {
        let torrent = Torrent::random(12, "a", 12 << 20, piece_length);
        let mut world = World::new(10);
        let seeds: Vec<NodeId> = (0..4).map(|_| world.add_node()).collect();
        seeds.iter().for_each(|&n| world.seed(n, &torrent));
        let limit = 4 << 20;
        let leech = world.add_node_with(Settings { cache_size: limit, ..Settings::default() }, None);
        world.set_faults(leech, Faults { slow_disk: 700, ..Faults::default() });
        world.run_for(3_000);
        world.leech(leech, &torrent, &seeds);
        let mut most = 0;
        let done = |w: &mut World| {
            let Some(Reply::Session(status)) = w.command(leech, Command::SessionStatus) else { panic!("no status") };
            let queued = status.stats.iter().find(|(name, _)| *name == "disk.queued_write_bytes").map(|(_, n)| *n);
            most = most.max(queued.expect("a counter"));
            w.is_complete(leech)
        };
        if let Err(e) = world.run_until(300, done) {
            panic!("pieces of {piece_length}: {e}");
        }
        assert!(world.disk(leech).holds(&torrent));
        assert!((1..=limit).contains(&most), "pieces of {piece_length}: {most} bytes waited for the disk");
    }
}
