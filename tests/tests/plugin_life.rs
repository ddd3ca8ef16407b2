//! Plugins that come, go and are replaced in a session that transfers over loopback.

use reef::session::{AlertStream, Config, NextAlert, Session};
use reef::{PluginWatch, rt};
use reef_engine::alert::Category;
use reef_engine::settings::Value;
use reef_engine::{AddTorrent, Alert, Command, Reply, Settings, TorrentFlags};
use reef_plugin_host::{Change, PluginHost, PluginHostConfig, PluginImage, PluginState};
use reef_proto::metainfo::Metainfo;
use reef_tests::plugins::write_evil;
use sha1::{Digest, Sha1};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PIECE: usize = 64 << 10;
const PEERS: usize = 20;

/// A torrent of 1 MiB, whose file lies in `folder`.
fn torrent(folder: &Path) -> (Arc<Metainfo>, Vec<u8>) {
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let bytes: Vec<u8> = (0..1 << 20).map(|_| noise()).collect();
    fs::write(folder.join("data"), &bytes).expect("writable");
    let hashes: Vec<u8> = bytes.chunks(PIECE).flat_map(|piece| Sha1::digest(piece).to_vec()).collect();
    let start = format!("d6:lengthi{}e4:name4:data12:piece lengthi{PIECE}e6:pieces{}:", bytes.len(), hashes.len());
    let info = [start.as_bytes(), hashes.as_slice(), b"e"].concat();
    (Arc::new(Metainfo::from_info(info.into(), Vec::new()).expect("a torrent")), bytes)
}

fn add(session: &Session, metainfo: &Arc<Metainfo>, folder: &Path, peers: Vec<SocketAddr>) {
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let save_path = folder.to_owned();
    let torrent = AddTorrent { metainfo: Some(metainfo.clone()), save_path, flags, peers, ..AddTorrent::default() };
    let reply = session.command_blocking(Command::AddTorrent(Box::new(torrent)));
    assert!(matches!(reply, Reply::Added(_)), "{reply:?}");
}

#[track_caller]
fn wait(alerts: &mut AlertStream, mut wanted: impl FnMut(&Alert) -> bool) {
    loop {
        match alerts.next_blocking(Duration::from_secs(60)) {
            NextAlert::Alert(alert) if wanted(&alert) => return,
            NextAlert::Alert(_) => (),
            other => panic!("{other:?}"),
        }
    }
}

fn seeds(metainfo: &Arc<Metainfo>, folder: &Path) -> Vec<Session> {
    let seed = |_| {
        let config = Config { listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))], ..Config::default() };
        let session = Session::start(config).expect("it starts");
        let mut alerts = session.subscribe(Category::ALL.0, 1000);
        add(&session, metainfo, folder, Vec::new());
        wait(&mut alerts, |alert| matches!(alert, Alert::TorrentChecked { .. }));
        session
    };
    (0..PEERS).map(seed).collect()
}

/// A session with the evil plugin of a folder.
fn session_with(plugins: &Path, orders: &str, rate: i64) -> Session {
    let settings = [("one".to_owned(), orders.to_owned())].into();
    let mut host = PluginHost::new(PluginHostConfig { settings, ..PluginHostConfig::default() });
    assert!(host.load_dirs(&[plugins.to_owned()]).is_empty());
    let settings = Settings { download_rate_limit: rate, ..Settings::default() };
    Session::start(Config { settings, plugins: Some(Box::new(host)), ..Config::default() }).expect("it starts")
}

#[test]
fn a_plugin_is_replaced_and_withdrawn_during_a_transfer_and_no_connection_is_lost() {
    let [from, to, plugins] = [0; 3].map(|_| tempfile::tempdir().expect("a folder"));
    let (metainfo, bytes) = torrent(from.path());
    let seeds = seeds(&metainfo, from.path());
    write_evil(plugins.path(), "one", "0.1.0");
    let session = session_with(plugins.path(), "claim = \"x\"\nstate = \"kept\"", 50_000);
    let mut alerts = session.subscribe(Category::ALL.0, 100_000);
    let peers = seeds.iter().map(|seed| seed.listen_addresses()[0]).collect();
    add(&session, &metainfo, to.path(), peers);
    let (mut connected, mut pieces) = (0, 0);
    wait(&mut alerts, |alert| {
        pieces += usize::from(matches!(alert, Alert::PieceFinished { .. }));
        connected += usize::from(matches!(alert, Alert::PeerConnected { .. }));
        connected == PEERS
    });

    let path = write_evil(plugins.path(), "one", "0.2.0");
    let begin = Instant::now();
    let image = PluginImage::open(&path, None).expect("a plugin");
    let mapped = begin.elapsed();
    let now = rt::block_on(session.change_plugin(Change::Replace(image))).expect("it is good");
    println!("read and mapped in {mapped:?}; replaced with {PEERS} peers in {:?}", begin.elapsed() - mapped);
    assert_eq!(now.version, "0.2.0");
    let (mut met, mut knows) = (0, false);
    wait(&mut alerts, |alert| {
        assert!(!matches!(alert, Alert::PeerDisconnected { .. }), "{alert}");
        pieces += usize::from(matches!(alert, Alert::PieceFinished { .. }));
        if let Alert::Custom(custom) = alert {
            met += usize::from(custom.what == "new_connection");
            knows |= custom.what == "load_state kept";
        }
        met == PEERS && knows
    });
    rt::block_on(session.change_plugin(Change::Withdraw("one".to_owned()))).expect("it takes part");
    assert!(rt::block_on(session.plugins()).is_empty());
    let unlimited = vec![("download_rate_limit".to_owned(), Value::Int(0))];
    assert!(matches!(session.command_blocking(Command::SetSettings(unlimited)), Reply::Done));
    wait(&mut alerts, |alert| {
        // Seeds close as soon as they hear of the last piece.
        pieces += usize::from(matches!(alert, Alert::PieceFinished { .. }));
        assert!(pieces == bytes.len() / PIECE || !matches!(alert, Alert::PeerDisconnected { .. }), "{alert}");
        matches!(alert, Alert::TorrentFinished { .. })
    });
    rt::block_on(session.stop(Duration::from_secs(10)));
    assert!(fs::read(to.path().join("data")).expect("there") == bytes);
}

