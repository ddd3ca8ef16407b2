//! Watches the torrents of `reef get` and `reef seed`: shows how far they are, says what goes wrong in words, and decides
//! when each is over.
//!
//! A torrent is over when it has what was wanted and was seeded as long as was asked, when it failed, or when nobody is
//! left who could have what is missing.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reef_engine::status::{TorrentState, TorrentStatus};
use reef_engine::{Alert, TorrentId};
use serde_json::json;

use super::failure::Failure;
use super::progress::{self, Progress};
use super::text::{self, clean};
use super::{events, json, out};

/// How long a torrent may be without any peer before that is said.
const LONELY_AFTER: Duration = Duration::from_secs(15);

/// After how many times as long it is said again.
const LONELY_AGAIN: u32 = 4;

/// How long peers that were named may all be unreachable, when no tracker and nobody else can bring others.
pub(crate) const LAST_HOPE: Duration = Duration::from_secs(30);

/// When a torrent that has all that was wanted may stop.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Seeding {
    /// At once.
    No,
    /// When one of the two is reached.
    Until {
        /// Sent this many times the size of what was wanted.
        ratio: Option<f64>,
        /// Seeded for this long.
        time: Option<Duration>,
    },
    /// Only when interrupted.
    Forever,
}

impl Seeding {
    fn is_enough(self, status: &TorrentStatus, since: Duration) -> bool {
        match self {
            Self::No => true,
            Self::Forever => false,
            Self::Until { ratio, time } => {
                // Precise enough for a ratio.
                #[allow(clippy::cast_precision_loss)]
                let sent = status.uploaded as f64 / status.wanted.max(1) as f64;
                ratio.is_some_and(|ratio| sent >= ratio) || time.is_some_and(|time| since >= time)
            }
        }
    }
}

/// What the user wants of all torrents.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Wishes {
    /// When to stop after all is there.
    pub(crate) seeding: Seeding,
    /// How long a torrent may make no progress before it fails.
    pub(crate) timeout: Option<Duration>,
    /// Whether somebody may find us who was not named: with trackers of its own a torrent has that anyhow.
    pub(crate) reachable: bool,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Whether to print a line for each torrent that has all that was wanted.
    pub(crate) announce_complete: bool,
}

/// How a torrent ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// With everything that was wanted.
    Complete,
    /// Without.
    Failed(String),
}

/// One torrent.
pub(crate) struct Watched {
    /// Its key.
    pub(crate) id: TorrentId,
    /// Its name, as it is known so far.
    pub(crate) name: String,
    /// Peers that the user named.
    pub(crate) named_peers: Vec<SocketAddr>,
    /// How it ended, if it did.
    pub(crate) end: Option<End>,
    is_said: bool,
    started: Instant,
    connected: HashSet<SocketAddr>,
    refusals: HashMap<SocketAddr, String>,
    tracker_failures: HashMap<String, String>,
    complete_since: Option<Instant>,
    progress: (u64, Instant),
    alone_since: Option<Instant>,
    /// How long it must be alone for that to be said.
    say_lonely_at: Duration,
}

impl Watched {
    /// A torrent that was just added.
    pub(crate) fn new(id: TorrentId, name: String, named_peers: Vec<SocketAddr>, now: Instant) -> Self {
        Self {
            id,
            name,
            named_peers,
            end: None,
            is_said: false,
            started: now,
            connected: HashSet::new(),
            refusals: HashMap::new(),
            tracker_failures: HashMap::new(),
            complete_since: None,
            progress: (0, now),
            alone_since: None,
            say_lonely_at: LONELY_AFTER,
        }
    }

