//! A peer that is no session: it says what a test tells it to say and keeps what it hears.

use crate::network::End;
use bytes::Bytes;
use reef_engine::ConnId;
use reef_proto::decoder::{Decoder, Item, Limits};
use reef_proto::handshake::Handshake;
use reef_proto::message::Message;
use std::collections::BTreeMap;

/// One connection of a scripted peer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wire(pub(crate) End);

/// One thing that a scripted peer heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The session's handshake.
    Handshake(Handshake),
    /// A message.
    Message(Message),
    /// The session closed the connection.
    Closed,
}

/// What a scripted peer has heard, by connection.
#[derive(Debug, Default)]
pub(crate) struct Script {
    ears: BTreeMap<ConnId, Ear>,
    /// Connections that sessions opened and nobody has asked for yet.
    pub(crate) accepted: Vec<Wire>,
    conns: u64,
}

#[derive(Debug)]
struct Ear {
    decoder: Decoder,
    heard: Vec<Heard>,
}

impl Script {
    pub(crate) fn next_conn(&mut self) -> ConnId {
        self.conns += 1;
        let ear = Ear { decoder: Decoder::new(Limits { pieces: None }), heard: Vec::new() };
        self.ears.insert(ConnId(self.conns), ear);
        ConnId(self.conns)
    }

    /// Takes bytes in.
    ///
    /// # Panics
    /// If a session sends what is no BitTorrent: that is what tests are to find.
    pub(crate) fn receive(&mut self, conn: ConnId, data: Bytes) {
        let Some(ear) = self.ears.get_mut(&conn) else { return };
        ear.decoder.push(data);
        while let Some(item) = ear.decoder.next_item().expect("a session sends well-formed messages") {
            ear.heard.push(match item {
                Item::Handshake(h) => Heard::Handshake(h),
                Item::Message(m) => Heard::Message(m),
            });
        }
    }

    pub(crate) fn closed(&mut self, conn: ConnId) {
        if let Some(ear) = self.ears.get_mut(&conn) {
            ear.heard.push(Heard::Closed);
        }
    }

    pub(crate) fn hear(&mut self, conn: ConnId) -> Vec<Heard> {
        self.ears.get_mut(&conn).map(|ear| std::mem::take(&mut ear.heard)).unwrap_or_default()
    }
}
