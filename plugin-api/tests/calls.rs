//! Every call crosses the table of functions and arrives as it was made, from a hook's context and from a handle.

use reef_plugin_api::testing::{Action, FakeHost};
use reef_plugin_api::{
    Answer, Buffer, Choking, Files, Flow, HookResult, Host, HostError, NewTorrent, Outcome, Peer, PeerKey, PeerRequest,
    PeerStatus, Pieces, PluginError, Query, Session, SessionCx, SessionObj, SessionPlugin, SessionStatus, SettingValue,
    Settings, Statistic, StatisticKind, Torrent, TorrentId, TorrentInfo, TorrentStatus, hooks,
};
use std::time::Duration;

const TORRENT: TorrentId = TorrentId(3);
const PEER: PeerKey = PeerKey(9);
const BLOCK: PeerRequest = PeerRequest { piece: 1, start: 0, length: 4 };

/// Makes every call when it is ticked, and notes which timers run out.
struct Caller;

fn act(session: Session<'_>, torrent: Torrent<'_>, peer: Peer<'_>) -> Result<(), HostError> {
    let data = Buffer::from(b"abcd".to_vec());
    peer.send_message(4, &[0, 0, 0, 7])?;
    peer.choke()?;
    peer.unchoke()?;
    peer.set_choking(Choking::Usual)?;
    peer.give_block(BLOCK, &data)?;
    torrent.connect(([1, 2, 3, 4], 5).into())?;
    torrent.remove(Files::Delete)?;
    torrent.pause()?;
    torrent.resume()?;
    torrent.recheck()?;
    torrent.announce()?;
    torrent.set_file_priorities(&[(0, 7), (2, 0)])?;
    torrent.set_piece_priorities(&[(5, 1)])?;
    torrent.read(BLOCK, 77)?;
    torrent.give_block(BLOCK, &data)?;
    session.add_torrent(&NewTorrent::from_info_hash([7; 20], "folder"))?;
    session.set_settings(&[("connections_limit", 50.into())])?;
    session.set_timer(5, Duration::from_secs(2))?;
    session.cancel_timer(6)
}

fn expected() -> Vec<Action> {
    let (torrent, peer) = (TORRENT, PEER);
    let choking = |choking| Action::SetChoking { torrent, peer, choking };
    let give = |from| Action::GiveBlock { torrent, from, block: BLOCK, data: b"abcd".to_vec() };
    vec![
        Action::SendMessage { torrent, peer, id: 4, payload: vec![0, 0, 0, 7] },
        choking(Choking::Choked),
        choking(Choking::Unchoked),
        choking(Choking::Usual),
        give(Some(PEER)),
        Action::Connect { torrent, addr: ([1, 2, 3, 4], 5).into() },
        Action::RemoveTorrent { torrent, files: Files::Delete },
        Action::PauseTorrent(torrent),
        Action::ResumeTorrent(torrent),
        Action::RecheckTorrent(torrent),
        Action::AnnounceTorrent(torrent),
        Action::SetFilePriorities { torrent, priorities: vec![(0, 7), (2, 0)] },
        Action::SetPiecePriorities { torrent, priorities: vec![(5, 1)] },
        Action::Read { torrent, request: BLOCK, token: 77 },
        give(None),
        Action::AddTorrent(NewTorrent::from_info_hash([7; 20], "folder")),
        Action::SetSettings(vec![("connections_limit".to_owned(), SettingValue::Int(50))]),
        Action::SetTimer { token: 5, after: 2_000_000 },
        Action::CancelTimer { token: 6 },
    ]
}

#[hooks]
impl SessionPlugin for Caller {
    const NAME: &'static str = "caller";
    fn create(_: Host, _: &Settings) -> Result<Self, PluginError> {
        Ok(Self)
    }
    fn on_tick(&mut self, cx: &mut SessionCx<'_>) -> HookResult {
        act(cx.session(), cx.torrent(TORRENT), cx.torrent(TORRENT).peer(PEER))?;
        Ok(Flow::Pass)
    }
    fn on_timer(&mut self, cx: &mut SessionCx<'_>, token: u64) -> HookResult {
        cx.session().set_timer(token + 1, Duration::ZERO)?;
        Ok(Flow::Pass)
    }
}

fn start(host: &FakeHost) -> SessionObj {
    host.start::<Caller>("").expect("it starts")
}

#[test]
fn every_action_arrives_from_a_hook_and_from_a_handle() {
    let host = FakeHost::new();
    host.set_setting("connections_limit", 200);
    assert_eq!(start(&host).on_tick(&host.session_call()), Outcome::Pass);
    assert_eq!(host.actions(), expected());
    let handle = host.handle();
    let torrent = handle.torrent(TORRENT);
    assert_eq!(act(handle.session(), torrent, torrent.peer(PEER)), Ok(()));
    assert_eq!(host.actions(), expected());
}

