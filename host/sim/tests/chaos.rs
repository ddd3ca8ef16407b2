//! Swarms in which everything happens at once: sessions come and go, lines break, users change their minds. Sessions are
//! asked for their invariants all the while.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use reef_engine::settings::Value;
use reef_engine::{Command, Settings, TorrentId};
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};

const ID: TorrentId = TorrentId(1);

struct Chaos {
    world: World,
    random: ChaCha8Rng,
    torrent: Torrent,
    first: NodeId,
    leeches: Vec<NodeId>,
}

impl Chaos {
    fn new(seed: u64, torrent: Torrent, settings: &Settings) -> Self {
        let mut world = World::new(seed);
        let first = world.add_node();
        world.seed(first, &torrent);
        let leeches: Vec<NodeId> = (0..6).map(|_| world.add_node_with(settings.clone(), None)).collect();
        let mut new = Self { world, random: ChaCha8Rng::seed_from_u64(!seed), torrent, first, leeches };
        for node in new.leeches.clone() {
            let known = new.known(node);
            new.world.leech(node, &new.torrent, &known);
        }
        new
    }

    /// Whom a node knows: the seed and two others.
    fn known(&mut self, node: NodeId) -> Vec<NodeId> {
        let mut known = vec![self.first];
        for _ in 0..2 {
            let other = self.any();
            if other != node {
                known.push(other);
            }
        }
        known
    }

    fn any(&mut self) -> NodeId {
        let at = self.below(self.leeches.len() as u32) as usize;
        self.leeches[at]
    }

    fn below(&mut self, n: u32) -> u32 {
        self.random.next_u32() % n
    }

    /// One thing happens to one node.
    fn strike(&mut self) {
        let node = self.any();
        let file = self.below(self.torrent.meta.info.layout.files().len() as u32);
        let wanted = |priority| Command::SetFilePriorities { torrent: ID, priorities: vec![(file, priority)] };
        let limit = i64::from(self.below(2)) * 300_000;
        let command = match self.below(10) {
            0 => Command::Pause(ID),
            1 => Command::Recheck(ID),
            2 => wanted(0),
            3 => wanted(7),
            4 => Command::SetSettings(vec![("download_rate_limit".to_owned(), Value::Int(limit))]),
            5 => return self.end(node, World::kill),
            6 => return self.end(node, World::crash),
            7 => return self.end(node, |w, n| assert!(w.stop(n, 60), "node {} does not stop", n.0)),
            8 => {
                let faults = Faults { break_connections: self.below(30), refuse_dials: 300, ..Faults::default() };
                return self.world.set_faults(node, faults);
            }
            _ => Command::Resume(ID),
        };
        self.world.command(node, command);
    }

    fn end(&mut self, node: NodeId, how: fn(&mut World, NodeId)) {
        how(&mut self.world, node);
        let down = u64::from(self.below(500));
        self.world.run_for(down);
        let known = self.known(node);
        self.world.restart(node, &known);
        if self.world.torrents(node).is_empty() {
            self.world.leech(node, &self.torrent, &known);
        }
    }

    /// Peace returns: everybody wants everything again and gets it.
    fn settle(mut self, seed: u64) {
        for node in self.leeches.clone() {
            self.world.set_faults(node, Faults::default());
            let files = self.torrent.meta.info.layout.files().len() as u32;
            let priorities = (0..files).map(|f| (f, 4)).collect();
            self.world.command(node, Command::SetFilePriorities { torrent: ID, priorities });
            self.world.command(node, Command::Resume(ID));
            self.world.command(node, Command::AddPeer { torrent: ID, address: self.first.address() });
        }
        let leeches = self.leeches.clone();
        if let Err(e) = self.world.run_until(1_800, |w| leeches.iter().all(|&n| w.is_complete(n))) {
            panic!("chaos {seed}: {e}");
        }
        for node in leeches {
            assert!(self.world.disk(node).holds(&self.torrent), "chaos {seed}: node {} has wrong bytes", node.0);
            assert_eq!(self.world.torrents(node)[0].failed_bytes, 0, "chaos {seed}: node {}", node.0);
        }
    }
}

fn run(seed: u64, torrent: Torrent, settings: &Settings) {
    let mut chaos = Chaos::new(seed, torrent, settings);
    for _ in 0..30 {
        let pause = u64::from(chaos.below(250));
        chaos.world.run_for(pause);
        chaos.strike();
    }
    chaos.settle(seed);
}

#[test]
fn folder_survives_everything_at_once() {
    let files = [("a", 300_001), ("b/c", 5), ("b/d", 600_000), ("e", 0), ("f", 200_000), ("g", 70_000)];
    for seed in 0..8 {
        run(seed, Torrent::folder(seed, "folder", &files, 64 << 10), &Settings::default());
    }
}

#[test]
fn large_pieces_survive_everything_at_once_in_little_memory() {
    let settings = Settings { cache_size: 4 << 20, ..Settings::default() };
    for seed in 100..104 {
        run(seed, Torrent::random(seed, "large", 9_000_000, 2 << 20), &settings);
    }
}
