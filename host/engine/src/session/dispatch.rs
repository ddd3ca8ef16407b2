//! The one place where plugins are called, and where what they asked for is carried out.

use super::Session;
use crate::alert::Alert;
use crate::hooks::{Action, Actions, Hooks, PeerEvent, PeerRef, SessionEvent, TorrentEvent, Verdict};
use crate::ids::{ConnId, TorrentId};
use crate::output::Output;
use crate::view::View;
use reef_proto::message::Message;

/// What hooks said has changed about themselves.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Refresh {
    masks: bool,
    handshakes: bool,
}

/// Whether the standard behaviour follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Go on.
    Standard,
    /// A plugin took care, or the peer is gone.
    Skip,
}

/// Actions carried out at most in one turn, so that plugins that answer each other cannot hold the session.
const ACTIONS_A_TURN: usize = 10_000;

impl Session {
    /// Asks the plugins of a peer.
    pub(super) fn ask_peer(&mut self, conn: ConnId, event: &PeerEvent<'_>, hooks: &mut dyn Hooks) -> Asked {
        let Some(peer) = self.peers.get(&conn) else { return Asked::Skip };
        let (wanted, Some(torrent)) = (peer.hooks & event.bit() != 0, peer.torrent) else { return Asked::Standard };
        if !wanted {
            return Asked::Standard;
        }
        let mut actions = Actions::default();
        let at = PeerRef { torrent, conn };
        let verdict = hooks.on_peer(at, event, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        match verdict {
            Verdict::Pass => Asked::Standard,
            Verdict::Handled => Asked::Skip,
            Verdict::Close(reason) => {
                self.close(conn, &reason, hooks);
                Asked::Skip
            }
        }
    }

    /// Asks the plugins of a torrent.
    pub(super) fn ask_torrent(&mut self, id: TorrentId, event: &TorrentEvent, hooks: &mut dyn Hooks) -> Asked {
        let Some(torrent) = self.torrents.get(&id) else { return Asked::Skip };
        if torrent.hooks & event.bit() == 0 {
            return Asked::Standard;
        }
        let mut actions = Actions::default();
        let verdict = hooks.on_torrent(id, event, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        if verdict == Verdict::Handled { Asked::Skip } else { Asked::Standard }
    }

    /// Tells the session's plugins.
    pub(super) fn ask_session(&mut self, event: &SessionEvent<'_>, hooks: &mut dyn Hooks) {
        if hooks.session_mask() & event.bit() == 0 {
            return;
        }
        let mut actions = Actions::default();
        hooks.on_session(event, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
    }

    /// Posts an alert, to plugins and to whoever subscribed.
    pub(super) fn alert(&mut self, alert: Alert, hooks: &mut dyn Hooks) {
        self.ask_session(&SessionEvent::Alert(&alert), hooks);
        if alert.category() & self.alert_mask != 0 {
            self.emit(Output::Alert(alert));
        }
    }

    /// Gives a torrent its plugin objects.
    pub(super) fn attach_torrent(&mut self, id: TorrentId, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        let mask = hooks.add_torrent(id, &View { source: self }, &mut actions);
        if let Some(torrent) = self.torrents.get_mut(&id) {
            torrent.hooks = mask;
        }
        self.queue_actions(actions, hooks);
    }

    /// Gives a peer its plugin objects.
    pub(super) fn attach_peer(&mut self, at: PeerRef, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        let mask = hooks.add_peer(at, &View { source: self }, &mut actions);
        if let Some(peer) = self.peers.get_mut(&at.conn) {
            peer.hooks = mask;
        }
        self.queue_actions(actions, hooks);
    }

    /// What plugins add to the extension handshake with a peer.
    pub(super) fn plugin_entries(&mut self, at: PeerRef, hooks: &mut dyn Hooks) -> crate::hooks::HandshakeEntries {
        let mut actions = Actions::default();
        let entries = hooks.extension_handshake(at, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        entries
    }

    fn queue_actions(&mut self, actions: Actions, hooks: &mut dyn Hooks) {
        self.actions.extend(actions.queue);
        self.refresh.handshakes |= actions.handshakes_changed;
        if actions.masks_changed {
            self.refresh_masks(hooks);
        }
    }

    /// Asks for every mask again.
    pub(super) fn refresh_masks(&mut self, hooks: &mut dyn Hooks) {
        for (&id, torrent) in &mut self.torrents {
            torrent.hooks = hooks.torrent_mask(id);
        }
        for (&conn, peer) in &mut self.peers {
            if let Some(torrent) = peer.torrent {
                peer.hooks = hooks.peer_mask(PeerRef { torrent, conn });
            }
        }
        self.refresh.masks = false;
    }

    /// The set of plugins is to change: new objects, new masks, new handshakes.
    pub(super) fn plugins_changed(&mut self, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        hooks.change_plugins(&View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        self.refresh_masks(hooks);
        self.refresh.handshakes = true;
    }

    /// Carries out what plugins asked for, in order.
    pub(super) fn carry_out_actions(&mut self, hooks: &mut dyn Hooks) {
        for _ in 0..ACTIONS_A_TURN {
            let Some(action) = self.actions.pop_front() else { break };
            self.carry_out(action, hooks);
        }
        if std::mem::take(&mut self.refresh.handshakes) {
            self.resend_extension_handshakes(hooks);
        }
    }

    fn carry_out(&mut self, action: Action, hooks: &mut dyn Hooks) {
        match action {
            Action::SendExtended { peer, name, payload } => self.send_extended(peer, &name, payload),
            Action::Disconnect { peer, reason } => self.close(peer.conn, &reason, hooks),
            Action::Ban { torrent, peer, reason } => self.ban(torrent, peer.address, &reason, hooks),
            Action::AddPeer { torrent, address, source, flags } => {
                self.add_peer_address(torrent, address, (source, flags), hooks);
            }
            Action::GiveMetadata { torrent, metadata } => self.set_metadata(torrent, metadata, hooks),
            Action::WatchPiece { torrent, piece } => self.watch_piece(torrent, piece),
            Action::PostAlert(alert) => self.alert(Alert::Custom(alert), hooks),
            Action::Report(alert) => self.alert(alert, hooks),
        }
    }

    fn send_extended(&mut self, at: PeerRef, name: &str, payload: bytes::Bytes) {
        let Some(peer) = self.peers.get(&at.conn).filter(|p| p.torrent == Some(at.torrent)) else { return };
        let Some(&id) = peer.remote.names.get(name) else { return };
        self.send(at.conn, &Message::Extended { id, payload });
    }

    fn watch_piece(&mut self, id: TorrentId, piece: u32) {
        if let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut())
            && piece < content.layout.num_pieces()
        {
            content.watched.insert(piece);
        }
    }
}
