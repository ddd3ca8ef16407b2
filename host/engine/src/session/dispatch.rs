//! The one place where plugins are called, and where what they asked for is carried out.

use super::Session;
use crate::add_torrent::AddTorrent;
use crate::alert::Alert;
use crate::control::{ReadDone, Ticket};
use crate::hooks::{Action, Actions, Hooks, PeerEvent, PeerRef, SessionEvent, TorrentEvent, Verdict, session_bits};
use crate::ids::{ConnId, TorrentId};
use crate::output::Output;
use crate::view::View;
use reef_proto::message::Message;
use reef_proto::message_ids::MessageIds;
use std::net::SocketAddr;
use std::sync::Arc;

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
        self.set_peer_hooks(at.conn, mask);
        self.queue_actions(actions, hooks);
    }

    /// What plugins add to the extension handshake with a peer.
    pub(super) fn plugin_entries(&mut self, at: PeerRef, hooks: &mut dyn Hooks) -> crate::hooks::HandshakeEntries {
        let mut actions = Actions::default();
        let entries = hooks.extension_handshake(at, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        entries
    }

    /// Whether a connection may be closed though nobody did wrong.
    pub(super) fn may_close(&mut self, conn: ConnId, reason: &str, hooks: &mut dyn Hooks) -> bool {
        self.ask_peer(conn, &PeerEvent::CanDisconnect(reason), hooks) == Asked::Standard
    }

    /// The numbers of a connection's messages, where plugins give it other than the standard ones.
    pub(super) fn ask_message_ids(&mut self, at: PeerRef, hooks: &mut dyn Hooks) -> Option<Arc<MessageIds>> {
        let mut actions = Actions::default();
        let ids = hooks.message_ids(at, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        ids
    }

    /// The torrent that plugins would add for a peer that asked for it.
    pub(super) fn ask_unknown_torrent(
        &mut self,
        info_hash: [u8; 20],
        from: SocketAddr,
        hooks: &mut dyn Hooks,
    ) -> Option<AddTorrent> {
        if hooks.session_mask() & session_bits::UnknownTorrent == 0 {
            return None;
        }
        let mut actions = Actions::default();
        let params = hooks.unknown_torrent(info_hash, from, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
        params
    }

    /// Asks how soon each peer that wants something is to be unchoked optimistically.
    pub(super) fn ask_unchoke_priorities(&mut self, hooks: &mut dyn Hooks) {
        if hooks.session_mask() & session_bits::UnchokePriority == 0 {
            return;
        }
        for at in self.attached_peers() {
            if self.peers.get(&at.conn).is_some_and(|p| p.remote.interested) {
                let mut actions = Actions::default();
                let priority = hooks.unchoke_priority(at, &View { source: self }, &mut actions);
                self.queue_actions(actions, hooks);
                if let Some(peer) = self.peers.get_mut(&at.conn) {
                    peer.unchoke_priority = priority;
                }
            }
        }
    }

    /// Tells whoever set a timer that it has run out.
    pub(super) fn tell_timer(&mut self, ticket: Ticket, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        hooks.timer(ticket, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
    }

    /// Tells whoever wanted to read something what came of it.
    pub(super) fn tell_read(&mut self, id: TorrentId, done: ReadDone, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        hooks.read_done(id, done, &View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
    }

    /// Lets a question be answered for which a plugin's thread waits.
    pub(super) fn consult(&mut self, hooks: &mut dyn Hooks) {
        let mut actions = Actions::default();
        hooks.consult(&View { source: self }, &mut actions);
        self.queue_actions(actions, hooks);
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
        for torrent in self.torrents.values_mut() {
            torrent.hooks = hooks.torrent_mask(torrent.id);
        }
        for at in self.attached_peers() {
            self.set_peer_hooks(at.conn, hooks.peer_mask(at));
        }
        self.refresh.masks = false;
    }

    /// The connections that belong to torrents.
    fn attached_peers(&self) -> Vec<PeerRef> {
        self.peers.iter().filter_map(|(conn, p)| Some(PeerRef { torrent: p.torrent?, conn })).collect()
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
            Action::Control(control) => self.carry_out_control(control, hooks),
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
