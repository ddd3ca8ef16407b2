//! Who sent what for which block of pieces that failed.
//!
//! Every suspect of a block is remembered: the first one may well be honest. Memory is bounded: of too many suspects the oldest
//! are forgotten.

use reef_plugin_api::Sender;
use std::collections::BTreeMap;

/// SHA-1 of a block.
pub(crate) type Digest = [u8; 20];

/// The suspects of one torrent.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    /// By piece, block and age.
    suspects: BTreeMap<(u32, u32, u64), Suspect>,
    /// Where each is, oldest first. Has the same entries as `suspects`.
    ages: BTreeMap<u64, (u32, u32)>,
    next_age: u64,
}

#[derive(Debug)]
struct Suspect {
    sender: Sender,
    digest: Digest,
}

/// What a bad piece's block says of its sender.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Finding {
    /// Nothing yet: it is remembered.
    Suspect,
    /// It has sent something else for this block before: one of the two is wrong.
    Guilty,
}

impl Suspects {
    /// This sender sent this block of a piece that failed.
    pub(crate) fn add(&mut self, piece: u32, block: u32, sender: Sender, digest: Digest) -> Finding {
        let mut known = self.suspects.range((piece, block, 0)..=(piece, block, u64::MAX));
        if let Some((_, suspect)) = known.find(|(_, suspect)| suspect.sender == sender) {
            return if suspect.digest == digest { Finding::Suspect } else { Finding::Guilty };
        }
        if self.ages.len() >= MAX_SUSPECTS
            && let Some((age, (piece, block))) = self.ages.pop_first()
        {
            self.suspects.remove(&(piece, block, age));
        }
        self.suspects.insert((piece, block, self.next_age), Suspect { sender, digest });
        self.ages.insert(self.next_age, (piece, block));
        self.next_age += 1;
        Finding::Suspect
    }

    /// The blocks of this piece that have suspects.
    pub(crate) fn blocks(&self, piece: u32) -> Vec<u32> {
        let mut blocks: Vec<u32> = self.of_piece(piece).map(|(_, block, _)| block).collect();
        blocks.dedup();
        blocks
    }

    /// Who sent something else for this block than the good one.
    pub(crate) fn guilty(&self, piece: u32, block: u32, good: Digest) -> impl Iterator<Item = Sender> {
        let suspects = self.suspects.range((piece, block, 0)..=(piece, block, u64::MAX));
        suspects.filter(move |(_, suspect)| suspect.digest != good).map(|(_, suspect)| suspect.sender)
    }

    /// This piece is settled.
    pub(crate) fn forget_piece(&mut self, piece: u32) {
        let keys: Vec<_> = self.of_piece(piece).collect();
        for key in keys {
            self.suspects.remove(&key);
            self.ages.remove(&key.2);
        }
    }

    /// Nobody suspects anybody any more.
    pub(crate) fn clear(&mut self) {
        self.suspects.clear();
        self.ages.clear();
    }

    fn of_piece(&self, piece: u32) -> impl Iterator<Item = (u32, u32, u64)> {
        self.suspects.range((piece, 0, 0)..=(piece, u32::MAX, u64::MAX)).map(|(key, _)| *key)
    }
}

/// Suspects of a torrent at most: four failed pieces of 64 MiB, or some hundred of usual length; about 3 MiB.
const MAX_SUSPECTS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const BAD: Digest = [1; 20];
    const GOOD: Digest = [2; 20];

    fn sender(number: u16) -> Sender {
        Sender::from(SocketAddr::from(([1, 2, 3, 4], number)))
    }

    fn guilty(suspects: &Suspects, piece: u32, block: u32) -> Vec<Sender> {
        suspects.guilty(piece, block, GOOD).collect()
    }

    #[test]
    fn every_suspect_of_a_block_is_judged() {
        let mut suspects = Suspects::default();
        for (number, digest) in [(1, GOOD), (2, BAD), (3, [3; 20]), (2, BAD)] {
            assert_eq!(suspects.add(5, 7, sender(number), digest), Finding::Suspect);
        }
        suspects.add(5, 9, sender(1), GOOD);
        suspects.add(6, 7, sender(1), BAD);
        assert_eq!(suspects.blocks(5), [7, 9]);
        assert_eq!(guilty(&suspects, 5, 7), [sender(2), sender(3)]);
        assert_eq!(guilty(&suspects, 5, 9), []);
        suspects.forget_piece(5);
        assert_eq!((suspects.blocks(5), suspects.blocks(6)), (vec![], vec![7]));
        assert_eq!((suspects.suspects.len(), suspects.ages.len()), (1, 1));
    }

    #[test]
    fn who_sends_two_versions_of_a_block_is_guilty() {
        let mut suspects = Suspects::default();
        let mut same_address = sender(1);
        same_address.peer_id = [9; 20];
        let table = [
            (sender(1), BAD, Finding::Suspect),
            (sender(2), GOOD, Finding::Suspect),
            (sender(1), GOOD, Finding::Guilty),
            (sender(2), GOOD, Finding::Suspect),
            (same_address, GOOD, Finding::Suspect),
        ];
        for (sender, digest, finding) in table {
            assert_eq!(suspects.add(0, 0, sender, digest), finding, "{sender:?}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut suspects = Suspects::default();
        for block in 0..=MAX_SUSPECTS as u32 {
            suspects.add(block % 3, block, sender(1), BAD);
        }
        assert_eq!((suspects.suspects.len(), suspects.ages.len()), (MAX_SUSPECTS, MAX_SUSPECTS));
        assert_eq!((suspects.blocks(0).first(), suspects.blocks(1).first()), (Some(&3), Some(&1)));
        suspects.clear();
        assert!(suspects.suspects.is_empty() && suspects.ages.is_empty());
    }
}
