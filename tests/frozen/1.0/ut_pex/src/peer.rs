//! One connection: what it is told on ticks, and what it tells.

use crate::NAME;
use crate::inbox::{Inbox, Origin, candidates};
use crate::message::Received;
use crate::outbox::Outbox;
use crate::torrent::{Shared, is_enabled};
use reef_plugin_api::{Flow, HandshakeEntries, HookResult, HostError, PeerCx, PeerPlugin, PluginError, hooks, source};

/// The plugin's part in one connection.
pub(crate) struct PexPeer {
    roster: Shared,
    outbox: Outbox,
    inbox: Inbox,
}

impl PexPeer {
    /// For a new connection.
    pub(crate) fn new(roster: Shared) -> Self {
        Self { roster, outbox: Outbox::default(), inbox: Inbox::default() }
    }
}

#[hooks]
impl PeerPlugin for PexPeer {
    fn add_handshake(&mut self, _cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension(NAME);
        Ok(Flow::Pass)
    }

    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        let now = cx.now();
        if !self.outbox.is_due(now) || !cx.supports(NAME) || !is_enabled(cx.torrent())? {
            return Ok(Flow::Pass);
        }
        let contacts = self.roster.at(cx.torrent(), now).for_peer(cx.key(), &cx.info()?);
        match self.outbox.letter(&contacts) {
            None => self.outbox.skip(now),
            Some(letter) => match cx.send_extended(NAME, &letter.encode()) {
                Ok(()) => self.outbox.sent(&letter, now),
                Err(error) => log::debug!("cannot tell {:?} of its peers: {error}", cx.key()),
            },
        }
        Ok(Flow::Pass)
    }

    fn on_extended(&mut self, cx: &mut PeerCx<'_>, _name: &str, payload: &[u8]) -> HookResult {
        if !self.inbox.admit(cx.now()) {
            return Err(PluginError::new("ut_pex: more than 6 messages within a minute"));
        }
        let message = Received::decode(payload)?;
        if !is_enabled(cx.torrent())? {
            return Ok(Flow::Handled);
        }
        let origin = if cx.info()?.local { Origin::Local } else { Origin::Remote };
        for contact in candidates(&message, origin) {
            let added = cx.torrent().add_peer(contact.addr, source::PEX, contact.flags);
            // One that the host does not want is none of the sender's faults.
            if matches!(added, Err(HostError::Busy | HostError::Gone)) {
                break;
            }
        }
        Ok(Flow::Handled)
    }

    fn save_state(&mut self, _cx: &mut PeerCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(self.outbox.save())
    }

    fn load_state(&mut self, _cx: &mut PeerCx<'_>, state: &[u8]) -> HookResult {
        self.outbox = Outbox::load(state);
        Ok(Flow::Pass)
    }
}
