//! A connection that is closed until its peer has proven itself.

use crate::Network;
use crate::held::Held;
use crate::proof::{Connection, Nonce, Part, Side};
use reef_plugin_api::bencode::{self, Dict};
use reef_plugin_api::{Buffer, Flow, HookResult, PeerCx, PeerPlugin, PeerRequest, PluginError, TorrentInfo, hooks};
use std::sync::Arc;
use std::time::Duration;

/// Number of extension messages (BEP 10); the handshake is the one whose first byte is 0.
const EXTENDED: u8 = 20;
/// Where the handshake's reserved bytes say that a peer has extension messages.
const EXTENSION_BIT: (usize, u8) = (5, 0x10);
const NONCE: &str = "cn_nonce";
const YOU: &str = "cn_you";
const PROOF: &str = "cn_proof";

/// One object for each connection: closed until the peer has proven itself.
pub(crate) struct Gate {
    network: Arc<Network>,
    /// Our random bytes.
    nonce: Nonce,
    /// When the handshakes were done.
    since: Option<u64>,
    /// What the peer said first: its random bytes, and our peer id as it saw it.
    theirs: Option<Part>,
    held: Held,
    proven: bool,
}

impl Gate {
    /// A closed one, with random bytes that are used for nothing else.
    pub(crate) fn new(network: Arc<Network>, nonce: Nonce) -> Self {
        Self { network, nonce, since: None, theirs: None, held: Held::default(), proven: false }
    }

    /// Refuses what a peer says before it has proven itself.
    fn only_members(&self) -> HookResult {
        if self.proven {
            Ok(Flow::Pass)
        } else {
            Err(PluginError::new("a stranger: it did not prove that it knows the key"))
        }
    }

    /// Sends an extension handshake of ours, past the gate.
    fn send(&mut self, cx: &PeerCx<'_>, entries: &mut Dict) -> Result<(), PluginError> {
        let mut payload = vec![0];
        payload.extend(entries.raw("m", Dict::new().encode()).encode());
        self.held.let_pass(&payload);
        Ok(cx.send_message(EXTENDED, &payload)?)
    }

    /// The connection as both sides know it, once the peer has said its part, and which side of it is ours.
    fn connection(&self, cx: &PeerCx<'_>) -> Result<Option<(Connection, Side)>, PluginError> {
        let (info, torrent) = (cx.info()?, cx.torrent().info()?);
        let (Some(said), Some(their_id)) = (self.theirs, info.peer_id) else { return Ok(None) };
        let ours = Part { peer_id: said.peer_id, nonce: self.nonce };
        let theirs = Part { peer_id: their_id, nonce: said.nonce };
        let side = if info.outgoing { Side::Dialler } else { Side::Acceptor };
        let (dialler, acceptor) = match side {
            Side::Dialler => (ours, theirs),
            Side::Acceptor => (theirs, ours),
        };
        Ok(Some((Connection { info_hash: wire_hash(&torrent), dialler, acceptor }, side)))
    }

    /// The peer said its random bytes: ours and its are what the proof is over.
    fn greeted(&mut self, cx: &PeerCx<'_>, nonce: &[u8], you: &[u8]) -> HookResult {
        let nonce: Nonce = nonce.try_into().map_err(|_| PluginError::new("random bytes of another length"))?;
        let peer_id = you.try_into().map_err(|_| PluginError::new("a peer id of another length"))?;
        if self.theirs.is_some() || nonce == self.nonce {
            return Err(PluginError::new("a greeting that was said before"));
        }
        self.theirs = Some(Part { peer_id, nonce });
        if let Some((connection, side)) = self.connection(cx)? {
            let proof = self.network.key.proof(&connection, side);
            self.send(cx, Dict::new().bytes(PROOF, proof))?;
        }
        Ok(Flow::Handled)
    }

    /// The peer's proof: if it is right, what was held back is said.
    fn proven_by(&mut self, cx: &PeerCx<'_>, proof: &[u8]) -> HookResult {
        let right = match self.connection(cx)? {
            Some((connection, side)) => self.network.key.verify(&connection, side.other(), proof),
            None => false,
        };
        if !right {
            return Err(PluginError::new("a stranger: its proof is wrong"));
        }
        log::debug!("{} knows the key", cx.info()?.addr);
        self.proven = true;
        for (id, payload) in self.held.take() {
            cx.send_message(id, &payload)?;
        }
        Ok(Flow::Handled)
    }
}

