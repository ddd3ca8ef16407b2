//! What a hook costs: `cargo bench -p reef-plugin-host`. Prints nanoseconds a call, the best of five rounds.

#[path = "../tests/real/rig.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod rig;

use reef_engine::hooks::{ExtendedMessage, PeerEvent, Verdict};
use reef_plugin_host::{Change, Isolation, PLUGIN_PROCESS, own_program, run_plugin_process};
use rig::Rig;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The plugin `apart` runs in a process of its own.
fn isolation(_: &[(&str, &str)]) -> (BTreeMap<String, Isolation>, Option<PathBuf>) {
    let isolation = Isolation { deadline: Duration::from_secs(60), block_hooks: true, ..Isolation::default() };
    ([("apart".to_owned(), isolation)].into(), own_program())
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|first| first == PLUGIN_PROCESS) {
        return run_plugin_process();
    }
    // `cargo test` runs this too, to see that it works.
    let calls = if std::env::args().any(|arg| arg == "--bench") { 2_000_000 } else { 1000 };
    let quiet = "quiet = true\nclaim = \"x_bench\"";
    measure("no plugin at the peer", calls, &mut Rig::connected(&[]), PeerEvent::Have);
    let mut one = Rig::connected(&[("evil", quiet)]);
    one.handshake();
    measure("a hook that one plugin implements", calls, &mut one, PeerEvent::Have);
    measure("a hook that it does not (engines test the mask before)", calls, &mut one, |_| PeerEvent::Choke);
    let payload = bytes::Bytes::from_static(b"abc");
    let message = |_| PeerEvent::Extended(ExtendedMessage { name: "x_other", payload: &payload });
    measure("a message of somebody else", calls, &mut one, message);
    let mut three = Rig::connected(&[("aaa", quiet), ("bbb", quiet), ("ccc", quiet)]);
    measure("a hook that three plugins implement", calls, &mut three, PeerEvent::Have);
    apart(calls / 1000, quiet);
    ExitCode::SUCCESS
}

/// The same where the plugin runs in a process of its own.
fn apart(calls: u32, quiet: &str) {
    let mut apart = Rig::connected(&[("apart", quiet)]);
    apart.handshake();
    measure("a hook in a process of its own", calls, &mut apart, PeerEvent::Have);
    let bytes = bytes::Bytes::from(vec![7; 16 << 10]);
    let handshake = |_| PeerEvent::ExtensionHandshake(&bytes);
    measure("a hook with 16 KiB in a process of its own", calls, &mut apart, handshake);
    let mut asking = Rig::connected(&[("apart", "claim = \"x_bench\"")]);
    measure("a hook there that posts an alert", calls, &mut asking, PeerEvent::Have);
    replace(&mut apart);
}

/// How long the session waits while a new version takes the place of one, with a process of its own each.
fn replace(rig: &mut Rig) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let image = rig.version("apart", "0.2.0");
        let start = Instant::now();
        rig.change(Change::Replace(image)).expect("it is good");
        best = best.min(start.elapsed());
    }
    println!("{:7.1} ms  a plugin in a process of its own replaced by another", best.as_secs_f64() * 1e3);
}

fn measure<'a>(what: &str, calls: u32, rig: &mut Rig, event: impl Fn(u32) -> PeerEvent<'a>) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let start = Instant::now();
        for n in 0..calls {
            assert_eq!(black_box(rig.peer(&event(n))), Verdict::Pass);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    println!("{best:7.1} ns  {what}");
}
