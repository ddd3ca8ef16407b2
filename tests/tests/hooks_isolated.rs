//! Every hook of a plugin in a process of its own: it runs when it would in this one, and its verdict counts as much.
#![cfg(target_os = "linux")]

#[path = "hooks.rs"]
mod hooks;
