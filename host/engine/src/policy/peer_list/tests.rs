//! Tables for single decisions, and random histories for the invariant.

use super::*;
use proptest::prelude::*;

const TRACKER: PeerSource = PeerSource::TRACKER;
const PEX: PeerSource = PeerSource::PEX;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nth(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6881))
}

fn list(max_size: usize) -> PeerList {
    PeerList::new(Limits { max_size, ..Limits::default() })
}

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn add(list: &mut PeerList, addr: SocketAddr, source: PeerSource) -> Added {
    let added = list.add(addr, source, PeerFlags::default(), at(0));
    list.check_invariant();
    added
}

#[test]
fn what_cannot_be_a_peer_is_filtered() {
    let mut list = list(0);
    list.set_own(&[addr("192.168.1.5:6881"), addr("[2001:db8::5]:6881")], Some(addr("203.0.113.9:6881")));
    list.ban(addr("198.51.100.1:1"));
    let bad = [
        "1.2.3.4:0",
        "0.0.0.0:6881",
        "0.1.2.3:6881",
        "255.255.255.255:6881",
        "224.0.0.1:6881",
        "239.255.255.250:1900",
        "[::]:6881",
        "[ff02::1]:6881",
        "[::ffff:0.0.0.0]:6881",
        "192.168.1.5:6881",
        "[2001:db8::5]:6881",
        "[::ffff:192.168.1.5]:6881",
        "203.0.113.9:6881",
        "198.51.100.1:6881",
        "[::ffff:198.51.100.1]:6881",
    ];
    for text in bad {
        let want = Added { first_time: true, filtered: true, kept: false };
        assert_eq!(add(&mut list, addr(text), TRACKER), want, "{text}");
    }
    assert!(list.is_empty() && list.candidate(at(0), 0).is_none());
    for text in ["192.168.1.5:6882", "127.0.0.1:1", "[2001:db8::5]:6882", "203.0.113.9:1"] {
        assert_eq!(add(&mut list, addr(text), TRACKER), Added { first_time: true, filtered: false, kept: true });
    }
    let again = add(&mut list, addr("[::ffff:127.0.0.1]:1"), PEX);
    assert_eq!(again, Added { first_time: false, filtered: false, kept: true });
    assert_eq!(list.get(addr("127.0.0.1:1")).unwrap().source, TRACKER.with(PEX));
}

#[test]
fn learning_our_own_address_forgets_it() {
    let mut list = list(0);
    add(&mut list, nth(1), TRACKER);
    list.set_own(&[], Some(nth(1)));
    list.check_invariant();
    assert!(list.is_empty());
}

#[test]
fn a_candidate_is_given_once() {
    let mut list = list(0);
    add(&mut list, nth(1), TRACKER);
    assert!(list.has_candidate(at(0)));
    assert_eq!(list.candidate(at(0), 7), Some(nth(1)));
    assert_eq!(list.candidate(at(0), 7), None);
    assert!(!list.has_candidate(at(0)));
    list.check_invariant();
}

#[test]
fn order_is_failures_then_untried_then_source() {
    let mut list = list(0);
    add(&mut list, nth(1), PEX);
    add(&mut list, nth(2), TRACKER);
    add(&mut list, nth(3), PeerSource::DHT);
    add(&mut list, nth(4), TRACKER);
    add(&mut list, nth(5), PEX);
    for (n, outcome) in [(4, Outcome::Failed), (5, Outcome::Closed)] {
        list.connected(nth(n), at(0));
        list.disconnected(nth(n), at(0), outcome);
        list.check_invariant();
    }
    let order: Vec<_> = std::iter::from_fn(|| list.candidate(at(1000), 0)).collect();
    assert_eq!(order, [2, 3, 1, 5, 4].map(nth));
}

#[test]
fn each_failure_makes_the_wait_longer_until_the_last() {
    let mut list = list(0);
    add(&mut list, nth(1), TRACKER);
    let mut now = 0;
    for wait in [60, 120] {
        assert_eq!(list.candidate(at(now), 0), Some(nth(1)));
        list.disconnected(nth(1), at(now), Outcome::Failed);
        assert_eq!(list.next_candidate_at(), Some(at(now + wait)));
        assert_eq!(list.candidate(at(now + wait - 1), 0), None);
        now += wait;
    }
    assert_eq!(list.candidate(at(now), 0), Some(nth(1)));
    list.disconnected(nth(1), at(now), Outcome::Failed);
    assert_eq!(list.next_candidate_at(), None);
    assert_eq!(list.candidate(at(1_000_000), 0), None);
    list.check_invariant();
}

#[test]
fn a_good_end_may_be_followed_by_two_quick_returns() {
    let mut list = list(0);
    add(&mut list, nth(1), TRACKER);
    for quick in [true, true, false] {
        assert_eq!(list.candidate(at(5), 0), Some(nth(1)));
        list.disconnected(nth(1), at(5), Outcome::Reconnect);
        assert_eq!(list.has_candidate(at(5)), quick);
    }
    assert_eq!(list.candidate(at(65), 0), Some(nth(1)));
    list.disconnected(nth(1), at(65), Outcome::Useless);
    assert_eq!(list.candidate(at(1_000_000), 0), None);
}

