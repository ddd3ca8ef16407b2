//! Fetches and serves torrent metadata (BEP 9).
