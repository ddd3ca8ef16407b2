//! What a plugin's own threads can call: actions are queued, questions wait for the session, statistics change at once.

use crate::context::Context;
use crate::control::{self, Of};
use crate::handle::{Identity, InstanceHandle, Request};
use crate::holdings::Reader;
use crate::question::{PATIENCE, PATIENCE_FOR_DISKS, Question, Waiting};
use crate::translate;
use reef_engine::{Action, Ticket};
use reef_plugin_api as api;
use reef_plugin_api::{Buffer, Host, HostCalls, HostError, LogLine, NewStatistic, SettingValue};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::sync_channel;

impl HostCalls for InstanceHandle {
    fn is_gone(&self) -> bool {
        self.is_revoked()
    }

    fn now(&self) -> u64 {
        self.mailroom.now()
    }

    fn random(&self) -> u64 {
        self.next_random()
    }

    fn log(&self, line: &LogLine<'_>) {
        self.write_log(line);
    }

    fn report_panic(&self, text: &str) {
        // Only a handle that was taken back refuses it, and then the plugin is out already.
        let _ = self.push(Request::Panicked(text.to_owned()), 0);
    }

    fn post_alert(&self, alert: &api::Alert<'_>) -> Result<(), HostError> {
        let alert = self.custom_alert(alert)?;
        let bytes = alert.data.len() + alert.message.len();
        self.action(Action::PostAlert(alert), bytes)
    }

    fn watch_piece(&self, torrent: api::TorrentId, piece: u32) -> Result<(), HostError> {
        self.action(translate::watch_piece(torrent, piece), 0)
    }

    fn give_metadata(&self, torrent: api::TorrentId, info: &[u8]) -> Result<(), HostError> {
        self.action(translate::give_metadata(torrent, info), info.len())
    }

    fn add_peer(&self, torrent: api::TorrentId, addr: SocketAddr, source: u32, flags: u8) -> Result<(), HostError> {
        self.action(translate::add_peer(torrent, addr, source, flags)?, 0)
    }

    fn ban(&self, torrent: api::TorrentId, sender: &api::Sender, reason: &str) -> Result<(), HostError> {
        self.action(translate::ban(torrent, sender, reason), reason.len())
    }

    fn send_extended(
        &self,
        torrent: api::TorrentId,
        peer: api::PeerKey,
        name: &str,
        payload: &[u8],
    ) -> Result<(), HostError> {
        self.action(translate::send_extended(torrent, peer, name, payload)?, payload.len())
    }

    fn disconnect(&self, torrent: api::TorrentId, peer: api::PeerKey, reason: &str) -> Result<(), HostError> {
        self.action(translate::disconnect(torrent, peer, reason), reason.len())
    }

    fn host(&self) -> Result<Host, HostError> {
        self.me.upgrade().map(Host::from_shared).ok_or(HostError::Gone)
    }

    fn torrent_info(&self, torrent: api::TorrentId) -> Result<api::TorrentInfo, HostError> {
        self.ask(move |context| context.torrent_info(torrent))
    }

    fn metadata(&self, torrent: api::TorrentId) -> Result<Buffer, HostError> {
        self.ask(move |context| context.metadata(torrent))
    }

    fn peers(&self, torrent: api::TorrentId) -> Result<Vec<api::PeerKey>, HostError> {
        self.ask(move |context| context.peers(torrent))
    }

    fn has_piece(&self, torrent: api::TorrentId, piece: u32) -> Result<bool, HostError> {
        self.ask(move |context| context.has_piece(torrent, piece))
    }

    fn peer_info(&self, torrent: api::TorrentId, peer: api::PeerKey) -> Result<api::PeerInfo, HostError> {
        self.ask(move |context| context.peer_info(torrent, peer))
    }

    fn peer_supports(&self, torrent: api::TorrentId, peer: api::PeerKey, name: &str) -> Result<bool, HostError> {
        let name = name.to_owned();
        self.ask(move |context| context.peer_supports(torrent, peer, &name))
    }

    fn send_message(
        &self,
        torrent: api::TorrentId,
        peer: api::PeerKey,
        id: u8,
        payload: &[u8],
    ) -> Result<(), HostError> {
        let message = control::send_message(self.identity.number, (torrent, peer), (id, payload), None)?;
        self.action(message, payload.len())
    }

    fn set_choking(&self, torrent: api::TorrentId, peer: api::PeerKey, choking: api::Choking) -> Result<(), HostError> {
        self.action(control::set_choking(self.identity.number, torrent, peer, choking), 0)
    }

    fn connect(&self, torrent: api::TorrentId, addr: SocketAddr) -> Result<(), HostError> {
        self.action(control::connect(torrent, addr), 0)
    }

    fn add_torrent(&self, torrent: &api::NewTorrent) -> Result<(), HostError> {
        self.action(control::add_torrent(&self.identity.name, torrent)?, torrent.metainfo.len())
    }

