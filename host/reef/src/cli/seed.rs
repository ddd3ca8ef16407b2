//! `reef seed`: verifies a torrent's files, then serves them until interrupted.

use std::collections::BTreeMap;
use std::time::Instant;

use reef_engine::TorrentId;
use reef_engine::status::{TorrentState, TorrentStatus};
use serde_json::json;

use super::args::{Global, SeedArgs};
use super::client::{Client, Event, Setup, ended};
use super::config::Config;
use super::failure::{Exit, Failure, Outcome};
use super::get::watch_until_over;
use super::progress::{Progress, Style, beside_bars};
use super::text::clean;
use super::watch::{Seeding, Watch, Watched, Wishes};
use super::{content, json, out, plugin, source, wanted};

/// Serves the torrent.
pub(crate) fn run(args: &SeedArgs, global: &Global) -> Outcome {
    let mut config = Config::for_session(global.config.as_deref(), &args.session, &args.network)?;
    config.watch_plugins.get_or_insert(true);
    let metainfo = source::read_torrent(&args.torrent)?;
    let dir = content::folder(&args.dir, &metainfo.info)?;
    let torrent = wanted::to_seed(metainfo, &dir, &args.network)?;
    let plugins = plugin::load(&config, &args.session, BTreeMap::new())?;
    let (name, peers) = (torrent.name.clone(), torrent.peers.clone());
    let setup = Setup::of(config, plugins, None);
    let client = Client::start(if args.json { setup.for_programs() } else { setup })?;
    let outcome = client.add(torrent).and_then(|id| {
        let wishes = Wishes {
            seeding: Seeding::Forever,
            timeout: None,
            reachable: true,
            json: args.json,
            announce_complete: false,
        };
        let style = if args.json || global.quiet { Style::Silent } else { Style::detect() };
        let mut watch = Watch::new(vec![Watched::new(id, name, peers, Instant::now())], wishes, Progress::new(style));
        let outcome = serve(&client, &mut watch, id, args);
        watch.clear();
        outcome
    });
    client.stop();
    outcome
}

fn serve(client: &Client, watch: &mut Watch, id: TorrentId, args: &SeedArgs) -> Outcome {
    let Some(status) = wait_until_verified(client, watch, id)? else {
        return Ok(Exit::Interrupted);
    };
    if status.state != TorrentState::Seeding {
        return Err(Failure::new(format!(
            "{}: {} of {} pieces are missing or damaged in {}; `reef check` says which files, `reef get` fetches them",
            status.name,
            status.num_pieces - status.have_pieces.min(status.num_pieces),
            status.num_pieces,
            args.dir.display()
        )));
    }
    for address in client.addresses() {
        if args.json {
            let fields = json!({ "torrent": id.0, "name": status.name, "address": address.to_string() });
            json::event("serving", fields);
        } else {
            let message = format!("serving {} on {address}", status.name);
            beside_bars(|| out::line(&clean(&message)));
        }
    }
    watch_until_over(client, watch, |_| Ok(()))
}

/// Waits for the end of the first look at the files; none if somebody interrupts.
fn wait_until_verified(client: &Client, watch: &mut Watch, id: TorrentId) -> Result<Option<TorrentStatus>, Failure> {
    loop {
        let statuses = client.torrents()?;
        watch.handle_statuses(&statuses, Instant::now());
        if let Some(status) = statuses.into_iter().find(|status| status.id == id)
            && status.state != TorrentState::CheckingFiles
        {
            return Ok(Some(status));
        }
        match client.next_event() {
            Event::Alert(alert) => watch.handle_alert(&alert),
            Event::Second => {}
            Event::Interrupted => return Ok(None),
            Event::Ended => return Err(ended()),
        }
    }
}
