//! Plugins in processes of their own: the standard ones do their work there, and the worst one takes no transfer down.
#![cfg(target_os = "linux")]

use reef::session::{AlertStream, Config, NextAlert, Session};
use reef::{PluginWatch, rt};
use reef_engine::alert::Category;
use reef_engine::settings::Value;
use reef_engine::{AddTorrent, Alert, Command, Reply, Settings, TorrentFlags};
use reef_plugin_host::{Change, Isolation, PluginHost, PluginHostConfig, PluginInfo, PluginState};
use reef_proto::metainfo::Metainfo;
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};
use reef_tests::content::{Content, temporary};
use reef_tests::plugins::{plugin_library, write_evil};
use reef_tests::process::{SOON, Signal};
use reef_tests::program::{User, reef, standard_plugin, text};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const STANDARD: [&str; 3] = ["ut_metadata", "ut_pex", "smart_ban"];

/// So much time that a busy machine does not matter.
const PATIENT: Isolation = Isolation { deadline: Duration::from_secs(60), memory: 512 << 20, block_hooks: true };

/// A configuration of the program that isolates the standard plugins, and what else is given.
fn write_config(folder: &Path, more: &str) -> PathBuf {
    let isolated = |name| format!("[plugins.{name}.isolation]\ndeadline_ms = 60000\n");
    let path = folder.join("reef.toml");
    fs::write(&path, STANDARD.map(isolated).concat() + more).expect("the folder is writable");
    path
}

