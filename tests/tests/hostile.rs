//! A seed among hostile peers: each of the cases gets the reaction that is required of it, and the seed goes on serving.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use reef_tests::cases::case;
use reef_tests::content::{Content, temporary};
use reef_tests::process::Process;
use reef_tests::program::{Torrent, User, text};
use serde_json::Value;

/// What is required when a case is played.
#[derive(Clone, Copy, Debug)]
enum Required {
    /// The connection is closed, within two seconds.
    Close,
    /// The handshake is answered.
    Handshake,
    /// One of the two connections is closed.
    CloseOne,
    /// A request is rejected, or the connection closed. No data is sent.
    Reject,
    /// A request is rejected, or the connection closed, unless the piece was offered.
    RejectUnlessOffered,
    /// At most so many messages are sent.
    AtMost(usize),
    /// The first part of the metadata is sent.
    Metadata,
    /// The metadata is refused, or the connection closed.
    RefuseMetadata,
    /// Nothing but to go on serving others.
    Survive,
}

use Required::{AtMost, Close, CloseOne, Handshake, Metadata, RefuseMetadata, Reject, RejectUnlessOffered, Survive};

const CASES: [(&str, Required); 59] = [
    ("hs_garbage", Close),
    ("hs_wrong_pstrlen", Close),
    ("hs_unknown_infohash", Close),
    ("hs_all_reserved_bits", Handshake),
    ("hs_self_peer_id", Close),
    ("hs_same_peer_id_twice", CloseOne),
    ("len_4gib", Close),
    ("len_2mib_piece", Close),
    ("len_64mib_bitfield", Close),
    ("unknown_id_99", Survive),
    ("choke_extra_byte", Close),
    ("have_short", Close),
    ("have_out_of_range", Close),
    ("have_negative", Close),
    ("bitfield_long", Close),
    ("bitfield_spare_bits", Survive),
    ("bitfield_twice", Survive),
    ("bitfield_after_have", Survive),
    ("have_all_short", Close),
    ("have_all_then_none", Close),
    ("request_while_choked", RejectUnlessOffered),
    ("request_len_0", Reject),
    ("request_128k_plus_1", Reject),
    ("request_1mib", Reject),
    ("request_index_oob", Reject),
    ("request_negative_index", Reject),
    ("request_overflow", Reject),
    ("request_crosses_piece_end", Reject),
    ("request_x5000_same", AtMost(5_000)),
    ("cancel_unknown", Survive),
    ("piece_unsolicited", Survive),
    ("piece_empty", Close),
    ("allowed_fast_oob", Survive),
    ("suggest_oob", Survive),
    ("ext_not_dict", Survive),
    ("ext_truncated", Survive),
    ("ext_empty_payload", Survive),
    ("ext_nested_3000", Survive),
    ("ext_m_20000_names", Survive),
    ("ext_metadata_size_neg", Survive),
    ("ext_metadata_size_1tb", Survive),
    ("ext_yourip_wrong_len", Survive),
    ("ext_reqq_neg", Survive),
    ("ext_p_70000", Survive),
    ("ext_without_bit", Survive),
    ("utm_request_0", Metadata),
    ("utm_request_neg", RefuseMetadata),
    ("utm_unknown_type", Survive),
    ("utm_data_unsolicited", Survive),
    ("utm_flood_2000", AtMost(2_000)),
    ("pex_odd_length", Survive),
    ("pex_20_messages", Survive),
    ("pex_flags_short", Survive),
    ("hash_request_short", Close),
    ("port_short", Close),
    ("port_zero", Survive),
    ("interest_flood_50000", AtMost(1_000)),
    ("idle_after_handshake", Survive),
    ("dribble_1_byte_per_s", Survive),
];

/// How many play at the same time, besides the one of the longest case. The seed's upload slots have to be enough for them.
const PLAYERS: usize = 4;

/// The case that takes longest.
const LONGEST: &str = "idle_after_handshake";

/// What a seed of debug code may take at most, whatever it is sent.
const MOST_MEMORY_KIB: u64 = 128 << 10;

