//! The interface as bytes: how the arguments and answers of a row cross to a plugin that runs in a process of its own.
//!
//! Both processes run the same program, so nothing here has a version: a row's types say how it is written, and the tables of
//! `level` and `table` write and read themselves with it. What comes from the other process is checked: it may have gone mad.

use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::endpoint::{Endpoint, PeerKey, PeerRequest, TorrentId};
use crate::handle::Host;
use crate::handshake::HandshakeEntries;
use crate::peer::PeerObj;
use crate::records::{RecordList, RecordOut};
use crate::remote::Line;
use crate::table::{RawHandle, RawLogLine, RawPriority};
use crate::torrent::TorrentObj;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::sync::Arc;

/// A message in the making.
#[derive(Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
    /// The object that a hook gave.
    pub(crate) given: Option<Given>,
}

/// An object that stays on its side and is known by a number on the other.
pub(crate) enum Given {
    Torrent(TorrentObj),
    Peer(PeerObj),
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_ne_bytes());
    }

    pub(crate) fn bytes(&mut self, value: &[u8]) {
        self.u64(value.len() as u64);
        self.bytes.extend_from_slice(value);
    }
}

/// A message that came. Each method is `None` where the bytes are not what they should be.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// The way to the other side, and the number under which it keeps the object that a hook gives.
    objects: Option<(&'a Arc<dyn Line>, u64)>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, objects: None }
    }

    pub(crate) fn with_objects(bytes: &'a [u8], line: &'a Arc<dyn Line>, id: u64) -> Self {
        Self { rest: bytes, objects: Some((line, id)) }
    }

    /// Bytes that were not read.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing is left to be read.
    pub(crate) fn end(&mut self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_ne_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_ne_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = usize::try_from(self.u64()?).ok()?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

/// An argument of a row. It is sent by the caller, received and lent to the row's function on the other side; and what that
/// function left in it (if it is a place for an answer) comes back.
///
/// A new type in a row needs one implementation here, a new row of known types nothing.
pub(crate) trait Arg<'a>: Sized {
    /// What the other side keeps while its function runs.
    type Held;
    fn send(&self, to: &mut Writer);
    fn receive(from: &mut Reader<'_>) -> Option<Self::Held>;
    fn lend(held: &'a mut Self::Held) -> Self;
    fn send_back(_held: &mut Self::Held, _to: &mut Writer) {}
    fn receive_back(&mut self, _from: &mut Reader<'_>) -> Option<()> {
        Some(())
    }
}

/// Arguments that are values.
macro_rules! values {
    ($( $type:ty: |$value:ident, $to:ident| $send:expr, |$from:ident| $receive:expr; )*) => { $(
        impl<'a> Arg<'a> for $type {
            type Held = Self;
            fn send(&self, $to: &mut Writer) {
                let $value = self;
                $send
            }
            fn receive($from: &mut Reader<'_>) -> Option<Self> {
                $receive
            }
            fn lend(held: &'a mut Self) -> Self {
                *held
            }
        }
    )* };
}

values! {
    u8: |value, to| to.u8(*value), |from| from.u8();
    u32: |value, to| to.u32(*value), |from| from.u32();
    u64: |value, to| to.u64(*value), |from| from.u64();
    i64: |value, to| to.u64(value.cast_unsigned()), |from| from.u64().map(u64::cast_signed);
    TorrentId: |value, to| to.u64(value.0), |from| from.u64().map(TorrentId);
    PeerKey: |value, to| to.u64(value.0), |from| from.u64().map(PeerKey);
    PeerRequest: |value, to| {
        to.u32(value.piece);
        to.u32(value.start);
        to.u32(value.length);
    }, |from| Some(PeerRequest { piece: from.u32()?, start: from.u32()?, length: from.u32()? });
    Endpoint: |value, to| send_address(value.addr(), to), |from| receive_address(from);
}

fn send_address(address: Option<SocketAddr>, to: &mut Writer) {
    let Some(address) = address else { return to.u8(0) };
    match address {
        SocketAddr::V4(v4) => {
            to.u8(4);
            to.bytes.extend_from_slice(&v4.ip().octets());
        }
        SocketAddr::V6(v6) => {
            to.u8(6);
            to.bytes.extend_from_slice(&v6.ip().octets());
            to.u32(v6.scope_id());
        }
    }
    to.u32(address.port().into());
}

fn receive_address(from: &mut Reader<'_>) -> Option<Endpoint> {
    let (ip, scope) = match from.u8()? {
        0 => return Some(Endpoint::NONE),
        4 => (IpAddr::from(from.array::<4>()?), 0),
        6 => (IpAddr::from(from.array::<16>()?), from.u32()?),
        _ => return None,
    };
    let port = u16::try_from(from.u32()?).ok()?;
    let address = match ip {
        IpAddr::V4(_) => SocketAddr::new(ip, port),
        IpAddr::V6(v6) => SocketAddrV6::new(v6, port, 0, scope).into(),
    };
    Some(address.into())
}

/// Arguments that are borrowed from what holds them.
macro_rules! borrowed {
    ($( [$($param:tt)*] $type:ty, $held:ty: |$value:ident, $to:ident| $send:expr, |$from:ident| $receive:expr, |$kept:ident| $lend:expr; )*) => { $(
        impl<'a $($param)*> Arg<'a> for $type {
            type Held = $held;
            fn send(&self, $to: &mut Writer) {
                let $value = self;
                $send
            }
            fn receive($from: &mut Reader<'_>) -> Option<$held> {
                $receive
            }
            fn lend($kept: &'a mut $held) -> Self {
                $lend
            }
        }
    )* };
}

borrowed! {
    [] RSlice<'a, u8>, Vec<u8>: |value, to| to.bytes(value), |from| from.bytes().map(<[u8]>::to_vec), |held| held.as_slice().into();
    [] RSlice<'a, RawPriority>, Vec<RawPriority>: |value, to| send_priorities(value, to), |from| receive_priorities(from), |held| held.as_slice().into();
    [] RStr<'a>, String: |value, to| to.bytes(value.as_bytes()), |from| from.text().map(str::to_owned), |held| held.as_str().into();
    [] &'a Buffer, Buffer: |value, to| to.bytes(value), |from| from.bytes().map(|bytes| bytes.to_vec().into()), |held| held;
    [, const N: usize] &'a [u8; N], [u8; N]: |value, to| to.bytes.extend_from_slice(&value[..]), |from| from.array(), |held| held;
    [, 'b] &'a Alert<'b>, HeldAlert: |value, to| send_alert(value, to), |from| receive_alert(from), |held| &held.alert;
    [, 'b] &'a RawLogLine<'b>, HeldLine: |value, to| send_line(value, to), |from| receive_line(from), |held| &held.line;
}

fn send_priorities(priorities: &[RawPriority], to: &mut Writer) {
    to.u64(priorities.len() as u64);
    for priority in priorities {
        to.u32(priority.index);
        to.u32(priority.priority);
    }
}

fn receive_priorities(from: &mut Reader<'_>) -> Option<Vec<RawPriority>> {
    // It grows as they are read, not as they are announced.
    (0..from.u64()?).map(|_| Some(RawPriority { index: from.u32()?, priority: from.u32()? })).collect()
}

/// What a hook is told of a read: its bytes, or why there are none.
type ReadDone = RResult<Buffer, RString>;

impl Arg<'_> for ReadDone {
    type Held = Option<Self>;

    fn send(&self, to: &mut Writer) {
        to.u8(self.is_ok().into());
        match self {
            Self::ROk(bytes) => to.bytes(bytes),
            Self::RErr(text) => to.bytes(text.as_bytes()),
        }
    }

    fn receive(from: &mut Reader<'_>) -> Option<Option<Self>> {
        Some(Some(match from.u8()? {
            0 => Self::RErr(from.text()?.into()),
            _ => Self::ROk(from.bytes()?.to_vec().into()),
        }))
    }

    fn lend(held: &mut Option<Self>) -> Self {
        held.take().unwrap_or_else(|| Self::RErr(RString::new()))
    }
}

/// An alert with what it borrows.
pub(crate) struct HeldAlert {
    alert: Alert<'static>,
    _what: Box<str>,
    _message: Box<str>,
    _data: Box<[u8]>,
}

fn send_alert(alert: &Alert<'_>, to: &mut Writer) {
    to.u32(alert.kind());
    to.u32(alert.category());
    to.u8(alert.torrent().is_some().into());
    to.u64(alert.torrent().map_or(0, |torrent| torrent.0));
    to.bytes(alert.what().as_bytes());
    to.bytes(alert.message().as_bytes());
    to.bytes(alert.data());
}

fn receive_alert(from: &mut Reader<'_>) -> Option<HeldAlert> {
    let (kind, category, about, torrent) = (from.u32()?, from.u32()?, from.u8()?, from.u64()?);
    let (what, message): (Box<str>, Box<str>) = (from.text()?.into(), from.text()?.into());
    let data: Box<[u8]> = from.bytes()?.into();
    // SAFETY: all three stay where they are until the alert goes with them, and it is lent for no longer.
    let (a, b, c) = unsafe { (extended(&*what), extended(&*message), extended(&*data)) };
    let alert = Alert::new(kind, category, a, b).with_data(c);
    let alert = if about == 0 { alert } else { alert.with_torrent(TorrentId(torrent)) };
    Some(HeldAlert { alert, _what: what, _message: message, _data: data })
}

/// A line of a log with what it borrows.
pub(crate) struct HeldLine {
    line: RawLogLine<'static>,
    _target: Box<str>,
    _message: Box<str>,
    _file: Box<str>,
}

fn send_line(line: &RawLogLine<'_>, to: &mut Writer) {
    to.u32(line.level);
    to.u32(line.line);
    to.bytes(line.target.as_bytes());
    to.bytes(line.message.as_bytes());
    to.bytes(line.file.as_bytes());
}

fn receive_line(from: &mut Reader<'_>) -> Option<HeldLine> {
    let (level, line) = (from.u32()?, from.u32()?);
    let text = |from: &mut Reader<'_>| from.text().map(Box::<str>::from);
    let (target, message, file) = (text(from)?, text(from)?, text(from)?);
    // SAFETY: all three stay where they are until the line goes with them, and it is lent for no longer.
    let (a, b, c) = unsafe { (extended(&*target), extended(&*message), extended(&*file)) };
    let line = RawLogLine { level, line, target: a.into(), message: b.into(), file: c.into() };
    Some(HeldLine { line, _target: target, _message: message, _file: file })
}

/// # Safety
/// What is returned must not be used once `value` is gone.
unsafe fn extended<T: ?Sized>(value: &T) -> &'static T {
    // SAFETY: the caller's promise.
    unsafe { &*std::ptr::from_ref(value) }
}

/// Places for answers: nothing goes there, and what was left in them comes back.
macro_rules! places {
    ($( $type:ty = $empty:expr, |$held:ident, $to:ident| $send:expr, |$place:ident, $from:ident| $receive:expr; )*) => { $(
        impl<'a> Arg<'a> for &'a mut $type {
            type Held = $type;
            fn send(&self, _: &mut Writer) {}
            fn receive(_: &mut Reader<'_>) -> Option<$type> {
                Some($empty)
            }
            fn lend(held: &'a mut $type) -> Self {
                held
            }
            fn send_back($held: &mut $type, $to: &mut Writer) {
                $send
            }
            fn receive_back(&mut self, $from: &mut Reader<'_>) -> Option<()> {
                let $place = &mut **self;
                $receive;
                Some(())
            }
        }
    )* };
}

places! {
    u32 = 0, |held, to| to.u32(*held), |place, from| *place = from.u32()?;
    u64 = 0, |held, to| to.u64(*held), |place, from| *place = from.u64()?;
    bool = false, |held, to| to.u8((*held).into()), |place, from| *place = from.u8()? != 0;
    Buffer = Buffer::empty(), |held, to| to.bytes(held), |place, from| *place = from.bytes()?.to_vec().into();
    RVec<u8> = RVec::new(), |held, to| to.bytes(held), |place, from| *place = from.bytes()?.to_vec().into();
    RecordList = RecordList::new(), |held, to| {
        to.u32(held.stride());
        to.bytes(held.bytes());
    }, |place, from| *place = RecordList::from_parts(from.u32()?, from.bytes()?);
    HandshakeEntries = HandshakeEntries::new(), |held, to| send_entries(held, to), |place, from| receive_entries(place, from)?;
    ROption<u64> = ROption::RNone, |held, to| {
        to.u8(held.is_some().into());
        to.u64(held.unwrap_or(0));
    }, |place, from| {
        let (is_some, value) = (from.u8()? != 0, from.u64()?);
        *place = if is_some { ROption::RSome(value) } else { ROption::RNone };
    };
    ROption<TorrentObj> = ROption::RNone, |held, to| {
        let given = held.take().into_option();
        send_object(given.as_ref().map(TorrentObj::hooks), to);
        to.given = given.map(Given::Torrent);
    }, |place, from| {
        let hooks = receive_object(from)?;
        let (line, id) = from.objects?;
        *place = hooks.map(|hooks| TorrentObj::remote(line.clone(), id, hooks)).into();
    };
    ROption<PeerObj> = ROption::RNone, |held, to| {
        let given = held.take().into_option();
        send_object(given.as_ref().map(PeerObj::hooks), to);
        to.given = given.map(Given::Peer);
    }, |place, from| {
        let hooks = receive_object(from)?;
        let (line, id) = from.objects?;
        *place = hooks.map(|hooks| PeerObj::remote(line.clone(), id, hooks)).into();
    };
}

fn send_object(hooks: Option<u64>, to: &mut Writer) {
    to.u8(hooks.is_some().into());
    to.u64(hooks.unwrap_or_default());
}

fn receive_object(from: &mut Reader<'_>) -> Option<Option<u64>> {
    let (is_some, hooks) = (from.u8()? != 0, from.u64()?);
    Some(is_some.then_some(hooks))
}

fn send_entries(entries: &HandshakeEntries, to: &mut Writer) {
    to.u64(entries.extensions().count() as u64);
    entries.extensions().for_each(|name| to.bytes(name.as_bytes()));
    to.u64(entries.values().count() as u64);
    for (key, value) in entries.values() {
        to.bytes(key.as_bytes());
        to.bytes(value);
    }
}

fn receive_entries(entries: &mut HandshakeEntries, from: &mut Reader<'_>) -> Option<()> {
    for _ in 0..from.u64().filter(|count| *count <= MAX_ENTRIES)? {
        entries.extension(from.text()?);
    }
    for _ in 0..from.u64().filter(|count| *count <= MAX_ENTRIES)? {
        entries.set(from.text()?, from.bytes()?);
    }
    Some(())
}

/// Entries of one handshake at most.
const MAX_ENTRIES: u64 = 4096;

/// Room for one record on the side that fills it.
pub(crate) struct HeldRecord {
    place: Vec<u8>,
    out: RecordOut,
}

/// Bytes of a record at most.
const MAX_RECORD: u32 = 1 << 16;

impl<'a> Arg<'a> for &'a mut RecordOut {
    type Held = HeldRecord;

    fn send(&self, to: &mut Writer) {
        to.u32(self.size());
    }

    fn receive(from: &mut Reader<'_>) -> Option<HeldRecord> {
        let size = from.u32().filter(|size| *size <= MAX_RECORD)?;
        let mut place = vec![0; size as usize];
        let out = RecordOut::at(&mut place);
        Some(HeldRecord { place, out })
    }

    fn lend(held: &'a mut HeldRecord) -> Self {
        &mut held.out
    }

    fn send_back(held: &mut HeldRecord, to: &mut Writer) {
        to.bytes(&held.place);
    }

    fn receive_back(&mut self, from: &mut Reader<'_>) -> Option<()> {
        self.fill(from.bytes()?);
        Some(())
    }
}

/// A handle that nobody asked for: a handle of another process is made there, and none is ever sent.
#[derive(Default)]
pub(crate) struct HeldHandle(ROption<RawHandle>);

impl Drop for HeldHandle {
    fn drop(&mut self) {
        if let ROption::RSome(raw) = self.0.take() {
            // SAFETY: the host made this handle with a count of its own.
            drop(unsafe { Host::from_raw(raw) });
        }
    }
}

impl<'a> Arg<'a> for &'a mut ROption<RawHandle> {
    type Held = HeldHandle;

    fn send(&self, _: &mut Writer) {}

    fn receive(_: &mut Reader<'_>) -> Option<HeldHandle> {
        Some(HeldHandle::default())
    }

    fn lend(held: &'a mut HeldHandle) -> Self {
        &mut held.0
    }
}
