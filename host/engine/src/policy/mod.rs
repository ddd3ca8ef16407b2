//! The policies: who to talk to, what to ask for, when to announce.
//!
//! Each takes plain data and returns decisions, so each can be tested from a table. None knows the session, and none
//! knows another.

pub mod announce;
pub mod choker;
pub mod limiter;
pub mod peer_list;
pub mod picker;
pub mod rate;
