//! Idle torrents: what they cost is counted, not timed, and whoever wants one gets it.

use bytes::{Bytes, BytesMut};
use reef_engine::control::{Control, ReadDone, Ticket};
use reef_engine::disk::{DiskDone, DiskOp, DiskResult, FileStat, Finished, Opened};
use reef_engine::hooks::{SessionEvent, Verdict, session_bits};
use reef_engine::output::StoreOp;
use reef_engine::status::TorrentState;
use reef_engine::{
    Action, Actions, AddTorrent, Command, ConnId, Hooks, Input, ListenerId, Output, Reply, ReplyToken, Session,
    SessionConfig, Time, TorrentFlags, TorrentId, Unloading, View,
};
use reef_proto::create::{Content, NewTorrent, PieceHashes};
use reef_proto::handshake::{Handshake, Reserved};
use reef_proto::hash::Sha1Hash;
use reef_proto::message::BlockRequest;
use reef_proto::metainfo::Metainfo;
use reef_proto::peer_id::PeerId;
use std::collections::BTreeMap;
use std::sync::Arc;

const SIZE: u64 = 16384;
const FILE: FileStat = FileStat { size: SIZE, mtime: 1 };

/// What plugins do: at a second they do what they were told to.
#[derive(Default)]
struct Plugin {
    wishes: Vec<Control>,
    /// What was read for it.
    read: Vec<ReadDone>,
    /// How many pieces each torrent is said to have.
    pieces: Vec<u32>,
}

impl Hooks for Plugin {
    fn session_mask(&self) -> u64 {
        session_bits::Tick
    }

    fn on_session(&mut self, _: &SessionEvent<'_>, view: &View<'_>, actions: &mut Actions) -> Verdict {
        if !self.wishes.is_empty() {
            self.pieces =
                view.torrents().into_iter().map(|id| view.pieces(id).map_or(0, |have| have.count())).collect();
        }
        self.wishes.drain(..).for_each(|wish| actions.push(Action::Control(wish)));
        Verdict::Pass
    }

    fn read_done(&mut self, _: TorrentId, done: ReadDone, _: &View<'_>, _: &mut Actions) {
        self.read.push(done);
    }
}

/// A session with a disk and a store that answer at once.
struct Stage {
    session: Session,
    plugin: Plugin,
    now: Time,
    /// What the store has of each torrent: metainfo and pieces.
    stored: BTreeMap<TorrentId, (Option<Bytes>, Option<Bytes>)>,
    /// Which torrents' files are open.
    open: BTreeMap<TorrentId, FileStat>,
    /// What a file looks like that is opened.
    file: Option<FileStat>,
    loads: u32,
    replies: Vec<Reply>,
    sent: Vec<u8>,
    closed: u32,
}

fn torrent(n: u32) -> Arc<Metainfo> {
    let new = NewTorrent {
        name: format!("t{n}"),
        content: Content::File(SIZE),
        piece_length: Some(16384),
        ..NewTorrent::default()
    };
    Arc::new(new.plan().and_then(|p| p.build(PieceHashes::V1(vec![Sha1Hash([0; 20])]))).expect("a torrent"))
}

impl Stage {
    fn new(unloading: Unloading) -> Self {
        let config = SessionConfig { unloading, ..SessionConfig::default() };
        let mut stage = Self {
            session: Session::new(config),
            plugin: Plugin::default(),
            now: Time::ZERO,
            stored: BTreeMap::new(),
            open: BTreeMap::new(),
            file: Some(FILE),
            loads: 0,
            replies: Vec::new(),
            sent: Vec::new(),
            closed: 0,
        };
        stage.give(Input::Listening { listener: ListenerId(1), local: "10.0.0.1:6881".parse().unwrap() });
        stage
    }

    /// With so many seeding torrents, some seconds after they were added.
    fn seeding(unloading: Unloading, torrents: u32) -> Self {
        let mut stage = Self::new(unloading);
        let flags = TorrentFlags::DEFAULT.without(TorrentFlags::PAUSED).with(TorrentFlags::SEED_MODE);
        for n in 0..torrents {
            let params = AddTorrent { metainfo: Some(torrent(n)), flags, ..AddTorrent::default() };
            stage.command(Command::AddTorrent(Box::new(params)));
        }
        stage.pass(120);
        stage
    }

