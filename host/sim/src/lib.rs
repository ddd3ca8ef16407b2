//! Swarms of real sessions in virtual time.
//!
//! A [`World`] holds sessions of `reef-engine`, the network between them and the disk below each. It runs in one thread,
//! as fast as the machine can, and everything in it follows from one seed: the same seed gives the same run, to the last
//! byte of its [trace](World::trace). Nothing here opens a socket, reads a clock or writes a file.
//!
//! ```
//! use reef_sim::{World, content::Torrent};
//!
//! let torrent = Torrent::random(7, "a.bin", 300_000, 32 << 10);
//! let mut world = World::new(7);
//! let seed = world.add_node();
//! world.seed(seed, &torrent);
//! let leech = world.add_node();
//! world.leech(leech, &torrent, &[seed]);
//! world.run_until(60, |w| w.is_complete(leech)).unwrap();
//! assert!(world.disk(leech).holds(&torrent));
//! ```

#![forbid(unsafe_code)]

pub mod content;
pub mod disk;
pub mod faults;
mod network;
mod node;
mod script;
mod world;

pub use node::{NodeId, Tally};
pub use script::{Heard, Wire};
pub use world::{NotDone, World};
