//! The host's functions as they cross: one flat table, appended to at its end, and the handles that carry it.
//!
//! The same table serves a call's context and the `Host` handle: the first has a pointer that is valid for one hook call, the
//! second one to a reference-counted object. One row below is a field of the table and the body of its function; the Rust trait
//! behind it is [`HostCalls`].

use crate::alert::Alert;
use crate::at_work::contain;
use crate::buffer::Buffer;
use crate::calls::{HostCalls, LogLine, NewStatistic, level_from_number};
use crate::control::{Choking, Files, StatisticKind};
use crate::endpoint::{Endpoint, PeerKey, PeerRequest, Sender, TorrentId};
use crate::new_torrent::NewTorrent;
use crate::query::Query;
use crate::records::{RecordList, RecordOut};
use crate::result::{HostError, HostRet};
use crate::setting::settings_from_bytes;
use abi_stable::{
    StableAbi,
    prefix_type::WithMetadata,
    std_types::{ROption, RSlice, RStr},
};
use std::marker::PhantomData;
use std::sync::Arc;

/// Where to call the host: the table and what it works on.
#[doc(hidden)]
#[repr(C)]
#[derive(StableAbi, Copy, Clone)]
pub struct RawHandle {
    pub(crate) ctx: *const (),
    pub(crate) table: HostTable_Ref,
}

/// The context of one hook call as it crosses, fixed for ever: what comes later comes through the table.
#[repr(C)]
#[derive(StableAbi, Copy, Clone)]
pub(crate) struct RawCx {
    pub(crate) handle: RawHandle,
    pub(crate) torrent: TorrentId,
    pub(crate) peer: PeerKey,
}

/// What a host passes to the hooks of a plugin object: its functions, and the torrent and peer that the hook is about.
pub struct Call<'a> {
    raw: RawCx,
    host: PhantomData<&'a ()>,
}

impl<'a> Call<'a> {
    /// A call about the whole session.
    pub fn session<H: HostCalls>(host: &'a H) -> Self {
        Self::peer(host, TorrentId(0), PeerKey(0))
    }

    /// A call about a torrent.
    pub fn torrent<H: HostCalls>(host: &'a H, torrent: TorrentId) -> Self {
        Self::peer(host, torrent, PeerKey(0))
    }

    /// A call about a peer of a torrent.
    pub fn peer<H: HostCalls>(host: &'a H, torrent: TorrentId, peer: PeerKey) -> Self {
        let handle = RawHandle {
            ctx: std::ptr::from_ref(host).cast(),
            table: HostTable_Ref(Borrowed::<H>::TABLE.static_as_prefix()),
        };
        Self { raw: RawCx { handle, torrent, peer }, host: PhantomData }
    }

    pub(crate) fn raw(&self) -> &RawCx {
        &self.raw
    }
}

/// A reference-counted host object as a raw handle that owns one count.
pub(crate) fn shared_handle<H: HostCalls + Send + Sync + 'static>(host: Arc<H>) -> RawHandle {
    RawHandle { ctx: Arc::into_raw(host).cast(), table: HostTable_Ref(Shared::<H>::TABLE.static_as_prefix()) }
}

/// What a plugin is given to call whose host is in another process.
#[cfg(feature = "host")]
pub(crate) mod far_handles {
    use super::{HostRet, HostTable, HostTable_Ref, PhantomData, ROption, RawHandle, WithMetadata, far};
    use crate::remote::Asker;
    use std::sync::Arc;

    /// The handle of one hook call: valid while `asker` is.
    pub(crate) fn borrowed<A: Asker>(asker: &A) -> RawHandle {
        RawHandle { ctx: std::ptr::from_ref(asker).cast(), table: HostTable_Ref(Far::<A>::BORROWED.static_as_prefix()) }
    }

