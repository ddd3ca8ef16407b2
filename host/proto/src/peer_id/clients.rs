//! The names of other people's clients, from the conventions of BEP 20 and what clients really send.
//!
//! Tables of names and a few ways to write a version. It must show no byte of an id unescaped.

use std::fmt::Write as _;

/// How a client writes its version into the bytes after its letters.
#[derive(Clone, Copy)]
enum Version {
    /// One digit a part, base 62: `1.2.3.4`.
    Four,
    /// One digit a part, base 62; the fourth byte means nothing: `1.2.3`.
    Three,
    /// `0241` is `2.41`.
    TwoAndTwo,
    /// `0120` is `0.12.0`.
    OneTwoOne,
    /// `5` is `5.x`.
    MajorOnly,
    /// Three hexadecimal digits, then a letter for what is not released.
    Micro,
    /// Transmission, whose scheme changed twice.
    Transmission,
    /// `33D1` is `3.3 Dev 1`.
    KTorrent,
    /// Three parts and a build number of three digits, without a closing dash.
    BitLord,
    /// `51R` is `5.1.27`, and `51@` is `5.1.x`.
    FreeDownloadManager,
    /// The id says nothing of a version.
    Absent,
}

/// A short readable name of the client behind an id.
pub(super) fn name_of(id: &[u8; 20]) -> String {
    let conventions = [azureus, prefixed, mainline, shadow, generic];
    conventions.iter().find_map(|read| read(id)).unwrap_or_else(|| escaped(id))
}

/// `-XXvvvv-`, which most clients use.
fn azureus(id: &[u8; 20]) -> Option<String> {
    let [b'-', x, y, rest @ ..] = id else {
        return None;
    };
    let version = rest.first_chunk::<6>()?;
    if let Some((_, name, style)) = AZUREUS.iter().find(|(code, ..)| **code == [*x, *y]) {
        return Some(match version_text(*style, *version) {
            Some(version) => format!("{name} {version}"),
            None => (*name).to_owned(),
        });
    }
    let is_code = x.is_ascii_alphanumeric() && y.is_ascii_alphanumeric() && version.get(4) == Some(&b'-');
    let digits = version_text(Version::Four, *version).filter(|_| is_code)?;
    let digits = digits.strip_suffix(".0").unwrap_or(&digits);
    Some(format!("{}{} {digits}", char::from(*x), char::from(*y)))
}

fn version_text(style: Version, [a, b, c, d, e, f]: [u8; 6]) -> Option<String> {
    Some(match style {
        Version::Four => format!("{}.{}.{}.{}", digit(a)?, digit(b)?, digit(c)?, digit(d)?),
        Version::Three => format!("{}.{}.{}", digit(a)?, digit(b)?, digit(c)?),
        Version::TwoAndTwo => format!("{}.{}{}", pair(a, b)?, decimal(c)?, decimal(d)?),
        Version::OneTwoOne => format!("{}.{}{}.{}", decimal(a)?, decimal(b)?, decimal(c)?, decimal(d)?),
        Version::MajorOnly => format!("{}.x", digit(a)?),
        Version::Micro => format!("{}.{}.{}{}", hexadecimal(a)?, hexadecimal(b)?, hexadecimal(c)?, stage(d)),
        Version::Transmission => transmission([a, b, c, d])?,
        Version::KTorrent => match c {
            b'D' => format!("{}.{} Dev {}", digit(a)?, digit(b)?, digit(d)?),
            b'R' => format!("{}.{} RC {}", digit(a)?, digit(b)?, digit(d)?),
            _ => format!("{}.{}.{}", digit(a)?, digit(b)?, digit(c)?),
        },
        Version::BitLord => {
            format!("{}.{}.{}-{}{}{}", digit(a)?, digit(b)?, digit(c)?, decimal(d)?, decimal(e)?, decimal(f)?)
        }
        Version::FreeDownloadManager => match digit(c) {
            Some(patch) => format!("{}.{}.{patch}", digit(a)?, digit(b)?),
            None => format!("{}.{}.x", digit(a)?, digit(b)?),
        },
        Version::Absent => return None,
    })
}

fn transmission([a, b, c, d]: [u8; 4]) -> Option<String> {
    Some(match (a, b, c) {
        (b'0', b'0', b'0') => format!("0.{}", digit(d)?),
        (b'0', b'0', _) => format!("0.{}{}", decimal(c)?, decimal(d)?),
        (b'0'..=b'3', _, _) => {
            format!("{}.{}{}{}", decimal(a)?, decimal(b)?, decimal(c)?, stage(d))
        }
        _ => format!("{}.{}.{}{}", digit(a)?, digit(b)?, digit(c)?, stage(d)),
    })
}

/// What the fourth letter of a version says about its ripeness.
fn stage(letter: u8) -> &'static str {
    match letter {
        b'A' => " (Alpha)",
        b'B' => " (Beta)",
        b'D' | b'X' | b'Z' => " (Dev)",
        _ => "",
    }
}

