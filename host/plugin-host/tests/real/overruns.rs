//! Hooks that take too long in this process: one of its own has a deadline instead.

use crate::rig::Rig;
use reef_engine::hooks::PeerEvent;

#[test]
fn hooks_that_overrun_their_time_again_and_again_are_too_much() {
    let mut rig = Rig::connected(&[("one", "at = \"on_have\"\ndo = \"slow\""), ("two", "")]);
    // Each takes three budgets; the watchdog sees nearly all of them.
    for _ in 0..200 {
        rig.peer(&PeerEvent::Have(1));
        if rig.quarantined("one").is_some() {
            break;
        }
    }
    let reason = rig.quarantined("one").expect("it was seen");
    assert!(reason.contains("its hooks overran their 10 ms 21 times in a minute, on_have with "), "{reason}");
    assert_eq!(rig.quarantined("two"), None);
}
