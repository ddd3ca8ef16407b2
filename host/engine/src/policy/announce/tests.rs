//! A table of trackers' answers, and what is announced next.

use super::*;

fn at(seconds: u64) -> Time {
    Time::from_secs(seconds)
}

fn announcer(tiers: &[&[&str]]) -> Announcer {
    let tiers: Vec<Vec<String>> = tiers.iter().map(|tier| tier.iter().map(|url| (*url).to_owned()).collect()).collect();
    Announcer::new(&tiers, Rules::default(), 0)
}

fn started(tiers: &[&[&str]]) -> Announcer {
    let mut announcer = announcer(tiers);
    announcer.start(at(0));
    announcer
}

#[track_caller]
fn check(announcer: &mut Announcer, now: u64, want: &[(&str, Event)]) -> Vec<Announce> {
    let due = announcer.poll(at(now));
    assert_eq!(due.iter().map(|a| (a.url.as_str(), a.event)).collect::<Vec<_>>(), want);
    assert!(announcer.next_timeout().is_none_or(|next| next > at(now)), "it would be polled in a loop");
    due
}

fn ok(interval: u64) -> Answer {
    Answer { interval: Some(interval), ..Answer::default() }
}

#[test]
fn started_completed_and_stopped_are_said_once() {
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    check(&mut announcer, 500, &[]);
    announcer.reply(0, at(1), &ok(1000));
    assert_eq!(announcer.next_timeout(), Some(at(1001)));
    check(&mut announcer, 1001, &[("a", Event::None)]);
    announcer.reply(0, at(1001), &ok(1000));
    announcer.completed(at(1002));
    check(&mut announcer, 1002, &[("a", Event::Completed)]);
    announcer.reply(0, at(1002), &ok(1000));
    check(&mut announcer, 2002, &[("a", Event::None)]);
    announcer.reply(0, at(2002), &ok(1000));
    let stops = announcer.stop();
    assert_eq!(stops.iter().map(|a| a.event).collect::<Vec<_>>(), [Event::Stopped]);
    assert!(announcer.is_waiting() && announcer.stop().is_empty());
    announcer.reply(0, at(2003), &ok(1000));
    assert!(!announcer.is_waiting());
    assert_eq!(announcer.next_timeout(), None);
    announcer.start(at(3000));
    check(&mut announcer, 3000, &[("a", Event::Started)]);
}

#[test]
fn an_event_that_was_not_heard_is_said_again() {
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.completed(at(0));
    announcer.failed(0, at(0), "no", RetryIn::Unknown);
    let next = announcer.next_timeout().unwrap();
    check(&mut announcer, next.as_secs() + 1, &[("a", Event::Started)]);
    announcer.reply(0, at(100), &ok(1000));
    check(&mut announcer, 100, &[("a", Event::Completed)]);
    announcer.failed(0, at(100), "no", RetryIn::Unknown);
    check(&mut announcer, 200, &[("a", Event::Completed)]);
    announcer.reply(0, at(200), &ok(1000));
    check(&mut announcer, 1200, &[("a", Event::None)]);
}

#[test]
fn a_download_that_was_complete_before_is_not_completed() {
    let mut announcer = announcer(&[&["a"]]);
    announcer.completed(at(0));
    announcer.start(at(0));
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.reply(0, at(0), &ok(1000));
    check(&mut announcer, 1000, &[("a", Event::None)]);
}

#[test]
fn a_completion_that_was_not_heard_of_comes_before_the_goodbye() {
    let said = |announcer: &mut Announcer| -> Vec<(Event, bool)> {
        announcer.stop().into_iter().map(|announce| (announce.event, announce.in_turn)).collect()
    };
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.completed(at(1));
    assert_eq!(said(&mut announcer.clone()), [(Event::Completed, true), (Event::Stopped, true)]);
    announcer.reply(0, at(1), &ok(1800));
    assert_eq!(said(&mut announcer.clone()), [(Event::Completed, false), (Event::Stopped, true)]);
    check(&mut announcer, 1, &[("a", Event::Completed)]);
    assert_eq!(said(&mut announcer.clone()), [(Event::Stopped, true)]);
    announcer.reply(0, at(2), &ok(1800));
    assert_eq!(said(&mut announcer), [(Event::Stopped, false)]);
    announcer.start(at(3));
    announcer.completed(at(3));
    assert_eq!(said(&mut announcer), [(Event::Stopped, false)], "the goodbye before is still on its way");
}

