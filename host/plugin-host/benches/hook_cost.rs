//! What a hook costs: one that nobody has, one that does nothing in one plugin and in eight, and one in a process of its own.
//!
//! `cargo bench -p reef-plugin-host --bench hook_cost`. Real plugin libraries are called as the session calls them.

#[path = "../tests/real/rig.rs"]
#[allow(dead_code, reason = "tests use the rest")]
mod rig;

use criterion::{Criterion, SamplingMode};
use reef_engine::hooks::{ExtendedMessage, PeerEvent, Verdict};
use reef_plugin_host::{Change, Isolation, PLUGIN_PROCESS, own_program, run_plugin_process};
use reef_tests::plugins::write_every_hook;
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
    let mut criterion = Criterion::default().configure_from_args();
    here(&mut criterion);
    apart(&mut criterion);
    criterion.final_summary();
    ExitCode::SUCCESS
}

/// A peer, and plugins that want these events of it.
struct Asked {
    rig: Rig,
    wanted: u64,
}

impl Asked {
    fn of(mut rig: Rig) -> Self {
        assert_eq!(rig.errors, [""; 0]);
        let (_, wanted) = rig.add();
        rig.handshake();
        Self { rig, wanted }
    }

    /// Plugins that have every hook and do nothing in any.
    fn without_work(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        names.iter().for_each(|name| drop(write_every_hook(folder.path(), name)));
        let plugins: Vec<(&str, &str)> = names.iter().map(|name| (*name, "")).collect();
        Self::of(Rig::of_folder(folder, &plugins, BTreeMap::new()))
    }

    /// What the session does with an event: whoever wants none of its kind is not called.
    fn ask(&mut self, event: &PeerEvent<'_>) -> Verdict {
        let event = black_box(event);
        if black_box(self.wanted) & event.bit() == 0 { Verdict::Pass } else { self.rig.peer(event) }
    }
}

/// Plugins in this process.
fn here(c: &mut Criterion) {
    let mut group = c.benchmark_group("a hook");
    let mut one = Asked::of(Rig::new(&[("one", "quiet = true\nclaim = \"x_bench\"")]));
    assert_eq!(one.wanted & PeerEvent::Choke.bit(), 0);
    group.bench_function("that nobody has", |b| b.iter(|| one.ask(&PeerEvent::Choke)));
    let payload = bytes::Bytes::from_static(b"abc");
    let message = PeerEvent::Extended(ExtendedMessage { name: "x_other", payload: &payload });
    group.bench_function("a message that nobody claimed", |b| b.iter(|| one.ask(&message)));
    for names in [&["a"][..], &["a", "b", "c", "d", "e", "f", "g", "h"]] {
        let mut plugins = Asked::without_work(names);
        let label = format!("that does nothing, plugins: {}", names.len());
        group.bench_function(label, |b| b.iter(|| plugins.ask(&PeerEvent::Have(7))));
    }
    group.finish();
}

/// A plugin in a process of its own.
fn apart(c: &mut Criterion) {
    let mut group = c.benchmark_group("a hook in a process of its own");
    let mut plugin = Asked::without_work(&["apart"]);
    group.bench_function("that does nothing", |b| b.iter(|| plugin.ask(&PeerEvent::Have(7))));
    let bytes = bytes::Bytes::from(vec![7; 16 << 10]);
    group.bench_function("with 16 KiB", |b| b.iter(|| plugin.ask(&PeerEvent::ExtensionHandshake(&bytes))));
    // Few enough that it is no flood.
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    let mut posting = Asked::of(Rig::new(&[("apart", "")]));
    group.bench_function("that posts an alert", |b| {
        b.iter(|| {
            let verdict = posting.ask(&PeerEvent::Have(7));
            posting.rig.actions = reef_engine::Actions::default();
            verdict
        });
    });
    assert_eq!(posting.rig.quarantined("apart"), None);
    group.finish();
    replacement(c);
}

/// How long the session waits while a new version takes the place of one, with a process of its own each.
fn replacement(c: &mut Criterion) {
    let mut group = c.benchmark_group("a plugin in a process of its own");
    // What is not measured, the start of a process, takes far longer than what is.
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_millis(50));
    let mut rig = Rig::connected(&[("apart", "quiet = true")]);
    group.bench_function("replaced by another", |b| {
        b.iter_custom(|times| {
            let replace = |_| {
                let image = rig.version("apart", "0.2.0");
                let start = Instant::now();
                rig.change(Change::Replace(image)).expect("it is good");
                start.elapsed()
            };
            (0..times).map(replace).sum()
        });
    });
    group.finish();
}
