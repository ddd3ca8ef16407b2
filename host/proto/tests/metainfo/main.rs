//! The formats of torrent files, magnet links and what they are made of, against the shared cases and at random.
#![allow(clippy::disallowed_methods, reason = "test data is read from files beside the project")]

mod bencode;
mod cases;
mod magnet;
mod rules;
mod torrents;