    /// A handle that owns one count.
    pub(crate) fn shared<A: Asker + Send + Sync + 'static>(asker: Arc<A>) -> RawHandle {
        RawHandle { ctx: Arc::into_raw(asker).cast(), table: HostTable_Ref(Far::<A>::SHARED.static_as_prefix()) }
    }

    struct Far<A>(PhantomData<A>);

    impl<A: Asker> Far<A> {
        const BORROWED: &'static WithMetadata<HostTable> =
            &WithMetadata::new(Self::local(far::table::<A>(Self::keep, Self::keep)));

        /// What is known here is not asked for.
        const fn local(table: HostTable) -> HostTable {
            HostTable { now: Self::now, handle: Self::handle, ..table }
        }

        extern "C" fn keep(_ctx: *const ()) {}

        extern "C" fn now(ctx: *const (), out: &mut u64) -> HostRet {
            // SAFETY: as for every function of the table.
            match unsafe { &*ctx.cast::<A>() }.now() {
                Some(now) => *out = now,
                None => return far::Ask::<A>::now(ctx, out),
            }
            Ok(()).into()
        }

        extern "C" fn handle(ctx: *const (), out: &mut ROption<RawHandle>) -> HostRet {
            // SAFETY: as for every function of the table.
            *out = unsafe { &*ctx.cast::<A>() }.host().map(crate::Host::into_raw).into();
            Ok(()).into()
        }
    }

    impl<A: Asker + Send + Sync + 'static> Far<A> {
        const SHARED: &'static WithMetadata<HostTable> =
            &WithMetadata::new(Self::local(far::table::<A>(Self::retain, Self::release)));

        extern "C" fn retain(ctx: *const ()) {
            // SAFETY: `ctx` came from `Arc::into_raw` in `shared`, and the calling handle holds a count.
            unsafe { Arc::increment_strong_count(ctx.cast::<A>()) }
        }

        extern "C" fn release(ctx: *const ()) {
            // SAFETY: gives back the count that the dropped handle held.
            drop(unsafe { Arc::from_raw(ctx.cast::<A>()) });
        }
    }
}

/// The functions for a context, which nobody may keep.
struct Borrowed<H>(PhantomData<H>);

impl<H: HostCalls> Borrowed<H> {
    const TABLE: &'static WithMetadata<HostTable> = &WithMetadata::new(table::<H>(Self::retain, Self::release));

    extern "C" fn retain(_ctx: *const ()) {}
    extern "C" fn release(_ctx: *const ()) {}
}

/// The functions for a `Host` handle.
struct Shared<H>(PhantomData<H>);

impl<H: HostCalls + Send + Sync + 'static> Shared<H> {
    const TABLE: &'static WithMetadata<HostTable> = &WithMetadata::new(table::<H>(Self::retain, Self::release));

    extern "C" fn retain(ctx: *const ()) {
        // SAFETY: `ctx` came from `Arc::into_raw` in `shared_handle`, and the calling handle holds a count.
        unsafe { Arc::increment_strong_count(ctx.cast::<H>()) }
    }
    extern "C" fn release(ctx: *const ()) {
        // SAFETY: gives back the count that the dropped handle held.
        let host = unsafe { Arc::from_raw(ctx.cast::<H>()) };
        contain("dropping a host handle", move || drop(host));
    }
}

/// Runs a function of the host: not if its handle was taken back, and without letting a panic cross.
fn enter<H: HostCalls>(ctx: *const (), body: impl FnOnce(&H) -> Result<(), HostError>) -> HostRet {
    // SAFETY: `ctx` is the `&H` of a running hook call, or the `Arc<H>` of a handle that is alive.
    let host = unsafe { &*ctx.cast::<H>() };
    let run = || {
        if host.is_gone() { HostRet::GONE } else { body(host).into() }
    };
    contain("a host function", run).unwrap_or(HostRet::FAILED)
}

