//! `reef plugin test`: a plugin in a simulated swarm, in virtual time.
//!
//! No socket is opened and nothing is written but what the plugin itself opens and writes. Everything follows from one
//! number, as long as the plugin keeps to the clock and the random numbers that it is given.

use std::collections::BTreeMap;
use std::path::Path;

use reef_engine::{Alert, Hooks, Settings};
use reef_plugin_host::{Limits, LoadError, PluginHost, PluginHostConfig};
use reef_sim::content::Torrent;
use reef_sim::{NodeId, World};
use serde_json::{Value, json};

use super::settings_of;
use crate::cli::args::PluginTestArgs;
use crate::cli::config::Config;
use crate::cli::failure::{Exit, Failure, Outcome};
use crate::cli::text::clean;
use crate::cli::{json, out};

/// Runs a plugin file in a swarm and tells what happened.
pub(super) fn run(config: &Config, args: &PluginTestArgs, json: bool) -> Outcome {
    let failed = |error: LoadError| Failure::new(error.to_string());
    let about = reef_plugin_host::inspect(&args.file).map_err(failed)?;
    let settings = args.settings.clone().unwrap_or_else(|| settings_of(config, &about.name));
    let plan = Plan { peers: args.peers, seconds: args.seconds, seed: args.seed };
    let report = plan.run(&args.file, &settings).map_err(failed)?;
    match json {
        true => json::print(&report.describe()),
        false => report.tell(&format!("{} {}", about.name, about.version)),
    }
    Ok(if report.is_good() { Exit::Success } else { Exit::Failure })
}

/// What is to be run.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) peers: u32,
    pub(super) seconds: u64,
    pub(super) seed: u64,
}

/// What came of it.
pub(super) struct Report {
    plan: Plan,
    completed: u32,
    with_plugin: u32,
    /// Simulated milliseconds until the last was complete, or until time was up.
    millis: u64,
    /// Nodes that are not done, a node a line.
    unfinished: Vec<String>,
    /// Why it was quarantined, and how often.
    quarantined: BTreeMap<String, u32>,
    /// Its own alerts, and how often each text.
    alerts: BTreeMap<String, u32>,
    /// Errors that its hooks answered to peers' messages, which close connections.
    errors: BTreeMap<String, u32>,
}

impl Plan {
    /// Runs the swarm.
    ///
    /// # Errors
    /// The plugin does not load or does not start.
    pub(super) fn run(self, file: &Path, settings: &str) -> Result<Report, LoadError> {
        let name = PluginHost::new(PluginHostConfig::default()).load_file(file, settings)?.name;
        let torrent = Torrent::random(self.seed, "data.bin", SIZE, PIECE_LENGTH);
        let mut world = World::new(self.seed);
        let first = self.add_node(&mut world, 0, file, settings);
        world.seed(first, &torrent);
        let mut nodes = vec![first];
        for number in 1..=self.peers {
            let node = self.add_node(&mut world, number, file, settings);
            let mut known: Vec<NodeId> = nodes.iter().rev().take(8).copied().collect();
            known.push(first);
            world.leech(node, &torrent, &known);
            nodes.push(node);
        }
        let done = |world: &mut World| nodes.iter().all(|node| world.is_complete(*node));
        let unfinished = match world.run_until(self.seconds, done) {
            Ok(()) => Vec::new(),
            Err(error) => {
                error.state.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
            }
        };
        let millis = world.now().0 / 1000;
        let completed = nodes.iter().skip(1).filter(|node| world.disk(**node).holds(&torrent)).count() as u32;
        // What is under way when the last is complete arrives too.
        world.run_for(AFTERWARDS);
        let mut report = Report {
            plan: self,
            completed,
            with_plugin: self.peers.div_ceil(2),
            millis,
            unfinished,
            quarantined: BTreeMap::new(),
            alerts: BTreeMap::new(),
            errors: BTreeMap::new(),
        };
        nodes.iter().flat_map(|node| world.alerts(*node)).for_each(|alert| report.read(&name, alert));
        Ok(report)
    }

