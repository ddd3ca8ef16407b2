//! The session: the one owner of all state, and the dispatcher of everything that happens.

use crate::hooks::Hooks;
use crate::ids::{ConnId, TorrentId};
use crate::input::Input;
use crate::output::Output;
use crate::settings::Settings;
use crate::time::Time;
use std::collections::VecDeque;

/// What a session starts from.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Settings.
    pub settings: Settings,
    /// Every random choice follows from this: from the operating system, or given by a test.
    pub seed: [u8; 32],
    /// The first key for a new torrent: one more than the largest in the store.
    pub first_torrent_id: TorrentId,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { settings: Settings::default(), seed: [0; 32], first_torrent_id: TorrentId(1) }
    }
}

/// A BitTorrent session. See the crate's documentation for how to drive it.
pub struct Session {
    config: SessionConfig,
    outputs: VecDeque<Output>,
    next_conn: u64,
    now: Time,
}

impl Session {
    /// A session without torrents or sockets.
    #[must_use]
    pub fn new(config: SessionConfig) -> Self {
        Self { config, outputs: VecDeque::new(), next_conn: 1, now: Time::ZERO }
    }

    /// A fresh key for a connection that was accepted.
    pub fn next_conn_id(&mut self) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        id
    }

    /// Takes one thing that happened. `now` never goes back.
    pub fn handle(&mut self, now: Time, input: Input, hooks: &mut dyn Hooks) {
        let _ = (input, hooks, &self.config);
        self.now = now;
    }

    /// The next thing for the shell to do, in order; `None` when there is nothing more for now.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give [`Input::Timeout`] if nothing else happens before.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }
}
