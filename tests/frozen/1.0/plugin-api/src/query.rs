//! Questions about everything that is known of a thing, and their answers as they cross.

use crate::bencode::{Value, decode_own, int, list};
use crate::endpoint::TorrentId;
use crate::status::{FileStatus, PeerStatus, Pieces, SessionStatus, Statistic, TorrentStatus, TrackerStatus};

macro_rules! queries {
    ($($(#[$doc:meta])* $name:ident $(($torrent:ident))? = $number:literal -> $answer:ty, |$out:ident| $encode:expr, |$value:ident| $decode:expr;)*) => {
        /// A question about the session.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Query { $($(#[$doc])* $name $(($torrent))?,)* }

        /// The answer to a [`Query`], by its name.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Answer { $($(#[$doc])* $name($answer),)* }

        impl Query {
            /// The number of the question, and its torrent, as they cross. Numbers never change their meaning.
            pub fn number(self) -> (u32, TorrentId) {
                match self { $(queries!(@pattern $name torrent $($torrent)?) => ($number, queries!(@torrent torrent $($torrent)?)),)* }
            }

            /// The question of a number; `None` if this side does not know it.
            pub fn from_number(number: u32, torrent: TorrentId) -> Option<Self> {
                // Of some questions there is none.
                let _ = torrent;
                Some(match number { $($number => queries!(@make $name torrent $($torrent)?),)* _ => return None })
            }

            pub(crate) fn read(self, bytes: &[u8]) -> Option<Answer> {
                let decoded = decode_own(bytes).ok()?;
                Some(match self {
                    $(queries!(@pattern $name _torrent $($torrent)?) => { let $value = &decoded; Answer::$name($decode) })*
                })
            }
        }

        impl Answer {
            /// As it crosses.
            pub fn to_bytes(&self) -> Vec<u8> {
                match self { $(Self::$name($out) => $encode,)* }
            }

            /// From what crossed, as the answer to this question.
            pub fn from_bytes(query: Query, bytes: &[u8]) -> Option<Self> {
                query.read(bytes)
            }
        }
    };
    (@pattern $name:ident $binding:ident TorrentId) => { Self::$name($binding) };
    (@pattern $name:ident $binding:ident) => { Self::$name };
    (@torrent $binding:ident TorrentId) => { $binding };
    (@torrent $binding:ident) => { TorrentId(0) };
    (@make $name:ident $binding:ident TorrentId) => { Self::$name($binding) };
    (@make $name:ident $binding:ident) => { Self::$name };
}

queries! {
    /// The session as a whole.
    Session = 1 -> SessionStatus, |status| status.encode(), |value| SessionStatus::decode(value);
    /// Every torrent.
    Torrents = 2 -> Vec<TorrentId>, |ids| list(ids.iter().map(|id| int(id.0 as i64))),
        |value| value.as_list()?.iter().filter_map(Value::as_int).map(|id| TorrentId(id as u64)).collect();
    /// Everything that is known of a torrent.
    Torrent(TorrentId) = 3 -> Box<TorrentStatus>, |status| status.encode(), |value| Box::new(TorrentStatus::decode(value));
    /// A torrent's connections.
    Peers(TorrentId) = 4 -> Vec<PeerStatus>, |all| list(all.iter().map(PeerStatus::encode)),
        |value| value.as_list()?.iter().map(PeerStatus::decode).collect();
    /// A torrent's files; none while the metadata is unknown.
    Files(TorrentId) = 5 -> Vec<FileStatus>, |all| list(all.iter().map(FileStatus::encode)),
        |value| value.as_list()?.iter().map(FileStatus::decode).collect();
    /// A torrent's trackers.
    Trackers(TorrentId) = 6 -> Vec<TrackerStatus>, |all| list(all.iter().map(TrackerStatus::encode)),
        |value| value.as_list()?.iter().map(TrackerStatus::decode).collect();
    /// A torrent's verified pieces; none while the metadata is unknown.
    Pieces(TorrentId) = 7 -> Pieces, |pieces| pieces.encode(), |value| Pieces::decode(value)?;
    /// Every counter and gauge, those of plugins included.
    Statistics = 8 -> Vec<Statistic>, |all| list(all.iter().map(Statistic::encode)),
        |value| value.as_list()?.iter().map(Statistic::decode).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_answers_arrive() {
        let torrent = TorrentId(7);
        for (query, number) in [
            (Query::Session, 1),
            (Query::Torrents, 2),
            (Query::Torrent(torrent), 3),
            (Query::Peers(torrent), 4),
            (Query::Files(torrent), 5),
            (Query::Trackers(torrent), 6),
            (Query::Pieces(torrent), 7),
            (Query::Statistics, 8),
        ] {
            assert_eq!(query.number().0, number);
            assert_eq!(Query::from_number(number, torrent), Some(query));
        }
        assert_eq!(Query::from_number(9, torrent), None);
        let answer = Answer::Torrents(vec![TorrentId(3), TorrentId(u64::MAX)]);
        assert_eq!(Answer::from_bytes(Query::Torrents, &answer.to_bytes()), Some(answer));
        assert_eq!(Answer::from_bytes(Query::Torrents, b"de"), None);
    }

    #[test]
    fn a_torrent_may_have_more_files_than_a_stranger_may_send_values() {
        let file = FileStatus { path: "a".to_owned(), size: 1, ..FileStatus::default() };
        let answer = Answer::Files(vec![file; 60_000]);
        assert_eq!(Answer::from_bytes(Query::Files(TorrentId(1)), &answer.to_bytes()), Some(answer));
    }
}
