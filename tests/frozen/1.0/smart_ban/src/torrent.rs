//! One torrent: its failed pieces make suspects, its good ones judge them.

use crate::suspects::{Digest, Finding, Suspects};
use reef_plugin_api::{Flow, HookResult, Sender, TorrentCx, TorrentPlugin, TorrentState, hooks};
use sha1::{Digest as _, Sha1};
use std::collections::BTreeSet;

/// The plugin's part in one torrent.
#[derive(Default)]
pub(crate) struct BanTorrent {
    suspects: Suspects,
}

#[hooks]
impl TorrentPlugin for BanTorrent {
    fn on_piece_failed(&mut self, cx: &mut TorrentCx<'_>, piece: u32) -> HookResult {
        let mut guilty = BTreeSet::new();
        for sent in cx.block_senders(piece) {
            let Some(digest) = digest(cx, piece, sent.block) else { continue };
            if self.suspects.add(piece, sent.block, sent.sender, digest) == Finding::Guilty {
                guilty.insert(sent.sender);
            }
        }
        ban(cx, guilty, &format!("sent two versions of a block of piece {piece}"));
        // What cannot be watched is not judged when it passes, and nobody is banned for it.
        if !self.suspects.blocks(piece).is_empty()
            && let Err(error) = cx.watch_piece(piece)
        {
            log::debug!("piece {piece} failed and cannot be watched: {error}");
        }
        Ok(Flow::Pass)
    }

    fn on_piece_pass(&mut self, cx: &mut TorrentCx<'_>, piece: u32) -> HookResult {
        let mut guilty = BTreeSet::new();
        for block in self.suspects.blocks(piece) {
            if let Some(good) = digest(cx, piece, block) {
                guilty.extend(self.suspects.guilty(piece, block, good));
            }
        }
        ban(cx, guilty, &format!("sent a bad block of piece {piece}"));
        self.suspects.forget_piece(piece);
        Ok(Flow::Pass)
    }

    fn on_state(&mut self, _cx: &mut TorrentCx<'_>, state: TorrentState) -> HookResult {
        if state == TorrentState::SEEDING {
            self.suspects.clear();
        }
        Ok(Flow::Pass)
    }

    /// A v1 magnet may turn out to be a hybrid.
    fn on_metadata(&mut self, cx: &mut TorrentCx<'_>) -> HookResult {
        Ok(if cx.info()?.info_hash_v2.is_some() { Flow::Detach } else { Flow::Pass })
    }
}

fn digest(cx: &TorrentCx<'_>, piece: u32, block: u32) -> Option<Digest> {
    cx.read_block(piece, block).map(|data| Sha1::digest(&data[..]).into())
}

fn ban(cx: &TorrentCx<'_>, guilty: BTreeSet<Sender>, reason: &str) {
    for sender in guilty {
        match cx.ban(sender, reason) {
            Ok(()) => log::info!("{} is banned: {reason}", sender.addr),
            Err(error) => log::warn!("{} {reason}, but cannot be banned: {error}", sender.addr),
        }
    }
}
