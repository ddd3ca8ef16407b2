//! A connection's own numbers for the standard messages: what a closed network uses in place of BEP 3's.
//!
//! It renames numbers and nothing else: lengths and payloads stay those of the standard message.

use std::fmt;

/// A permutation of the 256 message numbers, for one connection and both directions.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageIds {
    to_wire: [u8; 256],
    from_wire: [u8; 256],
}

impl MessageIds {
    /// From a table of 256 bytes: at each standard number, the number on the wire. `None` if the table has another length or
    /// gives a number twice.
    pub fn from_table(table: &[u8]) -> Option<Self> {
        let to_wire: [u8; 256] = table.try_into().ok()?;
        let mut from_wire = [None; 256];
        for (standard, wire) in (0..=u8::MAX).zip(to_wire) {
            let slot = from_wire.get_mut(usize::from(wire))?;
            if slot.replace(standard).is_some() {
                return None;
            }
        }
        Some(Self { to_wire, from_wire: from_wire.map(Option::unwrap_or_default) })
    }

    /// The number on the wire of a standard number.
    pub fn to_wire(&self, standard: u8) -> u8 {
        self.to_wire.get(usize::from(standard)).copied().unwrap_or(standard)
    }

    /// The standard number of one on the wire.
    pub fn from_wire(&self, wire: u8) -> u8 {
        self.from_wire.get(usize::from(wire)).copied().unwrap_or(wire)
    }
}

impl fmt::Debug for MessageIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changed = (0..=u8::MAX).filter(|id| self.to_wire(*id) != *id).map(|id| (id, self.to_wire(id)));
        f.debug_map().entries(changed).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decoder::{Decoder, Item, Limits};
    use crate::message::Message;
    use bytes::Bytes;
    use std::sync::Arc;

    #[test]
    fn a_map_goes_both_ways_and_no_number_is_given_twice() {
        let mut table: Vec<u8> = (0..=255).collect();
        table.swap(4, 200);
        let ids = MessageIds::from_table(&table).unwrap();
        assert_eq!((ids.to_wire(4), ids.to_wire(200), ids.to_wire(5)), (200, 4, 5));
        assert!((0..=255).all(|id| ids.from_wire(ids.to_wire(id)) == id));
        assert_eq!(format!("{ids:?}"), "{4: 200, 200: 4}");
        table[9] = 10;
        assert_eq!(MessageIds::from_table(&table), None);
        assert_eq!(MessageIds::from_table(&table[..255]), None);
    }

    #[test]
    fn a_decoder_reads_a_stream_with_numbers_of_its_own() {
        let mut table: Vec<u8> = (0..=255).collect();
        table.swap(4, 200);
        let mut decoder = Decoder::after_handshake(Limits { pieces: None });
        decoder.set_message_ids(Arc::new(MessageIds::from_table(&table).unwrap()));
        // In one buffer, and cut in the middle.
        let have = [0, 0, 0, 5, 200, 0, 0, 0, 9];
        decoder.push(Bytes::copy_from_slice(&[&have[..], &have[..6]].concat()));
        assert_eq!(decoder.next_item(), Ok(Some(Item::Message(Message::Have(9)))));
        assert_eq!(decoder.next_item(), Ok(None));
        decoder.push(Bytes::copy_from_slice(&have[6..]));
        assert_eq!(decoder.next_item(), Ok(Some(Item::Message(Message::Have(9)))));
    }
}