/// What a torrent is called on the wire.
fn wire_hash(torrent: &TorrentInfo) -> [u8; 20] {
    let of_v2 = || torrent.info_hash_v2.and_then(|hash| hash.first_chunk().copied()).unwrap_or_default();
    torrent.info_hash_v1.unwrap_or_else(of_v2)
}

#[hooks]
impl PeerPlugin for Gate {
    fn on_handshake(&mut self, cx: &mut PeerCx<'_>, reserved: &[u8; 8]) -> HookResult {
        if self.proven {
            return Ok(Flow::Pass);
        }
        let (byte, bit) = EXTENSION_BIT;
        if reserved[byte] & bit == 0 {
            return Err(PluginError::new("a stranger: it has no extension messages, and so cannot prove anything"));
        }
        self.since = Some(cx.now());
        let you = cx.info()?.peer_id.unwrap_or_default();
        let nonce = self.nonce;
        self.send(cx, Dict::new().bytes(NONCE, nonce).bytes(YOU, you))?;
        Ok(Flow::Pass)
    }

    fn message_ids(&mut self, cx: &mut PeerCx<'_>) -> Result<Vec<u8>, PluginError> {
        if !self.network.message_ids {
            return Ok(Vec::new());
        }
        Ok(self.network.key.message_ids(&wire_hash(&cx.torrent().info()?)))
    }

    fn write_message(&mut self, _: &mut PeerCx<'_>, id: u8, payload: &[u8]) -> HookResult {
        if self.proven || (id == EXTENDED && self.held.may_pass(payload)) {
            return Ok(Flow::Pass);
        }
        self.held.keep(id, payload)?;
        Ok(Flow::Handled)
    }

    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, dict: &[u8]) -> HookResult {
        if self.proven {
            return Ok(Flow::Pass);
        }
        let said = bencode::decode(dict)?;
        let field = |key| said.get(key).and_then(|value| value.as_bytes());
        match (field(NONCE), field(YOU), field(PROOF)) {
            (Some(nonce), Some(you), None) => self.greeted(cx, nonce, you),
            (None, None, Some(proof)) => self.proven_by(cx, proof),
            _ => self.only_members(),
        }
    }

    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        let waited = Duration::from_micros(self.since.map_or(0, |since| cx.now().saturating_sub(since)));
        if !self.proven && waited > self.network.deadline {
            return Err(PluginError::new("a stranger: it did not prove in time that it knows the key"));
        }
        Ok(Flow::Pass)
    }

    // A newer version of this plugin takes over who has proven itself to the older one.
    fn save_state(&mut self, _: &mut PeerCx<'_>) -> Result<Vec<u8>, PluginError> {
        Ok(if self.proven { b"proven".to_vec() } else { Vec::new() })
    }

    fn load_state(&mut self, _: &mut PeerCx<'_>, state: &[u8]) -> HookResult {
        self.proven = state == b"proven";
        Ok(Flow::Pass)
    }

    // Everything else is for members.
    fn on_extended(&mut self, _: &mut PeerCx<'_>, _: &str, _: &[u8]) -> HookResult {
        self.only_members()
    }
    fn on_choke(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_unchoke(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_interested(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_not_interested(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_have(&mut self, _: &mut PeerCx<'_>, _: u32) -> HookResult {
        self.only_members()
    }
    fn on_bitfield(&mut self, _: &mut PeerCx<'_>, _: &[u8]) -> HookResult {
        self.only_members()
    }
    fn on_have_all(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_have_none(&mut self, _: &mut PeerCx<'_>) -> HookResult {
        self.only_members()
    }
    fn on_allowed_fast(&mut self, _: &mut PeerCx<'_>, _: u32) -> HookResult {
        self.only_members()
    }
    fn on_request(&mut self, _: &mut PeerCx<'_>, _: PeerRequest) -> HookResult {
        self.only_members()
    }
    fn on_piece(&mut self, _: &mut PeerCx<'_>, _: PeerRequest, _: &Buffer) -> HookResult {
        self.only_members()
    }
    fn on_cancel(&mut self, _: &mut PeerCx<'_>, _: PeerRequest) -> HookResult {
        self.only_members()
    }
    fn on_reject(&mut self, _: &mut PeerCx<'_>, _: PeerRequest) -> HookResult {
        self.only_members()
    }
    fn on_suggest(&mut self, _: &mut PeerCx<'_>, _: u32) -> HookResult {
        self.only_members()
    }
    fn on_dont_have(&mut self, _: &mut PeerCx<'_>, _: u32) -> HookResult {
        self.only_members()
    }
    fn on_unknown_message(&mut self, _: &mut PeerCx<'_>, _: u8, _: &[u8]) -> HookResult {
        self.only_members()
    }
}
