//! The 68 bytes with which every connection begins (BEP 3), and the reserved bits in them that say what a peer can do.

use crate::peer_id::PeerId;

/// What a peer says first: its abilities, the torrent, and its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender can do.
    pub reserved: Reserved,
    /// SHA-1 of the torrent's `info`; for v2 the first 20 bytes of its SHA-256 (BEP 52).
    pub info_hash: [u8; 20],
    /// Who the sender says it is.
    pub peer_id: PeerId,
}

impl Handshake {
    /// The handshake as it goes on the wire.
    pub fn to_bytes(&self) -> [u8; HANDSHAKE_LEN] {
        let mut bytes = [0; HANDSHAKE_LEN];
        let parts = PROTOCOL.iter().chain(&self.reserved.0).chain(&self.info_hash).chain(&self.peer_id.0);
        for (slot, byte) in bytes.iter_mut().zip(parts) {
            *slot = *byte;
        }
        bytes
    }

    /// Reads a handshake; `None` when it is another protocol's.
    pub fn from_bytes(bytes: &[u8; HANDSHAKE_LEN]) -> Option<Self> {
        let rest = bytes.strip_prefix(&PROTOCOL)?;
        let (reserved, rest) = rest.split_first_chunk::<8>()?;
        let (info_hash, rest) = rest.split_first_chunk::<20>()?;
        let peer_id = rest.first_chunk::<20>()?;
        Some(Self { reserved: Reserved(*reserved), info_hash: *info_hash, peer_id: PeerId(*peer_id) })
    }

    /// Whether `start`, the first bytes of a connection, can still become a handshake.
    pub fn can_begin_with(start: &[u8]) -> bool {
        start.iter().zip(&PROTOCOL).all(|(got, expected)| got == expected)
    }
}

/// The eight reserved bytes of a handshake. Bits that nobody here knows are kept as they came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// These bits and those of `feature`.
    #[must_use]
    pub fn with(self, feature: Feature) -> Self {
        let bits = u64::from_be_bytes(self.0) | feature.bit();
        Self(bits.to_be_bytes())
    }

    /// Whether the bit of `feature` is set.
    pub fn has(self, feature: Feature) -> bool {
        u64::from_be_bytes(self.0) & feature.bit() != 0
    }
}

/// What a reserved bit can promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Feature {
    /// The sender runs a DHT node (BEP 5).
    Dht,
    /// The fast extension (BEP 6).
    Fast,
    /// The extension protocol (BEP 10).
    Extended,
    /// The torrent may be upgraded to v2 (BEP 52).
    V2,
}

impl Feature {
    /// The bit, byte 0 of the handshake's eight being the highest byte.
    fn bit(self) -> u64 {
        match self {
            Self::Dht => 0x01,
            Self::Fast => 0x04,
            Self::V2 => 0x10,
            Self::Extended => 0x10 << 16,
        }
    }
}

/// Length of a handshake in bytes.
pub const HANDSHAKE_LEN: usize = 68;

/// What a handshake begins with: the length of the protocol's name, and the name.
pub const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_bits_are_where_the_beps_put_them() {
        let cases =
            [(Feature::Dht, 7, 0x01), (Feature::Fast, 7, 0x04), (Feature::V2, 7, 0x10), (Feature::Extended, 5, 0x10)];
        for (feature, byte, bit) in cases {
            let mut expected = [0; 8];
            expected[byte] = bit;
            let reserved = Reserved::default().with(feature);
            assert_eq!(reserved.0, expected, "{feature:?}");
            assert!(reserved.has(feature) && Reserved([0xff; 8]).has(feature) && !Reserved::default().has(feature));
        }
    }

    #[test]
    fn handshake_survives_the_wire() {
        let handshake =
            Handshake { reserved: Reserved([1, 2, 3, 4, 5, 6, 7, 8]), info_hash: [9; 20], peer_id: PeerId([10; 20]) };
        let bytes = handshake.to_bytes();
        assert_eq!(Handshake::from_bytes(&bytes), Some(handshake));
        assert!(bytes.starts_with(b"\x13BitTorrent protocol\x01\x02\x03\x04\x05\x06\x07\x08\x09"));
        assert!((0..=68).all(|cut| Handshake::can_begin_with(&bytes[..cut])));
        let mut other = bytes;
        other[19] = b'!';
        assert_eq!(Handshake::from_bytes(&other), None);
        assert!(!Handshake::can_begin_with(&other[..20]) && Handshake::can_begin_with(&other[..19]));
    }
}
