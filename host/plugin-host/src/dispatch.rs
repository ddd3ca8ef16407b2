//! The session's hooks, answered by the plugins' objects in their order.
//!
//! `Handled` ends the chain. `Detach` drops the object that said it. An error of a peer object closes that peer; elsewhere it is
//! a line in the log. A panic ends the plugin's part in the session, and the others are asked as if it had passed.

use crate::context::Context;
use crate::events::{HookId, Level, call_peer, call_session, call_torrent};
use crate::host::PluginHost;
use crate::translate;
use reef_engine::add_torrent::AddTorrent;
use reef_engine::control::ReadDone;
use reef_engine::hooks::{HandshakeEntries, PeerEvent, SessionEvent, TorrentEvent, Verdict, session_bits};
use reef_engine::{Action, Actions, Alert, ErrorCode, ErrorInfo, Hooks, PeerRef, Ticket, TorrentId, View};
use reef_plugin_api as api;
use reef_plugin_api::{Call, Outcome};
use reef_proto::message_ids::MessageIds;
use std::net::SocketAddr;
use std::sync::Arc;

impl Hooks for PluginHost {
    fn session_mask(&self) -> u64 {
        let wanted = self.order.iter().filter_map(|index| self.plugins.get(*index));
        let mask = wanted.fold(0, |mask, plugin| mask | plugin.events);
        // Whatever plugins want, once a second the session hears of what their threads queued.
        if self.plugins.is_empty() { mask } else { mask | session_bits::Tick }
    }

    fn add_torrent(&mut self, torrent: TorrentId, view: &View<'_>, actions: &mut Actions) -> u64 {
        self.begin(view, actions);
        self.torrents.add(torrent);
        for index in self.order.clone() {
            self.new_torrent(index, torrent, view, actions);
        }
        self.settle(actions);
        self.torrent_mask(torrent)
    }

    fn remove_torrent(&mut self, torrent: TorrentId) {
        self.peers.remove_torrent(torrent);
        self.torrents.remove(torrent);
    }

    fn add_peer(&mut self, at: PeerRef, view: &View<'_>, actions: &mut Actions) -> u64 {
        self.begin(view, actions);
        self.peers.add(at);
        for index in self.order.clone() {
            self.new_connection(index, at, view, actions);
        }
        self.settle(actions);
        self.peer_mask(at)
    }

    fn remove_peer(&mut self, at: PeerRef) {
        self.peers.remove(at);
    }

    fn torrent_mask(&self, torrent: TorrentId) -> u64 {
        self.torrents.get(torrent).map_or(0, |parts| parts.mask())
    }

    fn peer_mask(&self, at: PeerRef) -> u64 {
        self.peers.get(at).map_or(0, |parts| parts.mask())
    }

    fn change_plugins(&mut self, view: &View<'_>, actions: &mut Actions) {
        self.begin(view, actions);
        self.make_changes(view, actions);
        self.settle(actions);
    }

    fn extension_handshake(&mut self, at: PeerRef, view: &View<'_>, actions: &mut Actions) -> HandshakeEntries {
        self.begin(view, actions);
        let mut all = HandshakeEntries::default();
        for index in self.order.clone() {
            if let Some(entries) = self.add_handshake(index, at, view, actions) {
                let values = entries.values().map(|(key, value)| (key.to_owned(), value.to_vec().into()));
                all.entries.extend(values);
                let names = self.claim(index, at, &entries, actions);
                all.names.extend(names);
            }
        }
        self.settle(actions);
        all
    }

    fn message_ids(&mut self, at: PeerRef, view: &View<'_>, actions: &mut Actions) -> Option<Arc<MessageIds>> {
        self.begin(view, actions);
        let ids = self.order.clone().into_iter().find_map(|index| self.ask_message_ids(index, at, view, actions));
        self.settle(actions);
        ids
    }

    fn unchoke_priority(&mut self, at: PeerRef, view: &View<'_>, actions: &mut Actions) -> Option<u64> {
        self.begin(view, actions);
        let hook = (session_bits::UnchokePriority, HookId::UNCHOKE_PRIORITY);
        let ids = (api::TorrentId(at.torrent.0), api::PeerKey(at.conn.0));
        let all = self.order.clone().into_iter().filter_map(|index| {
            let answer = self
                .question(index, hook, view, actions, |object, call| object.get_unchoke_priority(call, ids.0, ids.1));
            answer.flatten()
        });
        let lowest = all.min();
        self.settle(actions);
        lowest
    }