#[test]
fn every_question_is_answered() {
    let host = FakeHost::new();
    let mut info = TorrentInfo::default();
    info.num_pieces = 9;
    host.set_torrent(TORRENT, info);
    host.set_piece(TORRENT, 8);
    host.set_bytes(TORRENT, 1, *b"abcdefgh");
    let mut torrent = TorrentStatus::default();
    torrent.name = "a".to_owned();
    let mut peer = PeerStatus::default();
    (peer.key, peer.client) = (PEER, "reef".to_owned());
    host.set_answer(Query::Session, Answer::Session(SessionStatus::default()));
    host.set_answer(Query::Torrent(TORRENT), Answer::Torrent(Box::new(torrent.clone())));
    host.set_answer(Query::Peers(TORRENT), Answer::Peers(vec![peer.clone()]));
    host.set_answer(Query::Files(TORRENT), Answer::Files(Vec::new()));
    let handle = host.handle();
    let (session, of) = (handle.session(), handle.torrent(TORRENT));
    assert_eq!(session.status(), Ok(SessionStatus::default()));
    assert_eq!(session.torrents(), Ok(vec![TORRENT]));
    assert_eq!(of.status(), Ok(torrent));
    assert_eq!(of.peer(PEER).status(), Ok(peer.clone()));
    assert_eq!(of.peer(PeerKey(1)).status(), Err(HostError::NotFound));
    assert_eq!((of.peer_statuses(), of.files()), (Ok(vec![peer]), Ok(Vec::new())));
    assert_eq!(of.trackers(), Err(HostError::NotFound));
    assert_eq!(of.pieces(), Ok(Pieces::from_bits(vec![0, 0x80], 9)));
    assert_eq!(of.read_and_wait(PeerRequest { piece: 1, start: 2, length: 3 }).as_deref(), Ok(&b"cde"[..]));
    assert_eq!(of.read_and_wait(PeerRequest { piece: 1, start: 6, length: 3 }), Err(HostError::NotFound));
}

#[test]
fn settings_have_types_and_folders_are_there_or_not() {
    let host = FakeHost::new();
    host.set_setting("user_agent", "reef");
    let handle = host.handle();
    let session = handle.session();
    assert_eq!(session.setting("user_agent"), Ok("reef".into()));
    assert_eq!(session.setting("other"), Err(HostError::NotFound));
    assert_eq!(session.set_settings(&[("user_agent", true.into())]), Err(HostError::BadArgument));
    assert_eq!(session.set_settings(&[("user_agent", "x".into()), ("other", 1.into())]), Err(HostError::NotFound));
    assert_eq!(session.setting("user_agent"), Ok("reef".into()), "all or none");
    assert_eq!(session.data_dir(), Err(HostError::Unsupported));
    host.set_data_dir("/var/x");
    assert_eq!(session.data_dir(), Ok("/var/x".into()));
}

#[test]
fn statistics_of_a_plugin_count() {
    let host = FakeHost::new();
    let handle = host.handle();
    let counter = handle.session().counter("a.b", "Bs.").expect("it is free");
    let gauge = handle.session().gauge("a.c", "Cs.").expect("it is free");
    assert_eq!((counter.add(3), counter.add(4)), (Ok(()), Ok(())));
    assert_eq!(counter.add(u64::MAX), Err(HostError::BadArgument));
    assert_eq!((gauge.set(9), gauge.add(-10)), (Ok(()), Ok(())));
    let seen: Vec<(String, StatisticKind, i64)> =
        host.statistics().into_iter().map(|Statistic { name, kind, value, .. }| (name, kind, value)).collect();
    let expected = [("a.b".to_owned(), StatisticKind::Counter, 7), ("a.c".to_owned(), StatisticKind::Gauge, -1)];
    assert_eq!(seen, expected);
    host.revoke();
    assert_eq!(gauge.set(1), Err(HostError::Gone));
}

#[test]
fn timers_run_out_when_the_test_says_so() {
    let host = FakeHost::new();
    let mut session = start(&host);
    let handle = host.handle();
    handle.session().set_timer(5, Duration::from_secs(1)).expect("set");
    handle.session().set_timer(4, Duration::from_secs(3)).expect("set");
    host.advance(1_000_000);
    assert_eq!(host.due_timers(), [5]);
    session.on_timer(&host.session_call(), 5);
    host.advance(2_000_000);
    assert_eq!(host.due_timers(), [6, 4]);
    assert_eq!(host.due_timers(), [0; 0]);
}
