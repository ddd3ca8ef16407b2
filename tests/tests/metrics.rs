//! A plugin's thread asks a real session while it transfers: the example `metrics` is read over HTTP.

use reef::rt;
use reef::session::{Config, NextAlert, Session};
use reef_engine::alert::Category;
use reef_engine::{AddTorrent, Alert, Command, Reply, TorrentFlags};
use reef_plugin_host::{Change, PluginHost, PluginHostConfig, PluginImage};
use reef_proto::hash::{InfoHashes, Sha1Hash};
use reef_tests::plugins::plugin_library;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn read(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("an answer");
    page
}

#[test]
fn the_statistics_of_a_session_are_served_until_it_stops() {
    let settings = [("metrics".to_owned(), "listen = \"127.0.0.1:0\"".to_owned())].into();
    let host = PluginHost::new(PluginHostConfig { settings, ..PluginHostConfig::default() });
    let session = Session::start(Config { plugins: Some(Box::new(host)), ..Config::default() }).expect("it starts");
    let mut alerts = session.subscribe(Category::ALL.0, 1000);
    let image = PluginImage::open(&plugin_library("metrics"), None).expect("a plugin");
    rt::block_on(session.change_plugin(Change::Load(image))).expect("it starts");
    let info_hashes = InfoHashes::from_v1(Sha1Hash::of(b"a torrent"));
    let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED.with(TorrentFlags::AUTO_MANAGED));
    let torrent = AddTorrent { info_hashes, flags, ..AddTorrent::default() };
    assert!(matches!(session.command_blocking(Command::AddTorrent(Box::new(torrent))), Reply::Added(_)));
    let address = loop {
        match alerts.next_blocking(PATIENCE) {
            NextAlert::Alert(Alert::Custom(custom)) if custom.what == "metrics_listening" => {
                let address = custom.message.strip_prefix("metrics at http://").expect("a URL");
                break address.strip_suffix("/metrics").expect("a path").to_owned();
            }
            NextAlert::Alert(_) => (),
            other => panic!("{other:?}"),
        }
    };
    let page = read(&address);
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    for line in ["reef_ses_num_torrents 1", "# TYPE reef_net_recv_bytes_total counter", "reef_metrics_scrapes_total 1"]
    {
        assert!(page.lines().any(|other| other == line), "{line} is not in {page}");
    }
    assert!(read(&address).contains("\nreef_metrics_scrapes_total 2\n"));
    let Reply::Session(status) = session.command_blocking(Command::SessionStatus) else { panic!("no status") };
    assert!(status.stats.contains(&("metrics.scrapes".into(), 2)), "{status:?}");
    // It waits for the plugin's thread.
    assert!(rt::block_on(session.stop(PATIENCE)));
}
