//! How a transfer shows itself: bars on a terminal, a plain line now and then otherwise.
//!
//! All of it goes to standard error, so that standard output carries results alone.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use reef_engine::TorrentId;
use reef_engine::status::{TorrentState, TorrentStatus};

use super::out;
use super::text::{self, clean, shorten};

/// How long a plain line stands before the next one.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a transfer must last to be worth a line.
const FIRST_LINE: Duration = Duration::from_millis(900);

/// The widest that a torrent's name gets beside its bar, in characters.
const NAME_WIDTH: usize = 28;

static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Does `write`, which writes to standard error, while no bar is in the way.
pub(crate) fn beside_bars(write: impl FnOnce()) {
    BARS.suspend(write);
}

/// How much is shown, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Style {
    /// Bars that move.
    Bars,
    /// A line now and then.
    Lines,
    /// Nothing but warnings.
    Silent,
}

impl Style {
    /// What suits standard error.
    pub(crate) fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Lines }
    }
}

/// The state of every torrent, as it was last shown.
pub(crate) struct Progress {
    style: Style,
    rows: HashMap<TorrentId, Row>,
}

struct Row {
    bar: Option<ProgressBar>,
    /// When the next plain line is due, and how far things were at the last.
    next_line: Option<(Instant, u64)>,
}

impl Progress {
    /// Nothing shown yet.
    pub(crate) fn new(style: Style) -> Self {
        Self { style, rows: HashMap::new() }
    }

    /// Shows how far a torrent is, if it is time to.
    pub(crate) fn update(&mut self, status: &TorrentStatus) {
        let style = self.style;
        let row = self.rows.entry(status.id).or_insert_with(|| Row::new(style));
        match &row.bar {
            Some(bar) => show_bar(bar, status),
            None if style == Style::Lines => row.show_line(status, Instant::now()),
            None => {}
        }
    }

    /// Takes a torrent's bar away.
    pub(crate) fn remove(&mut self, torrent: TorrentId) {
        if let Some(Row { bar: Some(bar), .. }) = self.rows.remove(&torrent) {
            bar.finish_and_clear();
            BARS.remove(&bar);
        }
    }

    /// Takes all bars away.
    pub(crate) fn clear(&mut self) {
        let torrents: Vec<_> = self.rows.keys().copied().collect();
        torrents.into_iter().for_each(|torrent| self.remove(torrent));
    }

    /// Says something of interest, unless only warnings are wanted.
    pub(crate) fn note(&self, message: &str) {
        if self.style != Style::Silent {
            warn(message);
        }
    }
}

/// Says something that the user should know, beside the bars.
pub(crate) fn warn(message: &str) {
    beside_bars(|| out::error_line(&clean(message)));
}

impl Row {
    fn new(style: Style) -> Self {
        let bar = (style == Style::Bars).then(|| BARS.add(ProgressBar::new(0).with_style(bar_style())));
        Self { bar, next_line: None }
    }

    /// Prints a line after a second, then in intervals while something changes.
    fn show_line(&mut self, status: &TorrentStatus, now: Instant) {
        let mark = progress_of(status).0.wrapping_add(status.uploaded).wrapping_add(u64::from(status.num_peers));
        let Some((due, last)) = self.next_line else {
            self.next_line = Some((now + FIRST_LINE, u64::MAX));
            return;
        };
        if now >= due && last != mark {
            self.next_line = Some((now + LINE_INTERVAL, mark));
            out::error_line(&clean(&format!("{}: {}", shorten(&status.name, 60), describe(status))));
        }
    }
}

fn bar_style() -> ProgressStyle {
    // The template is a constant and known to be right; a plain bar is shown if a later indicatif thinks otherwise.
    ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}")
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show_bar(bar: &ProgressBar, status: &TorrentStatus) {
    let (done, total) = progress_of(status);
    bar.set_length(total.max(1));
    bar.set_position(if total == 0 { 0 } else { done });
    bar.set_prefix(shorten(&clean(&status.name), NAME_WIDTH));
    bar.set_message(describe(status));
}

/// How much is done of what is being done, in bytes or pieces.
fn progress_of(status: &TorrentStatus) -> (u64, u64) {
    match status.state {
        TorrentState::CheckingFiles => (status.checked_pieces.into(), status.num_pieces.into()),
        TorrentState::DownloadingMetadata => (0, 0),
        _ => (status.wanted_done, status.wanted),
    }
}

/// What a torrent does, in a few words: `42%, 1.2 MiB/s down, 10.0 KiB/s up, 3 peers, 2m left`.
pub(crate) fn describe(status: &TorrentStatus) -> String {
    let (done, total) = progress_of(status);
    let percent = text::percent(done, total);
    let peers = text::count(status.num_peers.into(), "peer");
    let speeds =
        || format!("{} down, {} up, {peers}", text::rate(status.download_rate), text::rate(status.upload_rate));
    match status.state {
        TorrentState::CheckingFiles => format!("checking what is there, {percent}%"),
        TorrentState::DownloadingMetadata => format!("fetching metadata, {peers}"),
        TorrentState::Downloading => {
            let left = text::time_left(status.wanted.saturating_sub(status.wanted_done), status.download_rate)
                .map_or_else(String::new, |left| format!(", {} left", text::duration(left)));
            format!("{percent}%, {}{left}", speeds())
        }
        _ => format!(
            "{percent}%, seeding, {} up, {} sent, {peers}",
            text::rate(status.upload_rate),
            text::size(status.uploaded)
        ),
    }
}

/// A bar for work that counts pieces; nothing is shown where no terminal is.
pub(crate) struct Counter {
    bar: ProgressBar,
}

impl Counter {
    /// A bar for `pieces` pieces.
    pub(crate) fn new(what: &'static str, pieces: u32) -> Self {
        if Style::detect() != Style::Bars {
            return Self::hidden();
        }
        let bar = BARS.add(ProgressBar::new(pieces.into()).with_style(bar_style()).with_prefix(what));
        Self { bar }
    }

    /// No bar.
    pub(crate) fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// One piece more is done.
    pub(crate) fn advance(&self) {
        self.bar.inc(1);
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        self.bar.set_message(format!("{}%", text::percent(done, total)));
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