    fn give(&mut self, input: Input) {
        self.session.handle(self.now, input, &mut self.plugin);
        while let Some(output) = self.session.poll() {
            let Some(answer) = self.answer(output) else { continue };
            self.session.handle(self.now, answer, &mut self.plugin);
        }
    }

    fn answer(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::Load(torrent) => {
                self.loads += 1;
                let (metainfo, have) = self.stored.get(&torrent).cloned().unwrap_or_default();
                return Some(Input::Loaded { torrent, metainfo, have });
            }
            Output::Store(StoreOp::PutTorrent { torrent, metainfo: Some(metainfo), .. }) => {
                self.stored.entry(torrent).or_default().0 = Some(metainfo);
            }
            Output::Store(StoreOp::PutHave { torrent, have }) => self.stored.entry(torrent).or_default().1 = Some(have),
            Output::Reply { reply, .. } => self.replies.push(reply),
            Output::Send { data, .. } => self.sent.extend_from_slice(&data),
            Output::Close { .. } => self.closed += 1,
            Output::Disk(job) => {
                let result = match job.op {
                    DiskOp::Open(_) => {
                        self.open.insert(job.torrent, FILE);
                        DiskResult::Opened(Ok(Opened { files: vec![self.file], ..Opened::default() }))
                    }
                    DiskOp::Finish { .. } => DiskResult::Finished(Ok(Finished { files: vec![FILE], kept_by: None })),
                    DiskOp::Close { .. } => {
                        self.open.remove(&job.torrent);
                        DiskResult::Closed(Ok(()))
                    }
                    DiskOp::Read { piece, begin, length } => {
                        let outcome = Ok(Bytes::from(vec![7; length as usize]));
                        DiskResult::Read { piece, begin, outcome }
                    }
                    _ => return None,
                };
                return Some(Input::Disk(DiskDone { torrent: job.torrent, result }));
            }
            _ => {}
        }
        None
    }

    fn command(&mut self, command: Command) -> Reply {
        self.give(Input::Command { token: ReplyToken(1), command });
        self.replies.pop().expect("an answer")
    }

    /// So many seconds go by.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds {
            self.now = Time(self.now.0 + 1_000_000);
            self.give(Input::Timeout);
        }
        self.session.check_invariant();
    }

    /// A peer connects and shakes hands for a torrent.
    fn connect(&mut self, n: u32) -> ConnId {
        let conn = self.session.next_conn_id();
        let remote = "10.0.0.2:4000".parse().unwrap();
        self.give(Input::Accepted { conn, listener: ListenerId(1), remote });
        let info_hash = torrent(n).info_hashes.wire();
        let peer_id = PeerId(*b"-XX0001-abcdefghijkl");
        let hello = Handshake { reserved: Reserved([0; 8]), info_hash, peer_id };
        self.give(Input::Received { conn, data: BytesMut::from(&hello.to_bytes()[..]) });
        conn
    }

    fn state(&mut self, id: u64) -> TorrentState {
        match self.command(Command::TorrentStatus(TorrentId(id))) {
            Reply::Torrent(status) => status.state,
            other => panic!("no status but {other:?}"),
        }
    }
}

#[test]
fn a_second_of_a_thousand_idle_torrents_looks_at_none_of_them() {
    for unloading in [Unloading::WhenIdle, Unloading::Never] {
        let mut stage = Stage::seeding(unloading, 1_000);
        let before = stage.session.torrent_looks();
        for _ in 0..300 {
            stage.now = Time(stage.now.0 + 1_000_000);
            stage.give(Input::Timeout);
        }
        assert_eq!(stage.session.torrent_looks(), before, "{unloading:?}");
    }
}

#[test]
fn a_stop_looks_at_each_torrent_a_few_times() {
    let mut stage = Stage::seeding(Unloading::Never, 1_000);
    let before = stage.session.torrent_looks();
    stage.command(Command::Stop);
    let looks = stage.session.torrent_looks() - before;
    assert!((1_000..40_000).contains(&looks), "{looks}");
}

