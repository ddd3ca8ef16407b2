//! The same swarm with plugins of several interfaces: they are told the same, and do the same.

use crate::{NEWER, frozen};
use reef_engine::{Alert, Settings};
use reef_plugin_host::{PluginHost, PluginHostConfig};
use reef_sim::content::Torrent;
use reef_sim::faults::Faults;
use reef_sim::{NodeId, World};
use reef_tests::plugins::plugin_library;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Three peers, two of which fetch a magnet link, one of them from somebody who lies now and then. All run these plugins.
fn play(plugins: &[PathBuf]) -> (World, [NodeId; 3]) {
    let torrent = Torrent::random(11, "data.bin", 1 << 20, 32 << 10);
    let mut world = World::new(11);
    let mut add = || {
        let plugins = plugins.to_vec();
        let make = move || -> Box<dyn reef_engine::Hooks> {
            let mut host = PluginHost::new(PluginHostConfig::default());
            for library in &plugins {
                host.load_file(library, "").unwrap_or_else(|error| panic!("{error}"));
            }
            Box::new(host)
        };
        world.add_node_with(Settings::default(), Some(Box::new(make)))
    };
    let nodes @ [seed, liar, leech] = [add(), add(), add()];
    world.seed(seed, &torrent);
    world.seed(liar, &torrent);
    world.set_faults(liar, Faults { corrupt_blocks: 100, ..Faults::default() });
    world.magnet(leech, &torrent, &[seed, liar]);
    if let Err(why) = world.run_until(300, |world| world.is_complete(leech)) {
        panic!("{plugins:?}: {why}");
    }
    world.run_for(3_000);
    assert!(world.disk(leech).holds(&torrent), "{plugins:?}");
    for node in nodes {
        let quarantined = world.alerts(node).iter().find(|alert| matches!(alert, Alert::PluginQuarantined { .. }));
        assert!(quarantined.is_none(), "{plugins:?}: {quarantined:?}");
    }
    (world, nodes)
}

/// Which hooks of the recorder were called, with which arguments, at each node.
fn recorded(world: &World, node: NodeId) -> Vec<(&str, &str)> {
    let mut calls = Vec::new();
    for alert in world.alerts(node) {
        if let Alert::Custom(call) = alert
            && call.plugin == "recorder"
        {
            calls.push((call.what.as_str(), call.message.as_str()));
        }
    }
    calls
}

fn metadata_and(recorder: &Path) -> Vec<PathBuf> {
    vec![plugin_library("ut_metadata"), recorder.to_owned()]
}

/// Builds of the recorder are called for the same, in the hooks that all of them have.
#[track_caller]
pub(crate) fn check_recorders(recorders: &[PathBuf]) {
    let runs: Vec<_> = recorders.iter().map(|recorder| play(&metadata_and(recorder))).collect();
    let names = |(world, nodes): &(World, [NodeId; 3])| -> BTreeSet<String> {
        nodes.iter().flat_map(|node| recorded(world, *node)).map(|(hook, _)| hook.to_owned()).collect()
    };
    let common = runs.iter().map(names).reduce(|one, other| &one & &other).expect("there are runs");
    assert!(common.len() > 25, "too little happened: {common:?}");
    for index in 0..3 {
        let calls = |(world, nodes): &(World, [NodeId; 3])| -> Vec<(String, String)> {
            let calls = recorded(world, nodes[index]).into_iter().filter(|(hook, _)| common.contains(*hook));
            calls.map(|(hook, arguments)| (hook.to_owned(), arguments.to_owned())).collect()
        };
        let first = calls(&runs[0]);
        for run in &runs[1..] {
            assert!(calls(run) == first, "node {index} was told something else");
        }
    }
}

#[test]
fn plugins_of_every_interface_are_told_the_same() {
    let newer = NEWER.library("recorder-plugin").expect("it has the plugin");
    check_recorders(&[frozen("recorder-plugin"), plugin_library("recorder-plugin"), newer]);
}

#[test]
fn the_standard_plugins_of_the_frozen_interface_still_do_their_work() {
    let standard = ["ut_pex", "ut_metadata", "smart_ban"];
    let (world, [_, liar, leech]) = play(&standard.map(frozen));
    let is_ban = |alert: &Alert| matches!(alert, Alert::PeerBanned { address, .. } if *address == liar.address());
    assert!(world.alerts(leech).iter().any(is_ban), "smart_ban has banned the liar");
    // Those of this interface work as well where images of both are mapped in one process.
    play(&["ut_pex", "ut_metadata"].map(plugin_library));
}

#[test]
fn a_plugin_of_a_newer_interface_runs_in_a_swarm() {
    let future = NEWER.library("future-plugin").expect("it has the plugin");
    play(&[plugin_library("ut_metadata"), future]);
}
