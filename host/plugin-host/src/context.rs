//! What a hook is lent for the time of its call: the session's view to read, and a list of actions to add to.

use crate::answers;
use crate::control::{self, Of};
use crate::handle::InstanceHandle;
use crate::holdings::Reader;
use crate::translate::{self, peer_ref, torrent_id};
use reef_engine::{Action, Actions, View};
use reef_plugin_api as api;
use reef_plugin_api::{BlockSender, Buffer, Host, HostCalls, HostError, LogLine, NewStatistic, SettingValue};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

/// The host's side of one hook call.
pub(crate) struct Context<'a> {
    view: &'a View<'a>,
    actions: RefCell<&'a mut Actions>,
    /// How many of them are others'.
    before: usize,
    handle: &'a Arc<InstanceHandle>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(view: &'a View<'a>, actions: &'a mut Actions, handle: &'a Arc<InstanceHandle>) -> Self {
        let before = actions.queued().len();
        Self { view, actions: RefCell::new(actions), before, handle }
    }

    fn act(&self, action: Action) -> Result<(), HostError> {
        let mut actions = self.actions.try_borrow_mut().map_err(|_| HostError::Busy)?;
        if !self.handle.may_act() || actions.queued().len() - self.before >= MAX_ACTIONS {
            return Err(HostError::Busy);
        }
        actions.push(action);
        Ok(())
    }

    /// The same about a torrent that must be there.
    fn act_on(&self, torrent: api::TorrentId, action: Action) -> Result<(), HostError> {
        self.view.torrent(torrent_id(torrent)).ok_or(HostError::NotFound)?;
        self.act(action)
    }

    fn name(&self) -> &str {
        &self.handle.identity.name
    }
}

/// Actions that one hook may ask for.
const MAX_ACTIONS: usize = 4096;

