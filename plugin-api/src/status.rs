//! Everything that is known of a session, its torrents, peers, files and trackers: bencoded dictionaries on the way, so
//! that they may get further keys. A key that is missing reads as zero, `false`, empty or `None`.

use crate::bencode::{Dict, Value, bytes, int};
use crate::control::StatisticKind;
use crate::endpoint::PeerKey;
use crate::info::TorrentState;
use std::net::SocketAddr;

/// One field of a status.
trait Field: Sized {
    /// Its value, bencoded; `None` to leave it out.
    fn encode(&self) -> Option<Vec<u8>>;
    fn decode(value: &Value<'_>) -> Option<Self>;
}

macro_rules! fields {
    ($($ty:ty: |$field:ident| $encode:expr, |$value:ident| $decode:expr;)*) => { $(
        impl Field for $ty {
            fn encode(&self) -> Option<Vec<u8>> { let $field = self; $encode }
            fn decode($value: &Value<'_>) -> Option<Self> { $decode }
        }
    )* };
}

fields! {
    bool: |flag| flag.then(|| int(1)), |value| Some(value.as_int()? != 0);
    u32: |number| Some(int(i64::from(*number))), |value| u32::try_from(value.as_int()?).ok();
    u64: |number| Some(int(i64::try_from(*number).unwrap_or(i64::MAX))), |value| u64::try_from(value.as_int()?).ok();
    i64: |number| Some(int(*number)), |value| value.as_int();
    String: |text| Some(bytes(text)), |value| Some(value.as_str()?.to_owned());
    [u8; 20]: |hash| Some(bytes(hash)), |value| value.as_bytes()?.try_into().ok();
    [u8; 32]: |hash| Some(bytes(hash)), |value| value.as_bytes()?.try_into().ok();
    SocketAddr: |address| Some(bytes(address.to_string())), |value| value.as_str()?.parse().ok();
    TorrentState: |state| state.0.encode(), |value| u32::decode(value).map(Self);
    PeerKey: |key| key.0.encode(), |value| u64::decode(value).map(Self);
    StatisticKind: |kind| kind.number().encode(), |value| u32::decode(value).map(Self::from_number);
    Vec<SocketAddr>: |list| Some(crate::bencode::list(list.iter().filter_map(Field::encode))),
        |value| Some(value.as_list()?.iter().filter_map(SocketAddr::decode).collect());
}

impl<T: Field> Field for Option<T> {
    fn encode(&self) -> Option<Vec<u8>> {
        self.as_ref()?.encode()
    }

    fn decode(value: &Value<'_>) -> Option<Self> {
        T::decode(value).map(Some)
    }
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $Name:ident { $($(#[$fdoc:meta])* $field:ident: $ty:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $Name { $($(#[$fdoc])* pub $field: $ty,)* }

        impl $Name {
            pub(crate) fn encode(&self) -> Vec<u8> {
                let mut dict = Dict::new();
                $(if let Some(value) = Field::encode(&self.$field) {
                    dict.raw(stringify!($field), value);
                })*
                dict.encode()
            }

            pub(crate) fn decode(value: &Value<'_>) -> Self {
                Self { $($field: value.get(stringify!($field)).and_then(Field::decode).unwrap_or_default(),)* }
            }
        }
    )* };
}

statuses! {
    /// The session as a whole.
    SessionStatus {
        /// Where peers can reach it.
        listening: Vec<SocketAddr>,
        /// Payload bytes a second coming in.
        download_rate: u64,
        /// Payload bytes a second going out.
        upload_rate: u64,
        /// Connections, also half-open ones.
        num_connections: u32,
        /// Torrents.
        num_torrents: u32,
    }

    /// Everything that is known of a torrent. [`TorrentInfo`](crate::TorrentInfo) costs less.
    TorrentStatus {
        /// SHA-1 of the info dictionary, if the torrent has a v1 part.
        info_hash_v1: Option<[u8; 20]>,
        /// SHA-256 of the info dictionary, if the torrent has a v2 part.
        info_hash_v2: Option<[u8; 32]>,
        /// Its name; for a magnet without one, its info-hash.
        name: String,
        /// What it is doing.
        state: TorrentState,
        /// It is paused.
        paused: bool,
        /// Why it stopped, if it did.
        error: Option<String>,
        /// The stable name of that error's code.
        error_code: Option<String>,
        /// Whether its metadata is known.
        has_metadata: bool,
        /// The folder its files lie in.
        save_path: String,
        /// Bytes of all files.
        total_size: u64,
        /// Bytes of the wanted pieces.
        wanted: u64,
        /// Verified bytes of the wanted pieces.
        wanted_done: u64,
        /// Verified bytes.
        total_done: u64,
        /// While checking: how many pieces were looked at.
        checked_pieces: u32,
        /// Pieces in all; 0 without metadata.
        num_pieces: u32,
        /// Verified pieces.
        have_pieces: u32,
        /// Payload bytes a second coming in.
        download_rate: u64,
        /// Payload bytes a second going out.
        upload_rate: u64,
        /// Payload bytes received, over all runs.
        downloaded: u64,
        /// Payload bytes sent, over all runs.
        uploaded: u64,
        /// Bytes of pieces that failed their hash check.
        failed_bytes: u64,
        /// Bytes received that were of no use.
        wasted_bytes: u64,
        /// Connected peers (handshake done).
        num_peers: u32,
        /// Connected peers that have everything.
        num_seeds: u32,
        /// Addresses known.
        known_peers: u32,
        /// Seconds active in all.
        active_secs: u64,
        /// Seconds it seeded in all.
        seeding_secs: u64,
        /// It has everything that is wanted, verified and in its files.
        complete: bool,
    }

    /// Everything that is known of a connection. [`PeerInfo`](crate::PeerInfo) costs less.
    PeerStatus {
        /// Its key.
        key: PeerKey,
        /// Its address.
        addr: Option<SocketAddr>,
        /// Where it says it listens, if it said so or we dialled it.
        listen: Option<SocketAddr>,
        /// Its id, once its handshake was received.
        peer_id: Option<[u8; 20]>,
        /// What program it says it is, cleaned for display.
        client: String,
        /// We dialled it.
        outgoing: bool,
        /// The handshake is done.
        handshaken: bool,
        /// It has every piece.
        seed: bool,
        /// It says it will not download.
        upload_only: bool,
        /// It is interested in us.
        remote_interested: bool,
        /// It chokes us.
        remote_choking: bool,
        /// We are interested in it.
        interesting: bool,
        /// We choke it.
        choked: bool,
        /// It keeps us waiting.
        snubbed: bool,
        /// Where its address was learned, bits of [`source`](crate::source).
        source: u32,
        /// Pieces it has.
        have_pieces: u32,
        /// Payload bytes a second from it.
        download_rate: u64,
        /// Payload bytes a second to it.
        upload_rate: u64,
        /// Payload bytes from it.
        downloaded: u64,
        /// Payload bytes to it.
        uploaded: u64,
        /// Blocks asked of it and not yet here.
        outstanding: u32,
        /// Bytes queued to be sent to it.
        queued_bytes: u64,
    }

    /// A file of a torrent.
    FileStatus {
        /// Its path below the save folder, with `/` between the parts.
        path: String,
        /// Bytes.
        size: u64,
        /// Verified bytes.
        done: u64,
        /// 0 not wanted, 1 to 7 (4 is the default).
        priority: u32,
    }

    /// A tracker of a torrent.
    TrackerStatus {
        /// Its URL.
        url: String,
        /// Its tier; lower is tried first.
        tier: u32,
        /// What it last said of itself or why it failed; empty if neither.
        message: String,
        /// Failures since the last success.
        fails: u32,
        /// Whether it has answered since the torrent was added.
        verified: bool,
        /// Seeds it counted.
        seeds: Option<u32>,
        /// Downloaders it counted.
        leeches: Option<u32>,
    }

    /// A counter or gauge of the session, its own or a plugin's.
    Statistic {
        /// Its name, such as `net.recv_payload_bytes`.
        name: String,
        /// Whether it only grows.
        kind: StatisticKind,
        /// What it counts.
        doc: String,
        /// Its value.
        value: i64,
    }
}

/// The pieces of a torrent that are verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pieces {
    /// As in a `bitfield` message: the first piece is the highest bit of the first byte.
    bits: Vec<u8>,
    len: u32,
}

impl Pieces {
    /// From the bits of a `bitfield` message for so many pieces.
    pub fn from_bits(mut bits: Vec<u8>, len: u32) -> Self {
        bits.resize(len.div_ceil(8) as usize, 0);
        if let Some(last) = bits.last_mut()
            && !len.is_multiple_of(8)
        {
            *last &= 0xff << (8 - len % 8);
        }
        Self { bits, len }
    }

    /// How many pieces the torrent has.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether the torrent has no pieces, as far as is known.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of them are verified.
    pub fn count(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether this one is.
    pub fn has(&self, piece: u32) -> bool {
        self.bits.get((piece / 8) as usize).is_some_and(|byte| byte & (0x80 >> (piece % 8)) != 0)
    }

    /// As in a `bitfield` message.
    pub fn bits(&self) -> &[u8] {
        &self.bits
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        Dict::new().bytes("bits", &self.bits).int("len", i64::from(self.len)).encode()
    }

    pub(crate) fn decode(value: &Value<'_>) -> Option<Self> {
        let len = u32::decode(value.get("len")?)?;
        let bits = value.get("bits")?.as_bytes()?;
        (bits.len() == len.div_ceil(8) as usize).then(|| Self::from_bits(bits.to_vec(), len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::decode;

    #[test]
    fn what_is_set_arrives_and_what_is_missing_is_nothing() {
        let peer = PeerStatus {
            addr: Some(([1, 2, 3, 4], 5).into()),
            peer_id: Some([7; 20]),
            client: "a".to_owned(),
            seed: true,
            uploaded: u64::MAX,
            ..PeerStatus::default()
        };
        let read = PeerStatus::decode(&decode(&peer.encode()).expect("a dictionary"));
        assert_eq!(read, PeerStatus { uploaded: i64::MAX as u64, ..peer });
        let torrent = TorrentStatus {
            state: TorrentState::SEEDING,
            error: Some("disk full".to_owned()),
            info_hash_v2: Some([1; 32]),
            ..TorrentStatus::default()
        };
        assert_eq!(TorrentStatus::decode(&decode(&torrent.encode()).expect("a dictionary")), torrent);
        assert_eq!(TrackerStatus::decode(&decode(b"d3:newi1ee").expect("a dictionary")), TrackerStatus::default());
    }

    #[test]
    fn pieces_are_bits_from_the_highest() {
        let pieces = Pieces::from_bits(vec![0b1010_0000, 0xff], 11);
        assert_eq!(
            (pieces.has(0), pieces.has(1), pieces.has(2), pieces.has(10), pieces.has(11)),
            (true, false, true, true, false)
        );
        assert_eq!((pieces.count(), pieces.len()), (5, 11));
        assert_eq!(Pieces::decode(&decode(&pieces.encode()).expect("a dictionary")), Some(pieces));
        assert_eq!(Pieces::decode(&decode(b"d4:bits1:x3:leni99ee").expect("a dictionary")), None);
    }
}