#[test]
fn only_trackers_that_may_know_us_are_told_that_we_stop() {
    let mut announcer = started(&[&["a"], &["b"], &["c"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.failed(0, at(0), "no", RetryIn::Unknown);
    check(&mut announcer, 0, &[("b", Event::Started)]);
    let urls: Vec<_> = announcer.stop().into_iter().map(|a| a.url).collect();
    assert_eq!(urls, ["b"], "a never answered, b may have heard us");
}

#[test]
fn a_later_tier_serves_while_the_first_fails() {
    let mut announcer = started(&[&["a"], &["b"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    check(&mut announcer, 1, &[]);
    announcer.failed(0, at(2), "down", RetryIn::Unknown);
    check(&mut announcer, 2, &[("b", Event::Started)]);
    announcer.reply(1, at(2), &ok(1000));
    check(&mut announcer, 30, &[("a", Event::Started)]);
    announcer.reply(0, at(30), &ok(600));
    check(&mut announcer, 629, &[]);
    check(&mut announcer, 2000, &[("a", Event::None)]);
}

#[test]
fn the_tracker_that_worked_comes_first_in_its_tier() {
    let mut announcer = started(&[&["a", "b", "c"], &["z"]]);
    let order = announcer.urls();
    let first = announcer.poll(at(0)).remove(0);
    announcer.failed(first.index, at(0), "no", RetryIn::Unknown);
    let second = announcer.poll(at(0)).remove(0);
    assert_eq!([&first.url, &second.url], [&order[0][0], &order[0][1]]);
    announcer.reply(second.index, at(0), &ok(1000));
    let after = announcer.urls();
    assert_eq!(after[0], [order[0][1].clone(), order[0][0].clone(), order[0][2].clone()]);
    assert_eq!(after[1], ["z"]);
    assert_eq!(announcer.next_timeout(), Some(at(1000)), "the one that works is enough");
}

#[test]
fn a_tier_is_shuffled_by_the_given_number() {
    let tier: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    let urls = |random| Announcer::new(std::slice::from_ref(&tier), Rules::default(), random).urls();
    assert_eq!(urls(1), urls(1));
    let firsts: std::collections::BTreeSet<_> = (0..100).map(|random| urls(random)[0][0].clone()).collect();
    assert_eq!(firsts.len(), 5);
    let mut sorted = urls(7).remove(0);
    sorted.sort();
    assert_eq!(sorted, tier);
}

#[test]
fn every_tier_and_every_tracker_if_told() {
    for (all_tiers, all_trackers, want) in [(false, false, 1), (true, false, 2), (false, true, 2), (true, true, 4)] {
        let mut announcer = started(&[&["a", "b"], &["c", "d"]]);
        announcer.set_rules(Rules { all_tiers, all_trackers, ..Rules::default() });
        let due = announcer.poll(at(0));
        assert_eq!(due.len(), want, "{all_tiers} {all_trackers}");
        due.iter().for_each(|a| announcer.reply(a.index, at(0), &ok(1000)));
        assert_eq!(announcer.poll(at(0)), []);
        assert_eq!(announcer.stop().len(), want);
    }
}

#[test]
fn absurd_intervals_are_bounded() {
    let table = [
        (None, None, 1800),
        (Some(0), None, 300),
        (Some(900), None, 900),
        (Some(900), Some(1200), 1200),
        (Some(900), Some(u64::MAX), 3600),
        (Some(u64::MAX), None, 6 * 3600),
    ];
    for (interval, min_interval, want) in table {
        let mut announcer = started(&[&["a"]]);
        check(&mut announcer, 0, &[("a", Event::Started)]);
        announcer.reply(0, at(0), &Answer { interval, min_interval, ..Answer::default() });
        assert_eq!(announcer.next_timeout(), Some(at(want)), "{interval:?} {min_interval:?}");
    }
}

#[test]
fn asking_by_hand_respects_the_least_interval() {
    let mut announcer = started(&[&["a"]]);
    announcer.announce_now(at(0));
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.reply(0, at(0), &ok(1800));
    announcer.announce_now(at(10));
    assert_eq!(announcer.next_timeout(), Some(at(300)));
    announcer.announce_now(at(400));
    check(&mut announcer, 400, &[("a", Event::None)]);
}

#[test]
fn waits_grow_with_failures_up_to_an_hour() {
    let mut announcer = started(&[&["a"]]);
    let mut now = at(0);
    let mut waits = Vec::new();
    for _ in 0..20 {
        assert_eq!(announcer.poll(now).len(), 1);
        announcer.failed(0, now, "no", RetryIn::Unknown);
        let next = announcer.next_timeout().unwrap();
        waits.push(next.since(now).as_millis());
        now = next;
    }
    assert_eq!(waits[..4], [17_500, 55_000, 117_500, 205_000]);
    assert_eq!(*waits.last().unwrap(), 3_600_000);
}

#[test]
fn a_tracker_may_say_when_to_come_back_or_never() {
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.failed(0, at(0), "overloaded", RetryIn::Minutes(7));
    assert_eq!(announcer.next_timeout(), Some(at(420)));
    check(&mut announcer, 420, &[("a", Event::Started)]);
    announcer.failed(0, at(420), "unregistered torrent", RetryIn::Never);
    assert_eq!((announcer.next_timeout(), announcer.status()[0].fails), (None, 2));
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    announcer.failed(0, at(0), "no", RetryIn::Minutes(u64::MAX));
    assert_eq!(announcer.next_timeout(), Some(at(6 * 3600)));
}

#[test]
fn what_a_tracker_said_is_kept() {
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    let answer = Answer {
        interval: Some(600),
        tracker_id: Some(b"id".to_vec()),
        seeds: Some(3),
        leeches: Some(4),
        warning: Some("soon to move".into()),
        ..Answer::default()
    };
    announcer.reply(0, at(0), &answer);
    let row = |message: &str, fails, verified| TrackerStatus {
        url: "a".into(),
        tier: 0,
        message: message.into(),
        fails,
        verified,
        seeds: Some(3),
        leeches: Some(4),
    };
    assert_eq!(announcer.status(), [row("soon to move", 0, true)]);
    let due = check(&mut announcer, 600, &[("a", Event::None)]);
    assert_eq!(due[0].tracker_id.as_deref(), Some(&b"id"[..]));
    announcer.failed(0, at(600), "moved", RetryIn::Unknown);
    assert_eq!(announcer.status(), [row("moved", 1, true)]);
}

#[test]
fn answers_nobody_waits_for_change_nothing() {
    let mut announcer = started(&[&["a"]]);
    announcer.reply(0, at(0), &ok(1000));
    announcer.reply(9, at(0), &ok(1000));
    announcer.failed(0, at(0), "no", RetryIn::Never);
    announcer.failed(9, at(0), "no", RetryIn::Never);
    check(&mut announcer, 0, &[("a", Event::Started)]);
}

#[test]
fn a_tracker_added_later_is_started_and_a_known_one_stays() {
    let mut announcer = started(&[&["a"]]);
    check(&mut announcer, 0, &[("a", Event::Started)]);
    assert_eq!(announcer.add_tracker("a", 3), Some(0));
    assert_eq!(announcer.add_tracker("b", 7), Some(1));
    assert_eq!(announcer.add_tracker("c", 1), Some(2));
    assert_eq!(announcer.urls(), [["a"], ["c"], ["b"]]);
    announcer.failed(0, at(0), "no", RetryIn::Unknown);
    check(&mut announcer, 0, &[("c", Event::Started)]);
    let kept = (0..2000).filter_map(|n| announcer.add_tracker(&format!("u{n}"), 0)).count();
    assert_eq!(kept, MAX_TRACKERS - 3);
    assert_eq!(announcer.status().len(), MAX_TRACKERS);
}