#[test]
fn a_stuck_hook_is_told_to_subscribers_while_it_is_stuck() {
    let [plugins, free] = [0; 2].map(|_| tempfile::tempdir().expect("a folder"));
    write_evil(plugins.path(), "one", "0.1.0");
    let until = free.path().join("go on");
    let orders = format!("quiet = true\nat = \"on_tick\"\ndo = \"stuck\"\nuntil = \"{}\"", until.display());
    let session = session_with(plugins.path(), &orders, 0);
    let mut alerts = session.subscribe(Category::ALL.0, 1000);
    // Nothing but this test lets the hook return, and it does so when the alert is there.
    wait(
        &mut alerts,
        |alert| matches!(alert, Alert::PluginStuck { plugin, hook, .. } if plugin == "one" && hook == "on_tick"),
    );
    assert!(!until.exists());
    fs::write(&until, "").expect("ours");
    assert_eq!(rt::block_on(session.plugins()).len(), 1, "the session goes on");
    rt::block_on(session.stop(Duration::from_secs(10)));
}

#[test]
fn plugins_come_change_and_go_with_their_files() {
    let plugins = tempfile::tempdir().expect("a folder");
    let session = Arc::new(session_with(plugins.path(), "quiet = true", 0));
    let mut alerts = session.subscribe(Category::ALL.0, 1000);
    let _watch = PluginWatch::start(&session, &[plugins.path().to_owned()]).expect("it can be watched");
    let version = |wanted: &'static str| move |alert: &Alert| matches!(alert, Alert::PluginLoaded { version, .. } if version == wanted);
    let path = write_evil(plugins.path(), "one", "0.1.0");
    wait(&mut alerts, version("0.1.0"));
    write_evil(plugins.path(), "one", "0.2.0");
    wait(&mut alerts, version("0.2.0"));
    assert_eq!(rt::block_on(session.plugins()).len(), 1);
    // Half a file waits for its other half, and what runs goes on.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let whole = fs::read(write_evil(elsewhere.path(), "one", "0.3.0")).expect("there");
    fs::write(&path, &whole[..whole.len() / 2]).expect("ours");
    fs::write(&path, &whole).expect("ours");
    wait(&mut alerts, version("0.3.0"));
    assert!(rt::block_on(session.plugins()).iter().all(|plugin| plugin.state == PluginState::Loaded));
    fs::remove_file(&path).expect("ours");
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginWithdrawn { .. }));
    assert!(rt::block_on(session.plugins()).is_empty());
}

#[test]
fn of_two_files_with_one_plugin_the_second_takes_part_when_the_first_is_removed() {
    let [plugins, elsewhere] = [0; 2].map(|_| tempfile::tempdir().expect("a folder"));
    let session = Arc::new(session_with(plugins.path(), "quiet = true", 0));
    let mut alerts = session.subscribe(Category::ALL.0, 1000);
    let _watch = PluginWatch::start(&session, &[plugins.path().to_owned()]).expect("it can be watched");
    let loaded = |wanted: &'static str, of: &'static str| move |alert: &Alert| matches!(alert, Alert::PluginLoaded { plugin, version } if version == wanted && plugin == of);
    let first = write_evil(plugins.path(), "one", "0.1.0");
    wait(&mut alerts, loaded("0.1.0", "one"));
    let second = plugins.path().join("libone-2.so");
    fs::rename(write_evil(elsewhere.path(), "one", "0.2.0"), &second).expect("one file system");
    // Files are looked at in the order of their names: when this one takes part, the one before was left out.
    write_evil(plugins.path(), "two", "0.1.0");
    wait(&mut alerts, |alert| {
        assert!(!loaded("0.2.0", "one")(alert), "{alert}");
        loaded("0.1.0", "two")(alert)
    });
    fs::remove_file(&first).expect("ours");
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginWithdrawn { plugin } if plugin == "one"));
    wait(&mut alerts, loaded("0.2.0", "one"));
    assert!(rt::block_on(session.plugins()).iter().any(|plugin| plugin.path == second));
}
