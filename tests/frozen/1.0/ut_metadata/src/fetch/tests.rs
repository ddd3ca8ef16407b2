//! A search without peers: claims and blocks in, requests and verdicts out.

use super::*;
use crate::message::BLOCK;

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);
const C: PeerKey = PeerKey(3);
const SECOND: u64 = 1_000_000;

/// Three blocks, the last one of 5 bytes.
fn truth() -> Vec<u8> {
    (0..2 * BLOCK + 5).map(|at| (at / 7) as u8).collect()
}

fn lie() -> Vec<u8> {
    truth().iter().map(|byte| byte ^ 1).collect()
}

fn v1(bytes: &[u8]) -> Hashes {
    Hashes { v1: Some(Sha1::digest(bytes).into()), v2: None }
}

fn search(sources: &[(PeerKey, i64)]) -> Fetch {
    let mut fetch = Fetch::new(v1(&truth()));
    sources.iter().for_each(|(peer, size)| fetch.set_source(*peer, Claim::of(Some(*size))));
    fetch
}

fn size(bytes: &[u8]) -> i64 {
    bytes.len() as i64
}

/// The peer sends this block of `from`.
fn answer(fetch: &mut Fetch, peer: PeerKey, piece: u32, from: &[u8], now: u64) -> Outcome {
    let start = (piece * BLOCK) as usize;
    let block = &from[start..from.len().min(start + BLOCK as usize)];
    fetch.on_data(peer, &Data { piece: piece.into(), total_size: Some(size(from)), block }, now, 0)
}

/// Each peer in turn is asked and answers, until nobody is asked any more or the dictionary is there.
fn run(fetch: &mut Fetch, peers: &[(PeerKey, &[u8])], now: u64) -> (Option<Vec<u8>>, Vec<usize>) {
    let mut wrong = Vec::new();
    let mut idle = false;
    while !idle {
        idle = true;
        for (peer, from) in peers {
            let Some(piece) = fetch.ask(*peer, now) else { continue };
            idle = false;
            match answer(fetch, *peer, piece, from, now) {
                Outcome::Complete(bytes) => return (Some(bytes), wrong),
                Outcome::Wrong(senders) => wrong.push(senders),
                Outcome::Incomplete => (),
            }
        }
    }
    (None, wrong)
}

#[test]
fn claims_outside_of_the_bounds_are_not_asked() {
    let table = [
        (None, Claim::Unknown),
        (Some(0), Claim::Unusable),
        (Some(-1), Claim::Unusable),
        (Some(1), Claim::Size(1)),
        (Some(MAX_SIZE.into()), Claim::Size(MAX_SIZE)),
        (Some(i64::from(MAX_SIZE) + 1), Claim::Unusable),
        (Some(1 << 40), Claim::Unusable),
    ];
    for (size, claim) in table {
        assert_eq!(Claim::of(size), claim, "{size:?}");
    }
    assert_eq!(search(&[(A, 1 << 40)]).ask(A, 0), None);
}

#[test]
fn all_known_hashes_must_fit() {
    let bytes = truth();
    let v1 = Some(Sha1::digest(&bytes).into());
    let v2 = Some(Sha256::digest(&bytes).into());
    let wrong = Some([0; 32]);
    let table = [
        (Hashes { v1, v2: None }, true),
        (Hashes { v1: None, v2 }, true),
        (Hashes { v1, v2 }, true),
        (Hashes { v1, v2: wrong }, false),
        (Hashes { v1: Some([0; 20]), v2 }, false),
        (Hashes { v1: None, v2: None }, false),
    ];
    for (hashes, fits) in table {
        assert_eq!(hashes.fit(&bytes), fits, "{hashes:?}");
    }
}

#[test]
fn two_requests_a_peer_and_the_dictionary_is_shared_out() {
    let mut fetch = search(&[(A, size(&truth())), (B, size(&truth()))]);
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0), fetch.ask(A, 0)], [Some(0), Some(1), None]);
    assert_eq!([fetch.ask(B, 0), fetch.ask(B, 0)], [Some(2), None]);
    assert_eq!(answer(&mut fetch, B, 2, &truth(), 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, A, 1, &truth(), 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, A, 0, &truth(), 0), Outcome::Complete(truth()));
}

