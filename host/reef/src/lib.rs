//! A BitTorrent engine that hosts plugins.
