//! Trackers over UDP (BEP 15), with the URL's path and query as an option (BEP 41).
//!
//! Packets can be forged and lost: a reply counts only with the transaction number of its question, which the engine draws at random. Waiting and asking
//! again are the engine's; [`timeout`] says how long.

use thiserror::Error;

use super::{AnnounceEvent, AnnounceReply, AnnounceRequest, DEFAULT_INTERVAL, MAX_PEERS, MAX_TEXT_CHARS, ScrapeStats};
use crate::compact;
use crate::text::printable;

/// What a tracker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It may be asked under this number, for [`CONNECTION_SECONDS`].
    Connected {
        /// To be sent with every question.
        connection: u64,
    },
    /// Peers.
    Announce(AnnounceReply),
    /// The numbers of the torrents that were asked for, in their order; there may be fewer.
    Scrape(Vec<ScrapeStats>),
    /// The tracker refused; its words, fit to show.
    Error(String),
}

/// Why a packet is not the reply that is waited for. It is dropped, and the waiting goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PacketError {
    /// Shorter than its kind can be.
    #[error("packet of {0} bytes is too short")]
    TooShort(usize),
    /// The answer to another question, or a forgery.
    #[error("packet with a foreign transaction number")]
    ForeignTransaction,
    /// A kind that BEP 15 does not know.
    #[error("packet with the unknown action {0}")]
    UnknownAction(u32),
}

/// Which addresses the peers of a reply have: those of the socket that it came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// 6 bytes a peer.
    V4,
    /// 18 bytes a peer.
    V6,
}

/// The packet that asks for a connection number.
pub fn connect_request(transaction: u32) -> Vec<u8> {
    head(PROTOCOL_ID, ACTION_CONNECT, transaction)
}

/// The packet that makes an announce. `path_and_query` is the URL's (BEP 41), see [`super::TrackerUrl::path_and_query`]; empty where there is none.
pub fn announce_request(connection: u64, transaction: u32, request: &AnnounceRequest, path_and_query: &str) -> Vec<u8> {
    let mut packet = head(connection, ACTION_ANNOUNCE, transaction);
    let event: u32 = match request.event {
        AnnounceEvent::Interval => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
    };
    let num_want = if request.event == AnnounceEvent::Stopped { Some(0) } else { request.num_want };
    let ip = match request.ip {
        Some(std::net::IpAddr::V4(ip)) => ip.octets(),
        _ => [0; 4],
    };
    packet.extend(request.info_hash);
    packet.extend(request.peer_id.as_bytes());
    for bytes in [request.downloaded, request.left, request.uploaded] {
        packet.extend(bytes.to_be_bytes());
    }
    packet.extend(event.to_be_bytes());
    packet.extend(ip);
    packet.extend(request.key.to_be_bytes());
    packet.extend(num_want.unwrap_or(NO_WISH).to_be_bytes());
    packet.extend(request.port.to_be_bytes());
    for part in path_and_query.as_bytes().chunks(usize::from(u8::MAX)) {
        packet.push(OPTION_URL_DATA);
        packet.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        packet.extend(part);
    }
    packet
}

/// The packet that asks for the numbers of these torrents: at most [`MAX_SCRAPE`] of them, the rest is left out.
pub fn scrape_request(connection: u64, transaction: u32, info_hashes: &[[u8; 20]]) -> Vec<u8> {
    let mut packet = head(connection, ACTION_SCRAPE, transaction);
    packet.extend(info_hashes.iter().take(MAX_SCRAPE).flatten());
    packet
}

/// The transaction number of a packet that may be a tracker's reply.
pub fn transaction_of(packet: &[u8]) -> Option<u32> {
    number(packet.get(4..)?)
}

/// Reads the reply to the question `transaction`. A packet may be longer than its kind; a cut entry at the end of a list is ignored.
///
/// # Errors
/// When it is not that reply: drop it.
pub fn parse_reply(packet: &[u8], transaction: u32, family: Family) -> Result<Reply, PacketError> {
    let too_short = PacketError::TooShort(packet.len());
    let (head, body) = packet.split_at_checked(8).ok_or(too_short)?;
    if transaction_of(head) != Some(transaction) {
        return Err(PacketError::ForeignTransaction);
    }
    match number(head).ok_or(too_short)? {
        ACTION_CONNECT => {
            let connection = body.first_chunk().ok_or(too_short)?;
            Ok(Reply::Connected { connection: u64::from_be_bytes(*connection) })
        }
        ACTION_ANNOUNCE => announce_reply(body, family).map(Reply::Announce).ok_or(too_short),
        ACTION_SCRAPE => Ok(Reply::Scrape(scrape_reply(body))),
        ACTION_ERROR => Ok(Reply::Error(printable(body, MAX_TEXT_CHARS))),
        other => Err(PacketError::UnknownAction(other)),
    }
}

/// Seconds to wait for a reply to the packet that was sent for the `attempt`th time, from 0 on (BEP 15: 15 * 2^n, n up to 8).
pub fn timeout(attempt: u32) -> u32 {
    15 << attempt.min(8)
}

fn announce_reply(body: &[u8], family: Family) -> Option<AnnounceReply> {
    let (counts, peers) = body.split_at_checked(12)?;
    let peers: Vec<_> = match family {
        Family::V4 => compact::parse_v4(peers).take(MAX_PEERS).collect(),
        Family::V6 => compact::parse_v6(peers).take(MAX_PEERS).collect(),
    };
    Some(AnnounceReply {
        interval: number(counts).filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_INTERVAL),
        incomplete: number(counts.get(4..)?),
        complete: number(counts.get(8..)?),
        peers,
        ..AnnounceReply::default()
    })
}

fn scrape_reply(body: &[u8]) -> Vec<ScrapeStats> {
    let (words, _) = body.as_chunks::<4>();
    let (rows, _) = words.as_chunks::<3>();
    let rows = rows.iter().take(MAX_SCRAPE).map(|row| row.map(u32::from_be_bytes));
    rows.map(|[complete, downloaded, incomplete]| ScrapeStats { complete, downloaded, incomplete }).collect()
}

fn head(connection: u64, action: u32, transaction: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(128);
    packet.extend(connection.to_be_bytes());
    packet.extend(action.to_be_bytes());
    packet.extend(transaction.to_be_bytes());
    packet
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|number| u32::from_be_bytes(*number))
}

/// Seconds for which a connection number may be used (BEP 15).
pub const CONNECTION_SECONDS: u32 = 60;

/// The most torrents that one scrape can ask for (BEP 15).
pub const MAX_SCRAPE: usize = 74;

/// Stands for the connection number in a connect request.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;

/// BEP 41: the option whose value is a part of the URL.
const OPTION_URL_DATA: u8 = 2;

/// -1: the tracker chooses how many peers it sends.
const NO_WISH: u32 = u32::MAX;
