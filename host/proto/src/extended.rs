//! The extension handshake (BEP 10, with BEP 9's `metadata_size`, BEP 21's `upload_only`): reading a peer's and building ours.
//!
//! A field that makes no sense is as good as absent: peers send odd ones, and no field is worth a connection. Only what is no dictionary at all is an
//! error, and that one is meant to be ignored too. It must never allocate by a number that a peer names.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use crate::bencode::{BencodeError, Dict, Item, Limits};
use crate::compact;
use crate::text::printable;

/// What a peer's extension handshake says. A peer may send it again; the later one counts where it says something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// The extensions by name, with the id under which the sender wants their messages; 0 means that it wants none any more. At most [`MAX_NAMES`].
    pub ids: BTreeMap<Vec<u8>, u8>,
    /// The sender's client and version, fit to show.
    pub client: Option<String>,
    /// The port on which the sender listens (TCP).
    pub listen_port: Option<u16>,
    /// The address that the sender sees us come from.
    pub your_ip: Option<IpAddr>,
    /// The sender's own IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// The sender's own IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// How many requests the sender keeps; at least 1.
    pub request_queue: Option<u32>,
    /// Size in bytes of the sender's `info` (BEP 9), if it is between 1 and [`MAX_METADATA_SIZE`].
    pub metadata_size: Option<u32>,
    /// Whether the sender only uploads, be it a seed or not (BEP 21).
    pub upload_only: Option<bool>,
    /// Seconds since the sender completed the torrent.
    pub complete_ago: Option<u32>,
    /// The dictionary as it came, for those who look for more in it; empty where it has more than [`MAX_RAW`] bytes.
    pub raw: Bytes,
}

impl ExtendedHandshake {
    /// Reads the payload of an extension message with id 0. Bytes after the dictionary are ignored.
    ///
    /// # Errors
    /// When the payload is not a dictionary within [`Limits::MESSAGE`]. The connection is still good: ignore the message.
    pub fn parse(payload: &[u8]) -> Result<Self, BencodeError> {
        let (dict, _) = Dict::parse_prefix(payload, &Limits::MESSAGE)?;
        let port = |key| dict.int(key).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
        let number = |key| dict.int(key).and_then(|number| u32::try_from(number).ok());
        let ip = |key| dict.bytes(key).and_then(compact::parse_ip);
        Ok(Self {
            ids: dict.dict("m").map(|names| ids(&names)).unwrap_or_default(),
            client: dict.bytes("v").map(|v| printable(v, MAX_CLIENT_CHARS)).filter(|v| !v.is_empty()),
            listen_port: port("p"),
            your_ip: ip("yourip"),
            ipv4: dict.bytes("ipv4").and_then(|ip| <[u8; 4]>::try_from(ip).ok()).map(Ipv4Addr::from),
            ipv6: dict.bytes("ipv6").and_then(|ip| <[u8; 16]>::try_from(ip).ok()).map(Ipv6Addr::from),
            request_queue: number("reqq").filter(|length| *length > 0),
            metadata_size: number("metadata_size").filter(|size| (1..=MAX_METADATA_SIZE).contains(size)),
            upload_only: dict.int("upload_only").map(|flag| flag != 0),
            complete_ago: number("complete_ago"),
            // A copy: a slice would keep the whole receive buffer for as long as the peer is connected.
            raw: Some(dict.raw()).filter(|raw| raw.len() <= MAX_RAW).map(Bytes::copy_from_slice).unwrap_or_default(),
        })
    }

    /// The id under which the sender takes messages of the extension `name`; none if it does not take them.
    pub fn id_of(&self, name: &[u8]) -> Option<u8> {
        self.ids.get(name).copied().filter(|id| *id != 0)
    }
}

/// The names with ids that fit a byte, up to the limit.
fn ids(names: &Dict<'_>) -> BTreeMap<Vec<u8>, u8> {
    let valid = names.iter().filter_map(|(name, id)| Some((name, u8::try_from(id.as_int()?).ok()?)));
    let kept = valid.filter(|(name, _)| name.len() <= MAX_NAME_LEN).take(MAX_NAMES);
    kept.map(|(name, id)| (name.to_vec(), id)).collect()
}

/// Builds our extension handshake. Keys come out sorted, whatever the order they went in.
#[derive(Clone, Debug, Default)]
pub struct HandshakeBuilder {
    ids: BTreeMap<Vec<u8>, Item>,
    entries: BTreeMap<Vec<u8>, Item>,
}

impl HandshakeBuilder {
    /// A handshake that names no extension.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names an extension and the id under which we take its messages; 0 withdraws it.
    #[must_use]
    pub fn extension(mut self, name: &[u8], id: u8) -> Self {
        self.ids.insert(name.to_vec(), Item::Int(id.into()));
        self
    }

    /// `v`: our client and version.
    #[must_use]
    pub fn client(self, name: &str) -> Self {
        self.entry("v", Item::from(name))
    }

    /// `p`: the port on which we listen.
    #[must_use]
    pub fn listen_port(self, port: u16) -> Self {
        self.entry("p", Item::Int(port.into()))
    }

    /// `yourip`: the address from which the peer comes.
    #[must_use]
    pub fn your_ip(self, ip: IpAddr) -> Self {
        let mut bytes = Vec::new();
        compact::put_ip(&mut bytes, ip.to_canonical());
        self.entry("yourip", Item::Bytes(bytes))
    }

