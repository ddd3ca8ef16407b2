//! The engine's events and the plugins' hooks: one table of which is which, and one call for each.

use crate::answers;
use crate::translate;
use reef_engine::hooks::{PeerEvent, SessionEvent, TorrentEvent, peer_bits, session_bits, torrent_bits};
use reef_plugin_api as api;
use reef_plugin_api::{Call, Outcome, PeerObj, SessionObj, TorrentObj};

/// Which level a hook belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Session = 0,
    Torrent = 1,
    Peer = 2,
}

/// A hook as the watchdog names it: its level, and its event's bit number or one from [`BESIDES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HookId(u8);

impl HookId {
    /// The hook of an event, by the event's bit.
    pub(crate) fn event(level: Level, bit: u64) -> Self {
        // At most 63: a mask has 64 bits.
        Self((level as u8) << 6 | (bit.trailing_zeros() as u8 & 63))
    }

    const fn beside(level: Level, number: u8) -> Self {
        Self(BESIDES | (level as u8) << 4 | number)
    }

    pub(crate) const ADDED: Self = Self::beside(Level::Session, 0);
    pub(crate) const NEW_TORRENT: Self = Self::beside(Level::Session, 1);
    pub(crate) const SAVE_STATE: Self = Self::beside(Level::Session, 2);
    pub(crate) const LOAD_STATE: Self = Self::beside(Level::Session, 3);
    pub(crate) const CREATE: Self = Self::beside(Level::Session, 4);
    pub(crate) const DROP: Self = Self::beside(Level::Session, 5);
    pub(crate) const ABORT: Self = Self((Level::Session as u8) << 6 | session_bits::Abort.trailing_zeros() as u8);
    pub(crate) const UNKNOWN_TORRENT: Self = Self::beside(Level::Session, 6);
    pub(crate) const UNCHOKE_PRIORITY: Self = Self::beside(Level::Session, 7);
    pub(crate) const TIMER: Self = Self::beside(Level::Session, 8);
    pub(crate) const READ_DONE: Self = Self::beside(Level::Torrent, 3);
    pub(crate) const NEW_CONNECTION: Self = Self::beside(Level::Torrent, 0);
    pub(crate) const SAVE_TORRENT: Self = Self::beside(Level::Torrent, 1);
    pub(crate) const LOAD_TORRENT: Self = Self::beside(Level::Torrent, 2);
    pub(crate) const ADD_HANDSHAKE: Self = Self::beside(Level::Peer, 0);
    pub(crate) const MESSAGE_IDS: Self = Self::beside(Level::Peer, 1);
    pub(crate) const SAVE_PEER: Self = Self::beside(Level::Peer, 2);
    pub(crate) const LOAD_PEER: Self = Self::beside(Level::Peer, 3);

    pub(crate) fn from_number(number: u8) -> Self {
        Self(number)
    }

    /// Whether a peer has a part in how the hook ends: what strangers send may make it fail.
    pub(crate) fn concerns_a_peer(self) -> bool {
        let beside = [
            Self::NEW_CONNECTION,
            Self::ADD_HANDSHAKE,
            Self::MESSAGE_IDS,
            Self::UNKNOWN_TORRENT,
            Self::UNCHOKE_PRIORITY,
        ];
        self.0 >> 6 == Level::Peer as u8 || beside.contains(&self)
    }

    pub(crate) fn number(self) -> u8 {
        self.0
    }

    /// The hook's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ADDED => return "added",
            Self::CREATE => return "create",
            Self::DROP => return "drop",
            Self::NEW_TORRENT => return "new_torrent",
            Self::NEW_CONNECTION => return "new_connection",
            Self::UNKNOWN_TORRENT => return "on_unknown_torrent",
            Self::UNCHOKE_PRIORITY => return "get_unchoke_priority",
            Self::MESSAGE_IDS => return "message_ids",
            Self::TIMER => return "on_timer",
            Self::READ_DONE => return "on_read_done",
            Self::ADD_HANDSHAKE => return "add_handshake",
            Self::SAVE_STATE | Self::SAVE_TORRENT | Self::SAVE_PEER => return "save_state",
            Self::LOAD_STATE | Self::LOAD_TORRENT | Self::LOAD_PEER => return "load_state",
            _ => (),
        }
        let table = match self.0 >> 6 {
            0 => SESSION,
            1 => TORRENT,
            _ => PEER,
        };
        let bit = 1 << (self.0 & 63);
        table.iter().find(|row| row.event == bit).map_or("a hook", |row| row.name)
    }
}

