//! Peers that are no sessions: a test says each word and looks at each answer.

use super::World;
use crate::network::End;
use crate::node::{Node, NodeId};
use crate::script::{Heard, Script, Wire};
use bytes::{Bytes, BytesMut};
use reef_engine::{Input, ListenerId, Settings};
use reef_proto::handshake::Handshake;
use reef_proto::message::Message;

impl World {
    /// A new node that is a scripted peer. Sessions can dial it, and it can dial them.
    pub fn add_script(&mut self) -> NodeId {
        self.insert(Node::new(Settings::default(), None, Some(Script::default())))
    }

    /// Connects a scripted peer to a session, at once.
    ///
    /// # Panics
    /// If `script` is no scripted peer, or `to` is not up.
    pub fn script_dial(&mut self, script: NodeId, to: NodeId) -> Wire {
        let conn = self.node(script).script.as_mut().expect("a scripted peer").next_conn();
        let from = End { node: script, start: 0, conn };
        let start = self.node(to).starts;
        let conn = self.node(to).session.as_mut().expect("a session that is up").next_conn_id();
        let end = End { node: to, start, conn };
        self.network.join(from, end);
        let remote = std::net::SocketAddr::new(script.address().ip(), 30_000 + (from.conn.0 % 30_000) as u16);
        self.input(to, Input::Accepted { conn, listener: ListenerId(1), remote });
        Wire(from)
    }

    /// The connections that sessions opened to a scripted peer since this was asked last.
    pub fn script_accepted(&mut self, script: NodeId) -> Vec<Wire> {
        self.node(script).script.as_mut().map(|s| std::mem::take(&mut s.accepted)).unwrap_or_default()
    }

    /// Sends a handshake.
    pub fn shake_hands(&mut self, wire: Wire, handshake: &Handshake) {
        self.say_bytes(wire, Bytes::copy_from_slice(&handshake.to_bytes()));
    }

    /// Sends messages, in one go.
    pub fn say(&mut self, wire: Wire, messages: &[Message]) {
        let mut out = BytesMut::new();
        messages.iter().for_each(|m| m.encode_into(&mut out));
        self.say_bytes(wire, out.freeze());
    }

    /// Sends bytes as they are.
    pub fn say_bytes(&mut self, wire: Wire, bytes: Bytes) {
        self.transmit(wire.0, bytes);
    }

    /// What was heard on a connection since this was asked last.
    pub fn hear(&mut self, wire: Wire) -> Vec<Heard> {
        self.node(wire.0.node).script.as_mut().map(|s| s.hear(wire.0.conn)).unwrap_or_default()
    }

    /// Closes a connection.
    pub fn hang_up(&mut self, wire: Wire) {
        self.close(wire.0);
    }
}
