//! Resume data as the manual's bencoded dictionary ("fast resume"), which other clients read and write.
//!
//! Written is version 1, whose `pieces` has a byte each: bit 0 for "we have it", bit 1 for "it is verified" (the manual
//! counts them from one). Read are version 1 and version 2, whose `pieces` has a bit each.

use super::have::{MAX_MASK, blocks_of, mask_of};
use super::{Have, Resume, ResumeError, fields};
use crate::disk::FileStat;
use bytes::Bytes;
use reef_proto::bencode::{Dict, Item, Limits, Value};
use reef_proto::bitfield::Bitfield;
use reef_proto::hash::{InfoHashes, Sha1Hash, Sha256Hash};
use reef_proto::layout::MAX_PIECES;

pub(super) const FORMAT: &str = "libtorrent resume file";
const HAVE: u8 = 1;
const VERIFIED: u8 = 2;
const SECOND: u64 = 1_000_000_000;

/// What a dictionary says.
#[derive(Clone, PartialEq, Debug)]
pub struct Imported {
    /// The torrent that it is of.
    pub info_hashes: InfoHashes,
    /// Everything but the pieces.
    pub resume: Resume,
    /// The pieces, to be fitted to the torrent ([`Have::fit`]); `None` where the dictionary has none.
    pub have: Option<Have>,
    /// The torrent's info dictionary, if it came along. Its hash is right.
    pub info: Option<Bytes>,
}

/// The dictionary of a torrent.
#[must_use]
pub fn export(resume: &Resume, have: Option<&Have>, info_hashes: InfoHashes) -> Bytes {
    let mut entries = fields::write(resume);
    let mut put = |key: &str, item: Item| drop(entries.insert(key.into(), item));
    put("file-format", FORMAT.into());
    put("file-version", Item::Int(1));
    put("info-hash", info_hashes.v1.unwrap_or_default().0[..].into());
    put("info-hash2", info_hashes.v2.unwrap_or_default().0[..].into());
    if let Some(have) = have {
        let verified = if resume.seed_mode { HAVE } else { HAVE | VERIFIED };
        let flags = |piece: u32| if have.pieces.get(piece) { verified } else { 0 };
        put("pieces", (0..have.pieces.len()).map(flags).collect::<Vec<u8>>().into());
        put("unfinished", Item::List(have.unfinished.iter().map(unfinished).collect()));
        // Others know no mounts: files that one keeps are not vouched for.
        let stat = |stat: &FileStat| match have.kept_by {
            Some(_) => Item::List(vec![Item::Int(0), Item::Int(0)]),
            None => Item::List(vec![int(stat.size), int(stat.mtime / SECOND)]),
        };
        put("file sizes", Item::List(have.file_stats.iter().map(stat).collect()));
    }
    Item::Dict(entries).to_bytes().into()
}

/// Reads the dictionary of ours or another client. Times of files come in whole seconds.
///
/// # Errors
/// When the bytes are not such a dictionary, of an unknown version, or contradict themselves about the torrent.
pub fn import(bytes: &[u8]) -> Result<Imported, ResumeError> {
    let dict = Dict::parse(bytes, &Limits::TORRENT)?;
    if dict.str("file-format") != Some(FORMAT) {
        return Err(ResumeError::Format);
    }
    let version = dict.int("file-version").unwrap_or(1);
    if !(1..=2).contains(&version) {
        return Err(ResumeError::Version(version));
    }
    let info_hashes = read_hashes(&dict)?;
    let info = dict.get("info").map(|info| info.raw());
    if info.is_some_and(|info| !is_of(info, info_hashes)) {
        return Err(ResumeError::WrongInfo);
    }
    Ok(Imported {
        info_hashes,
        resume: fields::read(&dict),
        have: read_have(&dict, version),
        info: info.map(Bytes::copy_from_slice),
    })
}

fn unfinished((piece, blocks): &(u32, Vec<u32>)) -> Item {
    Item::dict([("piece", Item::from(*piece)), ("bitmask", mask_of(blocks).into())])
}