impl HostCalls for Context<'_> {
    fn is_gone(&self) -> bool {
        self.handle.is_revoked()
    }

    fn now(&self) -> u64 {
        self.view.now().0
    }

    fn random(&self) -> u64 {
        self.view.random()
    }

    fn log(&self, line: &LogLine<'_>) {
        self.handle.write_log(line);
    }

    fn report_panic(&self, text: &str) {
        self.handle.report_panic(text);
    }

    fn host(&self) -> Result<Host, HostError> {
        Ok(Host::from_shared(self.handle.clone()))
    }

    fn post_alert(&self, alert: &api::Alert<'_>) -> Result<(), HostError> {
        self.act(Action::PostAlert(self.handle.custom_alert(alert)?))
    }

    fn torrent_info(&self, torrent: api::TorrentId) -> Result<api::TorrentInfo, HostError> {
        let view = self.view.torrent(torrent_id(torrent)).ok_or(HostError::NotFound)?;
        Ok(translate::torrent_info(&view))
    }

    fn metadata(&self, torrent: api::TorrentId) -> Result<Buffer, HostError> {
        self.view.metadata(torrent_id(torrent)).map(Buffer::from_owner).ok_or(HostError::NotFound)
    }

    fn peers(&self, torrent: api::TorrentId) -> Result<Vec<api::PeerKey>, HostError> {
        let peers = self.view.peers(torrent_id(torrent));
        Ok(peers.into_iter().map(|conn| api::PeerKey(conn.0)).collect())
    }

    fn has_piece(&self, torrent: api::TorrentId, piece: u32) -> Result<bool, HostError> {
        Ok(self.view.has_piece(torrent_id(torrent), piece))
    }

    fn block_senders(&self, torrent: api::TorrentId, piece: u32) -> Result<Vec<BlockSender>, HostError> {
        let senders = self.view.block_senders(torrent_id(torrent), piece).into_iter();
        let sender = |from: reef_engine::hooks::Sender| api::Sender { addr: from.address, peer_id: from.peer_id.0 };
        Ok(senders.map(|(block, from)| BlockSender { block, sender: sender(from) }).collect())
    }

    fn read_block(&self, torrent: api::TorrentId, piece: u32, block: u32) -> Result<Buffer, HostError> {
        let mut slices = self.view.block(torrent_id(torrent), piece, block).ok_or(HostError::NotFound)?;
        match slices.pop() {
            Some(whole) if slices.is_empty() => Ok(Buffer::from_owner(whole)),
            Some(last) => {
                slices.push(last);
                Ok(Buffer::from(slices.concat()))
            }
            None => Err(HostError::NotFound),
        }
    }

    fn watch_piece(&self, torrent: api::TorrentId, piece: u32) -> Result<(), HostError> {
        self.act(translate::watch_piece(torrent, piece))
    }

    fn give_metadata(&self, torrent: api::TorrentId, info: &[u8]) -> Result<(), HostError> {
        self.act(translate::give_metadata(torrent, info))
    }

    fn add_peer(&self, torrent: api::TorrentId, addr: SocketAddr, source: u32, flags: u8) -> Result<(), HostError> {
        self.act(translate::add_peer(torrent, addr, source, flags)?)
    }

    fn ban(&self, torrent: api::TorrentId, sender: &api::Sender, reason: &str) -> Result<(), HostError> {
        self.act(translate::ban(torrent, sender, reason))
    }

    fn peer_info(&self, torrent: api::TorrentId, peer: api::PeerKey) -> Result<api::PeerInfo, HostError> {
        let view = self.view.peer(peer_ref(torrent, peer)).ok_or(HostError::NotFound)?;
        Ok(translate::peer_info(&view))
    }

    fn peer_supports(&self, torrent: api::TorrentId, peer: api::PeerKey, name: &str) -> Result<bool, HostError> {
        Ok(self.view.supports(peer_ref(torrent, peer), name))
    }

    fn send_extended(
        &self,
        torrent: api::TorrentId,
        peer: api::PeerKey,
        name: &str,
        payload: &[u8],
    ) -> Result<(), HostError> {
        if !self.view.supports(peer_ref(torrent, peer), name) {
            return Err(HostError::NotFound);
        }
        self.act(translate::send_extended(torrent, peer, name, payload)?)
    }

    fn disconnect(&self, torrent: api::TorrentId, peer: api::PeerKey, reason: &str) -> Result<(), HostError> {
        self.act(translate::disconnect(torrent, peer, reason))
    }

    fn send_message(
        &self,
        torrent: api::TorrentId,
        peer: api::PeerKey,
        id: u8,
        payload: &[u8],
    ) -> Result<(), HostError> {
        self.view.peer(peer_ref(torrent, peer)).ok_or(HostError::NotFound)?;
        let known = self.view.torrent(torrent_id(torrent)).filter(|torrent| torrent.has_metadata);
        let pieces = known.map(|torrent| torrent.num_pieces);
        self.act(control::send_message(self.handle.identity.number, (torrent, peer), (id, payload), pieces)?)
    }

    fn set_choking(&self, torrent: api::TorrentId, peer: api::PeerKey, choking: api::Choking) -> Result<(), HostError> {
        self.view.peer(peer_ref(torrent, peer)).ok_or(HostError::NotFound)?;
        self.act(control::set_choking(self.handle.identity.number, torrent, peer, choking))
    }

    fn connect(&self, torrent: api::TorrentId, addr: SocketAddr) -> Result<(), HostError> {
        self.act_on(torrent, control::connect(torrent, addr))
    }

    fn add_torrent(&self, torrent: &api::NewTorrent) -> Result<(), HostError> {
        self.act(control::add_torrent(self.name(), torrent)?)
    }

    fn remove_torrent(&self, torrent: api::TorrentId, files: api::Files) -> Result<(), HostError> {
        self.act_on(torrent, control::remove_torrent(self.name(), torrent, files))
    }

    fn pause_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.act_on(torrent, control::pause(self.name(), torrent))
    }

    fn resume_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.act_on(torrent, control::resume(self.name(), torrent))
    }

    fn recheck_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.act_on(torrent, control::recheck(self.name(), torrent))
    }

    fn announce_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.act_on(torrent, control::announce(self.name(), torrent))
    }

    fn set_file_priorities(&self, torrent: api::TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        self.act_on(torrent, control::set_priorities(self.name(), torrent, Of::Files, priorities)?)
    }

    fn set_piece_priorities(&self, torrent: api::TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        self.act_on(torrent, control::set_priorities(self.name(), torrent, Of::Pieces, priorities)?)
    }

    fn read(&self, torrent: api::TorrentId, request: api::PeerRequest, token: u64) -> Result<(), HostError> {
        let number = self.handle.holdings.begin_read(request, Reader::Hook(token))?;
        let queued = self.act_on(torrent, control::read(torrent, request, self.handle.ticket(number)));
        if queued.is_err() {
            self.handle.holdings.end_read(number);
        }
        queued
    }

    fn read_and_wait(&self, _: api::TorrentId, _: api::PeerRequest) -> Result<Buffer, HostError> {
        Err(HostError::InHook)
    }

    fn give_block(
        &self,
        torrent: api::TorrentId,
        from: Option<api::PeerKey>,
        block: api::PeerRequest,
        data: &Buffer,
    ) -> Result<(), HostError> {
        self.act_on(torrent, control::give_block(torrent, from, block, data)?)
    }

    fn query(&self, query: api::Query) -> Result<api::Answer, HostError> {
        answers::query(self.view, &self.handle.mailroom.statistics, query)
    }

    fn setting(&self, name: &str) -> Result<SettingValue, HostError> {
        self.view.setting(name).map(answers::setting).ok_or(HostError::NotFound)
    }

    fn set_settings(&self, settings: &[(String, SettingValue)]) -> Result<(), HostError> {
        self.act(control::set_settings(self.name(), settings)?)
    }

    fn set_timer(&self, token: u64, after: u64) -> Result<(), HostError> {
        let timer = self.handle.hold_timer(token)?;
        timer.settle(self.act(control::set_timer(self.handle.ticket(token), after)))
    }

    fn cancel_timer(&self, token: u64) -> Result<(), HostError> {
        self.handle.holdings.remove_timer(token);
        self.act(control::cancel_timer(self.handle.ticket(token)))
    }

    fn register_statistic(&self, statistic: &NewStatistic<'_>) -> Result<u32, HostError> {
        self.handle.register(statistic)
    }

    fn add_to_statistic(&self, number: u32, difference: i64) -> Result<(), HostError> {
        self.handle.holdings.statistic(number, |value| value.add(difference))
    }

    fn set_statistic(&self, number: u32, value: i64) -> Result<(), HostError> {
        self.handle.holdings.statistic(number, |statistic| statistic.set(value))
    }

    fn data_dir(&self) -> Result<String, HostError> {
        self.handle.own_folder()
    }
}