/// In the place of the level, in the numbers of hooks that are no events.
const BESIDES: u8 = 3 << 6;

/// One hook: its bit in a plugin object's mask, and its event's bit in the engine's mask.
struct Row {
    hook: u64,
    event: u64,
    name: &'static str,
}

macro_rules! rows {
    ($level:ident, $event:ident: $($hook:ident = $variant:ident,)*) => {
        &[$(Row { hook: api::bits::$level::$hook, event: $event::$variant, name: stringify!($hook) },)*]
    };
}

const SESSION: &[Row] = rows! { SessionPlugin, session_bits:
    on_tick = Tick,
    on_alert = Alert,
    abort = Abort,
    on_unknown_torrent = UnknownTorrent,
    get_unchoke_priority = UnchokePriority,
};

const TORRENT: &[Row] = rows! { TorrentPlugin, torrent_bits:
    on_piece_pass = PiecePassed,
    on_piece_failed = PieceFailed,
    tick = Tick,
    on_pause = Pause,
    on_resume = Resume,
    on_files_checked = FilesChecked,
    on_state = State,
    on_add_peer = AddPeer,
    on_metadata = Metadata,
};

const PEER: &[Row] = rows! { PeerPlugin, peer_bits:
    on_connected = Connected,
    on_handshake = Handshake,
    on_extension_handshake = ExtensionHandshake,
    on_extended = Extended,
    on_choke = Choke,
    on_unchoke = Unchoke,
    on_interested = Interested,
    on_not_interested = NotInterested,
    on_have = Have,
    on_bitfield = Bitfield,
    on_have_all = HaveAll,
    on_have_none = HaveNone,
    on_allowed_fast = AllowedFast,
    on_suggest = Suggest,
    on_request = Request,
    on_piece = Piece,
    on_cancel = Cancel,
    on_reject = Reject,
    on_unknown_message = UnknownMessage,
    write_request = WriteRequest,
    tick = Tick,
    on_piece_pass = PiecePassed,
    on_piece_failed = PieceFailed,
    on_disconnect = Disconnect,
    on_dont_have = DontHave,
    can_disconnect = CanDisconnect,
    write_message = WriteMessage,
    sent_choke = SentChoke,
    sent_unchoke = SentUnchoke,
    sent_interested = SentInterested,
    sent_not_interested = SentNotInterested,
    sent_have = SentHave,
    sent_bitfield = SentBitfield,
    sent_have_all = SentHaveAll,
    sent_have_none = SentHaveNone,
    sent_allowed_fast = SentAllowedFast,
    sent_suggest = SentSuggest,
    sent_request = SentRequest,
    sent_piece = SentPiece,
    sent_cancel = SentCancel,
    sent_reject = SentReject,
    sent_payload = SentPayload,
};

fn events_of(rows: &[Row], hooks: u64) -> u64 {
    rows.iter().filter(|row| hooks & row.hook != 0).fold(0, |mask, row| mask | row.event)
}

/// The events that an object with these hooks wants.
pub(crate) fn session_events(hooks: u64) -> u64 {
    events_of(SESSION, hooks)
}

/// The events that an object with these hooks wants.
pub(crate) fn torrent_events(hooks: u64) -> u64 {
    events_of(TORRENT, hooks)
}

/// The events that an object with these hooks wants.
pub(crate) fn peer_events(hooks: u64) -> u64 {
    events_of(PEER, hooks)
}

