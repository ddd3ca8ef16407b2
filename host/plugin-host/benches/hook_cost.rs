//! What a hook costs: `cargo bench -p reef-plugin-host`. Prints nanoseconds a call, the best of five rounds.

#[path = "../tests/real/rig.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod rig;

use reef_engine::hooks::{ExtendedMessage, PeerEvent, Verdict};
use rig::Rig;
use std::hint::black_box;
use std::time::Instant;

fn main() {
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
