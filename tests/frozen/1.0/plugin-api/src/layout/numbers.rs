//! Numbers that cross: bits of masks and flags, codes of results, the manifest's bytes.

use super::Section;
use crate::alert::Alert;
use crate::control::{Choking, Files, StatisticKind};
use crate::endpoint::TorrentId;
use crate::export::Exported;
use crate::glue::Settings;
use crate::handle::Host;
use crate::info::{self, TorrentFlags, TorrentState};
use crate::manifest::RawManifest;
use crate::query::Query;
use crate::result::{HookRet, HostError, HostRet, PluginError};
use crate::session::SessionPlugin;
use crate::{add_peer_flags, bits, pex_flags, source};

pub(super) fn sections() -> Vec<Section> {
    let mut sections = vec![
        hooks("SessionPlugin", bits::SessionPlugin::ALL),
        hooks("TorrentPlugin", bits::TorrentPlugin::ALL),
        hooks("PeerPlugin", bits::PeerPlugin::ALL),
        results(),
        errors(),
        manifest(),
        Section::new("symbols", ["REEF_PLUGIN_MANIFEST".to_owned(), "REEF_PLUGIN_ROOT".to_owned()]),
    ];
    sections.extend(flags());
    sections.extend([choices(), queries()]);
    sections
}

fn hooks(level: &str, all: &[(&str, u64)]) -> Section {
    let row = |(name, bit): &(&str, u64)| format!("bit {} {name}", bit.trailing_zeros());
    Section::new(format!("mask of {level}"), all.iter().map(row))
}

fn results() -> Section {
    let code = |name: &str, code: HookRet| format!("{} {name}", code.code());
    let rows = [
        code("PASS", HookRet::PASS),
        code("HANDLED", HookRet::HANDLED),
        code("DETACH", HookRet::DETACH),
        code("ERROR", HookRet::ERROR),
        code("PANICKED", HookRet::PANICKED),
    ];
    Section::new("numbers of a hook's result", rows)
}

fn errors() -> Section {
    let all = [
        HostError::Gone,
        HostError::Unsupported,
        HostError::Busy,
        HostError::BadArgument,
        HostError::NotFound,
        HostError::Failed,
        HostError::Taken,
        HostError::InHook,
        HostError::TimedOut,
    ];
    let row = |error| format!("{:?} {error:?}", HostRet::from(Err(error)));
    Section::new(
        "numbers of a host function's result",
        [format!("{:?} Ok", HostRet::from(Ok(())))].into_iter().chain(all.map(row)),
    )
}

macro_rules! numbers {
    ($title:literal: $($path:path),* $(,)?) => {{
        let last = |path: &str| path.rsplit("::").next().unwrap_or_default().trim().to_owned();
        Section::new(concat!("numbers of ", $title), [$(format!("{:#x} {}", numbers!(@value $path), last(stringify!($path)))),*])
    }};
    (@value $path:path) => { u64::from(Number($path)) };
}

/// A number in whatever it is wrapped.
struct Number<T>(T);

macro_rules! as_u64 {
    ($($ty:ty: |$value:ident| $number:expr;)*) => { $(
        impl From<Number<$ty>> for u64 {
            fn from(Number($value): Number<$ty>) -> Self {
                $number
            }
        }
    )* };
}

as_u64! {
    u8: |value| value.into();
    u32: |value| value.into();
    TorrentFlags: |flags| flags.0;
    TorrentState: |state| state.0.into();
}

fn flags() -> Vec<Section> {
    vec![
        numbers!("alerts": Alert::USER_KIND),
        numbers!("TorrentInfo::present": info::PRIVATE, info::HAS_METADATA, info::HAS_V1, info::HAS_V2),
        numbers!("PeerInfo::flags":
            info::OUTGOING, info::CONNECTED, info::HANDSHAKEN, info::ENCRYPTED, info::UTP, info::SEED, info::UPLOAD_ONLY,
            info::EXTENDED, info::LOCAL, info::HAS_PEER_ID,
        ),
        numbers!("TorrentFlags":
            TorrentFlags::PAUSED, TorrentFlags::AUTO_MANAGED, TorrentFlags::UPLOAD_MODE, TorrentFlags::SEED_MODE,
            TorrentFlags::SHARE_MODE, TorrentFlags::SEQUENTIAL, TorrentFlags::SUPER_SEEDING, TorrentFlags::DISABLE_PEX,
            TorrentFlags::DISABLE_DHT, TorrentFlags::DISABLE_LSD, TorrentFlags::SEED, TorrentFlags::ERROR,
        ),
        numbers!("TorrentState":
            TorrentState::CHECKING_FILES, TorrentState::DOWNLOADING_METADATA, TorrentState::DOWNLOADING,
            TorrentState::FINISHED, TorrentState::SEEDING, TorrentState::CHECKING_RESUME_DATA,
        ),
        numbers!("source":
            source::TRACKER, source::DHT, source::PEX, source::LSD, source::RESUME_DATA, source::INCOMING,
        ),
        numbers!("pex_flags":
            pex_flags::ENCRYPTION, pex_flags::SEED, pex_flags::UTP, pex_flags::HOLEPUNCH, pex_flags::REACHABLE,
        ),
        numbers!("add_peer_flags": add_peer_flags::FIRST_TIME, add_peer_flags::FILTERED),
    ]
}

/// How to choke, what becomes of files, what kind of number is counted.
fn choices() -> Section {
    let rows = [
        [Choking::Usual, Choking::Choked, Choking::Unchoked]
            .map(|value| format!("{} {value:?}", value.number()))
            .to_vec(),
        [Files::Keep, Files::Delete].map(|value| format!("{} {value:?}", value.number())).to_vec(),
        [StatisticKind::Counter, StatisticKind::Gauge].map(|value| format!("{} {value:?}", value.number())).to_vec(),
    ];
    Section::new("numbers of choices, one list after another", rows.concat())
}

fn queries() -> Section {
    let torrent = TorrentId(0);
    let row = |number| Query::from_number(number, torrent).map(|query| format!("{number} {query:?}"));
    Section::new("numbers of questions", (1..).map_while(row))
}

struct Named;

#[crate::hooks]
impl SessionPlugin for Named {
    const NAME: &'static str = "a_plugin";
    fn create(_: Host, _: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }
}

impl Exported for Named {
    type Plugin = Self;
    const VERSION: &'static str = "1.2.3";
}

/// The manifest of a plugin without session hooks; the second number of the interface's version, which grows, as 0.
fn manifest() -> Section {
    let raw = RawManifest::of::<Named>(Named::VERSION, "What it is for");
    // SAFETY: it is bytes.
    let mut bytes: [u8; 256] = unsafe { std::mem::transmute(raw) };
    bytes[20..24].fill(0);
    let row = |(index, part): (usize, &[u8])| format!("{} {}", index * 16, part.escape_ascii());
    let rows: Vec<String> = bytes.chunks(16).enumerate().map(row).collect();
    Section::new("bytes of a manifest, 256 aligned to 64", rows)
}