    /// `reqq`: how many requests we keep.
    #[must_use]
    pub fn request_queue(self, length: u32) -> Self {
        self.entry("reqq", Item::from(length))
    }

    /// `metadata_size`: bytes of our `info` (BEP 9).
    #[must_use]
    pub fn metadata_size(self, bytes: u32) -> Self {
        self.entry("metadata_size", Item::from(bytes))
    }

    /// `upload_only`: that we want no blocks (BEP 21).
    #[must_use]
    pub fn upload_only(self) -> Self {
        self.entry("upload_only", Item::Int(1))
    }

    /// `complete_ago`: seconds since we completed the torrent.
    #[must_use]
    pub fn complete_ago(self, seconds: u32) -> Self {
        self.entry("complete_ago", Item::from(seconds))
    }

    /// Any entry, its value bencoded already and valid, which nobody checks here. `m` is not taken: see [`Self::extension`].
    #[must_use]
    pub fn raw_entry(self, key: &str, value: Bytes) -> Self {
        self.entry(key, Item::Raw(value))
    }

    /// The dictionary: the payload of an extension message with id 0.
    pub fn build(mut self) -> Vec<u8> {
        self.entries.insert(b"m".to_vec(), Item::Dict(self.ids));
        Item::Dict(self.entries).to_bytes()
    }

    fn entry(mut self, key: &str, value: Item) -> Self {
        self.entries.insert(key.as_bytes().to_vec(), value);
        self
    }
}

/// The most names of `m` that are kept.
pub const MAX_NAMES: usize = 128;

/// The longest name of an extension that is kept, in bytes.
const MAX_NAME_LEN: usize = 64;

/// The largest `metadata_size` that is believed, in bytes; the same as libtorrent's default.
pub const MAX_METADATA_SIZE: u32 = 30 << 20;

/// The largest dictionary that is kept as it came, in bytes.
pub const MAX_RAW: usize = 64 * 1024;

const MAX_CLIENT_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(dict: &[u8]) -> ExtendedHandshake {
        let handshake = ExtendedHandshake::parse(dict).unwrap();
        assert_eq!(handshake.raw, if dict.len() > MAX_RAW { b"" } else { dict });
        ExtendedHandshake { raw: Bytes::new(), ..handshake }
    }

    #[test]
    fn bad_fields_are_as_good_as_absent() {
        let nothing = ExtendedHandshake::default();
        let cases: [&[u8]; 12] = [
            b"de",
            b"d1:mlee",
            b"d1:md1:ai256e1:bi-1e1:cle1:d1:xee",
            b"d13:metadata_sizei-1ee",
            b"d13:metadata_sizei0ee",
            b"d13:metadata_sizei1099511627776ee",
            b"d6:yourip3:123e",
            b"d4:reqqi-5ee",
            b"d1:pi70000ee",
            b"d1:pi0ee",
            b"d1:vi1e4:ipv43:abc4:ipv64:abcde",
            b"d11:upload_only1:1e",
        ];
        for case in cases {
            assert_eq!(check(case), nothing, "{}", case.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_dictionary_is_an_error() {
        let nested = [b"d1:m".as_slice(), &[b'l'; 3000], &[b'e'; 3001]].concat();
        for case in [b"".as_slice(), b"i1e", b"d1:m", b"le", &nested] {
            assert!(ExtendedHandshake::parse(case).is_err());
        }
    }

    #[test]
    fn names_are_bounded() {
        let names: Vec<String> = (0..20_000).map(|n| format!("x{n:05}")).collect();
        let m = Item::dict(names.iter().map(|name| (name.as_str(), Item::Int(7))));
        let handshake = check(&Item::dict([("m", m)]).to_bytes());
        assert_eq!(handshake.ids.len(), MAX_NAMES);
        let long = Item::dict([(vec![b'x'; 65], Item::Int(1)), (b"ut_pex".to_vec(), Item::Int(0))]);
        let handshake = check(&Item::dict([("m", long)]).to_bytes());
        assert_eq!(handshake.ids.len(), 1);
        assert_eq!(handshake.id_of(b"ut_pex"), None);
    }

    #[test]
    fn what_we_build_is_what_we_read() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let built = HandshakeBuilder::new()
            .extension(b"ut_pex", 1)
            .extension(b"ut_metadata", 2)
            .raw_entry("zz", Bytes::from_static(b"le"))
            .client("reef 0.1.0")
            .listen_port(6881)
            .your_ip(ip)
            .request_queue(500)
            .metadata_size(1000)
            .upload_only()
            .complete_ago(9)
            .build();
        let expected =
            b"d12:complete_agoi9e1:md11:ut_metadatai2e6:ut_pexi1ee13:metadata_sizei1000e1:pi6881e4:reqqi500e\
            11:upload_onlyi1e1:v10:reef 0.1.06:yourip4:\x7f\0\0\x012:zzlee";
        assert_eq!(built.escape_ascii().to_string(), expected.escape_ascii().to_string());
        let read = check(&built);
        assert_eq!((read.id_of(b"ut_pex"), read.id_of(b"ut_metadata"), read.id_of(b"x")), (Some(1), Some(2), None));
        assert_eq!((read.listen_port, read.your_ip, read.request_queue), (Some(6881), Some(ip), Some(500)));
        assert_eq!((read.metadata_size, read.upload_only, read.complete_ago), (Some(1000), Some(true), Some(9)));
        assert_eq!(read.client.as_deref(), Some("reef 0.1.0"));
    }
}
