//! Small values of the actions: how to choke, what becomes of files, what kind of number is counted.

/// Whether a peer may download from us: for [`Peer::choke`](crate::Peer::choke) and its kin.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Choking {
    /// As the session's choke rounds decide.
    #[default]
    Usual,
    /// Not, whatever they decide.
    Choked,
    /// Yes, whatever they decide; it takes no slot of theirs.
    Unchoked,
}

impl Choking {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Usual => 0,
            Self::Choked => 1,
            Self::Unchoked => 2,
        }
    }

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Usual,
            1 => Self::Choked,
            2 => Self::Unchoked,
            _ => return None,
        })
    }
}

/// What becomes of the files of a torrent that is removed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Files {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted.
    Delete,
}

impl Files {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Keep => 0,
            Self::Delete => 1,
        }
    }

    /// What this side does not know keeps the files.
    pub(crate) fn from_number(number: u32) -> Self {
        if number == 1 { Self::Delete } else { Self::Keep }
    }
}

/// Whether a statistic only grows.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum StatisticKind {
    /// It only grows.
    #[default]
    Counter,
    /// It goes up and down.
    Gauge,
}

impl StatisticKind {
    pub(crate) fn number(self) -> u32 {
        match self {
            Self::Counter => 0,
            Self::Gauge => 1,
        }
    }

    pub(crate) fn from_number(number: u32) -> Self {
        if number == 0 { Self::Counter } else { Self::Gauge }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_mean_the_same_on_both_sides() {
        for choking in [Choking::Usual, Choking::Choked, Choking::Unchoked] {
            assert_eq!(Choking::from_number(choking.number()), Some(choking));
        }
        assert_eq!(Choking::from_number(3), None);
        for files in [Files::Keep, Files::Delete] {
            assert_eq!(Files::from_number(files.number()), files);
        }
        assert_eq!(Files::from_number(7), Files::Keep);
        for kind in [StatisticKind::Counter, StatisticKind::Gauge] {
            assert_eq!(StatisticKind::from_number(kind.number()), kind);
        }
    }
}
