//! The extension protocol (BEP 10): numbers for names, the handshake both ways, and the few messages that the engine
//! itself understands.

use super::Session;
use super::dispatch::Asked;
use crate::hooks::{HandshakeEntries, Hooks, PeerEvent, PeerRef};
use crate::ids::ConnId;
use crate::peer::Offer;
use crate::policy::peer_list::Merged;
use crate::status::TorrentState;
use bytes::Bytes;
use reef_proto::extended::{ExtendedHandshake, HandshakeBuilder, MAX_NAMES};
use reef_proto::hash::Sha1Hash;
use reef_proto::message::Message;
use std::collections::BTreeMap;

/// Extension names that the engine answers itself, with the numbers that libtorrent gives them.
const BUILT_IN: [(&str, u8); 2] = [(UPLOAD_ONLY, 3), (DONT_HAVE, 7)];
const UPLOAD_ONLY: &str = "upload_only";
const DONT_HAVE: &str = "lt_donthave";

/// The numbers of extension messages in this session. A number is never given to a second name.
#[derive(Debug)]
pub(super) struct Extensions {
    by_name: BTreeMap<String, u8>,
    by_number: BTreeMap<u8, String>,
}

impl Default for Extensions {
    fn default() -> Self {
        let mut new = Self { by_name: BTreeMap::new(), by_number: BTreeMap::new() };
        for (name, number) in BUILT_IN {
            new.by_name.insert(name.to_owned(), number);
            new.by_number.insert(number, name.to_owned());
        }
        new
    }
}

impl Extensions {
    /// The name that a number stands for.
    pub(super) fn name(&self, number: u8) -> Option<&str> {
        self.by_number.get(&number).map(String::as_str)
    }

    /// The number of a name, given now if it has none; `None` when all 255 are taken.
    fn number(&mut self, name: &str) -> Option<u8> {
        if let Some(&n) = self.by_name.get(name) {
            return Some(n);
        }
        let free = (1..=u8::MAX).find(|n| !self.by_number.contains_key(n))?;
        self.by_name.insert(name.to_owned(), free);
        self.by_number.insert(free, name.to_owned());
        Some(free)
    }
}

impl Session {
    /// Sends the extension handshake, unless the peer was told the same before. Names that are offered no more get the
    /// number 0, as BEP 10 has it.
    pub(super) fn send_extension_handshake(&mut self, conn: ConnId, hooks: &mut dyn Hooks) {
        let Some(torrent) = self.peers.get(&conn).and_then(|p| p.torrent) else { return };
        let added = self.plugin_entries(PeerRef { torrent, conn }, hooks);
        let mut names: Vec<(String, u8)> = BUILT_IN.map(|(n, id)| (n.to_owned(), id)).to_vec();
        let digest = digest(&added);
        let mut numbers = Vec::new();
        for name in added.names {
            match self.extensions.number(&name) {
                Some(number) => {
                    numbers.push(number);
                    names.push((name, number));
                }
                None => log::warn!("extension {name}: no number is left for it"),
            }
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let offer = Offer { numbers, digest };
        if peer.local.offer.as_ref() == Some(&offer) {
            return;
        }
        let before = peer.local.offer.replace(offer).unwrap_or_default().numbers;
        for number in before {
            if let Some(name) = self.extensions.name(number)
                && !names.iter().any(|(_, offered)| *offered == number)
            {
                names.push((name.to_owned(), 0));
            }
        }
        let Some(peer) = self.peers.get(&conn) else { return };
        let upload_only = self.torrents.get(&torrent).is_some_and(|t| is_upload_only(t.state));
        let mut builder = HandshakeBuilder::new().your_ip(peer.address.ip());
        for (name, number) in &names {
            builder = builder.extension(name.as_bytes(), *number);
        }
        if let Ok(queue) = u32::try_from(self.settings.max_allowed_in_request_queue) {
            builder = builder.request_queue(queue);
        }
        if self.settings.send_client_name {
            builder = builder.client(&self.settings.user_agent);
        }
        if let Some(port) = self.listen_port().filter(|_| peer.outgoing) {
            builder = builder.listen_port(port);
        }
        if upload_only {
            builder = builder.upload_only();
        }
        for (key, value) in added.entries {
            builder = builder.raw_entry(&key, value);
        }
        let payload = Bytes::from(builder.build());
        self.send(conn, &Message::Extended { id: 0, payload });
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.local.upload_only_sent = upload_only;
        }
    }

    /// The offered names may have changed: tells every peer for which they did.
    pub(super) fn resend_extension_handshakes(&mut self, hooks: &mut dyn Hooks) {
        let conns: Vec<ConnId> =
            self.peers.iter().filter(|(_, p)| p.is_connected() && p.remote.extended).map(|(conn, _)| conn).collect();
        for conn in conns {
            self.send_extension_handshake(conn, hooks);
        }
    }