    fn unknown_torrent(
        &mut self,
        info_hash: [u8; 20],
        from: SocketAddr,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Option<AddTorrent> {
        self.begin(view, actions);
        let hook = (session_bits::UnknownTorrent, HookId::UNKNOWN_TORRENT);
        let first = self.order.clone().into_iter().find_map(|index| {
            let ask = |object: &mut api::SessionObj, call: &Call<'_>| object.on_unknown_torrent(call, &info_hash, from);
            let given = self.question(index, hook, view, actions, ask)??;
            let read = translate::new_torrent(given);
            read.map_err(|error| log::warn!("plugin {}: the torrent it gives is none: {error}", self.name(index))).ok()
        });
        self.settle(actions);
        first
    }

    fn timer(&mut self, ticket: Ticket, view: &View<'_>, actions: &mut Actions) {
        self.begin(view, actions);
        self.timer_ran_out(ticket, view, actions);
        self.settle(actions);
    }

    fn read_done(&mut self, torrent: TorrentId, done: ReadDone, view: &View<'_>, actions: &mut Actions) {
        self.begin(view, actions);
        self.bytes_read(torrent, done, view, actions);
        self.settle(actions);
    }

    fn consult(&mut self, view: &View<'_>, actions: &mut Actions) {
        self.begin(view, actions);
        self.answer_one(view, actions);
    }

    fn statistics(&self) -> Vec<(String, i64)> {
        self.mailroom.statistics.values()
    }

    fn on_session(&mut self, event: &SessionEvent<'_>, view: &View<'_>, actions: &mut Actions) -> Verdict {
        self.begin(view, actions);
        let verdict = self.ask_session(event, view, actions);
        self.settle(actions);
        verdict
    }

    fn on_torrent(
        &mut self,
        torrent: TorrentId,
        event: &TorrentEvent,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Verdict {
        self.begin(view, actions);
        let verdict = self.ask_torrent(torrent, event, view, actions);
        self.settle(actions);
        verdict
    }

    fn on_peer(&mut self, at: PeerRef, event: &PeerEvent<'_>, view: &View<'_>, actions: &mut Actions) -> Verdict {
        // The one call that comes for every message.
        self.catch_up(actions);
        let verdict = self.ask_peer(at, event, view, actions);
        self.settle(actions);
        verdict
    }
}

impl PluginHost {
    /// The session calls: plugins' threads learn the time, and it is told what happened meanwhile.
    fn begin(&mut self, view: &View<'_>, actions: &mut Actions) {
        self.mailroom.set_now(view.now().0);
        self.mailroom.enter_hooks();
        self.catch_up(actions);
    }

    /// The session is told what it is owed and what plugins' threads asked for.
    #[inline]
    fn catch_up(&mut self, actions: &mut Actions) {
        if !self.owed.is_empty() {
            actions.append(&mut self.owed);
        }
        self.settle(actions);
    }

    pub(crate) fn new_torrent(&mut self, index: usize, torrent: TorrentId, view: &View<'_>, actions: &mut Actions) {
        let known = self.torrents.get(torrent).is_some_and(|parts| parts.has(index));
        let Some(plugin) = self.plugins.get_mut(index).filter(|_| !known) else { return };
        let Some(session) = plugin.session.as_mut() else { return };
        let id = api::TorrentId(torrent.0);
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::NEW_TORRENT);
        let created = session.new_torrent(&Call::session(&Context::new(view, actions, &plugin.handle)), id);
        self.beat.leave();
        let mut object = match created {
            Ok(Some(object)) => object,
            Ok(None) => return,
            Err(outcome) => return self.judge(index, HookId::NEW_TORRENT, outcome, actions),
        };
        let name = plugin.info.name.clone();
        if let Some(saved) = self.saved_torrent(&name, torrent).cloned()
            && let Some(plugin) = self.plugins.get(index)
        {
            self.beat.enter(self.sequence, index, HookId::LOAD_TORRENT);
            let outcome = object.load_state(&Call::torrent(&Context::new(view, actions, &plugin.handle), id), &saved);
            self.beat.leave();
            if matches!(outcome, Outcome::Panicked(_)) {
                drop(object);
                return self.judge(index, HookId::LOAD_TORRENT, outcome, actions);
            }
            self.judge(index, HookId::LOAD_TORRENT, outcome, actions);
        }
        self.torrents.insert(torrent, index, object, &self.order);
    }

    pub(crate) fn new_connection(&mut self, index: usize, at: PeerRef, view: &View<'_>, actions: &mut Actions) {
        if self.peers.get(at).is_some_and(|parts| parts.has(index)) {
            return;
        }
        let Some(parts) = self.torrents.get_mut(at.torrent) else { return };
        let Some(part) = parts.0.iter_mut().find(|part| part.plugin == index) else { return };
        let Some(plugin) = self.plugins.get(index) else { return };
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::NEW_CONNECTION);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::torrent(&context, api::TorrentId(at.torrent.0));
        let created = part.object.new_connection(&call, api::PeerKey(at.conn.0));
        self.beat.leave();
        match created {
            Ok(Some(object)) => self.peers.insert(at, index, object, &self.order),
            Ok(None) => (),
            Err(Outcome::Error(text)) => {
                if let Some(plugin) = self.plugins.get_mut(index).filter(|plugin| plugin.trial) {
                    plugin.fault = Some(text);
                    return;
                }
                let reason = format!("{}: {text}", self.name(index));
                actions.push(Action::Disconnect { peer: at, reason });
                self.note_error(index, HookId::NEW_CONNECTION, &text, actions);
            }
            Err(outcome) => self.judge(index, HookId::NEW_CONNECTION, outcome, actions),
        }
    }

