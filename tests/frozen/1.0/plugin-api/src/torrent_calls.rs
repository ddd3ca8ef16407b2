//! What a [`Torrent`] and a [`Peer`] offer beyond what most hooks need: everything that is known of them, and every action.

use crate::buffer::Buffer;
use crate::context::{Peer, Torrent, host_call, host_value};
use crate::control::{Choking, Files};
use crate::endpoint::{PeerKey, PeerRequest};
use crate::result::HostError;
use crate::session_view::asked;
use crate::status::{FileStatus, PeerStatus, Pieces, TorrentStatus, TrackerStatus};
use crate::table::RawPriority;
use std::net::SocketAddr;

/// Everything that is known. Through a [`Host`](crate::Host) these wait, as [`Session`](crate::Session) says.
impl Torrent<'_> {
    /// Everything that is known of it; [`info`](Self::info) costs less.
    pub fn status(&self) -> Result<TorrentStatus, HostError> {
        asked!(self.handle(), Torrent(self.id())).map(|status| *status)
    }

    /// Everything that is known of its connections.
    pub fn peer_statuses(&self) -> Result<Vec<PeerStatus>, HostError> {
        asked!(self.handle(), Peers(self.id()))
    }

    /// Its files; none while the metadata is unknown, or was left to the session's store because nobody wants the torrent.
    pub fn files(&self) -> Result<Vec<FileStatus>, HostError> {
        asked!(self.handle(), Files(self.id()))
    }

    /// Its trackers.
    pub fn trackers(&self) -> Result<Vec<TrackerStatus>, HostError> {
        asked!(self.handle(), Trackers(self.id()))
    }

    /// Its verified pieces; none while the metadata is unknown.
    pub fn pieces(&self) -> Result<Pieces, HostError> {
        asked!(self.handle(), Pieces(self.id()))
    }
}

/// Actions. They are carried out after the hook, in order; one that fails then is told by the alert `plugin_action_failed`.
impl Torrent<'_> {
    /// Action: remove it from the session.
    pub fn remove(&self, files: Files) -> Result<(), HostError> {
        host_call!(self.handle(), remove_torrent(self.id(), files.number()))
    }

    /// Action: stop its transfers. Plugins are asked by `on_pause`.
    pub fn pause(&self) -> Result<(), HostError> {
        host_call!(self.handle(), pause_torrent(self.id()))
    }

    /// Action: start its transfers, also after an error. Plugins are asked by `on_resume`.
    pub fn resume(&self) -> Result<(), HostError> {
        host_call!(self.handle(), resume_torrent(self.id()))
    }

    /// Action: hash its files again. Its connections are closed.
    pub fn recheck(&self) -> Result<(), HostError> {
        host_call!(self.handle(), recheck_torrent(self.id()))
    }

    /// Action: announce to its trackers now.
    pub fn announce(&self) -> Result<(), HostError> {
        host_call!(self.handle(), announce_torrent(self.id()))
    }

    /// Action: how much files are wanted, by index: 0 not at all, 1 to 7. Undoes what was said of pieces.
    pub fn set_file_priorities(&self, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        host_call!(self.handle(), set_file_priorities(self.id(), raw(priorities).as_slice().into()))
    }

    /// Action: how much pieces are wanted, by index: 0 not at all, 1 to 7. Holds until files' priorities are set.
    pub fn set_piece_priorities(&self, priorities: &[(u32, u8)]) -> Result<(), HostError> {
        host_call!(self.handle(), set_piece_priorities(self.id(), raw(priorities).as_slice().into()))
    }

    /// Action: connect to an address now if the limits allow, otherwise when they do. It is then a peer like others.
    pub fn connect(&self, addr: SocketAddr) -> Result<(), HostError> {
        host_call!(self.handle(), connect(self.id(), addr.into()))
    }

    /// Action: read any bytes of one verified piece. They come to the hook `on_read_done` of this plugin's object for this torrent, with
    /// the token. At most 256 reads and 64 MiB are under way at a time, or one that is larger.
    pub fn read(&self, request: PeerRequest, token: u64) -> Result<(), HostError> {
        host_call!(self.handle(), read(self.id(), request, token))
    }

    /// The same from a thread of the plugin's own, which waits for the bytes: for half a minute at most. In hooks it is
    /// [`HostError::InHook`]. What cannot be read is [`HostError::NotFound`], the log says why.
    pub fn read_and_wait(&self, request: PeerRequest) -> Result<Buffer, HostError> {
        host_value!(Buffer::empty(), self.handle(), read_and_wait(self.id(), request))
    }

    /// Action: take a whole block as if a peer had sent it. It is taken if it is missing and wanted; its piece is then checked as
    /// usual, and nobody is blamed for this block.
    pub fn give_block(&self, block: PeerRequest, data: &Buffer) -> Result<(), HostError> {
        host_call!(self.handle(), give_block(self.id(), PeerKey(0), block, data))
    }
}

fn raw(priorities: &[(u32, u8)]) -> Vec<RawPriority> {
    priorities.iter().map(|(index, priority)| RawPriority { index: *index, priority: u32::from(*priority) }).collect()
}

impl Peer<'_> {
    /// Everything that is known of it; [`info`](Self::info) costs less. It looks at all peers of the torrent.
    pub fn status(&self) -> Result<PeerStatus, HostError> {
        let peers = self.torrent().peer_statuses()?;
        peers.into_iter().find(|peer| peer.key == self.key()).ok_or(HostError::NotFound)
    }

    /// Action: send a message by its standard number and what follows that number, once messages flow.
    ///
    /// What the session keeps book of changes with it: `choke` and `unchoke` are [`choke`](Self::choke) and [`unchoke`](Self::unchoke);
    /// `interested` and `not interested` hold until the session's own interest changes; a `request` must name a missing block, and its answer is
    /// taken; `cancel` and `reject` take the request off the list; `allowed fast` makes such requests be answered; after `bitfield`, `have all`
    /// or `have none` the session does not tell its pieces itself. Every other number is sent as it is.
    pub fn send_message(&self, id: u8, payload: &[u8]) -> Result<(), HostError> {
        host_call!(self.torrent().handle(), send_message(self.torrent().id(), self.key(), id, payload.into()))
    }

    /// Action: give it nothing, whatever the choke rounds decide, for as long as this plugin takes part.
    pub fn choke(&self) -> Result<(), HostError> {
        self.set_choking(Choking::Choked)
    }

    /// Action: let it download, whatever the choke rounds decide, for as long as this plugin takes part. It takes no slot.
    pub fn unchoke(&self) -> Result<(), HostError> {
        self.set_choking(Choking::Unchoked)
    }

    /// Action: say whether the choke rounds decide about it.
    pub fn set_choking(&self, choking: Choking) -> Result<(), HostError> {
        host_call!(self.torrent().handle(), set_choking(self.torrent().id(), self.key(), choking.number()))
    }

    /// Action: take a whole block as sent by this peer, such as one that `on_piece` took. If the peer was asked for it, that is
    /// its answer.
    pub fn give_block(&self, block: PeerRequest, data: &Buffer) -> Result<(), HostError> {
        host_call!(self.torrent().handle(), give_block(self.torrent().id(), self.key(), block, data))
    }
}
