//! The choker: which of the interested peers are sent to.
//!
//! A function of facts about the peers: it keeps no state, changes nothing and knows no connection (BEP 3, "choking and
//! optimistic unchoking").
//!
//! *Regular slots* go, where we still download, to those that sent us most since the last round (tit for tat); a peer
//! that keeps us waiting comes after all others. Where we seed, they go round: a peer keeps its slot until it got its
//! share and had it for a while, then those come first that take data fastest. Peers that gave us something come before
//! peers of seeded torrents. *Optimistic slots* go round among the others, whatever they gave: first to those that never
//! had one, then to those that have waited longest.

use crate::ids::ConnId;
use crate::time::Time;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

/// A seeded peer keeps its slot at least this long.
const MIN_SEED_SLOT: Duration = Duration::from_secs(60);

/// What the choker knows of a peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerFacts {
    /// The peer.
    pub conn: ConnId,
    /// It is interested in us.
    pub interested: bool,
    /// We need nothing more of this torrent.
    pub seeding: bool,
    /// It keeps us waiting for what we asked of it.
    pub snubbed: bool,
    /// Payload bytes it sent us since the last round.
    pub received: u64,
    /// Payload bytes we sent it since the last round.
    pub sent: u64,
    /// Payload bytes we sent it since it was unchoked.
    pub sent_since_unchoke: u64,
    /// Since when it is unchoked; `None` if it is choked.
    pub unchoked_since: Option<Time>,
    /// It holds an optimistic slot now.
    pub optimistic: bool,
    /// When it last got an optimistic slot.
    pub last_optimistic: Option<Time>,
    /// When it connected.
    pub connected_at: Time,
    /// A plugin's wish: among peers that waited as long, a lower number gets an optimistic slot sooner.
    pub priority: Option<u64>,
}

/// How slots are shared while seeding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SeedChoking {
    /// Everybody in turn: a peer that got its share makes room.
    #[default]
    RoundRobin,
    /// Those that take data fastest.
    FastestUpload,
}

/// The rules of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Regular slots; `None` for no limit.
    pub slots: Option<u32>,
    /// Optimistic slots; 0 for a fifth of the regular ones, at least one.
    pub optimistic_slots: u32,
    /// How long an optimistic slot is held.
    pub optimistic_interval: Duration,
    /// How slots are shared while seeding.
    pub seed_choking: SeedChoking,
    /// Bytes that a peer gets while seeding before its slot goes on to another.
    pub seed_share: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            slots: Some(8),
            optimistic_slots: 0,
            optimistic_interval: Duration::from_secs(30),
            seed_choking: SeedChoking::RoundRobin,
            seed_share: 20 << 20,
        }
    }
}

/// Who is to be unchoked. Everybody else is to be choked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unchoked {
    /// Those that earned it, best first.
    pub regular: Vec<ConnId>,
    /// Those that hold an optimistic slot.
    pub optimistic: Vec<ConnId>,
}

impl Unchoked {
    /// Whether the peer is to be unchoked.
    #[must_use]
    pub fn contains(&self, conn: ConnId) -> bool {
        self.regular.contains(&conn) || self.optimistic.contains(&conn)
    }
}

/// Chooses the peers to send to from now to the next round.
#[must_use]
pub fn choose_unchoked(peers: &[PeerFacts], rules: &Rules, now: Time) -> Unchoked {
    let mut interested: Vec<&PeerFacts> = peers.iter().filter(|peer| peer.interested).collect();
    interested.sort_by_cached_key(|peer| regular_rank(peer, rules, now));
    let slots = rules.slots.map_or(interested.len(), |slots| slots as usize);
    let regular: Vec<ConnId> = interested.iter().take(slots).map(|peer| peer.conn).collect();
    interested.drain(..regular.len());
    interested.sort_by_cached_key(|peer| optimistic_rank(peer, rules, now));
    let optimistic = interested.iter().take(optimistic_slots(rules)).map(|peer| peer.conn).collect();
    Unchoked { regular, optimistic }
}

/// Chooses the peers that get a free slot at once, without waiting for the round: those that are interested, while fewer
/// than all slots are held.
#[must_use]
pub fn fill_free_slots(peers: &[PeerFacts], rules: &Rules, now: Time) -> Vec<ConnId> {
    let held: BTreeSet<ConnId> = peers.iter().filter(|p| p.unchoked_since.is_some()).map(|p| p.conn).collect();
    let slots = rules.slots.map_or(usize::MAX, |slots| slots as usize + optimistic_slots(rules));
    let chosen = choose_unchoked(peers, rules, now);
    let waiting = chosen.regular.into_iter().chain(chosen.optimistic).filter(|conn| !held.contains(conn));
    waiting.take(slots.saturating_sub(held.len())).collect()
}

fn optimistic_slots(rules: &Rules) -> usize {
    match (rules.optimistic_slots, rules.slots) {
        (0, Some(0)) => 0,
        (0, slots) => slots.map_or(1, |slots| (slots / 5).max(1) as usize),
        (slots, _) => slots as usize,
    }
}

/// Lower is better: snubbing peers last, then by what they gave, then by the turn of the seeding rule.
fn regular_rank(peer: &PeerFacts, rules: &Rules, now: Time) -> impl Ord + use<> {
    let received = if peer.seeding { 0 } else { peer.received };
    let unchoked_for = peer.unchoked_since.map(|since| now.since(since));
    let had_its_turn = rules.seed_choking == SeedChoking::RoundRobin
        && peer.sent_since_unchoke >= rules.seed_share
        && unchoked_for.is_some_and(|time| time >= MIN_SEED_SLOT);
    // In its turn a peer keeps its slot, or two peers of one speed would change places every round.
    let holds = rules.seed_choking == SeedChoking::RoundRobin && unchoked_for.is_some() && !peer.optimistic;
    (
        (peer.snubbed && !peer.seeding, Reverse(received)),
        (had_its_turn, !holds, Reverse(peer.sent)),
        (peer.last_optimistic, peer.connected_at, peer.conn),
    )
}

/// Lower is better: whoever holds a slot whose time is not over, then who never had one, then who waited longest.
fn optimistic_rank(peer: &PeerFacts, rules: &Rules, now: Time) -> impl Ord + use<> {
    let holds = peer.optimistic && peer.last_optimistic.is_some_and(|at| now.since(at) < rules.optimistic_interval);
    (!holds, peer.last_optimistic, peer.priority.unwrap_or(u64::MAX), peer.connected_at, peer.conn)
}
