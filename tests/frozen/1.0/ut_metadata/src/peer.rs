//! One connection: what the peer says is read, its requests are answered, and it is asked for blocks.

use crate::NAME;
use crate::answers::{Answer, Answers, Exists};
use crate::fetch::{Claim, Outcome};
use crate::message::{self, BLOCK, Data, Message};
use crate::torrent::{Shared, Stage};
use reef_plugin_api::bencode::{Value, decode, int};
use reef_plugin_api::{Flow, HandshakeEntries, HookResult, PeerCx, PeerKey, PeerPlugin, PluginError, hooks};

/// The plugin's part in one connection.
pub(crate) struct MetadataPeer {
    key: PeerKey,
    shared: Shared,
    answers: Answers,
}

impl MetadataPeer {
    /// For the connection of this key.
    pub(crate) fn new(key: PeerKey, shared: Shared) -> Self {
        Self { key, shared, answers: Answers::default() }
    }
}

#[hooks]
impl PeerPlugin for MetadataPeer {
    fn add_handshake(&mut self, cx: &mut PeerCx<'_>, entries: &mut HandshakeEntries) -> HookResult {
        entries.extension(NAME);
        if let Some(size) = cx.torrent().metadata().and_then(|metadata| i64::try_from(metadata.len()).ok()) {
            entries.set("metadata_size", int(size));
        }
        Ok(Flow::Pass)
    }

    fn on_extension_handshake(&mut self, cx: &mut PeerCx<'_>, dict: &[u8]) -> HookResult {
        let mut stage = self.shared.lock();
        let Stage::Fetching(fetch) = &mut *stage else { return Ok(Flow::Pass) };
        if cx.supports(NAME) {
            // A dictionary that cannot be read is one that says nothing.
            let size = decode(dict).ok().and_then(|dict| dict.get("metadata_size").and_then(Value::as_int));
            fetch.set_source(self.key, Claim::of(size));
        } else {
            fetch.remove_source(self.key);
        }
        stage.ask_all(cx.torrent(), cx.now());
        Ok(Flow::Pass)
    }

    fn on_extended(&mut self, cx: &mut PeerCx<'_>, _name: &str, payload: &[u8]) -> HookResult {
        match Message::decode(payload)? {
            Message::Request { piece } => self.answer(cx, piece)?,
            Message::Data(data) => self.take_block(cx, &data),
            Message::Reject { piece } => self.take_refusal(cx, piece),
            Message::Unknown => (),
        }
        Ok(Flow::Handled)
    }

    fn tick(&mut self, cx: &mut PeerCx<'_>) -> HookResult {
        if !self.answers.is_empty() {
            self.answer_waiting(cx)?;
        }
        let mut stage = self.shared.lock();
        stage.ask(cx.torrent(), self.key, cx.now());
        stage.give(cx.torrent());
        Ok(Flow::Pass)
    }

    fn on_disconnect(&mut self, cx: &mut PeerCx<'_>, _reason: &str) -> HookResult {
        let mut stage = self.shared.lock();
        if let Stage::Fetching(fetch) = &mut *stage {
            fetch.remove_source(self.key);
        }
        stage.ask_all(cx.torrent(), cx.now());
        Ok(Flow::Pass)
    }
}

impl Drop for MetadataPeer {
    /// A plugin that is removed, or that leaves a torrent, hears of no disconnect.
    fn drop(&mut self) {
        if let Stage::Fetching(fetch) = &mut *self.shared.lock() {
            fetch.remove_source(self.key);
        }
    }
}

impl MetadataPeer {
    fn answer(&mut self, cx: &PeerCx<'_>, piece: i64) -> Result<(), PluginError> {
        // It gave us no number to answer under.
        if !cx.supports(NAME) {
            return Ok(());
        }
        let blocks = cx.torrent().metadata().map_or(0, |metadata| metadata.len().div_ceil(BLOCK as usize));
        let exists = usize::try_from(piece).is_ok_and(|piece| piece < blocks);
        let exists = if exists { Exists::Yes } else { Exists::No };
        match self.answers.on_request(piece, exists, cx.info()?.send_queue) {
            Answer::Send => {
                send_block(cx, piece);
            }
            Answer::Later => (),
            Answer::Reject => send(cx, &message::reject(piece)),
            Answer::Close => return Err(PluginError::new("ut_metadata: asks without end and reads nothing")),
        }
        Ok(())
    }

    fn answer_waiting(&mut self, cx: &PeerCx<'_>) -> Result<(), PluginError> {
        // What is sent here reaches the host's count only after the hook.
        let mut queue = cx.info()?.send_queue;
        while let Some(piece) = self.answers.next(queue) {
            queue = queue.saturating_add(send_block(cx, piece));
        }
        Ok(())
    }

    fn take_block(&self, cx: &PeerCx<'_>, data: &Data<'_>) {
        let mut stage = self.shared.lock();
        let Stage::Fetching(fetch) = &mut *stage else { return };
        match fetch.on_data(self.key, data, cx.now(), cx.random()) {
            Outcome::Incomplete => stage.ask(cx.torrent(), self.key, cx.now()),
            Outcome::Wrong(senders) => {
                log::debug!("metadata made of blocks of {senders} peers has the wrong hash");
                stage.ask_all(cx.torrent(), cx.now());
            }
            Outcome::Complete(bytes) => {
                log::debug!("metadata of {} bytes is complete", bytes.len());
                *stage = Stage::Found(bytes);
                stage.give(cx.torrent());
            }
        }
    }

    fn take_refusal(&self, cx: &PeerCx<'_>, piece: i64) {
        let mut stage = self.shared.lock();
        let Stage::Fetching(fetch) = &mut *stage else { return };
        fetch.on_reject(self.key, piece, cx.now());
        stage.ask_all(cx.torrent(), cx.now());
    }
}

/// Sends a block, or a refusal if there is no such block; returns how many bytes that took.
fn send_block(cx: &PeerCx<'_>, piece: i64) -> u64 {
    let block = cx.torrent().metadata().and_then(|metadata| message::data(piece, &metadata));
    let message = block.unwrap_or_else(|| message::reject(piece));
    send(cx, &message);
    message.len() as u64
}

/// A message that cannot be sent is lost with its connection, or asked for again.
fn send(cx: &PeerCx<'_>, message: &[u8]) {
    if let Err(error) = cx.send_extended(NAME, message) {
        log::debug!("cannot answer {:?}: {error}", cx.key());
    }
}