macro_rules! host_table {
    ($( $(#[$doc:meta])* fn $name:ident($($arg:ident: $abi:ty),*) |$host:ident| $body:expr; )*) => {
        /// The host's functions. Appended to, never reordered.
        #[repr(C)]
        #[derive(StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = HostTable_Ref)))]
        #[sabi(missing_field(option))]
        pub(crate) struct HostTable {
            pub(crate) retain: extern "C" fn(*const ()),
            #[sabi(last_prefix_field)]
            pub(crate) release: extern "C" fn(*const ()),
            $( $(#[$doc])* pub(crate) $name: extern "C" fn(*const () $(, $abi)*) -> HostRet, )*
        }

        const fn table<H: HostCalls>(retain: extern "C" fn(*const ()), release: extern "C" fn(*const ())) -> HostTable {
            HostTable { retain, release, $( $name: Body::<H>::$name, )* }
        }

        struct Body<H>(PhantomData<H>);
        impl<H: HostCalls> Body<H> {
            $( extern "C" fn $name(ctx: *const () $(, $arg: $abi)*) -> HostRet { enter(ctx, |$host: &H| $body) } )*
        }

        /// The same rows for a plugin whose host is in another process.
        #[cfg(feature = "host")]
        mod far {
            use super::*;
            use crate::remote::{Asker, ask};
            use crate::wire::{Arg, Reader, Writer};

            /// The rows' numbers between the processes.
            #[allow(non_camel_case_types)]
            enum Row { $($name),* }

            /// What both processes must have alike.
            pub(crate) const ROWS: &str = concat!($(stringify!($name $($abi)*), "\n"),*);

            /// The functions of the plugin's side: each asks the host and waits.
            pub(super) const fn table<A: Asker>(
                retain: extern "C" fn(*const ()),
                release: extern "C" fn(*const ()),
            ) -> HostTable {
                HostTable { retain, release, $( $name: Ask::<A>::$name, )* }
            }

            pub(super) struct Ask<A>(PhantomData<A>);
            impl<A: Asker> Ask<A> {
                $( pub(super) extern "C" fn $name(ctx: *const () $(, mut $arg: $abi)*) -> HostRet {
                    // SAFETY: `ctx` is the `&A` of a running hook call, or the `Arc<A>` of a handle that is alive.
                    let asker = unsafe { &*ctx.cast::<A>() };
                    ask(asker, Row::$name as u32, |exchange| {
                        $( Arg::send(&$arg, &mut exchange.question); )*
                        let Some(mut answer) = exchange.answer() else { return Some(HostRet::GONE) };
                        let ret = HostRet::from_code(answer.u32()?.cast_signed());
                        $( Arg::receive_back(&mut $arg, &mut answer)?; )*
                        Some(ret)
                    })
                } )*
            }

            /// The host's side: calls the row that a plugin asks for. `None`: it asks nonsense.
            pub(crate) fn answer(handle: RawHandle, from: &mut Reader<'_>) -> Option<Vec<u8>> {
                let row = from.u32()?;
                let mut to = Writer::default();
                $( if row == Row::$name as u32 {
                    let function = handle.table.$name()?;
                    $( let mut $arg = <$abi as Arg<'_>>::receive(from)?; )*
                    let ret = function(handle.ctx $(, <$abi as Arg<'_>>::lend(&mut $arg))*);
                    to.u32(ret.code().cast_unsigned());
                    $( <$abi as Arg<'_>>::send_back(&mut $arg, &mut to); )*
                    return Some(to.bytes);
                } )*
                None
            }
        }
    };
}
#[cfg(feature = "host")]
pub(crate) use far::{ROWS, answer};

host_table! {
    /// Microseconds since the session's start.
    fn now(out: &mut u64) |host| { *out = host.now(); Ok(()) };
    fn random(out: &mut u64) |host| { *out = host.random(); Ok(()) };
    fn log(line: &RawLogLine<'_>) |host| { host.log(&line.read()); Ok(()) };
    fn report_panic(text: RStr<'_>) |host| { host.report_panic(text.as_str()); Ok(()) };
    /// An owned handle for other threads.
    fn handle(out: &mut ROption<RawHandle>) |host| { *out = ROption::RSome(host.host()?.into_raw()); Ok(()) };
    fn post_alert(alert: &Alert<'_>) |host| host.post_alert(alert);
    fn torrent_info(torrent: TorrentId, out: &mut RecordOut) |host| { out.write(&host.torrent_info(torrent)?); Ok(()) };
    fn metadata(torrent: TorrentId, out: &mut Buffer) |host| { *out = host.metadata(torrent)?; Ok(()) };
    fn peers(torrent: TorrentId, out: &mut RecordList) |host| { *out = RecordList::from_records(&host.peers(torrent)?); Ok(()) };
    fn has_piece(torrent: TorrentId, piece: u32, out: &mut bool) |host| { *out = host.has_piece(torrent, piece)?; Ok(()) };
    fn block_senders(torrent: TorrentId, piece: u32, out: &mut RecordList) |host| {
        *out = RecordList::from_records(&host.block_senders(torrent, piece)?);
        Ok(())
    };
    fn read_block(torrent: TorrentId, piece: u32, block: u32, out: &mut Buffer) |host| {
        *out = host.read_block(torrent, piece, block)?;
        Ok(())
    };
    fn watch_piece(torrent: TorrentId, piece: u32) |host| host.watch_piece(torrent, piece);
    fn give_metadata(torrent: TorrentId, info: RSlice<'_, u8>) |host| host.give_metadata(torrent, info.as_slice());
    fn add_peer(torrent: TorrentId, addr: Endpoint, source: u32, pex_flags: u8) |host| {
        host.add_peer(torrent, addr.addr().ok_or(HostError::BadArgument)?, source, pex_flags)
    };
    fn ban(torrent: TorrentId, addr: Endpoint, peer_id: &[u8; 20], reason: RStr<'_>) |host| {
        let addr = addr.addr().ok_or(HostError::BadArgument)?;
        host.ban(torrent, &Sender { addr, peer_id: *peer_id }, reason.as_str())
    };
    fn peer_info(torrent: TorrentId, peer: PeerKey, out: &mut RecordOut) |host| {
        out.write(&host.peer_info(torrent, peer)?);
        Ok(())
    };
    fn peer_supports(torrent: TorrentId, peer: PeerKey, name: RStr<'_>, out: &mut bool) |host| {
        *out = host.peer_supports(torrent, peer, name.as_str())?;
        Ok(())
    };
    fn send_extended(torrent: TorrentId, peer: PeerKey, name: RStr<'_>, payload: RSlice<'_, u8>) |host| {
        host.send_extended(torrent, peer, name.as_str(), payload.as_slice())
    };
    fn disconnect(torrent: TorrentId, peer: PeerKey, reason: RStr<'_>) |host| host.disconnect(torrent, peer, reason.as_str());
    fn send_message(torrent: TorrentId, peer: PeerKey, id: u8, payload: RSlice<'_, u8>) |host| {
        host.send_message(torrent, peer, id, payload.as_slice())
    };
    /// Choking: 0 as usual, 1 choked, 2 unchoked.
    fn set_choking(torrent: TorrentId, peer: PeerKey, choking: u32) |host| {
        host.set_choking(torrent, peer, Choking::from_number(choking).ok_or(HostError::BadArgument)?)
    };
    fn connect(torrent: TorrentId, addr: Endpoint) |host| host.connect(torrent, addr.addr().ok_or(HostError::BadArgument)?);
    /// A `NewTorrent` as a bencoded dictionary.
    fn add_torrent(torrent: RSlice<'_, u8>) |host| {
        host.add_torrent(&NewTorrent::from_bytes(torrent.as_slice()).ok_or(HostError::BadArgument)?)
    };
    /// Files: 0 stay, 1 are deleted.
    fn remove_torrent(torrent: TorrentId, files: u32) |host| host.remove_torrent(torrent, Files::from_number(files));
    fn pause_torrent(torrent: TorrentId) |host| host.pause_torrent(torrent);
    fn resume_torrent(torrent: TorrentId) |host| host.resume_torrent(torrent);
    fn recheck_torrent(torrent: TorrentId) |host| host.recheck_torrent(torrent);
    fn announce_torrent(torrent: TorrentId) |host| host.announce_torrent(torrent);
    fn set_file_priorities(torrent: TorrentId, priorities: RSlice<'_, RawPriority>) |host| {
        host.set_file_priorities(torrent, &RawPriority::read(priorities.as_slice())?)
    };
    fn set_piece_priorities(torrent: TorrentId, priorities: RSlice<'_, RawPriority>) |host| {
        host.set_piece_priorities(torrent, &RawPriority::read(priorities.as_slice())?)
    };
    fn read(torrent: TorrentId, request: PeerRequest, token: u64) |host| host.read(torrent, request, token);
    fn read_and_wait(torrent: TorrentId, request: PeerRequest, out: &mut Buffer) |host| {
        *out = host.read_and_wait(torrent, request)?;
        Ok(())
    };
    /// Peer 0: of nobody.
    fn give_block(torrent: TorrentId, peer: PeerKey, block: PeerRequest, data: &Buffer) |host| {
        host.give_block(torrent, Some(peer).filter(|peer| peer.0 != 0), block, data)
    };
    /// By the number of a `Query`, answered in bencoding.
    fn query(number: u32, torrent: TorrentId, out: &mut Buffer) |host| {
        let query = Query::from_number(number, torrent).ok_or(HostError::Unsupported)?;
        *out = host.query(query)?.to_bytes().into();
        Ok(())
    };
    /// A `SettingValue` as a bencoded dictionary.
    fn setting(name: RStr<'_>, out: &mut Buffer) |host| { *out = host.setting(name.as_str())?.to_bytes().into(); Ok(()) };
    /// A bencoded dictionary of `SettingValue`s.
    fn set_settings(settings: RSlice<'_, u8>) |host| {
        host.set_settings(&settings_from_bytes(settings.as_slice()).ok_or(HostError::BadArgument)?)
    };
    /// After so many microseconds.
    fn set_timer(token: u64, after: u64) |host| host.set_timer(token, after);
    fn cancel_timer(token: u64) |host| host.cancel_timer(token);
    /// Kind: 0 a counter, 1 a gauge.
    fn register_statistic(name: RStr<'_>, kind: u32, doc: RStr<'_>, out: &mut u32) |host| {
        let kind = StatisticKind::from_number(kind);
        *out = host.register_statistic(&NewStatistic { name: name.as_str(), kind, doc: doc.as_str() })?;
        Ok(())
    };
    fn add_to_statistic(number: u32, difference: i64) |host| host.add_to_statistic(number, difference);
    fn set_statistic(number: u32, value: i64) |host| host.set_statistic(number, value);
    /// A path, in UTF-8.
    fn data_dir(out: &mut Buffer) |host| { *out = host.data_dir()?.into_bytes().into(); Ok(()) };
}

/// A priority as it crosses, of the file or piece of this index.
#[repr(C)]
#[derive(StableAbi, Copy, Clone)]
pub(crate) struct RawPriority {
    pub(crate) index: u32,
    pub(crate) priority: u32,
}

impl RawPriority {
    fn read(all: &[Self]) -> Result<Vec<(u32, u8)>, HostError> {
        let read =
            |raw: &Self| u8::try_from(raw.priority).ok().filter(|priority| *priority <= 7).map(|p| (raw.index, p));
        all.iter().map(read).collect::<Option<_>>().ok_or(HostError::BadArgument)
    }
}

/// A line of a plugin's log as it crosses.
#[repr(C)]
#[derive(StableAbi)]
pub(crate) struct RawLogLine<'a> {
    pub(crate) level: u32,
    pub(crate) line: u32,
    pub(crate) target: RStr<'a>,
    pub(crate) message: RStr<'a>,
    pub(crate) file: RStr<'a>,
}

impl<'a> RawLogLine<'a> {
    fn read(&self) -> LogLine<'a> {
        LogLine {
            level: level_from_number(self.level),
            target: self.target.as_str(),
            message: self.message.as_str(),
            file: self.file.as_str(),
            line: self.line,
        }
    }
}
