//! The message of BEP 11: a bencoded dictionary of compact addresses, those of each family in keys of their own.

use reef_plugin_api::bencode::{DecodeError, Dict, Value, decode};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A peer as others are told of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Contact {
    /// Where it accepts connections.
    pub(crate) addr: SocketAddr,
    /// What is known of it, in bits of [`reef_plugin_api::pex_flags`].
    pub(crate) flags: u8,
}

/// Writes a message. All six keys are there, because libtorrent ignores addresses without their flags.
pub(crate) fn encode(added: &[Contact], dropped: &[SocketAddr]) -> Vec<u8> {
    let mut dict = Dict::new();
    for family in Family::BOTH {
        let added: Vec<&Contact> = added.iter().filter(|contact| family.has(contact.addr)).collect();
        let flags: Vec<u8> = added.iter().map(|contact| contact.flags).collect();
        dict.bytes(family.added(), compact(family, added.iter().map(|contact| contact.addr)));
        dict.bytes(family.flags(), flags);
        dict.bytes(family.dropped(), compact(family, dropped.iter().copied()));
    }
    dict.encode()
}

/// The addresses of this family in compact form.
pub(crate) fn compact(family: Family, addrs: impl IntoIterator<Item = SocketAddr>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for addr in addrs.into_iter().filter(|addr| family.has(*addr)) {
        match addr.ip() {
            IpAddr::V4(ip) => bytes.extend(ip.octets()),
            IpAddr::V6(ip) => bytes.extend(ip.octets()),
        }
        bytes.extend(addr.port().to_be_bytes());
    }
    bytes
}

/// Reads compact addresses; none if their length is not that of whole addresses.
pub(crate) fn expand(family: Family, bytes: &[u8]) -> impl Iterator<Item = SocketAddr> {
    let whole = bytes.len().is_multiple_of(family.width());
    let bytes = if whole { bytes } else { &[] };
    bytes.chunks_exact(family.width()).filter_map(address)
}

/// An address of 4 or 16 bytes and its port. IPv4 inside IPv6 is IPv4.
fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
    };
    Some(SocketAddr::new(ip.to_canonical(), u16::from_be_bytes(*port)))
}

/// What a peer sent, as sent.
#[derive(Debug)]
pub(crate) struct Received<'a>(Value<'a>);

impl<'a> Received<'a> {
    /// Reads a message.
    pub(crate) fn decode(payload: &'a [u8]) -> Result<Self, MessageError> {
        if payload.len() > MAX_MESSAGE {
            return Err(MessageError::TooLong(payload.len()));
        }
        let value = decode(payload)?;
        if value.as_dict().is_none() { Err(MessageError::NoDictionary) } else { Ok(Self(value)) }
    }

    /// The added peers of a family. Flags may be missing; if their number is not that of the addresses, neither can be trusted
    /// and the list is ignored.
    pub(crate) fn added(&self, family: Family) -> impl Iterator<Item = Contact> {
        let addrs = self.bytes(family.added()).unwrap_or_default();
        let flags = self.bytes(family.flags());
        let fits = flags.is_none_or(|flags| Some(flags.len()) == addrs.len().checked_div(family.width()));
        let flags = flags.unwrap_or_default().iter().copied().map(|flags| flags & KNOWN_FLAGS);
        let flags = flags.chain(std::iter::repeat(0));
        expand(family, if fits { addrs } else { &[] }).zip(flags).map(|(addr, flags)| Contact { addr, flags })
    }

    /// The dropped peers of a family.
    pub(crate) fn dropped(&self, family: Family) -> impl Iterator<Item = SocketAddr> {
        expand(family, self.bytes(family.dropped()).unwrap_or_default())
    }

    fn bytes(&self, key: &str) -> Option<&'a [u8]> {
        self.0.get(key).and_then(Value::as_bytes)
    }
}

/// An address family, which BEP 11 keeps in keys of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order of a message.
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    fn has(self, addr: SocketAddr) -> bool {
        addr.is_ipv4() == (self == Self::V4)
    }

    fn width(self) -> usize {
        if self == Self::V4 { 6 } else { 18 }
    }

    fn added(self) -> &'static str {
        if self == Self::V4 { "added" } else { "added6" }
    }

    fn flags(self) -> &'static str {
        if self == Self::V4 { "added.f" } else { "added6.f" }
    }

    fn dropped(self) -> &'static str {
        if self == Self::V4 { "dropped" } else { "dropped6" }
    }
}

