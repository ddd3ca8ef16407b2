//! What is done by the clock: once a second, and when the rate limit refills.

use super::{Session, TICK};
use crate::hooks::{Hooks, PeerEvent, SessionEvent, TorrentEvent};
use crate::ids::TorrentId;
use crate::peer::{Peer, Phase};
use crate::policy::peer_list::Outcome;
use reef_proto::message::Message;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a peer's silence calls for.
enum Overdue {
    Nothing,
    Close(&'static str, Outcome),
    /// The same, if plugins agree.
    MayClose(&'static str, Outcome),
    Snub,
    KeepAlive,
}

impl Session {
    pub(super) fn run_timers(&mut self, hooks: &mut dyn Hooks) {
        self.refill_limits(hooks);
        self.run_plugin_timers(hooks);
        if self.haves_due.is_some_and(|at| at <= self.now) {
            self.announce_all_haves();
        }
        if self.now >= self.next_tick {
            // A tick that comes late is not made up for.
            self.next_tick = self.now + TICK;
            self.tick(hooks);
        }
        if self.stopping.is_some() {
            self.continue_stopping();
        }
    }

    fn tick(&mut self, hooks: &mut dyn Hooks) {
        self.ask_session(&SessionEvent::Tick, hooks);
        self.tick_torrents(hooks);
        self.tick_peers(hooks);
        self.choke_round_if_due(hooks);
        if self.stopping.is_none() {
            self.dial_candidates(hooks);
            self.announce_due();
        }
        if self.stopping.is_none() {
            self.sync_if_due();
        }
        self.sleep_if_due();
        self.look_at_unseen();
        self.tick_udp_trackers(hooks);
        if self.now.as_secs().is_multiple_of(self.settings.save_resume_interval as u64) {
            self.save_all();
        }
        self.update_gauges();
    }

    fn tick_torrents(&mut self, hooks: &mut dyn Hooks) {
        // A torrent without peers has nothing to do by the clock.
        let busy: BTreeSet<TorrentId> = self.peers.values().filter_map(|p| p.torrent).collect();
        for id in busy {
            self.ask_torrent(id, &TorrentEvent::Tick, hooks);
        }
    }

    fn tick_peers(&mut self, hooks: &mut dyn Hooks) {
        for conn in self.peers.keys() {
            self.ask_peer(conn, &PeerEvent::Tick, hooks);
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            if self.now.since(peer.last_received) >= TICK {
                // Who says no more for now is not to hold a read buffer for half a message.
                peer.decoder.release();
            }
            let Some(peer) = self.peers.get(&conn) else { continue };
            match self.overdue(peer) {
                Overdue::Nothing => {}
                Overdue::Close(reason, outcome) => self.close_with(conn, reason, outcome, hooks),
                Overdue::MayClose(reason, outcome) if self.may_close(conn, reason, hooks) => {
                    self.close_with(conn, reason, outcome, hooks);
                }
                Overdue::MayClose(..) => {}
                Overdue::Snub => self.snub(conn),
                Overdue::KeepAlive => self.send(conn, &Message::KeepAlive),
            }
            self.refill_requests(conn, hooks);
        }
    }

    fn overdue(&self, peer: &Peer) -> Overdue {
        let s = &self.settings;
        if peer.parked && self.now.since(peer.since) >= Duration::from_secs(s.handshake_timeout as u64) {
            return Overdue::Close("its torrent could not be read in time", Outcome::Closed);
        }
        let longer = |since, seconds: i64| self.now.since(since) >= Duration::from_secs(seconds as u64);
        match peer.phase {
            Phase::Connecting if longer(peer.since, s.peer_connect_timeout) => {
                Overdue::MayClose("no answer to the dial", Outcome::Failed)
            }
            Phase::Handshaking if longer(peer.since, s.handshake_timeout) => {
                Overdue::Close("no handshake", Outcome::Failed)
            }
            _ if peer.parked => Overdue::Nothing,
            Phase::Connected if longer(peer.last_received, s.peer_timeout) => {
                Overdue::MayClose("silent for too long", Outcome::Closed)
            }
            Phase::Connected if longer(peer.last_useful, s.inactivity_timeout) && self.is_crowded() => {
                Overdue::MayClose("of no use to either side for too long", Outcome::Closed)
            }
            Phase::Connected => {
                let waits = peer.requests.waits_since().filter(|&since| longer(since, s.request_timeout));
                if waits.is_some() {
                    Overdue::Snub
                } else if longer(peer.last_sent, s.peer_timeout / 2) {
                    Overdue::KeepAlive
                } else {
                    Overdue::Nothing
                }
            }
            Phase::Connecting | Phase::Handshaking => Overdue::Nothing,
        }
    }

    /// Whether other peers may be waiting for a place.
    fn is_crowded(&self) -> bool {
        self.peers.len() as i64 >= self.settings.connections_limit * 9 / 10
    }

    fn update_gauges(&mut self) {
        self.counters.num_peers_connected = self.peers.len() as i64;
        self.counters.num_peers_half_open = self.dialing.half_open;
        self.counters.num_peers_up_unchoked = self.peers.values().filter(|p| !p.local.choking).count() as i64;
    }
}