    /// Tells one plugin's object of something that happened to its peer before it was there.
    pub(crate) fn replay_event(
        &mut self,
        index: usize,
        at: PeerRef,
        event: &PeerEvent<'_>,
        view: &View<'_>,
        actions: &mut Actions,
    ) {
        let bit = event.bit();
        let hook = HookId::event(Level::Peer, bit);
        let Some(parts) = self.peers.get_mut(at) else { return };
        let Some(part) = parts.0.iter_mut().find(|part| part.plugin == index && part.events & bit != 0) else { return };
        let Some(plugin) = self.plugins.get(index) else { return };
        self.sequence += 1;
        self.beat.enter(self.sequence, index, hook);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::peer(&context, api::TorrentId(at.torrent.0), api::PeerKey(at.conn.0));
        let outcome = call_peer(&mut part.object, &call, event);
        self.beat.leave();
        match outcome {
            Outcome::Pass | Outcome::Handled => (),
            // What a handshake says may be a reason to close a peer, whenever it is read.
            Outcome::Error(text) => {
                let reason = format!("{}: {text}", self.name(index));
                actions.push(Action::Disconnect { peer: at, reason });
            }
            Outcome::Detach => self.detach_peer(index, at, actions),
            outcome => self.judge(index, hook, outcome, actions),
        }
    }

    fn add_handshake(
        &mut self,
        index: usize,
        at: PeerRef,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Option<api::HandshakeEntries> {
        let part = self.peers.get_mut(at)?.0.iter_mut().find(|part| part.plugin == index)?;
        let plugin = self.plugins.get(index)?;
        let mut entries = api::HandshakeEntries::new();
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::ADD_HANDSHAKE);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::peer(&context, api::TorrentId(at.torrent.0), api::PeerKey(at.conn.0));
        let outcome = part.object.add_handshake(&call, &mut entries);
        self.beat.leave();
        match outcome {
            Outcome::Pass | Outcome::Handled => Some(entries),
            Outcome::Detach => {
                self.detach_peer(index, at, actions);
                None
            }
            outcome => {
                self.judge(index, HookId::ADD_HANDSHAKE, outcome, actions);
                None
            }
        }
    }