#[test]
fn what_a_lost_peer_was_asked_for_is_asked_elsewhere_at_once() {
    let mut fetch = search(&[(A, size(&truth())), (B, size(&truth()))]);
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0)], [Some(0), Some(1)]);
    assert_eq!([fetch.ask(B, 0), fetch.ask(B, 0)], [Some(2), None]);
    fetch.remove_source(A);
    assert_eq!([fetch.ask(B, 0), fetch.ask(B, 0)], [Some(0), None]);
}

#[test]
fn a_silent_peer_delays_a_block_by_three_seconds() {
    let mut fetch = search(&[(A, size(&truth())), (B, size(&truth()))]);
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0)], [Some(0), Some(1)]);
    assert_eq!([fetch.ask(B, 0), fetch.ask(B, 0)], [Some(2), None]);
    assert_eq!(answer(&mut fetch, B, 2, &truth(), 0), Outcome::Incomplete);
    assert_eq!(
        [fetch.ask(B, 3 * SECOND - 1), fetch.ask(B, 3 * SECOND), fetch.ask(B, 3 * SECOND)],
        [None, Some(0), Some(1)]
    );
}

#[test]
fn a_refusal_is_final_for_a_minute() {
    let mut fetch = search(&[(A, size(&truth()))]);
    assert_eq!(fetch.ask(A, 0), Some(0));
    fetch.on_reject(A, 1, 0);
    fetch.on_reject(A, -1, 0);
    assert_eq!(fetch.ask(A, 0), Some(1), "what was not asked cannot be refused");
    fetch.on_reject(A, 0, 0);
    assert_eq!([fetch.ask(A, 59 * SECOND), fetch.ask(A, 60 * SECOND)], [None, None]);
    assert_eq!(fetch.ask(A, 120 * SECOND), Some(2), "the other request was never answered, which is a refusal too");
}

#[test]
fn a_peer_that_claims_nothing_is_asked_for_the_first_block() {
    let mut fetch = Fetch::new(v1(&truth()));
    fetch.set_source(A, Claim::Unknown);
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0)], [Some(0), None]);
    assert_eq!(answer(&mut fetch, A, 0, &truth(), 0), Outcome::Incomplete);
    fetch.set_source(A, Claim::Unknown);
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0), fetch.ask(A, 0)], [Some(1), Some(2), None]);
}

#[test]
fn unsolicited_and_unfitting_blocks_are_dropped() {
    let mut fetch = search(&[(A, size(&truth()))]);
    assert_eq!(answer(&mut fetch, A, 0, &truth(), 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, C, 0, &truth(), 0), Outcome::Incomplete);
    assert!(fetch.assemblies.is_empty());
    let table: [(Option<i64>, &[u8]); 4] = [
        (Some(7), &[0; BLOCK as usize]),
        (Some(-1), &[0; BLOCK as usize]),
        (None, &[0; 4]),
        (Some(size(&truth())), &[]),
    ];
    for (now, (total_size, block)) in (0..).map(|n| n * 100 * SECOND).zip(table) {
        let piece = fetch.ask(A, now).expect("a minute has passed").into();
        assert_eq!(fetch.on_data(A, &Data { piece, total_size, block }, now, 0), Outcome::Incomplete);
        assert_eq!(fetch.assemblies.values().map(Assembly::stored).sum::<usize>(), 0);
        assert_eq!(fetch.ask(A, now + 59 * SECOND), None, "asked again at once it would answer so again");
    }
}

#[test]
fn a_lie_about_the_size_stalls_nobody() {
    let short = vec![0; BLOCK as usize];
    let mut fetch = search(&[(A, size(&short)), (B, size(&truth()))]);
    let (found, wrong) = run(&mut fetch, &[(A, &short), (B, &truth())], 0);
    assert_eq!((found, wrong), (Some(truth()), vec![1]));
}

#[test]
fn a_peer_that_lied_alone_is_left_alone_for_five_minutes() {
    let mut fetch = search(&[(A, size(&lie()))]);
    assert_eq!(run(&mut fetch, &[(A, &lie())], 0), (None, vec![1]));
    fetch.set_source(A, Claim::Size(9));
    assert_eq!(
        [fetch.ask(A, 299 * SECOND), fetch.ask(A, 300 * SECOND)],
        [None, Some(0)],
        "another claim changes nothing"
    );
}