    /// Takes what an alert says about this torrent. What the user should read at once is returned.
    fn handle_alert(&mut self, alert: &Alert) -> Option<String> {
        match alert {
            Alert::MetadataReceived { name, .. } => {
                self.name.clone_from(name);
                Some(format!("{name}: the metadata is here"))
            }
            Alert::TorrentError { error, .. } => {
                self.end = Some(End::Failed(error.to_string()));
                None
            }
            Alert::TrackerError { url, message, .. } => {
                let message = without_number(message);
                let before = self.tracker_failures.insert(url.clone(), message.to_owned());
                (before.as_deref() != Some(message)).then(|| format!("{}: tracker {url}: {message}", self.name))
            }
            Alert::TrackerWarning { url, message, .. } => {
                Some(format!("{}: tracker {url} warns: {message}", self.name))
            }
            Alert::TrackerReply { url, .. } => {
                self.tracker_failures.remove(url);
                None
            }
            Alert::PeerConnected { address, .. } => {
                self.refusals.remove(address);
                self.connected.insert(*address);
                None
            }
            Alert::PeerDisconnected { address, reason, .. } if self.named_peers.contains(address) => {
                let before = self.refusals.insert(*address, reason.clone());
                // One that was here and left is nothing unusual.
                let never_came = before.as_ref() != Some(reason) && !self.connected.contains(address);
                never_came.then(|| format!("{}: peer {address}: {reason}", self.name))
            }
            Alert::PeerBanned { address, reason, .. } => {
                Some(format!("{}: peer {address} is banned: {reason}", self.name))
            }
            Alert::MetadataFailed { error, .. } => Some(format!("{}: metadata was refused: {error}", self.name)),
            _ => None,
        }
    }

    /// Looks at a torrent's state. What the user should read is returned.
    fn handle_status(&mut self, status: &TorrentStatus, wishes: &Wishes, now: Instant) -> Option<String> {
        self.name.clone_from(&status.name);
        if let Some(error) = &status.error {
            self.end = Some(End::Failed(error.to_string()));
            return None;
        }
        if status.complete {
            let since = *self.complete_since.get_or_insert(now);
            if wishes.seeding.is_enough(status, now.duration_since(since)) {
                self.end = Some(End::Complete);
            }
            return None;
        }
        if status.state == TorrentState::CheckingFiles {
            self.progress.1 = now;
            return None;
        }
        self.mark_progress(status, now);
        self.give_up_if_hopeless(status, wishes, now);
        self.say_if_lonely(status, now)
    }

    fn mark_progress(&mut self, status: &TorrentStatus, now: Instant) {
        let amount = status.downloaded + u64::from(status.has_metadata);
        if amount != self.progress.0 {
            self.progress = (amount, now);
        }
        if status.num_peers > 0 {
            self.alone_since = None;
            self.say_lonely_at = LONELY_AFTER;
        } else {
            self.alone_since.get_or_insert(now);
        }
    }

    fn give_up_if_hopeless(&mut self, status: &TorrentStatus, wishes: &Wishes, now: Instant) {
        let alone = self.alone_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let hopeless = status.trackers.is_empty() && !wishes.reachable && alone >= LAST_HOPE;
        let idle = now.duration_since(self.progress.1);
        if let Some(timeout) = wishes.timeout.filter(|&timeout| idle >= timeout) {
            let why = self.why_alone(status);
            self.end = Some(End::Failed(format!("nothing arrived for {}{why}", text::duration(timeout))));
        } else if wishes.timeout.is_none() && hopeless {
            let why = self.why_alone(status);
            self.end = Some(End::Failed(format!(
                "there is nobody to download from{why}; name another with --peer, or a tracker with --tracker"
            )));
        }
    }

    fn say_if_lonely(&mut self, status: &TorrentStatus, now: Instant) -> Option<String> {
        let alone = now.duration_since(self.alone_since?);
        if alone < self.say_lonely_at {
            return None;
        }
        self.say_lonely_at = alone * LONELY_AGAIN;
        Some(format!("{}: nobody answers yet{}; still trying", self.name, self.why_alone(status)))
    }

