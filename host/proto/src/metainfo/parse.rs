//! From the bytes of a `.torrent`, or of `info` alone, to a checked [`Metainfo`].

use std::collections::BTreeMap;

use bytes::Bytes;

use super::files::{FileList, Name, v1_files};
use super::{Info, Metainfo, MetainfoError, tree, urls};
use crate::bencode::{Dict, Limits, Value, scan};
use crate::hash::{InfoHashes, Sha1Hash, Sha256Hash};
use crate::layout::{BLOCK_SIZE, Layout};
use crate::merkle;
use crate::paths;

impl Metainfo {
    /// Reads a `.torrent`. What follows its end is not looked at: many files have a line end there, or worse.
    ///
    /// # Errors
    /// When the bytes are no torrent, contradict themselves, or pass a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        if bytes.first() != Some(&b'd') {
            return Err(MetainfoError::NotADictionary(guess(bytes)));
        }
        let (value, _) = Value::parse_prefix(bytes, &Limits::TORRENT)?;
        let root = value.as_dict().ok_or(MetainfoError::MissingInfo)?;
        refuse_duplicates(root.duplicate_key())?;
        let info_value = root.get("info").filter(|info| info.as_dict().is_some()).ok_or(MetainfoError::MissingInfo)?;
        let info_bytes = Bytes::copy_from_slice(info_value.raw());
        let mut metainfo = Self::from_info(info_bytes, urls::trackers(&root))?;
        metainfo.read_root(&root)?;
        Ok(metainfo)
    }

    /// A torrent of which only `info` is known, as peers send it (BEP 9), and the trackers it came with.
    ///
    /// # Errors
    /// When `info_bytes` are not one acceptable `info` dictionary.
    pub fn from_info(info_bytes: Bytes, trackers: Vec<Vec<String>>) -> Result<Self, MetainfoError> {
        let info = Info::parse(info_bytes.clone())?;
        Ok(Self {
            info_hashes: info.hashes_of(&info_bytes),
            trackers,
            web_seeds: Vec::new(),
            http_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            piece_layers: BTreeMap::new(),
            similar: info.similar.clone(),
            collections: info.collections.clone(),
            info,
            info_bytes,
        })
    }

    fn read_root(&mut self, root: &Dict<'_>) -> Result<(), MetainfoError> {
        self.web_seeds = urls::web_seeds(root, self.info.layout.files().len());
        self.http_seeds = urls::http_seeds(root);
        self.nodes = urls::nodes(root);
        self.comment = text(root, "comment");
        self.created_by = text(root, "created by");
        self.creation_date = root.int("creation date");
        add_new(&mut self.similar, similar(root));
        add_new(&mut self.collections, collections(root));
        if self.info.has_v2() {
            self.piece_layers = piece_layers(root, &self.info.layout)?;
        }
        Ok(())
    }
}

impl Info {
    /// Reads `info`, all of `bytes`.
    ///
    /// # Errors
    /// When the bytes are no acceptable `info` dictionary.
    pub fn parse(bytes: Bytes) -> Result<Self, MetainfoError> {
        let value = Value::parse(&bytes, &Limits::TORRENT)?;
        let dict = value.as_dict().ok_or(MetainfoError::MissingInfo)?;
        let canonical = scan(&bytes, &Limits::TORRENT)?.canonical;
        if !canonical {
            refuse_duplicates(value.duplicate_key())?;
        }
        let meta_version = meta_version(&dict)?;
        if meta_version.is_some() && !canonical {
            return Err(MetainfoError::NotCanonical);
        }
        let piece_length = piece_length(&dict, meta_version)?;
        let piece_hashes = piece_hashes(&dict, &bytes, meta_version)?;
        let name = name(&dict)?.unwrap_or_else(|| match (meta_version, &piece_hashes) {
            (Some(_), None) => Name::Replaced(Sha256Hash::of(&bytes).to_string()),
            _ => Name::Replaced(Sha1Hash::of(&bytes).to_string()),
        });
        let files = list_files(&dict, &name, piece_length, meta_version)?;
        let multi_file = files.multi_file;
        // A single file's name is the torrent's; in a v2 torrent it stands in the file tree.
        let single = files.files.first().filter(|_| !multi_file).and_then(|file| file.path.first());
        let name = single.cloned().unwrap_or_else(|| name.as_str().to_owned());
        let layout = Layout::new(piece_length, files.finish())?;
        check_piece_hashes(&layout, &piece_hashes)?;
        Ok(Self {
            name,
            multi_file,
            layout,
            piece_hashes: piece_hashes.unwrap_or_default(),
            private: dict.int("private").is_some_and(|flag| flag != 0),
            meta_version,
            source: text(&dict, "source"),
            similar: similar(&dict),
            collections: collections(&dict),
        })
    }

    /// The info-hashes of this `info`, which was read from `bytes`.
    pub fn hashes_of(&self, bytes: &[u8]) -> InfoHashes {
        InfoHashes { v1: self.has_v1().then(|| Sha1Hash::of(bytes)), v2: self.has_v2().then(|| Sha256Hash::of(bytes)) }
    }
}

