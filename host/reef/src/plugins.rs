//! What a session needs of its plugins beyond the engine's hooks.

use reef_engine::hooks::Hooks;
use reef_engine::{Action, NoHooks};
use reef_plugin_host::PluginHost;

/// The plugins of a session: its hooks, what their own threads ask for, and what they want kept.
pub trait Plugins: Hooks + Send {
    /// What plugins' own threads asked for since the last call.
    fn take_requests(&mut self) -> Vec<Action>;

    /// Has `waker` called, from any thread, when there is something for [`Self::take_requests`].
    fn set_waker(&self, waker: Box<dyn Fn() + Send + Sync>);

    /// What is to be kept in the session's store until its next run: keys and values, empty values to be forgotten.
    fn save_state(&mut self) -> Vec<(String, Vec<u8>)>;
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
}
