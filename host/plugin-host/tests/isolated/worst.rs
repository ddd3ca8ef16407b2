//! What a plugin can do at its worst, which nothing but a process of its own contains.

use crate::rig::{PEER, Rig};
use crate::{is_running, lines, processes, wait_until};
use reef_engine::Hooks as _;
use reef_engine::hooks::{PeerEvent, SessionEvent, TorrentEvent, Verdict, peer_bits};
use reef_plugin_host::Change;
use std::fs::{self, File};

/// The number of a plugin's process.
fn process(rig: &Rig, name: &str) -> u32 {
    let plugin = rig.host.plugins().into_iter().find(|plugin| plugin.name == name).expect("it was loaded");
    plugin.process.expect("it has a process")
}

/// A plugin does `act` in the hook `at`, which `provoke` has called: it is out for `reason`, its process is gone, and another
/// plugin and the session go on.
#[track_caller]
fn check(name: &str, at: &str, act: &str, reason: &str, provoke: impl FnOnce(&mut Rig)) {
    let orders = format!("at = \"{at}\"\ndo = \"{act}\"\nclaim = \"x\"");
    let mut rig = Rig::connected(&[(name, &orders), ("two", "")]);
    let process = process(&rig, name);
    rig.handshake();
    rig.calls();
    provoke(&mut rig);
    // Where it dies between hooks the session hears of it when it next calls.
    wait_until(|| {
        rig.session(&SessionEvent::Tick);
        rig.quarantined(name).is_some()
    });
    assert_eq!(rig.quarantined(name).as_deref(), Some(reason));
    wait_until(|| !is_running(process));
    let calls = rig.calls();
    assert_eq!(calls.iter().filter(|call| *call == "plugin_quarantined").count(), 1, "{calls:?}");
    assert_eq!(rig.peer(&PeerEvent::Have(7)), Verdict::Pass);
    assert_eq!(rig.calls(), ["two on_have"]);
    assert_eq!(rig.handshake().names, [""; 0]);
}

#[test]
fn a_hook_that_never_returns_is_killed_after_the_deadline() {
    let reason = "it did not return from on_have within 3000 ms, and its process was killed";
    check("hasty", "on_have", "loop", reason, |rig| assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Pass));
}

#[test]
fn whatever_ends_the_process_ends_the_plugin_alone() {
    let dies = |act, how| {
        let reason = format!("its process {how} in on_have");
        check("one", "on_have", act, &reason, |rig| assert_eq!(rig.peer(&PeerEvent::Have(1)), Verdict::Pass));
    };
    dies("abort", "was ended by SIGABRT");
    dies("segfault", "was ended by SIGSEGV");
    dies("overflow", "was ended by SIGABRT");
    dies("exit", "exited with status 3");
    dies("exhaust", "was ended by SIGABRT");
}

#[test]
fn it_may_die_on_every_level_and_while_it_saves_or_ends() {
    let tick = |rig: &mut Rig| drop(rig.session(&SessionEvent::Tick));
    check("one", "on_tick", "abort", "its process was ended by SIGABRT in on_tick", tick);
    let metadata = |rig: &mut Rig| drop(rig.torrent(&TorrentEvent::Metadata));
    check("one", "on_metadata", "exit", "its process exited with status 3 in on_metadata", metadata);
    check(
        "one",
        "on_extension_handshake",
        "abort",
        "its process was ended by SIGABRT in on_extension_handshake",
        |rig| {
            rig.peer(&PeerEvent::ExtensionHandshake(&bytes::Bytes::from_static(b"de")));
        },
    );
    let save = |rig: &mut Rig| assert!(!rig.host.save_state().iter().any(|(key, _)| key == "plugin/one"));
    check("one", "save_state", "segfault", "its process was ended by SIGSEGV in save_state", save);
    let mut rig = Rig::connected(&[("one", "at = \"drop_peer\"\ndo = \"abort\"")]);
    rig.host.remove_peer(PEER);
    wait_until(|| {
        rig.session(&SessionEvent::Tick);
        rig.quarantined("one").is_some()
    });
    assert_eq!(rig.quarantined("one").as_deref(), Some("its process was ended by SIGABRT in drop"));
}

#[test]
fn a_thread_may_take_the_process_down_between_hooks() {
    let mut rig = Rig::new(&[("one", "at = \"new_torrent\"\ndo = \"abort_thread\""), ("two", "")]);
    rig.add();
    wait_until(|| {
        rig.host.take_requests();
        rig.quarantined("one").is_some()
    });
    let reason = rig.quarantined("one").unwrap_or_default();
    assert!(reason.starts_with("its process was ended by SIGABRT"), "{reason}");
}

#[test]
fn a_process_that_ends_between_hooks_wakes_the_session() {
    let mut rig = Rig::connected(&[("one", "quiet = true")]);
    rig.host.take_requests();
    let (woken, waits) = std::sync::mpsc::channel();
    rig.host.set_waker(Box::new(move || {
        let _ = woken.send(());
    }));
    let number = rustix::process::Pid::from_raw(process(&rig, "one").cast_signed()).expect("a process");
    rustix::process::kill_process(number, rustix::process::Signal::KILL).expect("it is ours");
    waits.recv_timeout(std::time::Duration::from_secs(60)).expect("the session is woken");
    rig.host.take_requests();
    assert_eq!(rig.quarantined("one").as_deref(), Some("its process was ended by SIGKILL"));
}

