//! A transfer between two processes, to be measured, and the smallest program that embeds a session.
//!
//! `transfer make DIR MIB` makes a file and its torrent, `transfer seed DIR ADDRESS` serves it until its input ends, and
//! `transfer get DIR OUT ADDRESS…` fetches it. Each says what it cost in processor time and memory.

use reef::{AlertStream, Config, NextAlert, Session, rt};
use reef_engine::alert::Category;
use reef_engine::{AddTorrent, Alert, Command, Reply, TorrentFlags};
use reef_proto::metainfo::Metainfo;
use sha1::{Digest, Sha1};
use std::error::Error;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PIECE: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["make", dir, mib] => make(Path::new(dir), mib.parse()?),
        ["seed", dir, address] => seed(Path::new(dir), address.parse()?),
        ["get", dir, out, ref peers @ ..] => get(Path::new(dir), Path::new(out), peers),
        _ => Err("transfer make DIR MIB | seed DIR ADDRESS | get DIR OUT ADDRESS…".into()),
    }
}

fn make(dir: &Path, mib: usize) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(dir)?;
    let mut file = std::fs::File::create(dir.join("data"))?;
    let mut hashes = Vec::new();
    let mut piece = vec![0; PIECE];
    for _ in 0..mib {
        getrandom::fill(&mut piece).map_err(|e| e.to_string())?;
        hashes.extend(Sha1::digest(&piece));
        file.write_all(&piece)?;
    }
    let mut info = format!("d6:lengthi{}e4:name4:data12:piece lengthi{PIECE}e", mib * PIECE).into_bytes();
    info.extend(format!("6:pieces{}:", hashes.len()).into_bytes());
    info.extend(hashes);
    info.push(b'e');
    let metainfo = Metainfo::from_info(info.into(), Vec::new())?;
    Ok(std::fs::write(dir.join("data.torrent"), metainfo.to_bytes())?)
}

fn seed(dir: &Path, address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let session = Session::start(Config { listen: vec![address], ..Config::default() })?;
    let mut alerts = session.subscribe(Category::ALL.0, 10_000);
    add(&session, dir, dir, Vec::new())?;
    wait_for(&mut alerts, |alert| matches!(alert, Alert::TorrentChecked { .. }))?;
    println!("seeding on {}", session.listen_addresses()[0]);
    let before = cost();
    let log = std::thread::spawn(move || {
        while let Some(alert) = rt::block_on(alerts.next()) {
            log::debug!("{alert}");
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    drop(session);
    log.join().map_err(|_| "the log's thread panicked")?;
    report("upload", before, Path::new(dir))
}

fn get(dir: &Path, out: &Path, peers: &[&str]) -> Result<(), Box<dyn Error>> {
    let session = Session::start(Config::default())?;
    let mut alerts = session.subscribe(Category::ALL.0, 10_000);
    let peers = peers.iter().map(|p| p.parse()).collect::<Result<_, _>>()?;
    let begin = Instant::now();
    let before = cost();
    add(&session, dir, out, peers)?;
    wait_for(&mut alerts, |alert| matches!(alert, Alert::TorrentFinished { .. }))?;
    println!("finished after {:.2} s", begin.elapsed().as_secs_f64());
    report_threads()?;
    rt::block_on(session.stop(Duration::from_secs(5)));
    report("download", before, dir)
}

fn add(session: &Session, dir: &Path, save_path: &Path, peers: Vec<SocketAddr>) -> Result<(), Box<dyn Error>> {
    let metainfo = Arc::new(Metainfo::parse(&std::fs::read(dir.join("data.torrent"))?)?);
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let save_path = save_path.to_owned();
    let torrent = AddTorrent { metainfo: Some(metainfo), save_path, flags, peers, ..AddTorrent::default() };
    match session.command_blocking(Command::AddTorrent(Box::new(torrent))) {
        Reply::Added(_) => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

fn wait_for(alerts: &mut AlertStream, mut wanted: impl FnMut(&Alert) -> bool) -> Result<(), Box<dyn Error>> {
    loop {
        match alerts.next_blocking(Duration::from_secs(600)) {
            NextAlert::Alert(alert) if wanted(&alert) => return Ok(()),
            NextAlert::Alert(alert) => log::debug!("{alert}"),
            other => return Err(format!("{other:?}").into()),
        }
    }
}

/// What each thread cost so far.
fn report_threads() -> Result<(), Box<dyn Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let (user, system) = cost_of(&path);
        let name = std::fs::read_to_string(path.join("comm"))?;
        println!("  {}: {:.2} s ({user:.2} user, {system:.2} system)", name.trim(), user + system);
    }
    Ok(())
}

/// Processor seconds of this process so far: user and system.
fn cost() -> (f64, f64) {
    cost_of(Path::new("/proc/self"))
}

fn cost_of(path: &Path) -> (f64, f64) {
    let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or_default() / 100.0;
    (ticks(11), ticks(12))
}

fn report(what: &str, before: (f64, f64), dir: &Path) -> Result<(), Box<dyn Error>> {
    let after = cost();
    let gib = std::fs::metadata(dir.join("data"))?.len() as f64 / f64::from(1 << 30);
    let (user, system) = ((after.0 - before.0) / gib, (after.1 - before.1) / gib);
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or_default();
    println!("{what}: {:.2} CPU s/GiB ({user:.2} user, {system:.2} system); {peak}", user + system);
    Ok(())
}