/// The string at `key`, or rather at `key.utf-8`; what is not UTF-8 in it is replaced. None if empty.
pub(super) fn text(dict: &Dict<'_>, key: &str) -> Option<String> {
    let bytes = dict.bytes(format!("{key}.utf-8")).or_else(|| dict.bytes(key))?;
    (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// What bytes that are no dictionary may be instead.
fn guess(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty",
        [b'<', ..] => "it looks like a web page; download the torrent itself",
        [0x1f, 0x8b, ..] => "it is compressed (gzip); unpack it first",
        [b'm', b'a', b'g', b'n', b'e', b't', b':', ..] => "it holds a magnet link; give the link itself",
        _ => "it does not begin with a dictionary",
    }
}

fn refuse_duplicates(key: Option<&[u8]>) -> Result<(), MetainfoError> {
    match key {
        Some(key) => Err(MetainfoError::DuplicateKey(key.escape_ascii().to_string())),
        None => Ok(()),
    }
}

/// 2 if there is a v2 part. Some write 1, or 0, where there is none.
fn meta_version(info: &Dict<'_>) -> Result<Option<u32>, MetainfoError> {
    match info.int("meta version") {
        None | Some(..=1) => Ok(None),
        Some(2) => Ok(Some(2)),
        Some(other) => Err(MetainfoError::UnknownVersion(other)),
    }
}

fn piece_length(info: &Dict<'_>, meta_version: Option<u32>) -> Result<u32, MetainfoError> {
    let length = info.int("piece length").and_then(|length| u32::try_from(length).ok()).filter(|&length| length > 0);
    let length = length.ok_or(MetainfoError::InvalidPieceLength)?;
    if meta_version.is_some() && (!length.is_power_of_two() || length < BLOCK_SIZE) {
        return Err(MetainfoError::InvalidV2PieceLength(length));
    }
    Ok(length)
}

/// The torrent's name, cleaned; none if nothing is left of it.
fn name(info: &Dict<'_>) -> Result<Option<Name>, MetainfoError> {
    let raw = info.bytes("name.utf-8").or_else(|| info.bytes("name")).ok_or(MetainfoError::MissingName)?;
    Ok(paths::clean_element(raw).filter(|_| !raw.is_empty()).map(Name::Given))
}

/// The v1 piece hashes, as a part of `info_bytes`; only a v2 torrent may lack them.
fn piece_hashes(
    info: &Dict<'_>,
    info_bytes: &Bytes,
    meta_version: Option<u32>,
) -> Result<Option<Bytes>, MetainfoError> {
    match (info.get("pieces"), meta_version) {
        (None, Some(_)) => Ok(None),
        (pieces, _) => {
            let pieces = pieces.and_then(|pieces| pieces.as_bytes()).ok_or(MetainfoError::MissingPieces)?;
            Ok(Some(info_bytes.slice_ref(pieces)))
        }
    }
}

fn check_piece_hashes(layout: &Layout, piece_hashes: &Option<Bytes>) -> Result<(), MetainfoError> {
    let Some(piece_hashes) = piece_hashes else { return Ok(()) };
    let expected = usize::try_from(layout.num_pieces()).unwrap_or(usize::MAX).saturating_mul(20);
    let found = piece_hashes.len();
    if found == expected { Ok(()) } else { Err(MetainfoError::WrongPieces { found, expected }) }
}

/// The files of the v1 part, or of the v2 part if there is no other; if there are both, they must agree.
fn list_files(
    info: &Dict<'_>,
    name: &Name,
    piece_length: u32,
    meta_version: Option<u32>,
) -> Result<FileList, MetainfoError> {
    if meta_version.is_none() {
        return v1_files(info, name);
    }
    let v2 = tree::v2_files(info, name)?;
    if info.get("pieces").is_none() {
        return Ok(tree::pad(v2, piece_length));
    }
    tree::merge(&v1_files(info, name)?, v2, piece_length)
}

/// The layers of `piece layers`, each of which must belong to a file longer than a piece and hash to that file's root.
fn piece_layers(root: &Dict<'_>, layout: &Layout) -> Result<BTreeMap<Sha256Hash, Bytes>, MetainfoError> {
    let piece_length = u64::from(layout.piece_length());
    let files = layout.files().iter().filter(|file| file.length > piece_length);
    let lengths: BTreeMap<Sha256Hash, u64> = files.filter_map(|file| Some((file.pieces_root?, file.length))).collect();
    let mut layers = BTreeMap::new();
    let given = root.dict("piece layers");
    for (key, value) in given.iter().flat_map(Dict::iter) {
        let hash = Sha256Hash::from_slice(key).ok_or(MetainfoError::InvalidPieceLayer)?;
        let layer = value.as_bytes().ok_or(MetainfoError::InvalidPieceLayer)?;
        let length = lengths.get(&hash).ok_or(MetainfoError::InvalidPieceLayer)?;
        let wanted = length.div_ceil(piece_length).checked_mul(32);
        if u64::try_from(layer.len()).ok() != wanted {
            return Err(MetainfoError::InvalidPieceLayer);
        }
        let nodes: Vec<_> = layer.chunks_exact(32).filter_map(Sha256Hash::from_slice).collect();
        if merkle::root_of_layer(nodes, layout.piece_length() / BLOCK_SIZE) != Some(hash) {
            return Err(MetainfoError::InvalidPieceLayer);
        }
        layers.insert(hash, Bytes::copy_from_slice(layer));
    }
    Ok(layers)
}

fn similar(dict: &Dict<'_>) -> Vec<Sha1Hash> {
    dict.list("similar").into_iter().flatten().filter_map(|hash| Sha1Hash::from_slice(hash.as_bytes()?)).collect()
}

fn collections(dict: &Dict<'_>) -> Vec<String> {
    let names = dict.list("collections").into_iter().flatten();
    names.filter_map(|name| Some(String::from_utf8_lossy(name.as_bytes()?).into_owned())).collect()
}

/// Appends what is not there yet.
fn add_new<T: Ord + Clone>(list: &mut Vec<T>, more: Vec<T>) {
    let mut known: std::collections::BTreeSet<T> = list.iter().cloned().collect();
    list.extend(more.into_iter().filter(|item| known.insert(item.clone())));
}
