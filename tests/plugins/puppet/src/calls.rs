//! Every call of the interface by name, with its arguments as words and its outcome as text.

use reef_plugin_api::{
    Buffer, Choking, Files, HostError, NewTorrent, Peer, PeerRequest, Session, SettingValue, Torrent,
};
use std::fmt::Debug;
use std::time::Duration;

/// What a call may be about.
#[derive(Clone, Copy)]
pub(crate) struct Stage<'a> {
    pub(crate) session: Session<'a>,
    pub(crate) torrent: Torrent<'a>,
    pub(crate) peer: Peer<'a>,
}

type Outcome = Result<String, HostError>;

/// Makes one call.
pub(crate) fn perform(stage: Stage<'_>, line: &str, data: &[u8]) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let outcome = actions(stage, &words, data).or_else(|| questions(stage, &words));
    match outcome {
        Some(Ok(text)) => text,
        Some(Err(error)) => format!("{error:?}"),
        None => format!("what is {line}?"),
    }
}

/// Bytes as a length and a sum, which tests can tell too.
pub(crate) fn summary(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{} {sum}", bytes.len())
}

fn number<T: std::str::FromStr + Default>(words: &[&str], at: usize) -> T {
    words.get(at).and_then(|word| word.parse().ok()).unwrap_or_default()
}

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(hexadecimal.get(at..at + 2)?, 16).ok();
    (0..hexadecimal.len()).step_by(2).filter_map(byte).collect()
}

/// `0=7 3=1` from this word on.
fn priorities(words: &[&str]) -> Vec<(u32, u8)> {
    let pairs = words.iter().skip(1).filter_map(|word| word.split_once('='));
    pairs.filter_map(|(index, priority)| Some((index.parse().ok()?, priority.parse().ok()?))).collect()
}

fn value(word: &str) -> SettingValue {
    match (word.parse::<i64>(), word.parse::<bool>()) {
        (Ok(number), _) => number.into(),
        (_, Ok(flag)) => flag.into(),
        _ => word.into(),
    }
}

fn request(words: &[&str]) -> PeerRequest {
    PeerRequest { piece: number(words, 1), start: number(words, 2), length: number(words, 3) }
}

fn actions(stage: Stage<'_>, words: &[&str], data: &[u8]) -> Option<Outcome> {
    let Stage { session, torrent, peer } = stage;
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let block = Buffer::from(data.to_vec());
    let done = match word(0) {
        "message" => peer.send_message(number(words, 1), &bytes(word(2))),
        "choke" => peer.choke(),
        "unchoke" => peer.unchoke(),
        "as_usual" => peer.set_choking(Choking::Usual),
        "connect" => torrent.connect(word(1).parse().ok()?),
        "add" => session.add_torrent(&new_torrent(word(1), data)),
        "remove" => torrent.remove(if word(1) == "delete" { Files::Delete } else { Files::Keep }),
        "pause" => torrent.pause(),
        "resume" => torrent.resume(),
        "recheck" => torrent.recheck(),
        "announce" => torrent.announce(),
        "file_priorities" => torrent.set_file_priorities(&priorities(words)),
        "piece_priorities" => torrent.set_piece_priorities(&priorities(words)),
        "read" => torrent.read(request(words), number(words, 4)),
        "give" => torrent.give_block(request(words), &block),
        "give_of_peer" => peer.give_block(request(words), &block),
        "set" => session.set_settings(&[(word(1), value(word(2)))]),
        "timer" => session.set_timer(number(words, 1), Duration::from_micros(number(words, 2))),
        "timers" => (0..number(words, 1)).try_for_each(|token| session.set_timer(token, Duration::from_secs(9))),
        "cancel_timer" => session.cancel_timer(number(words, 1)),
        "count" => session.counter(word(1), "Things.").and_then(|counter| counter.add(number(words, 2))),
        "gauge" => session.gauge(word(1), "Things.").and_then(|gauge| gauge.set(number(words, 2))),
        "disconnect" => peer.disconnect("as ordered"),
        _ => return None,
    };
    Some(done.map(|()| "done".to_owned()))
}

fn new_torrent(hash: &str, metainfo: &[u8]) -> NewTorrent {
    let mut torrent = match <[u8; 20]>::try_from(bytes(hash)) {
        Ok(hash) => NewTorrent::from_info_hash(hash, "added"),
        Err(_) => NewTorrent::from_metainfo(metainfo, "added"),
    };
    torrent.paused = true;
    torrent
}

fn shown<T: Debug>(answer: Result<T, HostError>) -> Outcome {
    answer.map(|answer| format!("{answer:?}"))
}

fn questions(stage: Stage<'_>, words: &[&str]) -> Option<Outcome> {
    let Stage { session, torrent, peer } = stage;
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    Some(match word(0) {
        "status" => shown(session.status()),
        "torrents" => shown(session.torrents()),
        "setting" => shown(session.setting(word(1))),
        "statistics" => session.statistics().map(|all| {
            let lines = all.iter().map(|one| format!("{} {:?} {} {}", one.name, one.kind, one.value, one.doc));
            lines.collect::<Vec<_>>().join("\n")
        }),
        "data_dir" => session.data_dir().map(|folder| folder.display().to_string()),
        "torrent" => shown(torrent.status()),
        "peers" => shown(torrent.peer_statuses()),
        "peer" => shown(peer.status()),
        "files" => shown(torrent.files()),
        "trackers" => shown(torrent.trackers()),
        "pieces" => torrent.pieces().map(|pieces| format!("{} of {}", pieces.count(), pieces.len())),
        "torrent_info" => shown(torrent.info()),
        "peer_info" => shown(peer.info()),
        "has_piece" => Ok(torrent.has_piece(number(words, 1)).to_string()),
        "metadata" => Ok(torrent.metadata().map_or(0, |bytes| bytes.len()).to_string()),
        "read_and_wait" => torrent.read_and_wait(request(words)).map(|bytes| summary(&bytes)),
        _ => return None,
    })
}
