//! Announces on their way: over HTTP, and over UDP (BEP 15).
use super::Session;
use crate::hooks::Hooks;
use crate::ids::{RequestId, TorrentId};
use crate::input::HttpReply;
use crate::output::Output;
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

#[derive(Debug, Default)]
pub(super) struct Trackers {}
impl Trackers {
    pub(super) fn forget(&mut self, _: TorrentId) {}
    pub(super) fn is_busy(&self) -> bool {
        false
    }
    pub(super) fn cancel_all(&mut self, _: &mut VecDeque<Output>) {}
}
impl Session {
    pub(super) fn announce_due(&mut self) {}
    pub(super) fn announce_now(&mut self, _: TorrentId) {}
    pub(super) fn announce_completed(&mut self, _: TorrentId) {}
    pub(super) fn announce_stopped(&mut self, _: TorrentId) {}
    pub(super) fn http_done(&mut self, _: RequestId, _: Result<HttpReply, String>, _: &mut dyn Hooks) {}
    pub(super) fn resolved(&mut self, _: RequestId, _: Result<Vec<IpAddr>, String>) {}
    pub(super) fn datagram(&mut self, _: SocketAddr, _: &Bytes, _: &mut dyn Hooks) {}
    pub(super) fn tick_udp_trackers(&mut self, _: &mut dyn Hooks) {}
}
