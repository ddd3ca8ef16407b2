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

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time::from_secs(1000);

    fn peer(conn: u64) -> PeerFacts {
        PeerFacts {
            conn: ConnId(conn),
            interested: true,
            seeding: false,
            snubbed: false,
            received: 0,
            sent: 0,
            sent_since_unchoke: 0,
            unchoked_since: None,
            optimistic: false,
            last_optimistic: None,
            connected_at: Time::from_secs(conn),
            priority: None,
        }
    }

    fn unchoked(conn: u64, secs: u64) -> PeerFacts {
        PeerFacts { unchoked_since: Some(NOW - Duration::from_secs(secs)), ..peer(conn) }
    }

    fn optimistic(conn: u64, secs: u64) -> PeerFacts {
        let since = Some(NOW - Duration::from_secs(secs));
        PeerFacts { optimistic: true, unchoked_since: since, last_optimistic: since, ..peer(conn) }
    }

    fn rules(slots: u32) -> Rules {
        Rules { slots: Some(slots), ..Rules::default() }
    }

    #[track_caller]
    fn check(peers: &[PeerFacts], rules: Rules, regular: &[u64], optimistic: &[u64]) {
        let ids = |list: &[u64]| list.iter().map(|id| ConnId(*id)).collect::<Vec<_>>();
        let want = Unchoked { regular: ids(regular), optimistic: ids(optimistic) };
        assert_eq!(choose_unchoked(peers, &rules, NOW), want);
        let mut turned = peers.to_vec();
        turned.reverse();
        assert_eq!(choose_unchoked(&turned, &rules, NOW), want, "the order of the facts must not matter");
    }

    #[test]
    fn who_gave_most_gets_the_slots() {
        let gave = |conn, received| PeerFacts { received, ..peer(conn) };
        let peers = [gave(1, 10), gave(2, 30), gave(3, 20), gave(4, 0)];
        check(&peers, rules(2), &[2, 3], &[1]);
        check(&peers, Rules { slots: None, ..rules(0) }, &[2, 3, 1, 4], &[]);
        check(&peers, rules(0), &[], &[]);
        check(&peers, Rules { optimistic_slots: 2, ..rules(1) }, &[2], &[1, 3]);
    }

    #[test]
    fn who_is_not_interested_gets_nothing() {
        let bored = PeerFacts { interested: false, received: 99, ..unchoked(1, 5) };
        check(&[bored, peer(2)], rules(4), &[2], &[]);
        check(&[bored], rules(4), &[], &[]);
    }

    #[test]
    fn a_snubbing_peer_comes_last_but_may_be_lucky() {
        let snub = PeerFacts { snubbed: true, received: 99, ..peer(1) };
        check(&[snub, peer(2), peer(3)], rules(2), &[2, 3], &[1]);
        check(&[snub], rules(2), &[1], &[]);
        let waited = PeerFacts { last_optimistic: Some(Time::ZERO), ..peer(4) };
        check(&[snub, peer(2), waited], rules(1), &[2], &[1]);
    }

    #[test]
    fn peers_that_give_come_before_those_we_seed_to() {
        let seeded = PeerFacts { seeding: true, sent: 1_000_000, received: 5, ..unchoked(1, 5) };
        let gives = PeerFacts { received: 1, ..peer(2) };
        check(&[seeded, gives], rules(1), &[2], &[1]);
    }

    #[test]
    fn while_seeding_slots_go_round_after_their_share() {
        let seeded = |secs, sent_since_unchoke| PeerFacts { seeding: true, sent_since_unchoke, ..unchoked(1, secs) };
        let waiting = PeerFacts { seeding: true, ..peer(2) };
        let share = Rules::default().seed_share;
        for (secs, sent, first) in [(100, share - 1, 1), (59, share, 1), (60, share, 2), (1000, share * 9, 2)] {
            check(&[seeded(secs, sent), waiting], rules(1), &[first], &[3 - first]);
        }
    }

    #[test]
    fn the_fastest_taker_wins_where_that_is_the_rule() {
        let takes = |conn, sent| PeerFacts { seeding: true, sent, sent_since_unchoke: u64::MAX, ..unchoked(conn, 100) };
        let fastest = Rules { seed_choking: SeedChoking::FastestUpload, ..rules(1) };
        check(&[takes(1, 10), takes(2, 20)], fastest, &[2], &[1]);
    }

    #[test]
    fn an_optimistic_slot_is_held_for_its_time_then_goes_to_who_waited_longest() {
        let best = PeerFacts { received: 9, ..peer(1) };
        let before = |conn, secs| PeerFacts { last_optimistic: Some(Time::from_secs(secs)), ..peer(conn) };
        check(&[best, optimistic(2, 29), peer(3)], rules(1), &[1], &[2]);
        check(&[best, optimistic(2, 30), peer(3)], rules(1), &[1], &[3]);
        check(&[best, optimistic(2, 30), before(3, 500), before(4, 400)], rules(1), &[1], &[4]);
        check(&[best, optimistic(2, 30)], rules(1), &[1], &[2]);
    }

    #[test]
    fn a_plugin_decides_among_those_that_waited_as_long() {
        let best = PeerFacts { received: 9, ..peer(1) };
        let wish = |conn, priority, last| PeerFacts { priority, last_optimistic: last, ..peer(conn) };
        check(&[best, peer(2), wish(3, Some(7), None)], rules(1), &[1], &[3]);
        check(&[best, wish(2, Some(8), None), wish(3, Some(7), None)], rules(1), &[1], &[3]);
        check(&[best, peer(2), wish(3, Some(0), Some(Time::ZERO))], rules(1), &[1], &[2]);
    }

    #[test]
    fn a_fifth_of_the_slots_are_optimistic_unless_told() {
        for (slots, told, want) in [(8, 0, 1), (10, 0, 2), (50, 0, 10), (1, 0, 1), (0, 0, 0), (8, 3, 3)] {
            assert_eq!(optimistic_slots(&Rules { optimistic_slots: told, ..rules(slots) }), want);
        }
    }

    #[test]
    fn a_free_slot_is_filled_at_once_and_no_more() {
        let fill = |peers: &[PeerFacts], slots| {
            fill_free_slots(peers, &rules(slots), NOW).into_iter().map(|conn| conn.0).collect::<Vec<_>>()
        };
        assert_eq!(fill(&[unchoked(1, 5), peer(2), peer(3), peer(4)], 2), [2, 3]);
        assert_eq!(fill(&[unchoked(1, 5), unchoked(2, 5), unchoked(3, 5), peer(4)], 2), []);
        assert_eq!(fill(&[], 2), []);
    }
}