/// Waits for something that takes a moment on an idle machine.
#[track_caller]
fn wait_until(mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !happened() {
        assert!(Instant::now() < deadline, "it did not happen");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Whether there is such a process that has not ended.
fn is_running(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = status.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

/// The processes that this one started and that run plugins.
fn plugin_processes(parent: u32) -> Vec<u32> {
    let children = fs::read_dir(format!("/proc/{parent}/task")).expect("it runs").flatten().map(|thread| {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<u32>>()
    });
    let runs_plugin = |process: &u32| {
        let words = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"plugin-process")
    };
    children.flatten().filter(runs_plugin).collect()
}

#[test]
fn a_magnet_link_is_fetched_with_the_standard_plugins_isolated() {
    let (user, folder, content) = (User::new(), temporary(), Content::tree());
    let config = write_config(folder.path(), "");
    let more = ["--config", text(&config)];
    let torrent = user.create(&content, &[]);
    let seed = user.seed(&torrent, content.folder(), &more);
    let processes = plugin_processes(seed.process.id());
    assert_eq!(processes.len(), STANDARD.len());
    let (peer, to) = (seed.address.to_string(), folder.path().join("to"));
    let ended = user.get(&torrent.magnet(), &to, &[&more[..], &["--peer", &peer]].concat());
    assert!(!ended.text().contains("plugin_quarantined"), "{}", ended.text());
    content.assert_is_in(&to);
    // Whatever ends the program ends them.
    seed.process.signal(Signal::KILL);
    wait_until(|| !processes.iter().any(|process| is_running(*process)));
}

/// Downloads while the evil plugin, isolated, does `act` in the hook `at`.
#[track_caller]
fn check_evil(at: &str, act: &str, deadline_ms: u32, reason: &str) {
    let (user, folder, content) = (User::new(), temporary(), Content::tree());
    let plugins = temporary();
    fs::copy(plugin_library("evil-plugin"), plugins.path().join("evil.so")).expect("the folder is writable");
    let evil = format!(
        "[plugins.evil]\nat = \"{at}\"\ndo = \"{act}\"\n\
         isolation = {{ deadline_ms = {deadline_ms}, memory = \"300MiB\", block_hooks = true }}\n"
    );
    let config = write_config(folder.path(), &evil);
    let torrent = user.create(&content, &[]);
    let seed = user.seed(&torrent, content.folder(), &[]);
    let (peer, to) = (seed.address.to_string(), folder.path().join("to"));
    let more = ["--peer", &peer, "--plugin-dir", text(plugins.path()), "--config", text(&config)];
    let ended = user.get(&torrent.magnet(), &to, &more);
    content.assert_is_in(&to);
    let said = ended.text();
    let quarantined = said.lines().find(|line| line.contains(r#""event":"plugin_quarantined","plugin":"evil""#));
    assert!(quarantined.is_some_and(|line| line.contains(reason)), "{said}");
    let logged = format!("reef: plugin evil is quarantined, the session goes on without it: {reason}");
    assert_eq!(said.lines().filter(|line| **line == logged).count(), 1, "{said}");
    // Whoever looks later is told.
    let list = |config: &str| user.run(&["plugin", "list", "--plugin-dir", text(plugins.path()), "--config", config]);
    let calm = folder.path().join("calm.toml");
    fs::write(&calm, "").expect("the folder is writable");
    let said = list(text(&calm)).text();
    assert!(said.contains(&format!(" quarantined: {reason}")), "{said}");
}

#[test]
fn a_loop_without_end_costs_the_deadline_and_no_download() {
    check_evil(
        "on_metadata",
        "loop",
        3000,
        "it did not return from on_metadata within 3000 ms, and its process was killed",
    );
}

#[test]
fn an_abort_and_a_fault_end_no_download() {
    check_evil("on_metadata", "abort", 60_000, "its process was ended by SIGABRT in on_metadata");
    check_evil("add_handshake", "segfault", 60_000, "its process was ended by SIGSEGV in add_handshake");
}

#[test]
fn whoever_takes_all_memory_and_all_stack_ends_no_download() {
    check_evil("on_metadata", "exhaust", 60_000, "its process was ended by SIGABRT in on_metadata");
    check_evil("new_connection", "overflow", 60_000, "its process was ended by SIGABRT in new_connection");
}

#[test]
fn what_ends_a_plugin_while_it_is_listed_is_said() {
    let (user, folder) = (User::new(), temporary());
    fs::copy(plugin_library("evil-plugin"), folder.path().join("evil.so")).expect("the folder is writable");
    let config =
        write_config(folder.path(), "[plugins.evil]\nisolation = \"process\"\nat = \"added\"\ndo = \"abort\"\n");
    let ended = user.run(&["plugin", "list", "--plugin-dir", text(folder.path()), "--config", text(&config)]);
    let reason = "plugin evil did not start: its process was ended by SIGABRT in added";
    assert_eq!(ended.lines.iter().filter(|line| line.ends_with(reason)).count(), 1, "{}", ended.text());
    assert!(STANDARD.iter().all(|name| ended.text().contains(name)), "{}", ended.text());
}

#[test]
fn where_a_plugin_runs_is_shown() {
    let (user, folder) = (User::new(), temporary());
    let config = write_config(folder.path(), "");
    let isolated = user.run(&["plugin", "info", "ut_pex", "--config", text(&config)]).text();
    assert!(isolated.contains("Runs in      a process of its own"), "{isolated}");
    assert!(!user.run(&["plugin", "info", "ut_pex"]).text().contains("Runs in"));
}

#[track_caller]
fn wait(alerts: &mut AlertStream, mut wanted: impl FnMut(&Alert) -> bool) {
    loop {
        match alerts.next_blocking(SOON) {
            NextAlert::Alert(alert) if wanted(&alert) => return,
            NextAlert::Alert(_) => (),
            other => panic!("{other:?}"),
        }
    }
}

fn add(session: &Session, metainfo: &Arc<Metainfo>, folder: &Path, peers: Vec<std::net::SocketAddr>) {
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let save_path = folder.to_owned();
    let torrent = AddTorrent { metainfo: Some(metainfo.clone()), save_path, flags, peers, ..AddTorrent::default() };
    let reply = session.command_blocking(Command::AddTorrent(Box::new(torrent)));
    assert!(matches!(reply, Reply::Added(_)), "{reply:?}");
}

/// A session whose plugin `one`, the evil one, is isolated.
fn session_with(orders: &str, plugins: &Path, config: Config) -> Session {
    let host = PluginHostConfig {
        settings: [("one".to_owned(), orders.to_owned())].into(),
        isolation: [("one".to_owned(), PATIENT)].into(),
        plugin_program: Some(reef()),
        ..PluginHostConfig::default()
    };
    let mut host = PluginHost::new(host);
    assert!(host.load_dirs(&[plugins.to_owned()]).is_empty());
    Session::start(Config { plugins: Some(Box::new(host)), ..config }).expect("it starts")
}

fn plugin(session: &Session) -> PluginInfo {
    rt::block_on(session.plugins()).pop().expect("one is loaded")
}

#[test]
fn an_isolated_plugin_comes_changes_and_goes_with_its_file_and_its_state_goes_along() {
    let plugins = temporary();
    let session = Arc::new(session_with("state = \"kept\"", plugins.path(), Config::default()));
    let mut alerts = session.subscribe(Category::ALL.0, 1000);
    let _watch = PluginWatch::start(&session, &[plugins.path().to_owned()]).expect("it can be watched");
    let path = write_evil(plugins.path(), "one", "0.1.0");
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginLoaded { .. }));
    let first = plugin(&session).process.expect("it has a process");
    write_evil(plugins.path(), "one", "0.2.0");
    wait(&mut alerts, |alert| matches!(alert, Alert::Custom(custom) if custom.what == "load_state kept"));
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginLoaded { version, .. } if version == "0.2.0"));
    let second = plugin(&session).process.expect("it has a process");
    assert_ne!(first, second);
    wait_until(|| !is_running(first));
    fs::remove_file(&path).expect("ours");
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginWithdrawn { .. }));
    wait_until(|| !is_running(second));
}

