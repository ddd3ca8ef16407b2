//! How the host of tests answers and records each call.

use super::{Action, FakeHost};
use crate::alert::Alert;
use crate::buffer::Buffer;
use crate::calls::{HostCalls, LogLine, NewStatistic};
use crate::control::{Choking, Files, StatisticKind};
use crate::endpoint::{BlockSender, PeerKey, PeerRequest, Sender, TorrentId};
use crate::handle::Host;
use crate::info::{PeerInfo, TorrentInfo};
use crate::new_torrent::NewTorrent;
use crate::query::{Answer, Query};
use crate::result::HostError;
use crate::setting::SettingValue;
use crate::status::{Pieces, Statistic};
use std::net::SocketAddr;

impl HostCalls for FakeHost {
    fn is_gone(&self) -> bool {
        self.state().gone
    }

    fn now(&self) -> u64 {
        self.state().now
    }

    fn random(&self) -> u64 {
        // splitmix64
        let mut state = self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state.random ^ (state.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn log(&self, line: &LogLine<'_>) {
        self.state().log.push(format!("{} {}", line.level, line.message));
    }

    fn report_panic(&self, text: &str) {
        self.state().actions.push(Action::ReportPanic { text: text.to_owned() });
    }

    fn host(&self) -> Result<Host, HostError> {
        Ok(self.handle())
    }

    fn post_alert(&self, alert: &Alert<'_>) -> Result<(), HostError> {
        self.record(Action::Alert {
            kind: alert.kind(),
            category: alert.category(),
            torrent: alert.torrent(),
            what: alert.what().to_owned(),
            message: alert.message().to_owned(),
            data: alert.data().to_vec(),
        })
    }

    fn torrent_info(&self, torrent: TorrentId) -> Result<TorrentInfo, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.info))
    }

    fn metadata(&self, torrent: TorrentId) -> Result<Buffer, HostError> {
        self.of_torrent(torrent, |torrent| torrent.metadata.clone())
    }

    fn peers(&self, torrent: TorrentId) -> Result<Vec<PeerKey>, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.peers.keys().copied().collect()))
    }

    fn has_piece(&self, torrent: TorrentId, piece: u32) -> Result<bool, HostError> {
        self.of_torrent(torrent, |torrent| Some(torrent.have.contains(&piece)))
    }

    fn block_senders(&self, torrent: TorrentId, piece: u32) -> Result<Vec<BlockSender>, HostError> {
        self.of_torrent(torrent, |torrent| {
            let blocks = torrent.blocks.range((piece, 0)..=(piece, u32::MAX));
            Some(blocks.map(|((_, block), (sender, _))| BlockSender { block: *block, sender: *sender }).collect())
        })
    }

    fn read_block(&self, torrent: TorrentId, piece: u32, block: u32) -> Result<Buffer, HostError> {
        self.of_torrent(torrent, |torrent| torrent.blocks.get(&(piece, block)).map(|(_, data)| data.clone()))
    }

    fn watch_piece(&self, torrent: TorrentId, piece: u32) -> Result<(), HostError> {
        self.record(Action::WatchPiece { torrent, piece })
    }

    fn give_metadata(&self, torrent: TorrentId, info: &[u8]) -> Result<(), HostError> {
        self.record(Action::GiveMetadata { torrent, info: info.to_vec() })
    }

    fn add_peer(&self, torrent: TorrentId, addr: SocketAddr, source: u32, pex_flags: u8) -> Result<(), HostError> {
        self.record(Action::AddPeer { torrent, addr, source, pex_flags })
    }

    fn ban(&self, torrent: TorrentId, sender: &Sender, reason: &str) -> Result<(), HostError> {
        self.record(Action::Ban { torrent, sender: *sender, reason: reason.to_owned() })
    }

    fn peer_info(&self, torrent: TorrentId, peer: PeerKey) -> Result<PeerInfo, HostError> {
        self.of_peer(torrent, peer, |peer| peer.info)
    }

    fn peer_supports(&self, torrent: TorrentId, peer: PeerKey, name: &str) -> Result<bool, HostError> {
        self.of_peer(torrent, peer, |peer| peer.supports.contains(name))
    }

    fn send_extended(&self, torrent: TorrentId, peer: PeerKey, name: &str, payload: &[u8]) -> Result<(), HostError> {
        self.record(Action::SendExtended { torrent, peer, name: name.to_owned(), payload: payload.to_vec() })
    }

    fn disconnect(&self, torrent: TorrentId, peer: PeerKey, reason: &str) -> Result<(), HostError> {
        self.record(Action::Disconnect { torrent, peer, reason: reason.to_owned() })
    }

    fn send_message(&self, torrent: TorrentId, peer: PeerKey, id: u8, payload: &[u8]) -> Result<(), HostError> {
        self.record(Action::SendMessage { torrent, peer, id, payload: payload.to_vec() })
    }

    fn set_choking(&self, torrent: TorrentId, peer: PeerKey, choking: Choking) -> Result<(), HostError> {
        self.record(Action::SetChoking { torrent, peer, choking })
    }

    fn connect(&self, torrent: TorrentId, addr: SocketAddr) -> Result<(), HostError> {
        self.record(Action::Connect { torrent, addr })
    }

    fn add_torrent(&self, torrent: &NewTorrent) -> Result<(), HostError> {
        self.record(Action::AddTorrent(torrent.clone()))
    }

    fn remove_torrent(&self, torrent: TorrentId, files: Files) -> Result<(), HostError> {
        self.record(Action::RemoveTorrent { torrent, files })
    }

    fn pause_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        self.record(Action::PauseTorrent(torrent))
    }

    fn resume_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        self.record(Action::ResumeTorrent(torrent))
    }

    fn recheck_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        self.record(Action::RecheckTorrent(torrent))
    }

    fn announce_torrent(&self, torrent: TorrentId) -> Result<(), HostError> {
        self.record(Action::AnnounceTorrent(torrent))
    }

    fn set_file_priorities(&self, torrent: TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        self.record(Action::SetFilePriorities { torrent, priorities: priorities.to_vec() })
    }

    fn set_piece_priorities(&self, torrent: TorrentId, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        self.record(Action::SetPiecePriorities { torrent, priorities: priorities.to_vec() })
    }

    fn read(&self, torrent: TorrentId, request: PeerRequest, token: u64) -> Result<(), HostError> {
        self.record(Action::Read { torrent, request, token })
    }

    fn read_and_wait(&self, torrent: TorrentId, request: PeerRequest) -> Result<Buffer, HostError> {
        let (start, end) = (request.start as usize, request.start.saturating_add(request.length) as usize);
        self.of_torrent(torrent, |torrent| torrent.bytes.get(&request.piece)?.slice(start, end))
    }

    fn give_block(
        &self,
        torrent: TorrentId,
        from: Option<PeerKey>,
        block: PeerRequest,
        data: &Buffer,
    ) -> Result<(), HostError> {
        self.record(Action::GiveBlock { torrent, from, block, data: data.to_vec() })
    }

    fn query(&self, query: Query) -> Result<Answer, HostError> {
        if let Some((_, answer)) = self.state().answers.iter().find(|(other, _)| *other == query) {
            return Ok(answer.clone());
        }
        match query {
            Query::Torrents => Ok(Answer::Torrents(self.state().torrents.keys().copied().collect())),
            Query::Statistics => Ok(Answer::Statistics(self.statistics())),
            Query::Pieces(torrent) => self.of_torrent(torrent, |torrent| {
                let len = torrent.info.num_pieces;
                let mut bits = vec![0; len.div_ceil(8) as usize];
                for piece in torrent.have.range(..len) {
                    bits[(piece / 8) as usize] |= 0x80 >> (piece % 8);
                }
                Some(Answer::Pieces(Pieces::from_bits(bits, len)))
            }),
            _ => Err(HostError::NotFound),
        }
    }

    fn setting(&self, name: &str) -> Result<SettingValue, HostError> {
        self.state().settings.get(name).cloned().ok_or(HostError::NotFound)
    }

    fn set_settings(&self, settings: &[(String, SettingValue)]) -> Result<(), HostError> {
        {
            let known = &mut self.state().settings;
            for (name, value) in settings {
                let is_same_kind =
                    |known: &SettingValue| std::mem::discriminant(known) == std::mem::discriminant(value);
                if !is_same_kind(known.get(name).ok_or(HostError::NotFound)?) {
                    return Err(HostError::BadArgument);
                }
            }
            known.extend(settings.iter().cloned());
        }
        self.record(Action::SetSettings(settings.to_vec()))
    }

    fn set_timer(&self, token: u64, after: u64) -> Result<(), HostError> {
        let mut state = self.state();
        let at = state.now.saturating_add(after.max(1000));
        state.timers.insert(token, at);
        state.actions.push(Action::SetTimer { token, after });
        Ok(())
    }

    fn cancel_timer(&self, token: u64) -> Result<(), HostError> {
        self.state().timers.remove(&token);
        self.record(Action::CancelTimer { token })
    }

    fn register_statistic(&self, statistic: &NewStatistic<'_>) -> Result<u32, HostError> {
        let mut state = self.state();
        if let Some(at) = state.statistics.iter().position(|other| other.name == statistic.name) {
            return Ok(at as u32);
        }
        state.statistics.push(Statistic {
            name: statistic.name.to_owned(),
            kind: statistic.kind,
            doc: statistic.doc.to_owned(),
            value: 0,
        });
        Ok(state.statistics.len() as u32 - 1)
    }

    fn add_to_statistic(&self, number: u32, difference: i64) -> Result<(), HostError> {
        let mut state = self.state();
        let statistic = state.statistics.get_mut(number as usize).ok_or(HostError::NotFound)?;
        if statistic.kind == StatisticKind::Counter && difference < 0 {
            return Err(HostError::BadArgument);
        }
        statistic.value = statistic.value.saturating_add(difference);
        Ok(())
    }

    fn set_statistic(&self, number: u32, value: i64) -> Result<(), HostError> {
        let mut state = self.state();
        let statistic = state.statistics.get_mut(number as usize).ok_or(HostError::NotFound)?;
        if statistic.kind == StatisticKind::Counter {
            return Err(HostError::BadArgument);
        }
        statistic.value = value;
        Ok(())
    }

    fn data_dir(&self) -> Result<String, HostError> {
        self.state().data_dir.clone().ok_or(HostError::Unsupported)
    }
}