/// Why bytes are no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub(crate) enum MessageError {
    /// More bytes than libtorrent takes.
    TooLong(usize),
    /// It is no bencoded value.
    Bencode(DecodeError),
    /// It is another value than a dictionary.
    NoDictionary,
}

impl From<DecodeError> for MessageError {
    fn from(error: DecodeError) -> Self {
        Self::Bencode(error)
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong(bytes) => write!(f, "ut_pex message of {bytes} bytes"),
            Self::Bencode(error) => write!(f, "ut_pex message: {error}"),
            Self::NoDictionary => f.write_str("ut_pex message that is no dictionary"),
        }
    }
}

impl std::error::Error for MessageError {}

/// Bytes of a message at most (libtorrent's number).
const MAX_MESSAGE: usize = 500 * 1024;
/// The flags that BEP 11 names.
const KNOWN_FLAGS: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(addr: &str, flags: u8) -> Contact {
        Contact { addr: addr.parse().expect("an address"), flags }
    }

    fn check_added(payload: &[u8], expected: &[Contact]) {
        let received = Received::decode(payload).expect("a dictionary");
        let added: Vec<_> = Family::BOTH.into_iter().flat_map(|family| received.added(family)).collect();
        assert_eq!(added, expected, "{}", String::from_utf8_lossy(payload));
    }

    #[test]
    fn a_recorded_message_is_read() {
        check_added(
            b"d5:added6:\x7f\0\0\x01\x55\xaa7:added.f1:\x116:added60:8:added6.f0:7:dropped0:8:dropped60:e",
            &[contact("127.0.0.1:21930", 0x11)],
        );
    }

    #[test]
    fn what_is_written_is_read() {
        let added = [contact("1.2.3.4:5", 1), contact("9.9.9.9:99", 0x10), contact("[2001:db8::1]:6", 2)];
        let dropped = [contact("8.8.8.8:8", 0).addr, contact("[2001:db8::2]:7", 0).addr];
        let message = encode(&added, &dropped);
        check_added(&message, &added);
        let received = Received::decode(&message).expect("a dictionary");
        let read: Vec<_> = Family::BOTH.into_iter().flat_map(|family| received.dropped(family)).collect();
        assert_eq!(read, dropped);
        assert_eq!(encode(&[], &[]), b"d5:added0:7:added.f0:6:added60:8:added6.f0:7:dropped0:8:dropped60:e");
    }

    #[test]
    fn flags_are_optional_but_not_negotiable() {
        let two = [contact("10.0.0.1:80", 0), contact("10.0.0.1:80", 0)];
        let addrs = b"\n\0\0\x01\0P\n\0\0\x01\0P";
        let message = |flags: Option<&[u8]>| {
            let mut dict = Dict::new();
            dict.bytes("added", addrs);
            flags.map(|flags| dict.bytes("added.f", flags));
            dict.encode()
        };
        check_added(&message(None), &two);
        check_added(&message(Some(b"\0\x80")), &two);
        check_added(&message(Some(b"\0")), &[]);
        check_added(&message(Some(b"\0\0\0")), &[]);
        check_added(&message(Some(b"")), &[]);
    }

    #[test]
    fn lists_of_broken_addresses_are_ignored() {
        check_added(b"d5:added7:1234567e", &[]);
        check_added(b"d5:added7:12345677:added.f1:\0e", &[]);
        check_added(b"d5:addedi7e6:added6lee", &[]);
        check_added(b"de", &[]);
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        let mut bytes = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04\0\x05".to_vec();
        check_added(&Dict::new().bytes("added6", &bytes).encode(), &[contact("1.2.3.4:5", 0)]);
        bytes.truncate(6);
        check_added(&Dict::new().bytes("added6", &bytes).encode(), &[]);
    }

    #[test]
    fn nonsense_is_refused() {
        let table: [(&[u8], MessageError); 4] = [
            (b"", MessageError::Bencode(DecodeError::Malformed(0))),
            (b"deX", MessageError::Bencode(DecodeError::TrailingBytes)),
            (b"le", MessageError::NoDictionary),
            (&[b'd'; MAX_MESSAGE + 1], MessageError::TooLong(MAX_MESSAGE + 1)),
        ];
        for (payload, error) in table {
            assert_eq!(Received::decode(payload).err(), Some(error));
        }
    }
}
