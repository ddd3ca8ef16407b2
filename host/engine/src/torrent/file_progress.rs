//! How many pieces each file still lacks, so that a piece that passed says which files it completes without a look at
//! all their other pieces.

use reef_proto::bitfield::Bitfield;
use reef_proto::layout::Layout;

/// Pieces that files lack.
#[derive(Debug)]
pub(crate) struct FileProgress {
    lacking: Vec<u32>,
}

impl FileProgress {
    /// Counted once, over every piece.
    pub(crate) fn new(layout: &Layout, have: &Bitfield) -> Self {
        let lacking = |file| layout.pieces_of_file(file).filter(|&piece| !have.get(piece)).count() as u32;
        Self { lacking: (0..layout.files().len()).map(lacking).collect() }
    }

    /// A piece that was lacking is here. The files that are complete with it, pad files apart.
    pub(crate) fn piece_passed(&mut self, layout: &Layout, piece: u32) -> Vec<u32> {
        let mut complete = Vec::new();
        for file in layout.files_of_piece(piece) {
            let Some(lacking) = self.lacking.get_mut(file) else { continue };
            *lacking = lacking.saturating_sub(1);
            if *lacking == 0 && layout.file(file).is_some_and(|f| !f.pad) {
                complete.push(file as u32);
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_proto::create::{Content, NewFile, NewTorrent};

    /// Files of 3, 0, 40 and 1 KiB in pieces of 16 KiB.
    fn layout() -> Layout {
        let file =
            |name: &str, kib: u64| NewFile { path: vec![name.to_owned()], length: kib << 10, ..NewFile::default() };
        let files = vec![file("a", 3), file("b", 0), file("c", 40), file("d", 1)];
        let new = NewTorrent {
            name: "t".into(),
            content: Content::Folder(files),
            piece_length: Some(16384),
            ..NewTorrent::default()
        };
        new.plan().expect("a torrent").layout().clone()
    }

    #[test]
    fn a_file_is_complete_with_the_last_of_its_pieces() {
        let layout = layout();
        let mut have = Bitfield::new(layout.num_pieces());
        have.set(1);
        let mut progress = FileProgress::new(&layout, &have);
        assert_eq!(progress.piece_passed(&layout, 2), [3], "the last file lies in the last piece alone");
        assert_eq!(progress.piece_passed(&layout, 0), [0, 2]);
    }
}
