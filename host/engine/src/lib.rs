//! The BitTorrent session as one pure state machine.