#[test]
fn each_hostile_peer_gets_what_it_deserves_and_the_seed_goes_on() {
    let (Some(player), Some(required)) = (case("evil_peer.py"), case("evil_peer_required.json")) else { return };
    check_names(&required);
    let (user, content) = (User::new(), Content::file(1_000_003));
    let torrent = user.create(&content, &[]);
    let seed = user.seed(&torrent, content.folder(), &[]);

    let played = thread::scope(|scope| {
        let play = |number| {
            let others = CASES.iter().map(|(name, _)| *name).filter(|name| *name != LONGEST);
            let only: Vec<_> = others.skip(number).step_by(PLAYERS).collect();
            let only = if number == PLAYERS { LONGEST.to_owned() } else { only.join(",") };
            play(&player, seed.address, &torrent, content.folder(), &only)
        };
        let players: Vec<_> = (0..=PLAYERS).map(|number| scope.spawn(move || play(number))).collect();
        players
            .into_iter()
            .flat_map(|player| player.join().expect("a player does not panic"))
            .collect::<BTreeMap<_, _>>()
    });
    let wrong: Vec<_> =
        CASES.iter().filter_map(|(name, required)| mistake(name, *required, played.get(*name))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));

    let memory = most_memory(seed.process.id());
    assert!(memory <= MOST_MEMORY_KIB, "the seed took {memory} KiB");
    let folder = temporary();
    user.get(torrent.path(), folder.path(), &["--peer", &seed.address.to_string()]);
    content.assert_is_in(folder.path());
}

/// Fails if the list of requirements has other cases than the table.
fn check_names(required: &Path) {
    let required = fs::read(required).expect("the list is readable");
    let required: Value = serde_json::from_slice(&required).expect("the list is JSON");
    let mut names: Vec<_> = required.as_array().into_iter().flatten().filter_map(|row| row["case"].as_str()).collect();
    let mut known = CASES.map(|(name, _)| name);
    names.sort_unstable();
    known.sort_unstable();
    assert_eq!(known.as_slice(), names);
}

/// Plays cases, and returns what came of each.
fn play(player: &Path, seed: SocketAddr, torrent: &Torrent, folder: &Path, only: &str) -> Vec<(String, Value)> {
    let mut command = Command::new("python3");
    command.arg(player).args([seed.ip().to_string(), seed.port().to_string()]);
    command.args([torrent.path(), text(folder), "--slow", "--wait", "2", "--only", only]);
    let ended = Process::spawn(&mut command).wait_for_status(Duration::from_secs(240), 0);
    let results = ended.lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    results.filter_map(|result| Some((result["case"].as_str()?.to_owned(), result))).collect()
}

/// What is wrong with a case's result.
fn mistake(name: &str, required: Required, result: Option<&Value>) -> Option<String> {
    let Some(result) = result else { return Some(format!("{name}: was not played")) };
    let is_right = result["alive"] == true && is_as_required(required, result);
    (!is_right).then(|| format!("{name}: {required:?} is required: {result}"))
}

fn is_as_required(required: Required, result: &Value) -> bool {
    let closed = result["result"] == "closed";
    let note = result["note"].as_str().unwrap_or_default();
    let sent = |id| count(result, id);
    match required {
        Close => closed,
        Handshake => result["got_handshake"] == true,
        CloseOne => closed || note.ends_with("closed"),
        Reject => sent(PIECE) == 0 && (closed || sent(REJECT) > 0),
        RejectUnlessOffered => {
            closed || sent(REJECT) > 0 || (sent(PIECE) > 0 && sent(ALLOWED_FAST) + sent(UNCHOKE) > 0)
        }
        AtMost(most) => [CHOKE, UNCHOKE, PIECE, REJECT, ALLOWED_FAST, EXTENDED].map(sent).iter().sum::<usize>() <= most,
        Metadata => note.ends_with("data ok=True"),
        RefuseMetadata => closed || sent(EXTENDED) > 0,
        Survive => true,
    }
}

/// How many messages of this id were sent: the player writes `7x12` for twelve in a row.
fn count(result: &Value, id: u8) -> usize {
    let replies = result["replies"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let counted = replies.map(|reply| reply.split_once('x').unwrap_or((reply, "1")));
    counted.filter(|(sent, _)| *sent == id.to_string()).map(|(_, times)| times.parse().unwrap_or(usize::MAX / 64)).sum()
}

/// The most memory that a process has had, in KiB.
fn most_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells a process's peak");
    line.trim().trim_end_matches(" kB").parse().expect("it is a number")
}

/// Message ids of BEP 3, 6 and 10.
const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const PIECE: u8 = 7;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;
