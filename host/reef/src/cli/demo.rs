//! `reef demo`: a random file, seeded by one session and fetched by another over loopback, by magnet link.
//!
//! It shows that everything works, plugins included, without a network; and it cleans up behind itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reef_engine::status::{TorrentState, TorrentStatus};
use reef_engine::{AddTorrent, TorrentFlags};
use reef_proto::hash::Sha1Hash;
use reef_proto::magnet::Magnet;
use reef_proto::metainfo::Metainfo;
use sha1::{Digest as _, Sha1};

use super::args::{DemoArgs, Global};
use super::client::{Client, Event, Setup, USUAL_ALERTS, ended};
use super::config::Config;
use super::failure::{Exit, Failure, Outcome};
use super::text::{clean, elapsed, rate, size};
use super::{create, out, plugin};

/// How long each half may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs the demonstration.
pub(crate) fn run(args: &DemoArgs, global: &Global) -> Outcome {
    let folder = Folder::new()?;
    let demo = Demo { args, global, folder: &folder.0 };
    demo.run()
}

struct Demo<'a> {
    args: &'a DemoArgs,
    global: &'a Global,
    folder: &'a Path,
}

impl Demo<'_> {
    fn run(&self) -> Outcome {
        let original = self.folder.join("seed").join("demo.bin");
        make_random_file(&original, self.args.size)?;
        let metainfo = create::plain_torrent(&original)?;
        let pieces = metainfo.info.layout.num_pieces();
        self.say(&format!("1. Made a file of {} of random bytes: {pieces} pieces.", size(self.args.size)));

        let (seed, _) = self.session("seed", seeding(metainfo.clone()))?;
        let outcome = self.fetch_from(&seed, &metainfo, &original);
        seed.stop();
        outcome
    }

    /// Waits for the seed, then fetches from it.
    fn fetch_from(&self, seed: &Client, metainfo: &Metainfo, original: &Path) -> Outcome {
        if wait(seed, |status| status.state == TorrentState::Seeding)?.is_none() {
            return Ok(Exit::Interrupted);
        }
        let address =
            seed.addresses().first().copied().ok_or_else(|| Failure::new("127.0.0.1: no port to listen on"))?;
        self.say(&format!("2. A first session checked it and serves it on {address}."));
        let (leech, started) = self.session("get", fetching(metainfo, address))?;
        let outcome =
            wait(&leech, |status| status.complete).map(|status| status.map(|status| (status, started.elapsed())));
        leech.stop();
        let Some((status, time)) = outcome? else {
            return Ok(Exit::Interrupted);
        };
        let speed = rate(per_second(status.wanted, time));
        let magnet = Magnet { trackers: Vec::new(), ..Magnet::of(metainfo) };
        self.say(&format!(
            "3. A second session was given only this link, and the seed's address:\n     {magnet}\n   \
             The plugin ut_metadata fetched the metadata, then {} arrived in {} ({speed}).",
            size(status.wanted),
            elapsed(time),
        ));
        let copy = self.folder.join("get").join("demo.bin");
        if digest(original)? != digest(&copy)? {
            return Err(Failure::new("the two files differ, which must never happen; please report this"));
        }
        self.say("4. Both files are the same, byte for byte. It works; everything was cleaned up.");
        Ok(Exit::Success)
    }

    /// Starts a session with one torrent, which saves below a folder of that name.
    fn session(&self, name: &str, mut torrent: AddTorrent) -> Result<(Client, Instant), Failure> {
        let mut config = Config::load(self.global.config.as_deref())?;
        config.apply(&self.args.session.set)?;
        let plugins = plugin::load(&config, &self.args.session, BTreeMap::new())?;
        if torrent.metainfo.is_none() {
            plugins.require_metadata(&torrent.name)?;
        }
        torrent.save_path = self.folder.join(name);
        let client = Client::start(Setup {
            settings: config.settings,
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            listen_otherwise: Vec::new(),
            plugins: plugins.host,
            state: Some(self.folder.join(format!("{name}.redb"))),
            alerts: USUAL_ALERTS,
            print_stuck: false,
            watched: Vec::new(),
        })?;
        client.add(torrent)?;
        Ok((client, Instant::now()))
    }

    fn say(&self, text: &str) {
        if !self.global.quiet {
            text.lines().for_each(|line| out::line(&clean(line)));
        }
    }
}

fn seeding(metainfo: Metainfo) -> AddTorrent {
    AddTorrent { metainfo: Some(metainfo.into()), flags: TorrentFlags(0), ..AddTorrent::default() }
}

fn fetching(metainfo: &Metainfo, seed: SocketAddr) -> AddTorrent {
    AddTorrent {
        info_hashes: metainfo.info_hashes,
        name: metainfo.info.name.clone(),
        peers: vec![seed],
        flags: TorrentFlags(0),
        ..AddTorrent::default()
    }
}

/// Waits until the session's torrent is as wished; none if somebody interrupts.
fn wait(client: &Client, is_there: impl Fn(&TorrentStatus) -> bool) -> Result<Option<TorrentStatus>, Failure> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let status = client.torrents()?.into_iter().next();
        if let Some(error) = status.as_ref().and_then(|status| status.error.as_ref()) {
            return Err(Failure::new(error.to_string()));
        }
        if let Some(status) = status.filter(|status| is_there(status)) {
            return Ok(Some(status));
        }
        match client.next_event() {
            Event::Alert(alert) => log::info!("{alert}"),
            Event::Second => {}
            Event::Interrupted => return Ok(None),
            Event::Ended => return Err(ended()),
        }
    }
    Err(Failure::new("the demonstration takes too long; try again with -v to see where it hangs"))
}

fn make_random_file(path: &Path, bytes: u64) -> Result<(), Failure> {
    let failed = |error: &io::Error| Failure::io(path, error);
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|error| failed(&error))?;
    let mut file = File::create(path).map_err(|error| failed(&error))?;
    let mut block = vec![0; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        getrandom::fill(&mut block[..part]) // no longer than the block
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        file.write_all(&block[..part]).map_err(|error| failed(&error))?;
        left -= part as u64;
    }
    Ok(())
}

fn digest(path: &Path) -> Result<Sha1Hash, Failure> {
    let mut hasher = Sha1::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(|error| Failure::io(path, &error))?;
    Ok(Sha1Hash(hasher.finalize().into()))
}

fn per_second(bytes: u64, time: Duration) -> u64 {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    bytes.saturating_mul(1000) / millis
}

/// A folder that goes away with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Failure> {
        let mut name = [0; 8];
        getrandom::fill(&mut name)
            .map_err(|error| Failure::new(format!("the system gives no random numbers: {error}")))?;
        let path = std::env::temp_dir().join(format!("reef-demo-{:016x}", u64::from_le_bytes(name)));
        fs::create_dir(&path).map_err(|error| Failure::io(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("{}: could not be removed: {error}", self.0.display());
        }
    }
}
