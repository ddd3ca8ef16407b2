//! `reef get`: downloads torrents until each is over.

use std::path::PathBuf;
use std::time::Instant;

use reef_engine::{AddTorrent, Alert, Settings, TorrentId};

use super::args::{GetArgs, Global};
use super::client::{Client, Event, Setup, ended, plugin_state, state_path};
use super::config::Config;
use super::failure::{Exit, Failure, Outcome};
use super::progress::{Progress, Style};
use super::wanted;
use super::watch::{Seeding, Watch, Watched, Wishes};
use super::{plugin, room};

/// Seconds before the first new try of a peer that was named and could not be reached.
const NAMED_PEER_RETRY: i64 = 5;

/// Downloads what the sources name.
pub(crate) fn run(args: &GetArgs, global: &Global) -> Outcome {
    let mut config = Config::for_session(global.config.as_deref(), &args.session, &args.network)?;
    config.watch_plugins.get_or_insert(args.keep_seeding);
    let torrents = wanted::to_download(args)?;
    hurry_if_nobody_else(&mut config.settings, &torrents);
    let state = state_path(&torrents);
    let saved = state.as_deref().map(plugin_state).unwrap_or_default();
    let plugins = plugin::load(&config, &args.session, saved)?;
    for torrent in torrents.iter().filter(|torrent| torrent.metainfo.is_none()) {
        plugins.require_metadata(&torrent.name)?;
    }
    let setup = Setup::of(config, plugins, state);
    let client = Client::start(if args.json { setup.for_programs() } else { setup })?;
    let outcome = download(&client, torrents, args, global);
    client.stop();
    outcome
}

/// Where all peers there will ever be were named, one that is not there yet is tried again soon.
fn hurry_if_nobody_else(settings: &mut Settings, torrents: &[AddTorrent]) {
    let has_tracker = |torrent: &AddTorrent| {
        !torrent.trackers.is_empty() || torrent.metainfo.as_ref().is_some_and(|metainfo| !metainfo.trackers.is_empty())
    };
    let is_untouched = settings.min_reconnect_time == Settings::default().min_reconnect_time;
    if is_untouched && !torrents.iter().any(has_tracker) {
        settings.min_reconnect_time = NAMED_PEER_RETRY;
    }
}

fn download(client: &Client, torrents: Vec<AddTorrent>, args: &GetArgs, global: &Global) -> Outcome {
    let mut watched = Vec::with_capacity(torrents.len());
    for torrent in torrents {
        let (name, peers) = (torrent.name.clone(), torrent.peers.clone());
        let id = client.add(torrent)?;
        watched.push(Watched::new(id, name, peers, Instant::now()));
    }
    let style = if args.json || global.quiet { Style::Silent } else { Style::detect() };
    let mut watch = Watch::new(watched, wishes(args, global), Progress::new(style));
    let outcome = watch_until_over(client, &mut watch, |torrent| check_files(client, torrent, args));
    watch.clear();
    outcome
}

/// Watches until every torrent is over or somebody interrupts. `check` judges a torrent whose metadata arrived.
pub(crate) fn watch_until_over(
    client: &Client,
    watch: &mut Watch,
    check: impl Fn(TorrentId) -> Result<(), Failure>,
) -> Outcome {
    while !watch.is_over() {
        match client.next_event() {
            Event::Alert(alert) => {
                watch.handle_alert(&alert);
                match alert {
                    Alert::MetadataReceived { torrent, .. } => {
                        if let Err(failure) = check(torrent) {
                            watch.fail(torrent, &failure);
                        }
                    }
                    // All may be there: look at once.
                    Alert::TorrentFinished { .. } => watch.handle_statuses(&client.torrents()?, Instant::now()),
                    _ => {}
                }
            }
            Event::Second => watch.handle_statuses(&client.torrents()?, Instant::now()),
            Event::Interrupted => return Ok(Exit::Interrupted),
            Event::Ended => return Err(ended()),
        }
        for torrent in watch.take_ended() {
            client.pause(torrent)?;
        }
    }
    Ok(if watch.all_complete() { Exit::Success } else { Exit::Failure })
}

/// Checks what could not be checked before a magnet's metadata was there: the chosen files, and that there is room.
fn check_files(client: &Client, torrent: TorrentId, args: &GetArgs) -> Result<(), Failure> {
    let files = client.files(torrent)?;
    let name = files.first().and_then(|file| file.path.split('/').next()).unwrap_or_default();
    if let Some(select) = &args.select {
        wanted::check_selection(name, select, u32::try_from(files.len()).unwrap_or(u32::MAX))?;
    }
    let paths = files.iter().filter(|file| file.priority > 0).map(|file| (PathBuf::from(&file.path), file.size));
    room::check(name, paths, &args.output)
}

fn wishes(args: &GetArgs, global: &Global) -> Wishes {
    let seeding = match (args.keep_seeding, args.seed_ratio, args.seed_time) {
        (true, _, _) => Seeding::Forever,
        (false, None, None) => Seeding::No,
        (false, ratio, time) => Seeding::Until { ratio, time },
    };
    Wishes {
        seeding,
        timeout: args.timeout,
        reachable: !args.network.listen.is_empty(),
        json: args.json,
        announce_complete: !args.json && !global.quiet,
    }
}