#[test]
fn a_session_goes_on_without_a_plugin_whose_process_is_killed_and_takes_it_back() {
    let [from, to, plugins] = [0; 3].map(|_| temporary());
    let torrent = Torrent::random(11, "data", 1 << 20, 64 << 10);
    let metainfo = &torrent.meta;
    fs::write(from.path().join("data"), &torrent.data).expect("writable");
    let listen = vec![([127, 0, 0, 1], 0).into()];
    let seed = Session::start(Config { listen, ..Config::default() }).expect("it starts");
    let mut seeding = seed.subscribe(Category::ALL.0, 1000);
    add(&seed, metainfo, from.path(), Vec::new());
    wait(&mut seeding, |alert| matches!(alert, Alert::TorrentChecked { .. }));

    write_evil(plugins.path(), "one", "0.1.0");
    // Slow enough that it is not done before the plugin is.
    let settings = Settings { download_rate_limit: 50_000, ..Settings::default() };
    let config = Config { settings, ..Config::default() };
    let session = session_with("quiet = true", plugins.path(), config);
    let mut alerts = session.subscribe(Category::ALL.0, 100_000);
    let process = plugin(&session).process.expect("it has a process");
    add(&session, metainfo, to.path(), vec![seed.listen_addresses()[0]]);
    wait(&mut alerts, |alert| matches!(alert, Alert::PeerConnected { .. }));
    kill(process);
    wait(&mut alerts, |alert| matches!(alert, Alert::PluginQuarantined { plugin, .. } if plugin == "one"));
    let PluginState::Quarantined { reason } = plugin(&session).state else { panic!("it is in quarantine") };
    assert!(reason.starts_with("its process was ended by SIGKILL"), "{reason}");
    wait_until(|| !is_running(process));
    let image = session.open_plugin(&plugins.path().join("libone.so")).expect("it is a plugin");
    let again = rt::block_on(session.change_plugin(Change::Load(image))).expect("it can be loaded again");
    assert!(again.state == PluginState::Loaded && again.process.is_some_and(is_running));
    let unlimited = vec![("download_rate_limit".to_owned(), Value::Int(0))];
    assert!(matches!(session.command_blocking(Command::SetSettings(unlimited)), Reply::Done));
    wait(&mut alerts, |alert| matches!(alert, Alert::TorrentFinished { .. }));
    rt::block_on(session.stop(Duration::from_secs(10)));
    assert!(fs::read(to.path().join("data")).expect("there") == *torrent.data);
}