/// Calls the hook of a session event.
pub(crate) fn call_session(object: &mut SessionObj, call: &Call<'_>, event: &SessionEvent<'_>) -> Outcome {
    match event {
        SessionEvent::Tick => object.on_tick(call),
        SessionEvent::Alert(alert) => {
            let message = alert.to_string();
            let mut seen = api::Alert::new(alert.number(), alert.category(), alert.what(), &message);
            if let Some(torrent) = translate::alert_torrent(alert) {
                seen = seen.with_torrent(torrent);
            }
            let fields;
            let data = match alert {
                reef_engine::Alert::Custom(custom) => custom.data.as_slice(),
                own => {
                    fields = answers::alert_fields(own);
                    fields.as_slice()
                }
            };
            seen = seen.with_data(data);
            object.on_alert(call, &seen)
        }
        SessionEvent::Abort => object.abort(call),
        // Questions with answers of their own, which are not asked this way.
        SessionEvent::UnknownTorrent | SessionEvent::UnchokePriority => Outcome::Pass,
    }
}

/// Calls the hook of a torrent event.
pub(crate) fn call_torrent(object: &mut TorrentObj, call: &Call<'_>, event: &TorrentEvent) -> Outcome {
    match event {
        TorrentEvent::PiecePassed(piece) => object.on_piece_pass(call, *piece),
        TorrentEvent::PieceFailed(piece) => object.on_piece_failed(call, *piece),
        TorrentEvent::Tick => object.tick(call),
        TorrentEvent::Pause => object.on_pause(call),
        TorrentEvent::Resume => object.on_resume(call),
        TorrentEvent::FilesChecked => object.on_files_checked(call),
        TorrentEvent::State(state) => object.on_state(call, translate::torrent_state(*state)),
        TorrentEvent::AddPeer(added) => {
            let bit = |set: bool, bit: u32| if set { bit } else { 0 };
            let flags = bit(added.first_time, api::add_peer_flags::FIRST_TIME)
                | bit(added.filtered, api::add_peer_flags::FILTERED);
            object.on_add_peer(call, added.address, u32::from(added.source.0), flags)
        }
        TorrentEvent::Metadata => object.on_metadata(call),
    }
}

/// Calls the hook of a peer event.
pub(crate) fn call_peer(object: &mut PeerObj, call: &Call<'_>, event: &PeerEvent<'_>) -> Outcome {
    match event {
        PeerEvent::Connected => object.on_connected(call),
        PeerEvent::Handshake(reserved) => object.on_handshake(call, reserved),
        PeerEvent::ExtensionHandshake(dict) => object.on_extension_handshake(call, dict),
        PeerEvent::Extended(message) => object.on_extended(call, message.name, message.payload),
        PeerEvent::Choke => object.on_choke(call),
        PeerEvent::Unchoke => object.on_unchoke(call),
        PeerEvent::Interested => object.on_interested(call),
        PeerEvent::NotInterested => object.on_not_interested(call),
        PeerEvent::Have(piece) => object.on_have(call, *piece),
        PeerEvent::Bitfield(bits) => object.on_bitfield(call, bits),
        PeerEvent::HaveAll => object.on_have_all(call),
        PeerEvent::HaveNone => object.on_have_none(call),
        PeerEvent::AllowedFast(piece) => object.on_allowed_fast(call, *piece),
        PeerEvent::Suggest(piece) => object.on_suggest(call, *piece),
        PeerEvent::Request(request) => object.on_request(call, translate::request(*request)),
        PeerEvent::Piece(block) => {
            let data = api::Buffer::from_owner(block.data.clone());
            object.on_piece(call, translate::request(block.request), &data)
        }
        PeerEvent::Cancel(request) => object.on_cancel(call, translate::request(*request)),
        PeerEvent::Reject(request) => object.on_reject(call, translate::request(*request)),
        PeerEvent::UnknownMessage(message) => object.on_unknown_message(call, message.id, message.payload),
        PeerEvent::WriteRequest(request) => object.write_request(call, translate::request(*request)),
        PeerEvent::Tick => object.tick(call),
        PeerEvent::PiecePassed(piece) => object.on_piece_pass(call, *piece),
        PeerEvent::PieceFailed(piece) => object.on_piece_failed(call, *piece),
        PeerEvent::Disconnect(reason) => object.on_disconnect(call, reason),
        PeerEvent::DontHave(piece) => object.on_dont_have(call, *piece),
        PeerEvent::CanDisconnect(reason) => object.can_disconnect(call, reason),
        PeerEvent::WriteMessage(message) => object.write_message(call, message.id, message.payload),
        sent => told(call_sent(object, call, sent)),
    }
}