    fn remove_torrent(&self, torrent: api::TorrentId, files: api::Files) -> Result<(), HostError> {
        self.action(control::remove_torrent(&self.identity.name, torrent, files), 0)
    }

    fn pause_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.action(control::pause(&self.identity.name, torrent), 0)
    }

    fn resume_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.action(control::resume(&self.identity.name, torrent), 0)
    }

    fn recheck_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.action(control::recheck(&self.identity.name, torrent), 0)
    }

    fn announce_torrent(&self, torrent: api::TorrentId) -> Result<(), HostError> {
        self.action(control::announce(&self.identity.name, torrent), 0)
    }

    fn set_file_priorities(&self, torrent: api::TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        let action = control::set_priorities(&self.identity.name, torrent, Of::Files, priorities)?;
        self.action(action, size_of_val(priorities))
    }

    fn set_piece_priorities(&self, torrent: api::TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        let action = control::set_priorities(&self.identity.name, torrent, Of::Pieces, priorities)?;
        self.action(action, size_of_val(priorities))
    }

    fn read(&self, torrent: api::TorrentId, request: api::PeerRequest, token: u64) -> Result<(), HostError> {
        self.begin_read(torrent, request, Reader::Hook(token))
    }

    fn read_and_wait(&self, torrent: api::TorrentId, request: api::PeerRequest) -> Result<Buffer, HostError> {
        self.may_wait()?;
        let (sender, receiver) = sync_channel(1);
        self.begin_read(torrent, request, Reader::Thread(sender))?;
        if self.is_closing() {
            self.holdings.send_readers_away();
        }
        Waiting(receiver).wait(PATIENCE_FOR_DISKS)
    }

    fn give_block(
        &self,
        torrent: api::TorrentId,
        from: Option<api::PeerKey>,
        block: api::PeerRequest,
        data: &Buffer,
    ) -> Result<(), HostError> {
        self.action(control::give_block(torrent, from, block, data)?, data.len())
    }

    fn query(&self, query: api::Query) -> Result<api::Answer, HostError> {
        self.ask(move |context| context.query(query))
    }

    fn setting(&self, name: &str) -> Result<SettingValue, HostError> {
        let name = name.to_owned();
        self.ask(move |context| context.setting(&name))
    }

    fn set_settings(&self, settings: &[(String, SettingValue)]) -> Result<(), HostError> {
        self.action(control::set_settings(&self.identity.name, settings)?, 0)
    }

    fn set_timer(&self, token: u64, after: u64) -> Result<(), HostError> {
        let timer = self.hold_timer(token)?;
        let queued = self.action(control::set_timer(self.ticket(token), after), 0);
        timer.settle(queued)
    }

    fn cancel_timer(&self, token: u64) -> Result<(), HostError> {
        self.holdings.remove_timer(token);
        self.action(control::cancel_timer(self.ticket(token)), 0)
    }

    fn register_statistic(&self, statistic: &NewStatistic<'_>) -> Result<u32, HostError> {
        self.register(statistic)
    }

    fn add_to_statistic(&self, number: u32, difference: i64) -> Result<(), HostError> {
        self.holdings.statistic(number, |value| value.add(difference))
    }

    fn set_statistic(&self, number: u32, value: i64) -> Result<(), HostError> {
        self.holdings.statistic(number, |statistic| statistic.set(value))
    }

    fn data_dir(&self) -> Result<String, HostError> {
        self.own_folder()
    }
}

/// A timer that an instance is about to set.
pub(crate) struct Timer<'a> {
    handle: &'a InstanceHandle,
    token: u64,
    is_new: bool,
}

impl Timer<'_> {
    /// It is held only if the session is going to hear of it.
    pub(crate) fn settle(self, queued: Result<(), HostError>) -> Result<(), HostError> {
        if queued.is_err() && self.is_new {
            self.handle.holdings.remove_timer(self.token);
        }
        queued
    }
}

/// What contexts and handles do alike.
impl InstanceHandle {
    pub(crate) fn ticket(&self, number: u64) -> Ticket {
        Ticket { owner: self.identity.number, number }
    }