/// Beginnings that follow no convention, with the version in decimal digits behind them (parted by dashes where the client does so).
fn prefixed(id: &[u8; 20]) -> Option<String> {
    let (prefix, name) = PREFIXED.iter().find(|(prefix, _)| id.starts_with(prefix))?;
    let version = id.strip_prefix(*prefix)?;
    Some(match dashed(version).or_else(|| digits(version)) {
        Some(version) => format!("{name} {version}"),
        None => (*name).to_owned(),
    })
}

/// `M1-2-3--`, the first client's own.
fn mainline(id: &[u8; 20]) -> Option<String> {
    let (letter, version) = id.split_first()?;
    let name = match letter {
        b'M' => "Mainline",
        b'Q' => "Queen Bee",
        _ => return None,
    };
    Some(format!("{name} {}", dashed(version)?))
}

/// `S123--`: a letter, three to five digits, and two dashes at least.
fn shadow(id: &[u8; 20]) -> Option<String> {
    let (letter, rest) = id.split_first()?;
    let (_, name) = SHADOW.iter().find(|(code, _)| code == letter)?;
    let digits: Vec<u8> = rest.iter().map_while(|byte| digit(*byte)).take(5).collect();
    let is_closed = rest.get(digits.len()..).is_some_and(|rest| rest.starts_with(b"--"));
    if digits.len() < 3 || !is_closed {
        return None;
    }
    Some(format!("{name} {}", joined(digits.into_iter().map(u32::from))))
}

/// Twelve zero bytes: what very old clients and libraries send.
fn generic(id: &[u8; 20]) -> Option<String> {
    id.starts_with(&[0; 12]).then(|| "Generic".to_owned())
}

/// The first eight bytes, everything but letters, digits, and a few marks as `%` and two hexadecimal digits.
fn escaped(id: &[u8; 20]) -> String {
    let mut shown = String::new();
    for byte in id.iter().take(8) {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => shown.push(char::from(*byte)),
            _ => _ = write!(shown, "%{byte:02X}"),
        }
    }
    shown
}

/// `1-36-0-` as `1.36.0`: two or three decimal numbers, each with a dash behind it.
fn dashed(bytes: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while parts.len() < 3 {
        let Some(end) = rest.iter().take(4).position(|byte| *byte == b'-') else {
            break;
        };
        let (number, tail) = rest.split_at_checked(end)?;
        let Some(number) = std::str::from_utf8(number).ok().and_then(|text| text.parse::<u16>().ok()) else {
            break;
        };
        parts.push(u32::from(number));
        rest = tail.get(1..)?;
    }
    (parts.len() > 1).then(|| joined(parts.into_iter()))
}

/// `0193` as `0.1.9.3`.
fn digits(bytes: &[u8]) -> Option<String> {
    let digits: Vec<u32> = bytes.iter().take(4).map_while(|byte| decimal(*byte)).collect();
    (digits.len() > 1).then(|| joined(digits.into_iter()))
}

fn joined(parts: impl Iterator<Item = u32>) -> String {
    let mut text = String::new();
    for part in parts {
        let dot = if text.is_empty() { "" } else { "." };
        _ = write!(text, "{dot}{part}");
    }
    text
}

/// A digit in base 62: 0-9, A-Z, a-z.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'a'..=b'z' => Some(byte - b'a' + 36),
        _ => None,
    }
}

fn hexadecimal(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(16)
}

fn decimal(byte: u8) -> Option<u32> {
    char::from(byte).to_digit(10)
}

fn pair(a: u8, b: u8) -> Option<u32> {
    Some(decimal(a)? * 10 + decimal(b)?)
}

