//! The keys by which the parts of a session name each other. None is ever reused within a session.

use std::fmt;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

ids! {
    /// One torrent of a session. Kept in the store, so it stays the same over restarts.
    TorrentId(u64);
    /// One connection to a peer, from the dial or the accept to the close.
    ConnId(u64);
    /// One listening socket.
    ListenerId(u32);
    /// One request that the session made of the shell (an HTTP request or a name to resolve).
    RequestId(u64);
    /// Whoever gave a command and waits for its reply.
    ReplyToken(u64);
}
