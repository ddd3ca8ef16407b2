//! Finds and bans the peer that sent a bad block.