#[test]
fn priority_of_bep_40_decides_among_equals() {
    let mut list = list(0);
    let own = addr("123.213.32.10:0");
    list.set_own(&[], Some(own));
    let peers = ["98.76.54.32:1", "123.213.32.234:1", "5.6.7.8:1"].map(addr);
    peers.iter().for_each(|peer| assert!(add(&mut list, *peer, TRACKER).kept));
    let order: Vec<_> = std::iter::from_fn(|| list.candidate(at(0), 99)).collect();
    let mut want = peers.to_vec();
    want.sort_by_key(|peer| std::cmp::Reverse(peer_priority(own, *peer)));
    assert_eq!(order, want);
}

#[test]
fn examples_of_bep_40() {
    let check = |a: &str, b: &str, want: u32| assert_eq!(peer_priority(addr(a), addr(b)), want, "{a} {b}");
    check("123.213.32.10:0", "98.76.54.32:0", 0xec2d_7224);
    check("123.213.32.10:0", "123.213.32.234:0", 0x9956_8189);
}

#[test]
fn without_our_address_equals_come_in_random_order() {
    let first = |random: u64| {
        let mut list = list(0);
        (1..50).for_each(|n| assert!(add(&mut list, nth(n), TRACKER).kept));
        add(&mut list, nth(60), PEX);
        list.candidate(at(0), random).unwrap()
    };
    let firsts: BTreeSet<_> = (0..50_u64).map(|n| first(n * (u64::from(u32::MAX) / 50))).collect();
    assert!(firsts.len() > 10 && !firsts.contains(&nth(60)), "{firsts:?}");
}

#[test]
fn a_seed_does_not_dial_seeds() {
    let mut list = list(0);
    list.add(nth(1), PEX, PeerFlags::SEED, at(0));
    add(&mut list, nth(2), PEX);
    list.set_finished(true);
    list.check_invariant();
    assert_eq!(std::iter::from_fn(|| list.candidate(at(0), 0)).collect::<Vec<_>>(), [nth(2)]);
    list.set_finished(false);
    assert_eq!(list.candidate(at(0), 0), Some(nth(1)));
    list.set_seed(nth(1), Seed::No);
    list.set_finished(true);
    list.disconnected(nth(1), at(0), Outcome::Closed);
    assert_eq!(list.candidate(at(100), 0), Some(nth(1)));
}

#[test]
fn an_incoming_peer_is_dialled_only_where_it_listens() {
    let mut list = list(0);
    let from = addr("10.0.0.1:50000");
    list.connected(from, at(0));
    assert_eq!(list.listen_port_known(from, 0, at(0)), Merged::Unchanged);
    assert_eq!(list.listen_port_known(from, 6881, at(0)), Merged::Moved(nth(1)));
    list.check_invariant();
    assert_eq!(list.listen_port_known(from, 6881, at(0)), Merged::Unchanged);
    assert_eq!((list.len(), list.get(from)), (1, None));
    list.disconnected(nth(1), at(0), Outcome::Closed);
    assert_eq!(list.candidate(at(60), 0), Some(nth(1)));

    let stranger = addr("10.0.0.2:50000");
    list.connected(stranger, at(0));
    list.disconnected(stranger, at(0), Outcome::Closed);
    list.check_invariant();
    assert_eq!(list.get(stranger), None, "nobody knows where it listens");
}

#[test]
fn a_second_connection_to_a_listen_port_is_a_duplicate() {
    let mut list = list(0);
    add(&mut list, nth(1), TRACKER);
    list.candidate(at(0), 0);
    let from = addr("10.0.0.1:50000");
    list.connected(from, at(0));
    assert_eq!(list.listen_port_known(from, 6881, at(0)), Merged::Duplicate(nth(1)));
    list.disconnected(from, at(0), Outcome::Closed);
    assert!(list.get(nth(1)).unwrap().busy && list.len() == 1);

    add(&mut list, nth(2), TRACKER);
    let from = addr("10.0.0.2:50000");
    list.connected(from, at(0));
    list.punish(from);
    assert_eq!(list.listen_port_known(from, 6881, at(0)), Merged::Moved(nth(2)));
    let known = list.get(nth(2)).unwrap();
    assert_eq!((known.source, known.trust), (TRACKER.with(PeerSource::INCOMING), -2));
    list.check_invariant();
}

