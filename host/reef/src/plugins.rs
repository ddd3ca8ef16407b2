//! What a session needs of its plugins beyond the engine's hooks.

use reef_engine::hooks::Hooks;
use reef_engine::{Action, Alert, NoHooks};
use reef_plugin_host::{Change, LoadError, Loader, PluginHost, PluginInfo};

/// The plugins of a session: its hooks, what their own threads ask for, and what they want kept.
pub trait Plugins: Hooks + Send {
    /// What plugins' own threads asked for since the last call.
    fn take_requests(&mut self) -> Vec<Action>;

    /// Has `waker` called, from any thread, when there is something for [`Self::take_requests`].
    fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>);

    /// What is to be kept in the session's store until its next run: keys and values, empty values to be forgotten.
    fn save_state(&mut self) -> Vec<(String, Vec<u8>)>;

    /// The plugins as they are now.
    fn list(&self) -> Vec<PluginInfo> {
        Vec::new()
    }

    /// What reads the files of plugins as they will be started here, on any thread.
    fn loader(&self) -> Loader {
        Loader::default()
    }

    /// Has a change made at the engine's next [`reef_engine::Command::PluginsChanged`].
    fn request_change(&mut self, change: Change) {
        drop(change);
    }

    /// What became of the changes since the last call, in order.
    fn changes_made(&mut self) -> Vec<Result<PluginInfo, LoadError>> {
        Vec::new()
    }

    /// Has `tell` called, from a thread of its own, while a hook is stuck that the session waits for.
    fn set_on_stuck(&self, tell: Box<dyn Fn(Alert) + Send + Sync>) {
        drop(tell);
    }
}

impl Plugins for NoHooks {
    fn take_requests(&mut self) -> Vec<Action> {
        Vec::new()
    }

    fn set_waker(&self, _: Box<dyn Fn() + Send + Sync>) {}

    fn save_state(&mut self) -> Vec<(String, Vec<u8>)> {
        Vec::new()
    }
}

impl Plugins for PluginHost {
    fn take_requests(&mut self) -> Vec<Action> {
        Self::take_requests(self)
    }

    fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>) {
        Self::set_waker(self, waker);
    }

    fn save_state(&mut self) -> Vec<(String, Vec<u8>)> {
        Self::save_state(self)
    }

    fn list(&self) -> Vec<PluginInfo> {
        self.plugins()
    }

    fn loader(&self) -> Loader {
        Self::loader(self)
    }

    fn request_change(&mut self, change: Change) {
        Self::request_change(self, change);
    }

    fn changes_made(&mut self) -> Vec<Result<PluginInfo, LoadError>> {
        Self::changes_made(self)
    }

    fn set_on_stuck(&self, tell: Box<dyn Fn(Alert) + Send + Sync>) {
        Self::set_on_stuck(self, tell);
    }
}