#[test]
fn idle_torrents_leave_their_metadata_and_files_and_still_seed() {
    let mut stage = Stage::seeding(Unloading::WhenIdle, 100);
    assert!(stage.open.is_empty(), "files are open");
    assert_eq!(stage.loads, 100, "each was looked at once in this run");
    assert_eq!(stage.state(7), TorrentState::Seeding);
    let mut kept = Stage::seeding(Unloading::Never, 100);
    assert_eq!((kept.open.len(), kept.loads), (100, 0));
    assert_eq!(kept.state(7), TorrentState::Seeding);
}

#[test]
fn a_peer_wakes_the_torrent_that_it_wants_and_no_other() {
    let mut stage = Stage::seeding(Unloading::WhenIdle, 100);
    let conn = stage.connect(41);
    assert_eq!((stage.loads, stage.open.len(), stage.closed), (101, 1, 0));
    assert!(stage.sent.starts_with(b"\x13BitTorrent protocol"), "it is greeted");
    stage.pass(60);
    assert_eq!(stage.open.len(), 1, "it stays awake with its peer");
    stage.give(Input::Closed { conn, cause: reef_engine::CloseCause::Eof });
    stage.pass(58);
    assert_eq!(stage.open.len(), 1, "and for a while after that");
    stage.pass(5);
    assert!(stage.open.is_empty());
}

#[test]
fn a_torrent_that_lost_its_file_while_it_slept_serves_nobody() {
    let mut stage = Stage::seeding(Unloading::WhenIdle, 3);
    stage.file = None;
    stage.connect(1);
    assert_eq!((stage.closed, stage.sent.len()), (1, 0));
    assert_eq!(stage.state(2), TorrentState::Downloading);
}

#[test]
fn commands_that_need_the_metadata_wait_for_it_and_one_that_is_lost_is_said() {
    let mut stage = Stage::seeding(Unloading::WhenIdle, 3);
    let Reply::Files(files) = stage.command(Command::Files(TorrentId(1))) else { panic!("no files") };
    assert_eq!((files.len(), files[0].done), (1, SIZE));
    let Reply::Bytes(bytes) = stage.command(Command::Metainfo(TorrentId(2))) else { panic!("no metainfo") };
    assert_eq!(Metainfo::parse(&bytes).unwrap().info_hashes, torrent(1).info_hashes);
    stage.stored.remove(&TorrentId(3));
    let Reply::Failed(error) = stage.command(Command::Files(TorrentId(3))) else { panic!("an answer from nowhere") };
    assert!(error.message.contains("not in the store any more"), "{error}");
    let remove = Command::RemoveTorrent { torrent: TorrentId(1), delete_files: true };
    assert!(matches!(stage.command(remove), Reply::Done));
    let remove = Command::RemoveTorrent { torrent: TorrentId(2), delete_files: false };
    assert!(matches!(stage.command(remove), Reply::Done));
    stage.pass(1);
    assert!(matches!(stage.command(Command::Stop), Reply::Done));
}

#[test]
fn what_a_plugin_wants_of_a_sleeping_torrent_it_gets() {
    let mut stage = Stage::seeding(Unloading::WhenIdle, 3);
    let read = |torrent, number| {
        let request = BlockRequest { piece: 0, begin: 5, length: 100 };
        Control::Read { torrent: TorrentId(torrent), request, ticket: Ticket { owner: 1, number } }
    };
    stage.stored.remove(&TorrentId(3));
    stage.plugin.wishes = vec![read(2, 8), read(2, 9), read(3, 10)];
    stage.pass(1);
    assert_eq!(stage.plugin.pieces, [1, 1, 1], "those that sleep have their pieces");
    let results: BTreeMap<_, _> = stage.plugin.read.iter().map(|d| (d.ticket.number, d.result.clone())).collect();
    assert_eq!(results.len(), 3);
    assert_eq!((&results[&8], &results[&9]), (&Ok(vec![7; 100].into()), &Ok(vec![7; 100].into())));
    assert!(matches!(&results[&10], Err(why) if why.contains("not in the store any more")), "{results:?}");
    assert_eq!(stage.open.keys().copied().collect::<Vec<_>>(), [TorrentId(2)]);
    stage.pass(61);
    assert!(stage.open.is_empty(), "it sleeps again");
}