#[test]
fn a_full_list_gives_up_the_worst_for_a_better_one() {
    let mut list = list(3);
    for n in 1..=3 {
        assert!(add(&mut list, nth(n), PEX).kept);
    }
    assert_eq!(add(&mut list, nth(4), PEX), Added { first_time: true, filtered: false, kept: false });
    assert!(add(&mut list, nth(5), TRACKER).kept, "a tracker's word is worth more");
    assert_eq!(list.candidate(at(0), 0), Some(nth(5)));
    list.disconnected(nth(5), at(0), Outcome::Failed);
    assert!(add(&mut list, nth(6), PEX).kept);
    assert_eq!(list.get(nth(5)), None, "one that failed goes first");
    for _ in 0..3 {
        list.candidate(at(0), 0);
    }
    assert!(!add(&mut list, nth(7), TRACKER).kept, "connected ones stay");
    assert_eq!(list.len(), 3);
}

#[test]
fn trust_is_gained_slowly_and_lost_fast() {
    let mut list = list(0);
    add(&mut list, nth(1), PEX);
    assert_eq!((0..10).map(|_| list.reward(nth(1))).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]);
    assert_eq!((0..9).map(|_| list.punish(nth(1))).collect::<Vec<_>>(), [6, 4, 2, 0, -2, -4, -6, -7, -7]);
    assert_eq!(list.punish(nth(2)), 0);
}

#[test]
fn a_ban_counts_for_every_port_of_the_host() {
    let mut list = list(0);
    add(&mut list, addr("10.0.0.1:1"), PEX);
    add(&mut list, nth(1), PEX);
    add(&mut list, nth(2), PEX);
    list.connected(nth(1), at(0));
    list.ban(nth(1));
    list.check_invariant();
    assert!(list.is_banned(nth(1).ip()) && !list.is_banned(nth(2).ip()));
    assert!(list.is_banned("::ffff:10.0.0.1".parse().unwrap()));
    list.disconnected(nth(1), at(0), Outcome::Closed);
    list.check_invariant();
    assert_eq!(list.iter().map(|(addr, _)| addr).collect::<Vec<_>>(), [nth(2)]);
    assert_eq!(list.banned().collect::<Vec<_>>(), [nth(1).ip()]);
}

#[derive(Clone, Debug)]
enum Op {
    Add(u8, u8, u8),
    Candidate(u64),
    Connected(u8, u16),
    Disconnected(usize, u8),
    Listen(usize, u8),
    Ban(u8),
    Finished(bool),
    Own(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..20_u8, 0..6_u8, 0..4_u8).prop_map(|(a, b, c)| Op::Add(a, b, c)),
        4 => any::<u64>().prop_map(Op::Candidate),
        2 => (0..20_u8, 6880..6883_u16).prop_map(|(a, b)| Op::Connected(a, b)),
        4 => (any::<usize>(), 0..4_u8).prop_map(|(a, b)| Op::Disconnected(a, b)),
        1 => (any::<usize>(), 0..3_u8).prop_map(|(a, b)| Op::Listen(a, b)),
        1 => (0..20_u8).prop_map(Op::Ban),
        1 => any::<bool>().prop_map(Op::Finished),
        1 => (0..20_u8).prop_map(Op::Own),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn queues_and_states_agree(ops in proptest::collection::vec((op(), 0..40_u64), 1..120)) {
        let mut list = list(8);
        let mut busy: BTreeSet<SocketAddr> = BTreeSet::new();
        let mut now = 0;
        for (op, passed) in ops {
            now += passed;
            let picked = |busy: &BTreeSet<SocketAddr>, n: usize| busy.iter().nth(n % busy.len().max(1)).copied();
            match op {
                Op::Add(n, source, flags) => {
                    let before = list.len();
                    let added = list.add(nth(n), PeerSource(1 << source), PeerFlags(flags), at(now));
                    prop_assert!(list.len() <= before.max(8));
                    prop_assert_eq!(added.kept, list.get(nth(n)).is_some());
                }
                Op::Candidate(random) => {
                    if let Some(addr) = list.candidate(at(now), random) {
                        prop_assert!(busy.insert(addr));
                        prop_assert!(!list.is_banned(addr.ip()));
                    }
                }
                Op::Connected(n, port) => {
                    let addr = SocketAddr::from(([10, 0, 0, n], port));
                    list.connected(addr, at(now));
                    busy.insert(addr);
                }
                Op::Disconnected(n, outcome) => {
                    if let Some(addr) = picked(&busy, n) {
                        let all = [Outcome::Failed, Outcome::Closed, Outcome::Reconnect, Outcome::Useless];
                        list.disconnected(addr, at(now), all[usize::from(outcome)]);
                        busy.remove(&addr);
                    }
                }
                Op::Listen(n, port) => {
                    if let Some(addr) = picked(&busy, n)
                        && let Merged::Moved(to) = list.listen_port_known(addr, 6880 + u16::from(port), at(now))
                    {
                        busy.remove(&addr);
                        busy.insert(to);
                    }
                }
                Op::Ban(n) => list.ban(nth(n)),
                Op::Finished(finished) => list.set_finished(finished),
                Op::Own(n) => list.set_own(&[nth(n)], None),
            }
            list.check_invariant();
            let known: BTreeSet<SocketAddr> = list.iter().filter(|(_, k)| k.busy).map(|(addr, _)| addr).collect();
            prop_assert_eq!(&known, &busy);
        }
    }
}
