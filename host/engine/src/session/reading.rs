//! Reading back what is on disk: pieces that were judged, for hooks that look at their blocks; and what plugins ask for.

use super::Session;
use crate::control::{ReadDone, Ticket};
use crate::disk::{DiskError, DiskJob, DiskOp, Verdict};
use crate::hooks::{Hooks, Sender};
use crate::ids::TorrentId;
use crate::output::Output;
use crate::torrent::reading::{Reader, Reading};
use crate::torrent::{Content, Judged};
use bytes::Bytes;
use reef_proto::message::BlockRequest;

impl Session {
    /// Has a judged piece read back, for hooks that want to see its blocks.
    pub(super) fn read_judged(&mut self, id: TorrentId, piece: u32, verdict: Verdict, senders: Vec<(u32, Sender)>) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        content.reading.begin(piece, 0, Reader::Judge(verdict, senders));
        let length = content.layout.piece_size(piece);
        self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Read { piece, begin: 0, length } }));
    }

    pub(super) fn read_for_plugin(
        &mut self,
        id: TorrentId,
        request: BlockRequest,
        ticket: Ticket,
        hooks: &mut dyn Hooks,
    ) {
        self.wake(id);
        if let Some(waking) = self.torrents.get_mut(&id).and_then(|t| t.waking.as_mut()) {
            return waking.reads.push((request, ticket));
        }
        let torrent = self.torrents.get_mut(&id).filter(|t| t.removing.is_none() && !t.reopening);
        let found = match torrent {
            None => Err("there is no such torrent, or its files are being closed"),
            Some(torrent) => match torrent.content.as_mut().filter(|c| c.open) {
                None => Err("its files are not open yet"),
                Some(content) if is_there(content, request) => Ok(content),
                Some(_) => Err("the bytes are not of a piece that is verified"),
            },
        };
        match found {
            Ok(content) => {
                let BlockRequest { piece, begin, length } = request;
                content.reading.begin(piece, begin, Reader::Plugin(request, ticket));
                self.emit(Output::Disk(DiskJob { torrent: id, op: DiskOp::Read { piece, begin, length } }));
            }
            Err(why) => self.tell_read(id, ReadDone { ticket, request, result: Err(why.to_owned()) }, hooks),
        }
    }

    /// The storage has read something.
    pub(super) fn piece_read(
        &mut self,
        id: TorrentId,
        (piece, begin): (u32, u32),
        outcome: Result<Bytes, DiskError>,
        hooks: &mut dyn Hooks,
    ) {
        let Some(content) = self.torrents.get_mut(&id).and_then(|t| t.content.as_mut()) else { return };
        match content.reading.end(piece, begin) {
            Some(Reader::Judge(verdict, senders)) => {
                let data = outcome.map(|d| vec![d]).unwrap_or_default();
                self.piece_judged(id, verdict, Judged { piece, senders, data }, hooks);
            }
            Some(Reader::Plugin(request, ticket)) => {
                let result = outcome.map_err(|error| error.to_string());
                self.tell_read(id, ReadDone { ticket, request, result }, hooks);
            }
            None => {}
        }
        self.may_sleep_later(id);
    }

    /// A torrent's storage is closed: what was being read of it will not come.
    pub(super) fn give_up_reading(&mut self, id: TorrentId, reading: Reading, hooks: &mut dyn Hooks) {
        for (request, ticket) in reading.into_asked() {
            let result = Err("the torrent's files were closed before it was read".to_owned());
            self.tell_read(id, ReadDone { ticket, request, result }, hooks);
        }
    }
}

fn is_there(content: &Content, request: BlockRequest) -> bool {
    let BlockRequest { piece, begin, length } = request;
    let end = begin.checked_add(length);
    length > 0 && content.picker.has(piece) && end.is_some_and(|end| end <= content.layout.piece_size(piece))
}
