//! What the whole-system, plugin and interop tests share: building and running the program and its plugins, other
//! makers' clients and trackers, and content to transfer.
//!
//! Nothing here sleeps: a test waits for a line that a process prints, or for its end, and says what it saw when that does
//! not come.

pub mod artifacts;
pub mod cases;
pub mod clients;
pub mod content;
pub mod loopback;
pub mod plugins;
pub mod process;
pub mod program;