#[test]
fn what_does_not_start_is_one_line() {
    let check = |act: &str, reason: &str| {
        let rig = Rig::new(&[("one", &format!("at = \"create\"\ndo = \"{act}\"")), ("two", "")]);
        let [error] = rig.errors.as_slice() else { panic!("one error is awaited: {:?}", rig.errors) };
        assert!(error.contains(&format!("plugin one did not start: {reason}")), "{error}");
        assert_eq!(rig.host.plugins().len(), 1);
    };
    check("abort", "its process was ended by SIGABRT in create");
    check("error", "ordered to fail");
    check("panic", "panic in create: ordered to panic (at tests/plugins/evil/src/lib.rs:");
}

#[test]
fn a_program_that_is_no_reef_is_one_line() {
    let rig = Rig::new(&[("programless", "")]);
    let [error] = rig.errors.as_slice() else { panic!("one error is awaited: {:?}", rig.errors) };
    assert!(error.ends_with("plugin programless did not start: its process exited with status 0 in load"), "{error}");
}

#[test]
fn a_process_is_started_where_the_file_is_opened_and_the_session_does_not_wait_for_it() {
    let mut rig = Rig::connected(&[("opened", "")]);
    let old = process(&rig, "opened");
    let image = rig.version("opened", "0.2.0");
    let two = processes("opened");
    let [new] = two.iter().filter(|number| **number != old).copied().collect::<Vec<_>>()[..] else {
        panic!("one more than {old} is awaited: {two:?}")
    };
    rig.change(Change::Replace(image)).expect("it is good");
    assert_eq!(process(&rig, "opened"), new);
    // One whose image is of no use to anybody.
    drop(rig.version("opened", "0.3.0"));
    wait_until(|| processes("opened") == [new]);
}

#[test]
fn a_process_that_ends_while_it_waits_for_its_instance_leaves_the_version_before() {
    let mut rig = Rig::connected(&[("waits", "")]);
    let old = process(&rig, "waits");
    let image = rig.version("waits", "0.2.0");
    for number in processes("waits").into_iter().filter(|number| *number != old) {
        let number = rustix::process::Pid::from_raw(number.cast_signed()).expect("a process");
        rustix::process::kill_process(number, rustix::process::Signal::KILL).expect("it is ours");
    }
    let error = rig.change(Change::Replace(image)).expect_err("there is no process");
    let reason = "plugin waits was not replaced, the version before goes on: ";
    assert!(error.contains(reason) && error.contains("its process was ended by SIGKILL in create"), "{error}");
    assert_eq!(process(&rig, "waits"), old);
}

#[test]
fn hooks_about_blocks_are_off_unless_they_are_asked_for() {
    let mask = |name| {
        let mut rig = Rig::new(&[(name, "")]);
        rig.add().1
    };
    let (without, with) = (mask("blockless"), mask("one"));
    assert_eq!((without & peer_bits::Piece, with & peer_bits::Piece), (0, peer_bits::Piece));
    assert_eq!(without | peer_bits::Piece, with);
    let said = |line: &str| line.contains("plugin blockless is not asked about blocks (on_piece)");
    assert!(lines().iter().any(|line| said(line)));
}

#[test]
fn a_process_ends_with_its_objects() {
    let mut rig = Rig::connected(&[("one", ""), ("two", "")]);
    let processes = [process(&rig, "one"), process(&rig, "two")];
    assert!(processes.into_iter().all(is_running));
    rig.change(Change::Withdraw("one".to_owned())).expect("it takes part");
    wait_until(|| !is_running(processes[0]));
    assert!(is_running(processes[1]));
    drop(rig);
    wait_until(|| !is_running(processes[1]));
}

#[test]
fn a_process_has_no_file_that_was_left_open_by_accident() {
    let folder = tempfile::tempdir().expect("a folder");
    let stray = folder.path().join("stray");
    let file = File::create(&stray).expect("writable");
    // As a library does that knows nothing of processes to come.
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("a file");
    let rig = Rig::connected(&[("one", "")]);
    let open = fs::read_dir(format!("/proc/{}/fd", process(&rig, "one"))).expect("Linux lists them");
    let open: Vec<_> = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    assert!(!open.is_empty() && !open.contains(&stray), "{open:?}");
}

#[test]
fn what_it_logs_and_prints_reaches_the_log() {
    let _rig = Rig::connected(&[("talks", "at = \"added\"\ndo = \"print\"")]);
    let all = [
        "plugin:talks:evil_plugin evil plugin created",
        "plugin:talks its process says: printed",
        "plugin:talks its process says: in two lines",
        "plugin:talks its process says: and an error",
    ];
    wait_until(|| all.iter().all(|line| lines().iter().any(|logged| logged == line)));
}