/// Clients by their two letters between dash and version.
static AZUREUS: &[(&[u8; 2], &str, Version)] = &[
    (b"AD", "Advanced Download Manager", Version::Three),
    (b"AG", "Ares", Version::Four),
    (b"AR", "Arctic", Version::Four),
    (b"AT", "Artemis", Version::Four),
    (b"AV", "Avicora", Version::Four),
    (b"AX", "BitPump", Version::TwoAndTwo),
    (b"AZ", "Azureus / Vuze", Version::Four),
    (b"A~", "Ares", Version::Three),
    (b"BC", "BitComet", Version::TwoAndTwo),
    (b"BE", "BitTorrent SDK", Version::Four),
    (b"BF", "BitFlu", Version::Four),
    (b"BG", "BTGetit", Version::Four),
    (b"BI", "BiglyBT", Version::Four),
    (b"BL", "BitLord", Version::BitLord),
    (b"BN", "Baidu Netdisk", Version::Absent),
    (b"BS", "BTSlave", Version::Four),
    (b"BT", "BitTorrent", Version::Micro),
    (b"BW", "BitTorrent Web", Version::Three),
    (b"BX", "BittorrentX", Version::Four),
    (b"CD", "Enhanced CTorrent", Version::TwoAndTwo),
    (b"CT", "CTorrent", Version::Four),
    (b"DE", "Deluge", Version::Four),
    (b"DP", "Propagate Data Client", Version::Four),
    (b"EB", "EBit", Version::Four),
    (b"ES", "Electric Sheep", Version::Three),
    (b"FC", "FileCroc", Version::Four),
    (b"FD", "Free Download Manager", Version::FreeDownloadManager),
    (b"FG", "FlashGet", Version::TwoAndTwo),
    (b"FL", "Folx", Version::MajorOnly),
    (b"FT", "FoxTorrent", Version::Four),
    (b"FW", "FrostWire", Version::Three),
    (b"FX", "Freebox", Version::Four),
    (b"G3", "G3 Torrent", Version::Absent),
    (b"GR", "GetRight", Version::Four),
    (b"GT", "anacrolix/torrent", Version::Four),
    (b"HL", "Halite", Version::Three),
    (b"KG", "KGet", Version::Four),
    (b"KT", "KTorrent", Version::KTorrent),
    (b"LC", "LeechCraft", Version::Four),
    (b"LP", "Lphant", Version::TwoAndTwo),
    (b"LT", "libtorrent", Version::Three),
    (b"LW", "LimeWire", Version::Absent),
    (b"Lr", "LibreTorrent", Version::Three),
    (b"MG", "MediaGet", Version::TwoAndTwo),
    (b"MK", "Meerkat", Version::Four),
    (b"MO", "MonoTorrent", Version::Four),
    (b"MR", "Miro", Version::Four),
    (b"MT", "Moonlight", Version::Four),
    (b"NX", "Net Transport", Version::Four),
    (b"OS", "OneSwarm", Version::Four),
    (b"PC", "CacheLogic", Version::Four),
    (b"PD", "Pando", Version::Four),
    (b"PI", "PicoTorrent", Version::OneTwoOne),
    (b"PT", "Popcorn Time", Version::Absent),
    (b"QD", "QQDownload", Version::Four),
    (b"QT", "Qt 4 Torrent example", Version::Four),
    (b"RF", "reef", Version::Three),
    (b"RT", "Retriever", Version::Four),
    (b"RZ", "RezTorrent", Version::Four),
    (b"SB", "Swiftbit", Version::Four),
    (b"SD", "Thunder", Version::Four),
    (b"SM", "SoMud", Version::Four),
    (b"SN", "ShareNET", Version::Four),
    (b"SP", "BitSpirit", Version::Three),
    (b"SS", "SwarmScope", Version::Four),
    (b"ST", "SymTorrent", Version::Four),
    (b"SZ", "Shareaza", Version::Four),
    (b"S~", "Shareaza", Version::Four),
    (b"TB", "Torch Browser", Version::Absent),
    (b"TL", "Tribler", Version::Three),
    (b"TN", "Torrent.NET", Version::Four),
    (b"TR", "Transmission", Version::Transmission),
    (b"TS", "TorrentStorm", Version::Four),
    (b"TT", "TuoTu", Version::Four),
    (b"UE", "\u{b5}Torrent Embedded", Version::Micro),
    (b"UL", "uLeecher!", Version::Four),
    (b"UM", "\u{b5}Torrent Mac", Version::Micro),
    (b"UT", "\u{b5}Torrent", Version::Micro),
    (b"UW", "\u{b5}Torrent Web", Version::Micro),
    (b"VG", "Vagaa", Version::Four),
    (b"WD", "WebTorrent Desktop", Version::TwoAndTwo),
    (b"WT", "BitLet", Version::Four),
    (b"WW", "WebTorrent", Version::TwoAndTwo),
    (b"WY", "FireTorrent", Version::Four),
    (b"XF", "Xfplay", Version::Four),
    (b"XL", "Xunlei", Version::Four),
    (b"XT", "XanTorrent", Version::Four),
    (b"XX", "XTorrent", Version::Four),
    (b"ZT", "ZipTorrent", Version::Four),
    (b"bk", "BitKitten", Version::Four),
    (b"lt", "libTorrent (Rakshasa)", Version::Three),
    (b"pb", "pbTorrent", Version::Four),
    (b"qB", "qBittorrent", Version::Three),
    (b"rQ", "rqbit", Version::Four),
    (b"st", "SharkTorrent", Version::Four),
];

/// Clients by the beginning of their id.
static PREFIXED: &[(&[u8], &str)] = &[
    (b"-ML", "MLDonkey"),
    (b"346-", "TorrentTopia"),
    (b"A2-", "aria2"),
    (b"AZ2500BT", "BitTyrant"),
    (b"BLZ", "Blizzard Downloader"),
    (b"LIME", "LimeWire"),
    (b"OP", "Opera"),
    (b"Pando", "Pando"),
    (b"QVOD", "QVOD"),
    (b"TIX", "Tixati"),
    (b"XBT", "XBT Client"),
    (b"XTORR", "XTorrent"),
    (b"aria2-", "aria2"),
    (b"btpd", "BT Protocol Daemon"),
    (b"exbc", "BitComet"),
    (b"martini", "Martini Man"),
];

/// Clients by the single letter of the shadow convention.
static SHADOW: &[(u8, &str)] = &[
    (b'A', "ABC"),
    (b'O', "Osprey Permaseed"),
    (b'Q', "BTQueue"),
    (b'R', "Tribler"),
    (b'S', "Shadow"),
    (b'T', "BitTornado"),
    (b'U', "UPnP NAT BitTorrent"),
];