/// Calls the hook of a message that was queued for sending.
fn call_sent(object: &mut PeerObj, call: &Call<'_>, event: &PeerEvent<'_>) -> Outcome {
    match event {
        PeerEvent::SentChoke => object.sent_choke(call),
        PeerEvent::SentUnchoke => object.sent_unchoke(call),
        PeerEvent::SentInterested => object.sent_interested(call),
        PeerEvent::SentNotInterested => object.sent_not_interested(call),
        PeerEvent::SentHave(piece) => object.sent_have(call, *piece),
        PeerEvent::SentBitfield(bits) => object.sent_bitfield(call, bits),
        PeerEvent::SentHaveAll => object.sent_have_all(call),
        PeerEvent::SentHaveNone => object.sent_have_none(call),
        PeerEvent::SentAllowedFast(piece) => object.sent_allowed_fast(call, *piece),
        PeerEvent::SentSuggest(piece) => object.sent_suggest(call, *piece),
        PeerEvent::SentRequest(request) => object.sent_request(call, translate::request(*request)),
        PeerEvent::SentPiece(request) => object.sent_piece(call, translate::request(*request)),
        PeerEvent::SentCancel(request) => object.sent_cancel(call, translate::request(*request)),
        PeerEvent::SentReject(request) => object.sent_reject(call, translate::request(*request)),
        PeerEvent::SentPayload(bytes) => object.sent_payload(call, *bytes),
        _ => Outcome::Pass,
    }
}

/// What has happened cannot be taken over: every plugin hears of it.
fn told(outcome: Outcome) -> Outcome {
    if outcome == Outcome::Handled { Outcome::Pass } else { outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every bit from 0 to the highest is one row's.
    fn check(rows: &[Row], count: u32) {
        let all = rows.iter().fold(0, |mask, row| mask | row.event);
        assert_eq!((rows.len(), all), (count as usize, (1u64 << count) - 1));
    }

    #[test]
    fn every_event_has_a_hook() {
        check(SESSION, 5);
        check(TORRENT, 9);
        check(PEER, 42);
    }

    #[test]
    fn hooks_become_the_events_they_are() {
        let hooks = api::bits::PeerPlugin::on_have | api::bits::PeerPlugin::add_handshake;
        assert_eq!(peer_events(hooks), peer_bits::Have);
        assert_eq!(peer_events(0), 0);
        assert_eq!(torrent_events(api::bits::TorrentPlugin::on_metadata), torrent_bits::Metadata);
        assert_eq!(session_events(!0), (1 << 5) - 1);
    }

    #[test]
    fn hooks_have_their_names() {
        assert_eq!(HookId::event(Level::Peer, peer_bits::Disconnect).name(), "on_disconnect");
        assert_eq!(HookId::event(Level::Session, session_bits::Tick).name(), "on_tick");
        assert_eq!(HookId::event(Level::Torrent, torrent_bits::Tick).name(), "tick");
        assert_eq!(HookId::NEW_CONNECTION.name(), "new_connection");
        assert!(HookId::ADD_HANDSHAKE.concerns_a_peer() && HookId::UNKNOWN_TORRENT.concerns_a_peer());
        assert!(
            !HookId::NEW_TORRENT.concerns_a_peer()
                && !HookId::event(Level::Torrent, torrent_bits::Tick).concerns_a_peer()
        );
        let there = HookId::from_number(HookId::ADD_HANDSHAKE.number());
        assert_eq!(there.name(), "add_handshake");
    }
}
