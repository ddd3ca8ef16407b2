//! Global rate limits: what may be sent now, and how much the shell may read from each peer.

use super::Session;
use crate::hooks::Hooks;
use crate::id_map::IdMap;
use crate::ids::ConnId;
use crate::output::Output;
use crate::peer::ReadQuota;
use crate::policy::limiter::{GLOBAL, Limiter, MIN_GRANT};
use crate::settings::Settings;
use crate::time::Time;

/// What a limited peer is let read at a time, in bytes, where its share of the rate is as much: some times what the shell reads
/// at once, so that few reads are cut off by the end of a step.
const READ_STEP: u64 = 1 << 20;

/// From so many blocks on, a peer asks for as much as it would be granted and not for each block.
const LARGE_SHARE: u64 = 4;

/// The limits of both directions.
#[derive(Debug)]
pub(super) struct Limits {
    up: Limiter,
    down: Limiter,
    /// Bytes granted for sending and not used yet.
    credit: IdMap<ConnId, u64>,
    now: Time,
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut new = Self { up: Limiter::new(), down: Limiter::new(), credit: IdMap::default(), now: Time::ZERO };
        new.set(settings);
        new
    }

    /// Takes the limits from the settings.
    pub(super) fn set(&mut self, settings: &Settings) {
        self.up.channel(self.now, GLOBAL, settings.upload_rate_limit as u64);
        self.down.channel(self.now, GLOBAL, settings.download_rate_limit as u64);
    }

    /// When somebody who waits can go on.
    pub(super) fn next_refill(&self) -> Option<Time> {
        let times = [self.up.next_refill(self.now), self.down.next_refill(self.now)];
        times.into_iter().flatten().min()
    }

    /// Whether a peer may be sent `bytes` now, the first of so many that it wants. If not, it waits in line. What is
    /// granted beyond `bytes` is for its next blocks, so that the line is not served block by block.
    pub(super) fn may_upload(&mut self, conn: ConnId, bytes: u64, wanted: u64, now: Time) -> bool {
        self.now = now;
        if !self.up.limits(&[GLOBAL]) {
            return true;
        }
        // Where a share is few blocks, what is left of it would be a noticeable part of the rate.
        let share = self.up.share(&[GLOBAL]);
        let wanted = if share < bytes * LARGE_SHARE { bytes } else { wanted.clamp(bytes, share) };
        let credit = self.credit.get_or_insert_with(conn, || 0);
        if *credit < bytes {
            *credit += self.up.request(now, conn, &[GLOBAL], wanted - *credit);
        }
        let enough = *credit >= bytes;
        if enough {
            *credit -= bytes;
        }
        enough
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.up.forget(conn);
        self.down.forget(conn);
        if let Some(unused) = self.credit.remove(&conn) {
            self.up.give_back(&[GLOBAL], unused);
        }
    }
}

impl Session {
    /// A connection begins under the limits that hold.
    pub(super) fn limit_new_peer(&mut self, conn: ConnId) {
        if self.limits.down.limits(&[GLOBAL]) || self.congested {
            self.apply_read_allowance(conn);
        }
    }

    /// Serves those who waited for the limits.
    pub(super) fn refill_limits(&mut self, hooks: &mut dyn Hooks) {
        self.limits.now = self.now;
        for grant in self.limits.up.poll(self.now) {
            *self.limits.credit.get_or_insert_with(grant.peer, || 0) += grant.bytes;
            self.serve(grant.peer, hooks);
        }
        for grant in self.limits.down.poll(self.now) {
            self.grant_read(grant.peer, grant.bytes);
        }
    }

    /// The limits or the memory's state changed: tells the shell of every connection.
    pub(super) fn apply_read_allowances(&mut self) {
        for conn in self.peers.keys() {
            self.apply_read_allowance(conn);
        }
    }

    pub(super) fn apply_read_allowance(&mut self, conn: ConnId) {
        let limited = self.limits.down.limits(&[GLOBAL]);
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        peer.read_quota = match (limited, peer.read_quota) {
            (false, _) => ReadQuota::Unlimited,
            (true, ReadQuota::Unlimited) => ReadQuota::Limited(0),
            (true, limited) => limited,
        };
        let bytes = match (self.congested || peer.parked, peer.read_quota) {
            (true, _) => Some(0),
            (false, ReadQuota::Unlimited) => None,
            (false, ReadQuota::Limited(left)) => Some(left),
        };
        self.emit(Output::ReadAllowance { conn, bytes });
        self.ask_for_more(conn);
    }

    /// Bytes were read from a connection.
    pub(super) fn count_read(&mut self, conn: ConnId, bytes: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let ReadQuota::Limited(left) = &mut peer.read_quota else { return };
        *left = left.saturating_sub(bytes);
        self.ask_for_more(conn);
    }

    /// A limited peer that has little left to read asks for the next step.
    fn ask_for_more(&mut self, conn: ConnId) {
        let Some(peer) = self.peers.get(&conn) else { return };
        let ReadQuota::Limited(left) = peer.read_quota else { return };
        if left < MIN_GRANT {
            let granted = self.limits.down.request(self.now, conn, &[GLOBAL], READ_STEP);
            if granted > 0 {
                self.grant_read(conn, granted);
            }
        }
    }

    fn grant_read(&mut self, conn: ConnId, granted: u64) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let ReadQuota::Limited(left) = &mut peer.read_quota else { return };
        *left += granted;
        let bytes = if self.congested || peer.parked { 0 } else { *left };
        self.emit(Output::ReadAllowance { conn, bytes: Some(bytes) });
    }
}
