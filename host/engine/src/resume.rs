//! Resume data: what is known of a torrent from an earlier run.

/// Resume data.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Resume {}
