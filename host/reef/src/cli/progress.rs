//! How a transfer shows itself: bars on a terminal, a plain line now and then otherwise.
//!
//! All of it goes to standard error, so that standard output carries results alone.

use std::io::IsTerminal as _;
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::out;
use super::text::{self, clean};

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
    /// Nothing that moves.
    Plain,
}

impl Style {
    /// What suits standard error.
    pub(crate) fn detect() -> Self {
        if std::io::stderr().is_terminal() { Self::Bars } else { Self::Plain }
    }
}

/// Says something that the user should know, beside the bars.
pub(crate) fn warn(message: &str) {
    beside_bars(|| out::error_line(&clean(message)));
}

fn bar_style() -> ProgressStyle {
    // The template is a constant and known to be right; a plain bar is shown if a later indicatif thinks otherwise.
    ProgressStyle::with_template("{prefix} [{wide_bar}] {msg}")
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
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