    /// Notes which messages a plugin claims on a peer; returns those that are its own.
    fn claim(
        &mut self,
        index: usize,
        at: PeerRef,
        entries: &api::HandshakeEntries,
        actions: &mut Actions,
    ) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in entries.extensions() {
            if !is_message_name(name) {
                log::error!("plugin {}: {name:?} cannot be the name of a message", self.name(index));
                continue;
            }
            match self.claims.get(name).copied() {
                None => {
                    self.claims.insert(name.to_owned(), index);
                }
                Some(owner) if owner == index => (),
                Some(owner) => {
                    self.refuse_claim((index, owner), name, actions);
                    continue;
                }
            }
            if !names.iter().any(|other| other == name) {
                names.push(name.to_owned());
            }
        }
        let parts = self.peers.get_mut(at).map(|parts| parts.0.as_mut_slice()).unwrap_or_default();
        if let Some(part) = parts.iter_mut().find(|part| part.plugin == index) {
            part.names.clone_from(&names);
        }
        names
    }

    /// Says once that a plugin wants a message that is another's.
    fn refuse_claim(&mut self, (index, owner): (usize, usize), name: &str, actions: &mut Actions) {
        let other = self.name(owner).to_owned();
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        if plugin.refused.insert(name.to_owned()) {
            let text = format!("plugin {other} has claimed {name} messages: unload one of the two");
            log::error!("plugin {} gets no {name} messages: {text}", plugin.info.name);
            let (plugin, action) = (plugin.info.name.clone(), format!("claim {name}"));
            let error = ErrorInfo::new(ErrorCode::NameTaken, text);
            actions.push(Action::Report(Alert::PluginActionFailed { plugin, action, error }));
        }
    }

    /// Asks one plugin's session object for a value.
    fn question<T>(
        &mut self,
        index: usize,
        (bit, hook): (u64, HookId),
        view: &View<'_>,
        actions: &mut Actions,
        ask: impl FnOnce(&mut api::SessionObj, &Call<'_>) -> Result<T, Outcome>,
    ) -> Option<T> {
        let plugin = self.plugins.get_mut(index)?;
        let session = plugin.session.as_mut().filter(|_| plugin.events & bit != 0)?;
        self.sequence += 1;
        self.beat.enter(self.sequence, index, hook);
        let answer = ask(session, &Call::session(&Context::new(view, actions, &plugin.handle)));
        self.beat.leave();
        answer.map_err(|outcome| self.judge(index, hook, outcome, actions)).ok()
    }

    /// Asks one plugin for the numbers of a connection's messages.
    fn ask_message_ids(
        &mut self,
        index: usize,
        at: PeerRef,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Option<Arc<MessageIds>> {
        let part = self.peers.get_mut(at)?.0.iter_mut().find(|part| part.plugin == index)?;
        let plugin = self.plugins.get(index)?;
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::MESSAGE_IDS);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::peer(&context, api::TorrentId(at.torrent.0), api::PeerKey(at.conn.0));
        let answer = part.object.message_ids(&call);
        self.beat.leave();
        let reason = match answer {
            Ok(table) if table.is_empty() => return None,
            Ok(table) => match MessageIds::from_table(&table) {
                Some(ids) => return Some(Arc::new(ids)),
                None => "message_ids gives 256 different numbers or nothing".to_owned(),
            },
            Err(Outcome::Error(text)) => text,
            Err(outcome) => {
                self.judge(index, HookId::MESSAGE_IDS, outcome, actions);
                return None;
            }
        };
        actions.push(Action::Disconnect { peer: at, reason: format!("{}: {reason}", self.name(index)) });
        None
    }

    fn ask_session(&mut self, event: &SessionEvent<'_>, view: &View<'_>, actions: &mut Actions) -> Verdict {
        let bit = event.bit();
        let hook = HookId::event(Level::Session, bit);
        for index in self.order.clone() {
            let Some(plugin) = self.plugins.get_mut(index) else { continue };
            match bit {
                session_bits::Abort => {
                    plugin.stopped = true;
                    plugin.handle.send_askers_away();
                    self.questions.retain(|(asker, _)| *asker != index);
                }
                session_bits::Tick => plugin.handle.begin_second(),
                _ => (),
            }
            let Some(session) = plugin.session.as_mut().filter(|_| plugin.events & bit != 0) else { continue };
            self.sequence += 1;
            self.beat.enter(self.sequence, index, hook);
            let outcome = call_session(session, &Call::session(&Context::new(view, actions, &plugin.handle)), event);
            self.beat.leave();
            match outcome {
                Outcome::Pass => plugin.conduct.succeeded(hook),
                Outcome::Handled => return Verdict::Handled,
                Outcome::Detach => {
                    plugin.events = 0;
                    plugin.session = None;
                    actions.refresh_masks();
                }
                outcome => self.judge(index, hook, outcome, actions),
            }
        }
        Verdict::Pass
    }

    fn ask_torrent(
        &mut self,
        torrent: TorrentId,
        event: &TorrentEvent,
        view: &View<'_>,
        actions: &mut Actions,
    ) -> Verdict {
        let bit = event.bit();
        let hook = HookId::event(Level::Torrent, bit);
        let mut at = 0;
        // Parts leave while the list is walked, so it is looked up anew for each.
        while let Some(part) = self.torrents.get_mut(torrent).and_then(|parts| parts.0.get_mut(at)) {
            at += 1;
            if part.events & bit == 0 {
                continue;
            }
            let index = part.plugin;
            let Some(plugin) = self.plugins.get(index) else { continue };
            self.sequence += 1;
            self.beat.enter(self.sequence, index, hook);
            let context = Context::new(view, actions, &plugin.handle);
            let outcome = call_torrent(&mut part.object, &Call::torrent(&context, api::TorrentId(torrent.0)), event);
            self.beat.leave();
            match outcome {
                Outcome::Pass => plugin.conduct.succeeded(hook),
                Outcome::Handled => return Verdict::Handled,
                Outcome::Detach => {
                    at -= 1;
                    self.detach_torrent(index, torrent, actions);
                }
                outcome => {
                    self.judge(index, hook, outcome, actions);
                    // Its part is gone if that was too much.
                    let is_there = self.torrents.get(torrent).is_some_and(|parts| parts.has(index));
                    at -= usize::from(!is_there);
                }
            }
        }
        Verdict::Pass
    }

    fn ask_peer(&mut self, at: PeerRef, event: &PeerEvent<'_>, view: &View<'_>, actions: &mut Actions) -> Verdict {
        let bit = event.bit();
        let hook = HookId::event(Level::Peer, bit);
        let Some(mut parts) = self.peers.get_mut(at) else { return Verdict::Pass };
        let mut next = 0;
        while let Some(part) = parts.0.get_mut(next) {
            next += 1;
            if part.events & bit == 0 || !is_for(event, &part.names) {
                continue;
            }
            let index = part.plugin;
            let Some(plugin) = self.plugins.get(index) else { continue };
            self.sequence += 1;
            self.beat.enter(self.sequence, index, hook);
            let context = Context::new(view, actions, &plugin.handle);
            let call = Call::peer(&context, api::TorrentId(at.torrent.0), api::PeerKey(at.conn.0));
            let outcome = call_peer(&mut part.object, &call, event);
            self.beat.leave();
            match outcome {
                Outcome::Pass => {
                    plugin.conduct.succeeded(hook);
                    continue;
                }
                Outcome::Handled => return Verdict::Handled,
                Outcome::Error(text) => {
                    let reason = format!("{}: {text}", self.name(index));
                    self.note_error(index, hook, &text, actions);
                    return Verdict::Close(reason);
                }
                Outcome::Detach => self.detach_peer(index, at, actions),
                Outcome::Panicked(_) => self.judge(index, hook, outcome, actions),
            }
            // The part that was asked is gone.
            next -= 1;
            match self.peers.get_mut(at) {
                Some(rest) => parts = rest,
                None => break,
            }
        }
        Verdict::Pass
    }

    pub(crate) fn detach_peer(&mut self, index: usize, at: PeerRef, actions: &mut Actions) {
        if let Some(parts) = self.peers.get_mut(at) {
            parts.remove(index);
        }
        actions.refresh_masks();
    }

    /// A plugin leaves a torrent, its peers included; what it offered to them is withdrawn.
    pub(crate) fn detach_torrent(&mut self, index: usize, torrent: TorrentId, actions: &mut Actions) {
        self.peers.remove_plugin_in(index, torrent);
        if let Some(parts) = self.torrents.get_mut(torrent) {
            parts.remove(index);
        }
        actions.refresh_masks();
        actions.refresh_handshakes();
    }

    /// Acts on an answer that means the same on every level.
    pub(crate) fn judge(&mut self, index: usize, hook: HookId, outcome: Outcome, actions: &mut Actions) {
        match outcome {
            Outcome::Panicked(reason) => self.quarantine(index, &reason, actions),
            Outcome::Error(text) => {
                log::warn!("plugin {}: {text}", self.name(index));
                if let Some(plugin) = self.plugins.get_mut(index).filter(|plugin| plugin.trial) {
                    plugin.fault = Some(format!("{}: {text}", hook.name()));
                }
                self.note_error(index, hook, &text, actions);
            }
            _ => (),
        }
    }

    /// Counts an error, which may be one too many. An error over a peer ends that peer and counts for nothing else:
    /// otherwise strangers could send a plugin away with eleven bad messages.
    fn note_error(&mut self, index: usize, hook: HookId, text: &str, actions: &mut Actions) {
        if hook.concerns_a_peer() {
            return;
        }
        let limits = self.config.limits;
        let plugin = self.plugins.get(index);
        if let Some(reason) = plugin.and_then(|plugin| plugin.conduct.failed(hook, text, &limits)) {
            self.quarantine(index, &reason, actions);
        }
    }
}

/// Whether an event concerns an object that claimed these messages.
fn is_for(event: &PeerEvent<'_>, names: &[String]) -> bool {
    match event {
        PeerEvent::Extended(message) => names.iter().any(|name| name == message.name),
        _ => true,
    }
}

/// Whether a name may stand in an extension handshake.
fn is_message_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}
