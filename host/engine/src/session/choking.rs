//! Whom we let download: rounds by what peers gave us, and free slots filled at once.

use super::Session;
use crate::hooks::Hooks;
use crate::ids::ConnId;
use crate::peer::Peer;
use crate::policy::choker::{self, PeerFacts, Rules, SeedChoking, Unchoked};
use crate::time::Time;
use reef_proto::message::Message;
use std::time::Duration;

/// When the next round is due.
#[derive(Debug, Default)]
pub(super) struct State {
    next_round: Time,
    /// A slot may be free and somebody may want it.
    pub(super) slots_changed: bool,
}

impl Session {
    /// A peer wants something: it gets a slot now if one is free.
    pub(super) fn became_interested(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.remote.interested = true;
        peer.last_useful = self.now;
        if peer.local.choking {
            self.slots_changed();
        }
    }

    /// Runs a choke round if one is due.
    pub(super) fn choke_round_if_due(&mut self, hooks: &mut dyn Hooks) {
        if self.now < self.choking.next_round {
            return;
        }
        self.choking.next_round = self.now + Duration::from_secs(self.settings.unchoke_interval as u64);
        self.ask_unchoke_priorities(hooks);
        let chosen = choker::choose_unchoked(&self.choke_facts(), &self.choke_rules(), self.now);
        self.apply_choking(&chosen, hooks);
        for peer in self.peers.values_mut() {
            peer.round_start = (peer.download.total(), peer.upload.total());
        }
    }

    /// A peer wants a slot or gave one back. All peers are weighed once a turn for that, not once a message: a message
    /// of five bytes must not cost a look at everybody.
    pub(super) fn slots_changed(&mut self) {
        self.choking.slots_changed = true;
    }

    /// Unchokes interested peers while slots are free, if anything changed in this turn.
    pub(super) fn fill_free_slots(&mut self) {
        if !std::mem::take(&mut self.choking.slots_changed) {
            return;
        }
        for conn in choker::fill_free_slots(&self.choke_facts(), &self.choke_rules(), self.now) {
            self.unchoke(conn);
        }
    }

    fn choke_rules(&self) -> Rules {
        let s = &self.settings;
        Rules {
            slots: u32::try_from(s.unchoke_slots_limit).ok(),
            optimistic_slots: s.num_optimistic_unchoke_slots as u32,
            optimistic_interval: Duration::from_secs(s.optimistic_unchoke_interval as u64),
            seed_choking: SeedChoking::RoundRobin,
            ..Rules::default()
        }
    }

    /// What the choker weighs: the peers that are interested. One that is not holds no slot, whatever it was told.
    fn choke_facts(&self) -> Vec<PeerFacts> {
        let interested = |p: &&Peer| p.is_connected() && p.remote.interested && p.held.is_none();
        let peers = self.peers.iter().map(|(_, peer)| &**peer);
        peers
            .filter(interested)
            .filter_map(|p| {
                let torrent = self.torrents.get(&p.torrent?).filter(|t| t.is_active())?;
                Some(PeerFacts {
                    conn: p.conn,
                    interested: true,
                    seeding: torrent.content.as_ref().is_some_and(|c| c.picker.is_finished()),
                    snubbed: p.requests.is_snubbed(),
                    received: p.download.total() - p.round_start.0,
                    sent: p.upload.total() - p.round_start.1,
                    sent_since_unchoke: p.upload.total() - p.sent_at_unchoke,
                    unchoked_since: (!p.local.choking).then_some(p.unchoked_at),
                    optimistic: p.optimistic,
                    last_optimistic: p.optimistic_at,
                    connected_at: p.since,
                    priority: p.unchoke_priority,
                })
            })
            .collect()
    }

    fn apply_choking(&mut self, chosen: &Unchoked, hooks: &mut dyn Hooks) {
        for conn in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(&conn).filter(|p| p.held.is_none()) else { continue };
            let optimistic = chosen.optimistic.contains(&conn);
            if optimistic && !peer.optimistic {
                peer.optimistic_at = Some(self.now);
            }
            peer.optimistic = optimistic;
            if chosen.contains(conn) {
                self.unchoke(conn);
                self.turn_of(conn, hooks);
            } else {
                self.choke(conn);
            }
        }
    }

    pub(super) fn unchoke(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn).filter(|p| p.local.choking) else { return };
        peer.local.choking = false;
        peer.unchoked_at = self.now;
        peer.sent_at_unchoke = peer.upload.total();
        self.send(conn, &Message::Unchoke);
    }

    /// Chokes a peer and refuses what it still waits for, save what it is offered fast (BEP 6).
    pub(super) fn choke(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get_mut(&conn).filter(|p| !p.local.choking) else { return };
        peer.local.choking = true;
        let fast = peer.remote.fast;
        let allowed = std::mem::take(&mut peer.local.allowed_fast);
        let (kept, refused): (Vec<_>, Vec<_>) = peer.uploads.drain(..).partition(|r| allowed.contains(&r.piece));
        peer.uploads.extend(kept);
        peer.local.allowed_fast = allowed;
        self.send(conn, &Message::Choke);
        if fast {
            for request in refused {
                self.send(conn, &Message::Reject(request));
            }
        }
    }
}
