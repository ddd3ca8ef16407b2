//! A BitTorrent engine that hosts plugins.

pub mod disk;
pub mod store;