    /// Why there are no peers, as far as is known: `: 127.0.0.1:1: connection refused`.
    fn why_alone(&self, status: &TorrentStatus) -> String {
        let mut reasons: Vec<String> = self.refusals.iter().map(|(peer, why)| format!("{peer}: {why}")).collect();
        reasons.extend(self.tracker_failures.iter().map(|(url, why)| format!("{url}: {why}")));
        if reasons.is_empty() && status.num_peers == 0 {
            reasons.push(match (status.trackers.len(), status.known_peers) {
                (0, 0) => "no tracker and no peer is known".to_owned(),
                (_, 0) => "the trackers know no peers".to_owned(),
                (_, known) => format!("{} known, none reached", text::count(known.into(), "peer")),
            });
        }
        reasons.sort();
        reasons.truncate(3);
        if reasons.is_empty() { String::new() } else { format!(": {}", reasons.join("; ")) }
    }
}

/// All torrents of a command.
pub(crate) struct Watch {
    /// The torrents.
    pub(crate) torrents: Vec<Watched>,
    wishes: Wishes,
    progress: Progress,
}

impl Watch {
    /// Watches these torrents.
    pub(crate) fn new(torrents: Vec<Watched>, wishes: Wishes, progress: Progress) -> Self {
        Self { torrents, wishes, progress }
    }

    /// Shows and takes in what happened.
    pub(crate) fn handle_alert(&mut self, alert: &Alert) {
        if self.wishes.json {
            json::event(alert.what(), events::fields(alert));
        }
        match alert {
            Alert::ListenFailed { .. } | Alert::PluginQuarantined { .. } | Alert::AlertsDropped { .. } => {
                progress::warn(&alert.to_string());
            }
            _ => {}
        }
        let Some(torrent) = torrent_of(alert) else {
            return;
        };
        if let Some(watched) = self.torrents.iter_mut().find(|watched| watched.id == torrent && watched.end.is_none())
            && let Some(message) = watched.handle_alert(alert)
        {
            self.progress.note(&message);
        }
    }

    /// Shows and takes in how the torrents are now.
    pub(crate) fn handle_statuses(&mut self, statuses: &[TorrentStatus], now: Instant) {
        for watched in self.torrents.iter_mut().filter(|watched| watched.end.is_none()) {
            let Some(status) = statuses.iter().find(|status| status.id == watched.id) else {
                continue;
            };
            if self.wishes.json {
                json::event("status", events::status(status));
            }
            self.progress.update(status);
            let was_complete = watched.complete_since.is_some();
            if let Some(message) = watched.handle_status(status, &self.wishes, now) {
                self.progress.note(&message);
            }
            if !was_complete && watched.complete_since.is_some() && self.wishes.announce_complete {
                let how = match watched.connected.is_empty() {
                    true => ", which was all there".to_owned(),
                    false => format!(" in {}", text::elapsed(now.duration_since(watched.started))),
                };
                let message = format!("{}: complete, {}{how}", watched.name, text::size(status.wanted));
                progress::beside_bars(|| out::line(&clean(&message)));
            }
        }
    }

    /// Ends a torrent that cannot go on.
    pub(crate) fn fail(&mut self, torrent: TorrentId, why: &Failure) {
        let running = |watched: &&mut Watched| watched.id == torrent && watched.end.is_none();
        if let Some(watched) = self.torrents.iter_mut().find(running) {
            watched.end = Some(End::Failed(why.to_string()));
        }
    }

    /// Whether every torrent is over.
    pub(crate) fn is_over(&self) -> bool {
        self.torrents.iter().all(|watched| watched.end.is_some())
    }

