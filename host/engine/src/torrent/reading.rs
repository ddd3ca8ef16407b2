//! What is being read back of a torrent's files, and for whom.

use crate::control::Ticket;
use crate::disk::Verdict;
use crate::hooks::Sender;
use reef_proto::message::BlockRequest;
use std::collections::{BTreeMap, VecDeque};

/// What is being read of a torrent, by piece: the storage answers the jobs of one piece in order.
#[derive(Debug, Default)]
pub(crate) struct Reading(BTreeMap<u32, VecDeque<(u32, Reader)>>);

/// Who reads.
#[derive(Debug)]
pub(crate) enum Reader {
    /// A piece was judged, and hooks want to see its blocks.
    Judge(Verdict, Vec<(u32, Sender)>),
    /// A plugin asked.
    Plugin(BlockRequest, Ticket),
}

impl Reading {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A job was given to the storage.
    pub(crate) fn begin(&mut self, piece: u32, begin: u32, reader: Reader) {
        self.0.entry(piece).or_default().push_back((begin, reader));
    }

    /// Its answer came: whose is it?
    pub(crate) fn end(&mut self, piece: u32, begin: u32) -> Option<Reader> {
        let waiting = self.0.get_mut(&piece)?;
        let at = waiting.iter().position(|(b, _)| *b == begin)?;
        let (_, reader) = waiting.remove(at)?;
        if waiting.is_empty() {
            self.0.remove(&piece);
        }
        Some(reader)
    }

    /// What plugins still wait for.
    pub(crate) fn into_asked(self) -> impl Iterator<Item = (BlockRequest, Ticket)> {
        self.0.into_values().flatten().filter_map(|(_, reader)| match reader {
            Reader::Plugin(request, ticket) => Some((request, ticket)),
            Reader::Judge(..) => None,
        })
    }
}