fn int(number: u64) -> Item {
    Item::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn read_hashes(dict: &Dict<'_>) -> Result<InfoHashes, ResumeError> {
    let v1 = dict.bytes("info-hash").and_then(Sha1Hash::from_slice).filter(|hash| *hash != Sha1Hash::default());
    let v2 = dict.bytes("info-hash2").and_then(Sha256Hash::from_slice).filter(|hash| *hash != Sha256Hash::default());
    let hashes = InfoHashes { v1, v2 };
    if hashes.is_empty() { Err(ResumeError::NoInfoHash) } else { Ok(hashes) }
}

fn is_of(info: &[u8], hashes: InfoHashes) -> bool {
    hashes.v1.is_none_or(|hash| hash == Sha1Hash::of(info)) && hashes.v2.is_none_or(|hash| hash == Sha256Hash::of(info))
}

fn read_have(dict: &Dict<'_>, version: i64) -> Option<Have> {
    let pieces = read_pieces(dict.bytes("pieces")?, version)?;
    // libtorrent wrote "blocks per piece" as long as it counted a mask's bits from the lowest.
    let from_lowest = dict.get("blocks per piece").is_some();
    let unfinished = dict.list("unfinished").into_iter().flatten();
    let unfinished = unfinished.filter_map(|entry| read_unfinished(entry, pieces.len(), from_lowest)).collect();
    let file_stats = dict.list("file sizes").into_iter().flatten().map(read_stat).collect();
    Some(Have { pieces, unfinished, file_stats, kept_by: None })
}

fn read_pieces(bytes: &[u8], version: i64) -> Option<Bitfield> {
    let len = u32::try_from(bytes.len()).ok().filter(|len| *len <= MAX_PIECES)?;
    if version == 2 {
        return Bitfield::from_wire(bytes, len.checked_mul(8)?).ok();
    }
    let mut pieces = Bitfield::new(len);
    for (piece, flags) in (0_u32..).zip(bytes) {
        if flags & HAVE != 0 {
            pieces.set(piece);
        }
    }
    Some(pieces)
}

fn read_unfinished(entry: Value<'_>, pieces: u32, from_lowest: bool) -> Option<(u32, Vec<u32>)> {
    let entry = entry.as_dict()?;
    let piece = u32::try_from(entry.int("piece")?).ok().filter(|piece| *piece < pieces)?;
    let mask = entry.bytes("bitmask").filter(|mask| mask.len() <= MAX_MASK)?;
    let mask: Vec<u8> = mask.iter().map(|byte| if from_lowest { byte.reverse_bits() } else { *byte }).collect();
    Some((piece, blocks_of(&mask))).filter(|(_, blocks)| !blocks.is_empty())
}

fn read_stat(entry: Value<'_>) -> FileStat {
    let mut numbers = entry.as_list().into_iter().flatten();
    let mut next = || numbers.next().and_then(|n| n.as_int()).and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
    FileStat { size: next(), mtime: next().saturating_mul(SECOND) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASHES: InfoHashes = InfoHashes { v1: Some(Sha1Hash([7; 20])), v2: None };

    fn have() -> Have {
        let mut pieces = Bitfield::new(9);
        assert!(pieces.set(0) && pieces.set(8));
        Have {
            pieces,
            unfinished: vec![(3, vec![0, 9])],
            file_stats: vec![FileStat { size: 77, mtime: 1_700_000_000 * SECOND }],
            kept_by: None,
        }
    }

    fn text(version: i64, more: &str) -> Vec<u8> {
        let head = format!("d11:file-format22:{FORMAT}12:file-versioni{version}e9:info-hash20:aaaaaaaaaaaaaaaaaaaa");
        format!("{head}{more}e").into_bytes()
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let resume = fields::tests::full();
        let both = InfoHashes { v2: Some(Sha256Hash([9; 32])), ..HASHES };
        for (have, info_hashes) in [(Some(have()), HASHES), (None, both), (Some(have()), both)] {
            let bytes = export(&resume, have.as_ref(), info_hashes);
            assert_eq!(import(&bytes), Ok(Imported { info_hashes, resume: resume.clone(), have, info: None }));
        }
    }

    #[test]
    fn pieces_are_written_as_libtorrent_reads_them() {
        let bytes = export(&Resume::default(), Some(&have()), HASHES);
        let dict = Dict::parse(&bytes, &Limits::TORRENT).unwrap();
        assert_eq!(dict.bytes("pieces"), Some(&[3, 0, 0, 0, 0, 0, 0, 0, 3][..]));
        assert_eq!(dict.int("file-version"), Some(1));
        let unfinished = dict.list("unfinished").unwrap().next().unwrap().as_dict().unwrap();
        assert_eq!((unfinished.int("piece"), unfinished.bytes("bitmask")), (Some(3), Some(&[0x80, 0x40][..])));
        let seed_mode = Resume { seed_mode: true, ..Resume::default() };
        let bytes = export(&seed_mode, Some(&have()), HASHES);
        let dict = Dict::parse(&bytes, &Limits::TORRENT).unwrap();
        assert_eq!(dict.bytes("pieces").unwrap()[0], 1);
    }

    #[test]
    fn both_versions_say_the_same() {
        let old = import(&text(1, "6:pieces9:\x01\x00\x02\x00\x00\x00\x00\x00\x03")).unwrap();
        let mut bytes = text(2, "6:pieces2:");
        bytes.truncate(bytes.len() - 1);
        bytes.extend([0x80, 0x80, b'e']);
        let new = import(&bytes).unwrap();
        assert_eq!(old.have.clone().unwrap().pieces.iter().collect::<Vec<_>>(), [0, 8]);
        assert_eq!(new.have.unwrap().fit(9), old.have);
    }

    #[test]
    fn masks_of_old_clients_count_from_the_lowest_bit() {
        let unfinished =
            "6:pieces4:\x00\x00\x00\x0010:unfinishedld7:bitmask1:\x035:piecei2eeld7:bitmask1:\x035:piecei9eeee";
        let blocks = |head: &str| import(&text(1, &format!("{head}{unfinished}"))).unwrap().have.unwrap().unfinished;
        assert_eq!(blocks(""), [(2, vec![6, 7])]);
        assert_eq!(blocks("16:blocks per piecei8e"), [(2, vec![0, 1])]);
    }

    #[test]
    fn what_is_not_resume_data_is_refused() {
        let check = |bytes: &[u8], want: ResumeError| assert_eq!(import(bytes), Err(want), "{bytes:?}");
        check(b"de", ResumeError::Format);
        check(b"d11:file-format3:abce", ResumeError::Format);
        check(&text(3, ""), ResumeError::Version(3));
        check(&text(0, ""), ResumeError::Version(0));
        check(format!("d11:file-format22:{FORMAT}e").as_bytes(), ResumeError::NoInfoHash);
        check(format!("d11:file-format22:{FORMAT}9:info-hash3:abce").as_bytes(), ResumeError::NoInfoHash);
        check(&text(1, "4:infod4:name1:ae"), ResumeError::WrongInfo);
        assert!(matches!(import(b"d11:file-form"), Err(ResumeError::Bencode(_))));
        assert_eq!(import(&text(1, "")).unwrap().have, None);
    }

    #[test]
    fn the_metadata_that_comes_along_must_be_the_torrents() {
        let info = b"d4:name1:ae";
        let hash = Sha1Hash::of(info);
        let head = Item::dict([
            ("file-format", FORMAT.into()),
            ("info-hash", hash.0[..].into()),
            ("info", Item::Raw(Bytes::from_static(info))),
        ]);
        assert_eq!(import(&head.to_bytes()).unwrap().info.as_deref(), Some(&info[..]));
    }

    /// Made by libtorrent 2.1.1 of a small torrent with one renamed file, two peers and a rate limit.
    #[test]
    fn a_file_of_libtorrent_is_understood() {
        let imported = import(include_bytes!("../../tests/data/libtorrent-2.1.1.fastresume")).unwrap();
        let have = imported.have.unwrap();
        assert_eq!(have.pieces.iter().collect::<Vec<_>>(), [0, 1, 2, 4]);
        assert_eq!(have.unfinished, [(3, vec![1])]);
        let fitted = have.fit(7).unwrap();
        assert_eq!(fitted.pieces.len(), 7);
        let resume = imported.resume;
        assert_eq!((resume.name.as_str(), resume.save_path.as_str()), ("t", "/srv/files"));
        assert_eq!(resume.file_priorities, [4, 0, 1]);
        assert_eq!(resume.renamed_files, [(0, "t/renamed.bin".to_owned())]);
        assert_eq!(resume.peers, ["10.0.0.1:6881".parse().unwrap(), "[2001:db8::1]:6882".parse().unwrap()]);
        assert_eq!(resume.banned_peers, ["10.9.9.9:1".parse().unwrap()]);
        assert_eq!((resume.upload_rate_limit, resume.max_connections, resume.max_uploads), (5000, 33, -1));
        assert_eq!(resume.trackers, [["http://127.0.0.1:1/announce"], ["udp://127.0.0.1:2/announce"]]);
        assert_eq!(resume.url_seeds, ["http://127.0.0.1:3/x/"]);
        assert!(!resume.paused && resume.auto_managed && !resume.seed_mode);
        assert_eq!(resume.total_uploaded, 12_345);
    }
}
