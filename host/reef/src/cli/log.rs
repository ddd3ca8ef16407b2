//! `-v`, `-q` and `RUST_LOG`: details for who wants them, on standard error.
//!
//! A line may quote a stranger, so it is made safe to show; and it must not tear a progress bar, so the bars make room
//! for it.

use std::io::Write as _;

use env_logger::{Builder, Env, Target};
use log::{Level, Log, Metadata, Record};

use super::args::Global;
use super::progress;
use super::text::clean;

/// Starts to log: errors and warnings, with `-v` information, with `-vv` everything of reef. `RUST_LOG` wins.
pub(crate) fn start(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "reef=info,reef_engine=info,reef_plugin_host=info,plugin=info,warn",
        (false, 2) => "reef=debug,reef_engine=debug,reef_plugin_host=debug,plugin=debug,info",
        (false, _) => "trace",
    };
    let logger = Builder::from_env(Env::default().default_filter_or(level))
        .target(Target::Stderr)
        .format(|out, record| {
            let message = record.args().to_string();
            let message = clean(&message);
            match record.level() {
                Level::Error => writeln!(out, "reef: {message}"),
                Level::Warn => writeln!(out, "reef: warning: {message}"),
                level => writeln!(out, "{}: {}: {message}", level.as_str().to_lowercase(), clean(record.target())),
            }
        })
        .build();
    log::set_max_level(logger.filter());
    // Set once, at the start of the program; a second logger could only come from a mistake in this program.
    let _ = log::set_boxed_logger(Box::new(BesideBars(logger)));
}

struct BesideBars(env_logger::Logger);

impl Log for BesideBars {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.0.matches(record) {
            progress::beside_bars(|| self.0.log(record));
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