    /// The torrents that ended since the last call, each said to be.
    pub(crate) fn take_ended(&mut self) -> Vec<TorrentId> {
        let mut ended = Vec::new();
        for watched in self.torrents.iter_mut().filter(|watched| watched.end.is_some() && !watched.is_said) {
            watched.is_said = true;
            self.progress.remove(watched.id);
            ended.push(watched.id);
            if let Some(End::Failed(why)) = &watched.end {
                let message = format!("{}: {why}", watched.name);
                if self.wishes.json {
                    json::event("failed", json!({ "torrent": watched.id.0, "name": watched.name, "message": why }));
                }
                progress::warn(&format!("reef: {message}"));
            }
        }
        ended
    }

    /// Whether every torrent has what was wanted.
    pub(crate) fn all_complete(&self) -> bool {
        self.torrents.iter().all(|watched| matches!(watched.end, Some(End::Complete)))
    }

    /// Takes the bars away.
    pub(crate) fn clear(&mut self) {
        self.progress.clear();
    }
}

/// The torrent that an alert is about.
fn torrent_of(alert: &Alert) -> Option<TorrentId> {
    match alert {
        Alert::MetadataReceived { torrent, .. }
        | Alert::MetadataFailed { torrent, .. }
        | Alert::TorrentError { torrent, .. }
        | Alert::TrackerError { torrent, .. }
        | Alert::TrackerWarning { torrent, .. }
        | Alert::TrackerReply { torrent, .. }
        | Alert::PeerConnected { torrent, .. }
        | Alert::PeerBanned { torrent, .. } => Some(*torrent),
        Alert::PeerDisconnected { torrent, .. } => *torrent,
        _ => None,
    }
}