    pub(super) fn on_extension_handshake(&mut self, conn: ConnId, payload: Bytes, hooks: &mut dyn Hooks) {
        // A malformed handshake is ignored and the peer kept, as libtorrent does.
        let Ok(handshake) = ExtendedHandshake::parse(&payload) else { return };
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let remote = &mut peer.remote;
        for (name, number) in &handshake.ids {
            let Ok(name) = std::str::from_utf8(name) else { continue };
            match number {
                0 => drop(remote.names.remove(name)),
                // One handshake names few enough; a hundred of them must not name more.
                n if remote.names.len() < MAX_NAMES || remote.names.contains_key(name) => {
                    remote.names.insert(name.to_owned(), *n);
                }
                _ => {}
            }
        }
        if let Some(client) = handshake.client.filter(|c| !c.is_empty()) {
            remote.client = client;
        }
        remote.listen_port = handshake.listen_port.or(remote.listen_port);
        remote.max_requests = handshake.request_queue.or(remote.max_requests);
        remote.upload_only = handshake.upload_only.unwrap_or(remote.upload_only);
        remote.extension_handshake = Some(handshake.raw);
        if let (false, Some(port), Some(t)) =
            (peer.outgoing, peer.remote.listen_port, peer.torrent.and_then(|id| self.torrents.get_mut(&id)))
            && let Merged::Moved(listed) = t.peer_list.listen_port_known(peer.listed_as, port, self.now)
        {
            peer.listed_as = listed;
        }
        if self.ask_peer(conn, &PeerEvent::ExtensionHandshake(&payload), hooks) == Asked::Standard {
            self.close_if_redundant(conn, hooks);
        }
    }

    /// Extension messages that the engine understands itself.
    pub(super) fn builtin_extended(&mut self, conn: ConnId, name: &str, payload: &Bytes, hooks: &mut dyn Hooks) {
        match (name, payload.as_ref()) {
            (UPLOAD_ONLY, [on]) => {
                if let Some(peer) = self.peers.get_mut(&conn) {
                    peer.remote.upload_only = *on != 0;
                }
                self.close_if_redundant(conn, hooks);
            }
            (DONT_HAVE, [a, b, c, d]) => self.peer_lost_piece(conn, u32::from_be_bytes([*a, *b, *c, *d]), hooks),
            _ => {}
        }
    }

    /// BEP 54.
    fn peer_lost_piece(&mut self, conn: ConnId, piece: u32, hooks: &mut dyn Hooks) {
        let Some(pieces) = self.num_pieces_of(conn).filter(|&n| piece < n) else { return };
        if self.ask_peer(conn, &PeerEvent::DontHave(piece), hooks) == Asked::Skip {
            return;
        }
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let Some(torrent) = peer.torrent.and_then(|id| self.torrents.get_mut(&id)) else { return };
        torrent.lacking.insert(conn);
        let Some(content) = &mut torrent.content else { return };
        peer.remote.pieces.lose(piece, pieces, &mut content.picker);
        self.update_interest(conn);
    }

    /// Tells peers that we will not download any more (BEP 21), or will again.
    pub(super) fn send_upload_only(&mut self, id: crate::TorrentId) {
        let Some(torrent) = self.torrents.get(&id) else { return };
        let upload_only = is_upload_only(torrent.state);
        for conn in torrent.peers.iter().copied().collect::<Vec<_>>() {
            let Some(peer) = self.peers.get_mut(&conn) else { continue };
            let Some(&number) = peer.remote.names.get(UPLOAD_ONLY) else { continue };
            if peer.local.upload_only_sent != upload_only {
                peer.local.upload_only_sent = upload_only;
                let payload = Bytes::copy_from_slice(&[u8::from(upload_only)]);
                self.send(conn, &Message::Extended { id: number, payload });
            }
        }
    }
}

/// What tells one set of plugins' entries from another.
fn digest(added: &HandshakeEntries) -> Sha1Hash {
    let mut all = Vec::new();
    let parts = added.names.iter().map(|name| (name.as_str(), b"".as_slice()));
    for (key, value) in parts.chain(added.entries.iter().map(|(key, value)| (key.as_str(), value.as_ref()))) {
        all.extend_from_slice(&(key.len() as u64).to_be_bytes());
        all.extend_from_slice(key.as_bytes());
        all.extend_from_slice(&(value.len() as u64).to_be_bytes());
        all.extend_from_slice(value);
    }
    Sha1Hash::of(&all)
}

fn is_upload_only(state: TorrentState) -> bool {
    matches!(state, TorrentState::Finished | TorrentState::Seeding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_no_number_is_given_twice() {
        let mut e = Extensions::default();
        let pex = e.number("ut_pex").unwrap();
        let metadata = e.number("ut_metadata").unwrap();
        assert_eq!((pex, metadata), (1, 2));
        assert_eq!(e.number("a"), Some(4), "3 is upload_only's");
        assert_eq!(e.number("ut_pex"), Some(pex));
        assert_eq!(e.name(7), Some(DONT_HAVE));
        for i in 0..300 {
            e.number(&format!("x{i}"));
        }
        assert_eq!(e.number("one more"), None);
    }
}
