//! BitTorrent formats and messages: bytes to values and back, with no I/O.