    /// A node of this number; those with odd numbers, and the seed, have the plugin.
    fn add_node(self, world: &mut World, number: u32, file: &Path, settings: &str) -> NodeId {
        if number != 0 && number.is_multiple_of(2) {
            return world.add_node();
        }
        let (file, settings) = (file.to_owned(), settings.to_owned());
        let seed = self.seed ^ u64::from(number) << 32;
        let make = move || -> Box<dyn Hooks> {
            // What a hook takes in real time says nothing here: the machine may be busy with the rest of the swarm.
            let limits = Limits { budget: std::time::Duration::from_secs(60), overruns: 0, ..Limits::default() };
            let mut host = PluginHost::new(PluginHostConfig { seed, limits, ..PluginHostConfig::default() });
            if let Err(error) = host.load_file(&file, &settings) {
                log::error!("{error}");
            }
            Box::new(host)
        };
        world.add_node_with(Settings::default(), Some(Box::new(make)))
    }
}

impl Report {
    fn read(&mut self, name: &str, alert: &Alert) {
        let counted = match alert {
            Alert::PluginQuarantined { plugin, reason } if plugin == name => (&mut self.quarantined, reason.clone()),
            Alert::Custom(custom) if custom.plugin == name => (&mut self.alerts, custom.message.clone()),
            Alert::PeerDisconnected { reason, .. } if reason.starts_with(&format!("{name}: ")) => {
                (&mut self.errors, reason.clone())
            }
            _ => return,
        };
        *counted.0.entry(counted.1).or_default() += 1;
    }

    fn is_good(&self) -> bool {
        self.unfinished.is_empty() && self.completed == self.plan.peers && self.quarantined.is_empty()
    }

    /// One line: how far the swarm came.
    pub(super) fn summary(&self) -> String {
        let Plan { peers, seconds, seed } = self.plan;
        let seconds_taken = self.millis as f64 / 1000.0;
        match self.unfinished.is_empty() {
            true => format!(
                "{} of {peers} peers complete after {seconds_taken:.1} simulated seconds (seed {seed})",
                self.completed
            ),
            false => format!(
                "only {} of {peers} peers complete after {seconds} simulated seconds (seed {seed})",
                self.completed
            ),
        }
    }

    /// What makes the run a failure.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> =
            self.quarantined.iter().map(|(reason, times)| format!("quarantined, {times} times: {reason}")).collect();
        if !self.unfinished.is_empty() {
            problems.push(self.summary());
        }
        problems
    }

    fn tell(&self, name: &str) {
        let line = |text: String| out::line(&clean(&text));
        line(format!(
            "{name}: a seed and {} peers; the seed and {} of the peers have it",
            self.plan.peers, self.with_plugin
        ));
        line(self.summary());
        self.unfinished.iter().for_each(|node| line(format!("  {node}")));
        for (title, texts) in
            [("Quarantined", &self.quarantined), ("Closed connections", &self.errors), ("Alerts", &self.alerts)]
        {
            if texts.is_empty() {
                continue;
            }
            line(format!("{title}:"));
            texts.iter().take(SHOWN).for_each(|(text, times)| line(format!("  {times} x {text}")));
            if texts.len() > SHOWN {
                line(format!("  and {} others", texts.len() - SHOWN));
            }
        }
        if self.is_good() {
            line("The swarm completed.".to_owned());
        }
    }

    /// For programs.
    pub(super) fn describe(&self) -> Value {
        json!({
            "good": self.is_good(),
            "peers": self.plan.peers,
            "seed": self.plan.seed,
            "with_plugin": self.with_plugin,
            "completed": self.completed,
            "seconds": self.millis as f64 / 1000.0,
            "unfinished": self.unfinished,
            "quarantined": self.quarantined,
            "errors": self.errors,
            "alerts": self.alerts,
        })
    }
}

const SIZE: u64 = 2_000_000;
const PIECE_LENGTH: u32 = 64 << 10;
/// Simulated milliseconds that go by once all are complete, for what is said then.
const AFTERWARDS: u64 = 2_000;
/// Texts of one kind that are shown.
const SHOWN: usize = 20;
