//! What a session does on the wire, one behaviour a test: its peer is a script that says exactly what the test says.

mod downloads;
mod extensions;
mod handshakes;
mod limits;
mod magnets;
mod uploads;

use bytes::Bytes;
use reef_engine::{Alert, Command, Reply, Settings, TorrentId};
use reef_proto::handshake::{Feature, Handshake, Reserved};
use reef_proto::message::{BlockRequest, Message};
use reef_proto::peer_id::PeerId;
use reef_sim::content::Torrent;
use reef_sim::{Heard, NodeId, Wire, World};

const ID: TorrentId = TorrentId(1);
const BLOCK: u32 = 16 << 10;
/// Longer than a message and its answer are under way, in milliseconds.
const ROUND: u64 = 150;

/// What the scripted peer can do.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// BEP 3 alone.
    Plain,
    /// The fast extension (BEP 6).
    Fast,
    /// The fast extension and the extension protocol (BEP 10).
    Extended,
}

/// One session and a torrent.
struct Stage {
    world: World,
    node: NodeId,
    torrent: Torrent,
}

impl Stage {
    /// A session that has 16 pieces of 64 KiB.
    fn seeding() -> Self {
        Self::with(Settings::default(), true)
    }

    /// A session that wants 16 pieces of 64 KiB.
    fn leeching() -> Self {
        Self::with(Settings::default(), false)
    }

    fn with(settings: Settings, seeds: bool) -> Self {
        Self::of(settings, Torrent::random(7, "a", 1 << 20, 64 << 10), seeds)
    }

    fn of(settings: Settings, torrent: Torrent, seeds: bool) -> Self {
        let mut world = World::new(7);
        let node = world.add_node_with(settings, None);
        if seeds {
            world.seed(node, &torrent);
        } else {
            world.leech(node, &torrent, &[]);
        }
        world.run_for(ROUND);
        Self { world, node, torrent }
    }

    /// A new script that is connected and has shaken hands.
    fn peer(&mut self, kind: Peer) -> Wire {
        let wire = self.stranger();
        self.shake(wire, kind, peer_id(self.world.steps()));
        wire
    }

    /// A new script that is connected and has said nothing.
    fn stranger(&mut self) -> Wire {
        let script = self.world.add_script();
        self.world.script_dial(script, self.node)
    }

    fn shake(&mut self, wire: Wire, kind: Peer, peer_id: PeerId) {
        let reserved = match kind {
            Peer::Plain => Reserved([0; 8]),
            Peer::Fast => Reserved([0; 8]).with(Feature::Fast),
            Peer::Extended => Reserved([0; 8]).with(Feature::Fast).with(Feature::Extended),
        };
        let info_hash = self.torrent.meta.info_hashes.wire();
        self.world.shake_hands(wire, &Handshake { reserved, info_hash, peer_id });
        self.world.run_for(ROUND);
    }

    /// Says something and waits for the answer.
    fn say(&mut self, wire: Wire, messages: &[Message]) -> Vec<Message> {
        self.world.say(wire, messages);
        self.wait(wire, ROUND)
    }

    /// Waits, and returns the messages that came since it was last asked.
    fn wait(&mut self, wire: Wire, milliseconds: u64) -> Vec<Message> {
        self.world.run_for(milliseconds);
        let message = |heard| match heard {
            Heard::Message(m) => Some(m),
            Heard::Handshake(_) | Heard::Closed => None,
        };
        self.world.hear(wire).into_iter().filter_map(message).collect()
    }

    /// Says something that must close the connection.
    #[track_caller]
    fn closes(&mut self, wire: Wire, messages: &[Message]) {
        self.world.say(wire, messages);
        self.world.run_for(ROUND);
        assert!(self.is_closed(wire), "the connection stands after {messages:?}");
    }

    fn is_closed(&mut self, wire: Wire) -> bool {
        self.world.hear(wire).contains(&Heard::Closed)
    }

    /// Answers every request that was heard, until nothing is asked for any more.
    fn serve(&mut self, wire: Wire, mut heard: Vec<Message>) {
        loop {
            let blocks: Vec<Message> = requests(&heard).iter().map(|r| self.block(r)).collect();
            if blocks.is_empty() {
                return;
            }
            self.world.say(wire, &blocks);
            // A full round of requests and their blocks fits into this, whatever the rate.
            heard = self.wait(wire, 600);
        }
    }

    /// A block of the torrent.
    fn block(&self, r: &BlockRequest) -> Message {
        let from = self.torrent.meta.info.layout.piece_offset(r.piece) as usize + r.begin as usize;
        Message::Piece { piece: r.piece, begin: r.begin, data: self.torrent.data.slice(from..from + r.length as usize) }
    }

    fn peers(&mut self) -> Vec<reef_engine::status::PeerStatus> {
        match self.world.command(self.node, Command::Peers(ID)) {
            Some(Reply::Peers(list)) => list,
            other => panic!("no peers but {other:?}"),
        }
    }

    fn have_pieces(&mut self) -> u32 {
        self.world.torrents(self.node)[0].have_pieces
    }

    fn is_banned(&self) -> bool {
        self.world.alerts(self.node).iter().any(|a| matches!(a, Alert::PeerBanned { .. }))
    }
}

fn peer_id(number: u64) -> PeerId {
    let mut id = *b"-ZZ0001-............";
    id[12..].copy_from_slice(&number.to_be_bytes());
    PeerId(id)
}

fn request(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece, begin: block * BLOCK, length: BLOCK }
}

fn requests(heard: &[Message]) -> Vec<BlockRequest> {
    heard.iter().filter_map(|m| if let Message::Request(r) = m { Some(*r) } else { None }).collect()
}

fn cancels(heard: &[Message]) -> Vec<BlockRequest> {
    heard.iter().filter_map(|m| if let Message::Cancel(r) = m { Some(*r) } else { None }).collect()
}

fn rejects(heard: &[Message]) -> Vec<BlockRequest> {
    heard.iter().filter_map(|m| if let Message::Reject(r) = m { Some(*r) } else { None }).collect()
}

fn blocks(heard: &[Message]) -> Vec<Message> {
    heard.iter().filter(|m| matches!(m, Message::Piece { .. })).cloned().collect()
}

fn bitfield(bytes: &[u8]) -> Message {
    Message::Bitfield(Bytes::copy_from_slice(bytes))
}
