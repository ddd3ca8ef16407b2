//! The command line: what each command of `reef` does, and how it speaks.
//!
//! Here alone text is printed, options are read and exit statuses are chosen; everything else is asked of the library.

pub(crate) mod args;
pub(crate) mod check;
pub(crate) mod client;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod content;
pub(crate) mod create;
pub(crate) mod demo;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod forms;
pub(crate) mod get;
pub(crate) mod isolation;
pub(crate) mod json;
pub(crate) mod log;
pub(crate) mod out;
pub(crate) mod plugin;
pub(crate) mod progress;
pub(crate) mod room;
pub(crate) mod run;
pub(crate) mod seed;
pub(crate) mod settings;
pub(crate) mod show;
pub(crate) mod signals;
pub(crate) mod source;
pub(crate) mod text;
pub(crate) mod wanted;
pub(crate) mod watch;
