//! The `reef` command.

fn main() {}