#[test]
fn two_liars_and_one_honest_peer_of_one_size_end_well() {
    for order in [[A, B, C], [B, C, A], [C, A, B]] {
        let (lie, truth) = (lie(), truth());
        let mut other = truth.clone();
        other[0] ^= 2;
        let mut fetch = search(&order.map(|peer| (peer, size(&truth))));
        let peers = order.map(|peer| {
            (
                peer,
                if peer == A {
                    &truth[..]
                } else if peer == B {
                    &lie
                } else {
                    &other
                },
            )
        });
        let (found, wrong) = run(&mut fetch, &peers, 0);
        assert_eq!(found, Some(truth), "{order:?} {wrong:?}");
        assert_eq!(wrong.first(), Some(&3), "{order:?}");
    }
}

#[test]
fn after_a_shared_failure_nobody_is_asked_twice_for_what_it_sent() {
    let (lie, truth) = (lie(), truth());
    let mut fetch = search(&[(A, size(&truth)), (B, size(&truth))]);
    let asked = [fetch.ask(A, 0), fetch.ask(B, 0), fetch.ask(B, 0)];
    assert_eq!(asked, [Some(0), Some(1), Some(2)]);
    assert_eq!(answer(&mut fetch, A, 0, &truth, 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, B, 1, &lie, 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, B, 2, &lie, 0), Outcome::Wrong(2));
    assert_eq!([fetch.ask(A, 0), fetch.ask(A, 0)], [Some(1), Some(2)]);
    assert_eq!([fetch.ask(B, 0), fetch.ask(B, 0)], [Some(0), None]);
    assert_eq!(answer(&mut fetch, B, 0, &lie, 0), Outcome::Wrong(1));
    assert_eq!(answer(&mut fetch, A, 1, &truth, 0), Outcome::Incomplete);
    assert_eq!(answer(&mut fetch, A, 2, &truth, 0), Outcome::Complete(truth));
}

#[test]
fn nothing_is_left_of_peers_that_are_gone() {
    let mut fetch = search(&[(A, size(&truth())), (B, 9)]);
    for (peer, claim) in [(A, Claim::Unusable), (B, Claim::Size(77)), (B, Claim::Size(78))] {
        fetch.ask(peer, 0);
        fetch.set_source(peer, claim);
        fetch.ask(peer, 0);
    }
    fetch.remove_source(A);
    fetch.remove_source(B);
    assert!(fetch.sources.is_empty() && fetch.assemblies.is_empty() && fetch.apart.is_empty());
}

#[test]
fn memory_is_bounded_and_the_assembly_with_many_claimants_stays() {
    let honest: Vec<PeerKey> = (100..110).map(PeerKey).collect();
    let mut fetch = search(&honest.iter().map(|peer| (*peer, size(&truth()))).collect::<Vec<_>>());
    assert_eq!(fetch.ask(honest[0], 0), Some(0));
    assert_eq!(answer(&mut fetch, honest[0], 0, &truth(), 0), Outcome::Incomplete);
    for liar in 0..3 {
        let peer = PeerKey(liar);
        let lie = vec![0; (MAX_SIZE - liar as u32) as usize];
        fetch.set_source(peer, Claim::of(Some(size(&lie))));
        for _ in 0..MAX_SIZE / BLOCK - 1 {
            let Some(piece) = fetch.ask(peer, 0) else { break };
            assert_eq!(answer(&mut fetch, peer, piece, &lie, 0), Outcome::Incomplete);
        }
    }
    let stored: usize = fetch.assemblies.values().map(Assembly::stored).sum();
    assert!(stored <= MAX_STORED, "{stored}");
    assert_eq!(fetch.assemblies.keys().filter(|(claimed, _)| i64::from(*claimed) == size(&truth())).count(), 1);
    let waiting = fetch.sources.values().filter(|source| source.not_before >= DROPPED).count();
    assert_eq!(waiting, 1, "one was dropped");
}
