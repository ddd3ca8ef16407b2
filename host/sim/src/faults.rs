//! What goes wrong in a world, and how often.

/// Faults of one node. Chances are per thousand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// Of a block that it sends: that a byte of it is wrong.
    pub corrupt_blocks: u32,
    /// Of a block that it should send: that it never does, though it keeps the connection.
    pub withhold_blocks: u32,
    /// Of something that it sends: that the connection breaks instead.
    pub break_connections: u32,
    /// Of a dial to it: that nobody answers.
    pub refuse_dials: u32,
    /// Milliseconds that each job of its storage takes longer.
    pub slow_disk: u32,
}
