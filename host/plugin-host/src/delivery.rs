//! What comes later than the hook that asked for it: timers, bytes that were read, answers for threads that wait.

use crate::context::Context;
use crate::events::HookId;
use crate::holdings::Reader;
use crate::host::PluginHost;
use reef_engine::control::ReadDone;
use reef_engine::{Actions, Ticket, TorrentId, View};
use reef_plugin_api as api;
use reef_plugin_api::{Buffer, Call, HostError, Outcome};

impl PluginHost {
    /// A timer of some instance has run out.
    pub(crate) fn timer_ran_out(&mut self, ticket: Ticket, view: &View<'_>, actions: &mut Actions) {
        let index = ticket.owner as usize;
        let Some(plugin) = self.plugins.get_mut(index) else { return };
        if !plugin.handle.holdings.remove_timer(ticket.number) {
            return;
        }
        let Some(session) = plugin.session.as_mut() else { return };
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::TIMER);
        let call = Context::new(view, actions, &plugin.handle);
        let outcome = session.on_timer(&Call::session(&call), ticket.number);
        self.beat.leave();
        match outcome {
            Outcome::Pass | Outcome::Handled => plugin.conduct.succeeded(HookId::TIMER),
            Outcome::Detach => {
                plugin.events = 0;
                plugin.session = None;
                actions.refresh_masks();
            }
            outcome => self.judge(index, HookId::TIMER, outcome, actions),
        }
    }

    /// Something that a plugin wanted to read was read, or cannot be.
    pub(crate) fn bytes_read(&mut self, torrent: TorrentId, done: ReadDone, view: &View<'_>, actions: &mut Actions) {
        let index = done.ticket.owner as usize;
        let Some(plugin) = self.plugins.get(index) else { return };
        let Some(reader) = plugin.handle.holdings.end_read(done.ticket.number) else { return };
        let data = done.result.map(Buffer::from_owner);
        let token = match reader {
            Reader::Hook(token) => token,
            Reader::Thread(sender) => {
                let name = &plugin.info.name;
                let answer = data.map_err(|why| {
                    log::debug!("plugin {name}: {:?} of torrent {torrent} was not read: {why}", done.request);
                    HostError::NotFound
                });
                // Who asked may have given up.
                return drop(sender.try_send(answer));
            }
        };
        let Some(parts) = self.torrents.get_mut(torrent) else { return };
        let Some(part) = parts.0.iter_mut().find(|part| part.plugin == index) else { return };
        self.sequence += 1;
        self.beat.enter(self.sequence, index, HookId::READ_DONE);
        let context = Context::new(view, actions, &plugin.handle);
        let call = Call::torrent(&context, api::TorrentId(torrent.0));
        let request = crate::translate::request(done.request);
        let outcome = part.object.on_read_done(&call, token, request, data);
        self.beat.leave();
        match outcome {
            Outcome::Pass | Outcome::Handled => plugin.conduct.succeeded(HookId::READ_DONE),
            Outcome::Detach => self.detach_torrent(index, torrent, actions),
            outcome => self.judge(index, HookId::READ_DONE, outcome, actions),
        }
    }

    /// Answers the next question of a plugin's thread.
    pub(crate) fn answer_one(&mut self, view: &View<'_>, actions: &mut Actions) {
        let Some((index, question)) = self.questions.pop_front() else { return };
        let Some(plugin) = self.plugins.get(index) else { return };
        question.answer(&Context::new(view, actions, &plugin.handle));
    }
}