    pub(crate) fn hold_timer(&self, token: u64) -> Result<Timer<'_>, HostError> {
        let is_new = self.holdings.add_timer(token)?;
        Ok(Timer { handle: self, token, is_new })
    }

    pub(crate) fn register(&self, statistic: &NewStatistic<'_>) -> Result<u32, HostError> {
        let Identity { name, number, .. } = &self.identity;
        let statistics = &self.mailroom.statistics;
        let registered = self.holdings.add_statistic(|| statistics.register((name, *number), statistic));
        // Of one that was taken out meanwhile nothing may stay.
        if self.is_revoked() {
            statistics.forget(*number);
        }
        registered
    }

    /// The folder of its plugin, made if it is not there.
    pub(crate) fn own_folder(&self) -> Result<String, HostError> {
        let all = self.identity.data_dir.as_ref().ok_or(HostError::Unsupported)?;
        let folder = all.join(&self.identity.name);
        if let Err(error) = make_private(&folder) {
            log::error!("plugin {}: its folder {} cannot be made: {error}", self.identity.name, folder.display());
            return Err(HostError::Failed);
        }
        folder.into_os_string().into_string().map_err(|_| HostError::Failed)
    }

    fn begin_read(&self, torrent: api::TorrentId, request: api::PeerRequest, reader: Reader) -> Result<(), HostError> {
        let number = self.holdings.begin_read(request, reader)?;
        let queued = self.action(control::read(torrent, request, self.ticket(number)), 0);
        if queued.is_err() {
            self.holdings.end_read(number);
        }
        queued
    }

    /// Whether this thread may wait for the session.
    fn may_wait(&self) -> Result<(), HostError> {
        if self.mailroom.is_hook_thread() { Err(HostError::InHook) } else { Ok(()) }
    }

    /// Has the session's thread answer a question, and waits for that.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Context<'_>) -> Result<T, HostError> + Send + 'static,
    ) -> Result<T, HostError> {
        self.may_wait()?;
        let (question, waiting) = Question::new(ask);
        self.push(Request::Question(question), 0)?;
        waiting.wait(PATIENCE)
    }
}

/// Makes a folder that only its owner can enter; one that is there stays as it is.
fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn handle(data_dir: Option<&Path>) -> Arc<InstanceHandle> {
        let data_dir = data_dir.map(Path::to_owned);
        let identity = Identity { name: "x".to_owned(), number: 1, seed: 7, data_dir };
        InstanceHandle::new(identity, Arc::default())
    }

    #[test]
    fn a_hook_that_asks_through_its_handle_is_told_so_at_once() {
        let handle = handle(None);
        let host = handle.host().expect("a handle");
        handle.mailroom.enter_hooks();
        assert_eq!(host.torrent(api::TorrentId(1)).info(), Err(HostError::InHook));
        assert_eq!(host.session().status(), Err(HostError::InHook));
        assert_eq!(host.torrent(api::TorrentId(1)).read_and_wait(api::PeerRequest::default()), Err(HostError::InHook));
        assert!(handle.take().is_empty());
    }

    #[test]
    fn who_waits_for_an_answer_when_the_session_ends_hears_so() {
        let handle = handle(None);
        let host = handle.host().expect("a handle");
        let asks = std::thread::spawn(move || host.session().status());
        while !handle.mailroom.is_pending() {
            std::thread::yield_now();
        }
        handle.send_askers_away();
        assert_eq!(asks.join().expect("it ends"), Err(HostError::Gone));
        let host = handle.host().expect("a handle");
        assert_eq!(host.session().status(), Err(HostError::Gone));
        let read = host.torrent(api::TorrentId(1)).read_and_wait(api::PeerRequest { length: 1, ..Default::default() });
        assert_eq!(read, Err(HostError::Gone));
        assert_eq!(host.torrent(api::TorrentId(1)).pause(), Ok(()), "actions still count");
    }

    #[test]
    fn a_plugin_has_a_folder_of_its_own_that_others_cannot_enter() {
        let top = tempfile::tempdir().expect("a folder");
        let handle = handle(Some(&top.path().join("plugins")));
        let host = handle.host().expect("a handle");
        let folder = host.session().data_dir().expect("it is made");
        assert_eq!(folder, top.path().join("plugins/x"));
        assert_eq!(host.session().data_dir().as_ref(), Ok(&folder));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&folder.metadata().expect("there").permissions());
            assert_eq!(mode & 0o777, 0o700);
        }
        std::fs::remove_dir(&folder).expect("it is empty");
        std::fs::write(&folder, "in the way").expect("writable");
        assert_eq!(host.session().data_dir(), Err(HostError::Failed));
    }

    #[test]
    fn a_queue_that_is_full_holds_no_timers_and_no_reads() {
        let handle = handle(None);
        while handle.watch_piece(api::TorrentId(1), 2).is_ok() {}
        assert_eq!(handle.set_timer(5, 1), Err(HostError::Busy));
        assert!(!handle.holdings.remove_timer(5));
        let request = api::PeerRequest { piece: 0, start: 0, length: 1 << 30 };
        assert_eq!(handle.read(api::TorrentId(1), request, 1), Err(HostError::Busy));
        handle.take();
        assert_eq!(handle.read(api::TorrentId(1), request, 1), Ok(()), "the first may be large");
    }

    #[test]
    fn statistics_go_with_their_instance() {
        let handle = handle(None);
        let host = handle.host().expect("a handle");
        let counter = host.session().counter("x.y", "Ys.").expect("free");
        assert_eq!(counter.add(2), Ok(()));
        assert_eq!(handle.mailroom.statistics.values(), [("x.y".to_owned(), 2)]);
        handle.revoke();
        assert_eq!((counter.add(2), handle.mailroom.statistics.values()), (Err(HostError::Gone), Vec::new()));
    }
}
