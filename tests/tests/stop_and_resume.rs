//! A download that is interrupted, or dies, goes on where it was.

use std::fs;
use std::time::{Duration, Instant};

use reef_tests::content::{Content, temporary};
use reef_tests::process::{Process, SOON, Signal};
use reef_tests::program::{Seed, Torrent, User, text};
use serde_json::Value;
use tempfile::TempDir;

/// Ctrl-C has to end the program in this time.
const STOP: Duration = Duration::from_secs(5);

/// A download that a limit makes long enough to be interrupted.
struct Download {
    user: User,
    content: Content,
    torrent: Torrent,
    seed: Seed,
    folder: TempDir,
}

impl Download {
    fn new(length: usize) -> Self {
        let (user, content) = (User::new(), Content::file(length));
        let torrent = user.create(&content, &[]);
        let seed = user.seed(&torrent, content.folder(), &[]);
        Self { user, content, torrent, seed, folder: temporary() }
    }

    /// Starts it, at most this fast, and waits for so many more pieces.
    fn start(&self, limit: &str, pieces: usize) -> Process {
        let peer = self.seed.address.to_string();
        let arguments = ["get", self.torrent.path(), "-o", text(self.folder.path()), "--json", "--peer", &peer];
        let mut process = self.user.start(&[&arguments[..], &["--download-limit", limit]].concat());
        let mut left = pieces;
        process.wait_for(SOON, |line| {
            left -= usize::from(is_event(line, "piece_finished"));
            (left == 0).then_some(())
        });
        process
    }

    /// Finishes it, and returns its events.
    fn finish(&self) -> Vec<String> {
        let peer = self.seed.address.to_string();
        let ended = self.user.get(self.torrent.path(), self.folder.path(), &["--peer", &peer]);
        self.content.assert_is_in(self.folder.path());
        ended.lines
    }
}

fn is_event(line: &str, event: &str) -> bool {
    line.starts_with(&format!(r#"{{"event":"{event}","#))
}

fn count(lines: &[String], event: &str) -> usize {
    lines.iter().filter(|line| is_event(line, event)).count()
}

/// The field of the first such event.
fn number(lines: &[String], event: &str, field: &str) -> u64 {
    let line = lines.iter().find(|line| is_event(line, event)).unwrap_or_else(|| panic!("no {event} in {lines:?}"));
    let value: Value = serde_json::from_str(line).expect("a line is JSON");
    value[field].as_u64().expect("the field is a number")
}

#[test]
fn an_interrupted_download_stops_soon_and_goes_on_without_fetching_or_hashing_again() {
    let download = Download::new(3 << 20);
    let process = download.start("1MiB", 20);
    let asked = Instant::now();
    process.signal(Signal::INT);
    let first = process.wait_for_status(SOON, 130).lines;
    assert!(asked.elapsed() < STOP, "it took {:?}", asked.elapsed());

    let second = download.finish();
    let (had, pieces) = (count(&first, "piece_finished"), 96);
    assert!(had < pieces, "it was complete before it was interrupted");
    // What was being hashed when the interrupt came is kept too, and nobody is told of it any more.
    let kept = usize::try_from(number(&second, "torrent_checked", "have")).expect("a number of pieces");
    assert!(kept >= had, "the first look did not find what was there: {kept} of {had}");
    assert_eq!(count(&second, "piece_finished"), pieces - kept, "pieces were fetched again");
}

#[test]
fn a_second_interrupt_stops_at_once() {
    let download = Download::new(3 << 20);
    let process = download.start("200KiB", 1);
    process.signal(Signal::INT);
    process.signal(Signal::INT);
    process.wait_for_status(SOON, 130);
    download.finish();
}

#[test]
fn a_download_that_is_killed_again_and_again_arrives_whole() {
    let download = Download::new(6 << 20);
    for pieces in [1, 3, 17, 40] {
        let process = download.start("4MiB", pieces);
        process.signal(Signal::KILL);
        assert_eq!(process.wait(SOON).code, None);
    }
    let last = download.finish();
    // What lay on the disk is hashed, not fetched again: of 192 pieces 61 were written at least.
    assert!(count(&last, "piece_finished") <= 192 - 30, "{} pieces were fetched", count(&last, "piece_finished"));
}

#[test]
fn what_was_damaged_while_nobody_looked_is_found_and_fetched_again() {
    let download = Download::new(1 << 20);
    download.finish();
    let file = download.folder.path().join(download.content.name());
    let mut bytes = fs::read(&file).expect("the file is there");
    bytes[500_000] ^= 1;
    fs::write(&file, bytes).expect("the file is writable");
    let second = download.finish();
    assert_eq!(count(&second, "piece_finished"), 1);
}

#[test]
fn a_complete_download_is_not_fetched_again() {
    let download = Download::new(1 << 20);
    download.finish();
    let second = download.finish();
    assert_eq!(count(&second, "piece_finished"), 0);
}

#[test]
fn a_second_process_on_the_same_download_is_told_of_the_first() {
    let download = Download::new(3 << 20);
    let first = download.start("200KiB", 1);
    let arguments = ["get", download.torrent.path(), "-o", text(download.folder.path())];
    let second = download.user.run(&arguments);
    assert_eq!(second.code, Some(1), "{}", second.text());
    assert!(second.text().contains(&first.id().to_string()), "{}", second.text());
}

#[test]
fn an_interrupted_seed_stops_soon() {
    let download = Download::new(1 << 20);
    let asked = Instant::now();
    download.seed.process.signal(Signal::INT);
    download.seed.process.wait_for_status(SOON, 130);
    assert!(asked.elapsed() < STOP, "it took {:?}", asked.elapsed());
}