/// What the system said, without the number of its error.
fn without_number(message: &str) -> &str {
    message.split_once(" (os error").map_or(message, |(words, _)| words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reef_engine::status::TrackerStatus;
    use reef_engine::{ConnId, ErrorCode, ErrorInfo};
    use std::path::PathBuf;

    const WISHES: Wishes =
        Wishes { seeding: Seeding::No, timeout: None, reachable: false, json: false, announce_complete: false };

    fn status() -> TorrentStatus {
        TorrentStatus {
            id: TorrentId(1),
            info_hashes: reef_proto::InfoHashes::default(),
            name: "film".to_owned(),
            state: TorrentState::Downloading,
            paused: false,
            error: None,
            has_metadata: true,
            save_path: PathBuf::from("."),
            total_size: 100,
            wanted: 100,
            wanted_done: 0,
            total_done: 0,
            checked_pieces: 0,
            num_pieces: 1,
            have_pieces: 0,
            download_rate: 0,
            upload_rate: 0,
            downloaded: 0,
            uploaded: 0,
            failed_bytes: 0,
            wasted_bytes: 0,
            num_peers: 0,
            num_seeds: 0,
            known_peers: 0,
            active_secs: 0,
            seeding_secs: 0,
            complete: false,
            trackers: Vec::new(),
        }
    }

    fn tracked() -> TorrentStatus {
        let url = "http://t.example/announce".to_owned();
        let tracker = TrackerStatus {
            url,
            tier: 0,
            message: String::new(),
            fails: 0,
            verified: false,
            seeds: None,
            leeches: None,
        };
        TorrentStatus { trackers: vec![tracker], ..status() }
    }

    /// Shows the torrent each of these states at these seconds, and says how it ended and what was said.
    fn run(wishes: &Wishes, story: &[(u64, &TorrentStatus)]) -> (Option<End>, Vec<String>) {
        let start = Instant::now();
        let peer = "127.0.0.1:1".parse().unwrap();
        let mut watched = Watched::new(TorrentId(1), "film".to_owned(), vec![peer], start);
        let reason = "connection refused".to_owned();
        let refused = Alert::PeerDisconnected { torrent: Some(TorrentId(1)), conn: ConnId(1), address: peer, reason };
        let mut said: Vec<String> = watched.handle_alert(&refused).into_iter().collect();
        assert_eq!(watched.handle_alert(&refused), None, "the same is not said twice");
        for (second, status) in story {
            let now = start + Duration::from_secs(*second);
            if watched.end.is_none() {
                said.extend(watched.handle_status(status, wishes, now));
            }
        }
        (watched.end, said)
    }

    #[test]
    fn a_torrent_that_nobody_can_give_fails_with_the_reason() {
        let (end, said) = run(&WISHES, &[(0, &status()), (14, &status()), (16, &status()), (31, &status())]);
        let why = "there is nobody to download from: 127.0.0.1:1: connection refused; name another with --peer, or a \
                   tracker with --tracker";
        assert_eq!(end, Some(End::Failed(why.to_owned())));
        assert_eq!(said[0], "film: peer 127.0.0.1:1: connection refused");
        assert_eq!(said[1], "film: nobody answers yet: 127.0.0.1:1: connection refused; still trying");
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn a_tracker_or_an_open_door_is_hope() {
        assert_eq!(run(&WISHES, &[(0, &tracked()), (9999, &tracked())]).0, None);
        assert_eq!(run(&Wishes { reachable: true, ..WISHES }, &[(0, &status()), (9999, &status())]).0, None);
        let found = TorrentStatus { num_peers: 1, ..status() };
        assert_eq!(run(&WISHES, &[(0, &status()), (29, &found), (40, &status()), (69, &status())]).0, None);
    }

    #[test]
    fn a_time_out_counts_from_the_last_progress() {
        let wishes = Wishes { timeout: Some(Duration::from_secs(60)), ..WISHES };
        let more = TorrentStatus { downloaded: 5, num_peers: 1, ..tracked() };
        let checking = TorrentStatus { state: TorrentState::CheckingFiles, ..tracked() };
        assert_eq!(run(&wishes, &[(0, &tracked()), (59, &more), (118, &more)]).0, None);
        assert_eq!(run(&wishes, &[(500, &checking), (559, &tracked())]).0, None);
        let (end, _) = run(&wishes, &[(0, &tracked()), (59, &more), (119, &more)]);
        assert!(matches!(&end, Some(End::Failed(why)) if why.starts_with("nothing arrived for 1m")), "{end:?}");
    }

    #[test]
    fn seeding_goes_on_as_long_as_was_asked() {
        let done = TorrentStatus { complete: true, state: TorrentState::Seeding, ..status() };
        let sent = TorrentStatus { uploaded: 150, ..done.clone() };
        let until = |ratio, time: Option<u64>| Wishes {
            seeding: Seeding::Until { ratio, time: time.map(Duration::from_secs) },
            ..WISHES
        };
        let check = |wishes: &Wishes, story: &[(u64, &TorrentStatus)], is_over: bool| {
            assert_eq!(run(wishes, story).0, is_over.then_some(End::Complete), "{wishes:?}");
        };
        check(&WISHES, &[(0, &done)], true);
        check(&Wishes { seeding: Seeding::Forever, ..WISHES }, &[(0, &sent), (9999, &sent)], false);
        check(&until(Some(1.5), None), &[(0, &done), (9999, &done)], false);
        check(&until(Some(1.5), None), &[(0, &sent)], true);
        check(&until(Some(2.0), Some(60)), &[(0, &sent), (59, &sent)], false);
        check(&until(Some(2.0), Some(60)), &[(0, &sent), (60, &sent)], true);
    }

    #[test]
    fn a_torrents_error_ends_it() {
        let error = Some(ErrorInfo::new(ErrorCode::NoSpace, "film.mkv: no space left; free some"));
        let (end, _) = run(&WISHES, &[(0, &TorrentStatus { error, ..status() })]);
        assert_eq!(end, Some(End::Failed("film.mkv: no space left; free some".to_owned())));
    }

    #[test]
    fn errors_of_the_system_are_shown_without_their_numbers() {
        assert_eq!(without_number("Connection refused (os error 111)"), "Connection refused");
        assert_eq!(without_number("not registered"), "not registered");
    }
}
