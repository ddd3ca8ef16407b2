//! What proves that a peer knows the key, and the numbers of messages that follow from it.
//!
//! Each side sends 32 random bytes of its own. Its proof is an HMAC-SHA256 over those of both sides, so a proof that somebody recorded is of no
//! use on another connection; over who dialled, so a proof that is sent back to its maker is of no use; and over the torrent and both peer
//! ids, so it is good for no other torrent and no other peer.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// Random bytes of one side, for one connection.
pub type Nonce = [u8; 32];

/// Which side of a connection somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It connected.
    Dialler,
    /// It was connected to.
    Acceptor,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Dialler => Self::Acceptor,
            Self::Acceptor => Self::Dialler,
        }
    }
}

/// What one side brings into both proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its peer id, as the other side saw it in its handshake.
    pub peer_id: [u8; 20],
    /// Its random bytes.
    pub nonce: Nonce,
}

/// A connection of which both sides are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The torrent.
    pub info_hash: [u8; 20],
    /// Who connected.
    pub dialler: Part,
    /// Who was connected to.
    pub acceptor: Part,
}

/// The network's shared secret.
#[derive(Clone)]
pub struct Key(Vec<u8>);

/// Bytes of a key at least: what is shorter is guessed from one recorded proof.
pub const SHORTEST_KEY: usize = 16;

impl Key {
    /// The key of this text; `None` if it is too short.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (text.len() >= SHORTEST_KEY).then(|| Self(text.as_bytes().to_vec()))
    }

    /// What `prover` sends on this connection.
    #[must_use]
    pub fn proof(&self, connection: &Connection, prover: Side) -> [u8; 32] {
        self.mac_of_proof(connection, prover).finalize().into_bytes().into()
    }

    /// Whether `prover` sent what it should, compared in a time that does not depend on where it differs.
    #[must_use]
    pub fn verify(&self, connection: &Connection, prover: Side, proof: &[u8]) -> bool {
        self.mac_of_proof(connection, prover).verify_slice(proof).is_ok()
    }

    fn mac_of_proof(&self, connection: &Connection, prover: Side) -> Hmac<Sha256> {
        let Connection { info_hash, dialler, acceptor } = connection;
        let side: &[u8] = match prover {
            Side::Dialler => b"dialler",
            Side::Acceptor => b"acceptor",
        };
        let parts: [&[u8]; 6] = [side, info_hash, &dialler.peer_id, &dialler.nonce, &acceptor.peer_id, &acceptor.nonce];
        self.mac(b"reef closed_network proof 1", &parts)
    }

    /// The numbers of messages in this torrent: at each standard number the number on the wire. Whoever has the key has the same.
    #[must_use]
    pub fn message_ids(&self, info_hash: &[u8; 20]) -> Vec<u8> {
        let mut ids: Vec<u8> = (0..=u8::MAX).collect();
        // A shuffle that follows from the key: 255 steps of 16 bits each.
        let random = (0u8..16).flat_map(|block| {
            self.mac(b"reef closed_network message ids 1", &[info_hash, &[block]]).finalize().into_bytes()
        });
        let random: Vec<u8> = random.collect();
        for (step, bytes) in random.chunks_exact(2).take(255).enumerate() {
            let left = 256 - step;
            let pick = usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) % left;
            ids.swap(left - 1, pick);
        }
        ids
    }

    /// Of parts whose lengths are fixed, or that are told apart by the first byte that differs.
    fn mac(&self, purpose: &[u8], parts: &[&[u8]]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(purpose);
        for part in parts {
            mac.update(&[u8::try_from(part.len()).unwrap_or(u8::MAX)]);
            mac.update(part);
        }
        mac
    }
}

impl std::fmt::Debug for Key {
    /// Not for a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::new(text).expect("long enough")
    }

    fn connection() -> Connection {
        let part = |byte| Part { peer_id: [byte; 20], nonce: [byte + 1; 32] };
        Connection { info_hash: [7; 20], dialler: part(1), acceptor: part(3) }
    }

    #[test]
    fn a_proof_is_good_for_its_key_and_connection_and_side_alone() {
        let (ours, at) = (key("a key of the network"), connection());
        let proof = ours.proof(&at, Side::Dialler);
        assert!(ours.verify(&at, Side::Dialler, &proof));
        assert!(!ours.verify(&at, Side::Acceptor, &proof), "sent back");
        assert!(!key("another key of others").verify(&at, Side::Dialler, &proof));
        assert!(!ours.verify(&at, Side::Dialler, &proof[..31]));
        assert!(!ours.verify(&at, Side::Dialler, b""));
        let mut others = [at; 6];
        others[0].info_hash[0] ^= 1;
        others[1].dialler.nonce[31] ^= 1;
        others[2].acceptor.nonce[0] ^= 1;
        others[3].dialler.peer_id[19] ^= 1;
        others[4].acceptor.peer_id[0] ^= 1;
        (others[5].dialler, others[5].acceptor) = (at.acceptor, at.dialler);
        for (index, other) in others.iter().enumerate() {
            assert!(!ours.verify(other, Side::Dialler, &proof), "{index}");
        }
    }

    #[test]
    fn the_numbers_are_a_permutation_that_follows_from_the_key_and_the_torrent() {
        let ids = key("a key of the network").message_ids(&[1; 20]);
        let mut sorted = ids.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..=255).collect::<Vec<u8>>());
        assert_eq!(ids, key("a key of the network").message_ids(&[1; 20]));
        assert_ne!(ids, key("a key of the network").message_ids(&[2; 20]));
        assert_ne!(ids, key("another key of others").message_ids(&[1; 20]));
        let moved = (0..21).filter(|id| ids[usize::from(*id)] != *id).count();
        assert!(moved > 15, "hardly any standard number has changed");
    }

    #[test]
    fn a_short_key_is_none() {
        assert!(Key::new("fifteen letters").is_none() && Key::new("sixteen letters!").is_some());
    }
}