fn kill(process: u32) {
    let process = rustix::process::Pid::from_raw(process.cast_signed()).expect("a process");
    rustix::process::kill_process(process, Signal::KILL).expect("it is ours");
}

/// Where the plugins of a simulated node run.
#[derive(Clone, Copy, PartialEq)]
enum Run {
    Here,
    Apart,
}

fn add_node(world: &mut World, plugins: &'static [&str], run: Run) -> NodeId {
    let libraries: Vec<PathBuf> = plugins.iter().map(|name| standard_plugin(name)).collect();
    let isolated: &[&str] = if run == Run::Apart { plugins } else { &[] };
    let make = move || -> Box<dyn reef_engine::Hooks> {
        let isolation = isolated.iter().map(|name| ((*name).to_owned(), PATIENT)).collect();
        let config = PluginHostConfig { isolation, plugin_program: Some(reef()), ..PluginHostConfig::default() };
        let mut host = PluginHost::new(config);
        for library in &libraries {
            let loaded = host.load_file(library, "").expect("a plugin of ours can be loaded");
            assert_eq!(loaded.process.is_some(), run == Run::Apart);
        }
        Box::new(host)
    };
    world.add_node_with(Settings::default(), Some(Box::new(make)))
}

#[test]
fn a_swarm_goes_the_same_way_wherever_its_plugins_run() {
    let run = |run| {
        let torrent = Torrent::random(7, "data.bin", 400_000, 32 << 10);
        let mut world = World::new(7);
        let nodes: Vec<NodeId> = (0..4).map(|_| add_node(&mut world, &STANDARD, run)).collect();
        world.seed(nodes[0], &torrent);
        world.set_faults(nodes[2], Faults { corrupt_blocks: 100, ..Faults::default() });
        nodes[1..].iter().for_each(|node| world.magnet(*node, &torrent, &nodes[..1]));
        if let Err(error) = world.run_until(900, |world| nodes.iter().all(|node| world.is_complete(*node))) {
            panic!("{error}");
        }
        assert!(nodes.iter().all(|node| world.disk(*node).holds(&torrent)));
        world.trace()
    };
    assert!(run(Run::Here) == run(Run::Apart));
}

#[test]
fn smart_ban_bans_the_liar_from_a_process_of_its_own() {
    let torrent = Torrent::random(20, "data.bin", 3_000_000, 256 << 10);
    let mut world = World::new(20);
    let seeds: Vec<NodeId> = (0..5).map(|_| world.add_node()).collect();
    for seed in &seeds {
        world.set_line(*seed, 200_000, 200_000, 20);
        world.seed(*seed, &torrent);
    }
    world.set_faults(seeds[2], Faults { corrupt_blocks: 200, ..Faults::default() });
    let leech = add_node(&mut world, &["smart_ban"], Run::Apart);
    world.leech(leech, &torrent, &seeds);
    world.run_until(600, |world| world.is_complete(leech)).expect("it completes");
    assert!(world.disk(leech).holds(&torrent));
    let banned = |alert: &Alert| if let Alert::PeerBanned { address, .. } = alert { Some(address.ip()) } else { None };
    let banned: BTreeSet<_> = world.alerts(leech).iter().filter_map(banned).collect();
    assert_eq!(banned, [seeds[2].address().ip()].into());
}

#[test]
fn ut_pex_finds_peers_from_a_process_of_its_own() {
    let torrent = Torrent::random(4, "data.bin", 8_000_000, 64 << 10);
    let mut world = World::new(4);
    let first = add_node(&mut world, &["ut_pex"], Run::Apart);
    // Slow, so that nobody is done before they have found each other.
    world.set_line(first, 30_000, 30_000, 20);
    world.seed(first, &torrent);
    let leeches: Vec<NodeId> = (0..3).map(|_| add_node(&mut world, &["ut_pex"], Run::Apart)).collect();
    leeches.iter().for_each(|node| world.leech(*node, &torrent, &[first]));
    let met = |world: &mut World, node: NodeId| world.torrents(node)[0].num_peers == 3;
    world.run_until(180, |world| leeches.iter().all(|node| met(world, *node))).expect("they meet");
}
