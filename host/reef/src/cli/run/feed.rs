//! Events for whoever subscribed: alerts of the chosen categories, each a line beside the answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reef::session::{AlertStream, NextAlert, Session};
use reef_engine::alert::Category;

use super::super::client::USUAL_ALERTS;
use super::super::failure::Failure;
use super::super::{events, json};
use super::spawn;

/// What is subscribed to when nothing is named: everything but each piece and file.
pub(super) const USUAL: u32 = USUAL_ALERTS;

/// How many events wait to be written.
const WAITING: usize = 16_384;

/// Categories by name.
const CATEGORIES: [(&str, Category); 9] = [
    ("error", Category::ERROR),
    ("peer", Category::PEER),
    ("storage", Category::STORAGE),
    ("tracker", Category::TRACKER),
    ("status", Category::STATUS),
    ("progress", Category::PROGRESS),
    ("ip_block", Category::IP_BLOCK),
    ("plugin", Category::PLUGIN),
    ("all", Category::ALL),
];

/// The categories of these names.
pub(super) fn mask(names: Option<&[String]>) -> Result<u32, String> {
    let Some(names) = names else { return Ok(USUAL) };
    let category = |name: &String| CATEGORIES.iter().find(|(known, _)| known == name).map(|(_, category)| category.0);
    let known = || CATEGORIES.map(|(name, _)| name).join(", ");
    names.iter().try_fold(0, |mask, name| {
        Ok(mask | category(name).ok_or_else(|| format!("there is no category {name:?}; there are {}", known()))?)
    })
}

/// The subscription, if there is one.
#[derive(Default)]
pub(super) struct Feed {
    is_over: Option<Arc<AtomicBool>>,
}

impl Feed {
    /// Begins to write these categories, in the place of those before.
    pub(super) fn subscribe(&mut self, session: &Session, mask: u32) -> Result<(), Failure> {
        self.end();
        let is_over = Arc::new(AtomicBool::new(false));
        self.is_over = Some(Arc::clone(&is_over));
        let stream = session.subscribe(mask, WAITING);
        spawn("events", move || write(stream, &is_over))
    }

    /// Writes no more.
    pub(super) fn end(&mut self) {
        if let Some(is_over) = self.is_over.take() {
            is_over.store(true, Ordering::Relaxed);
        }
    }
}

fn write(mut stream: AlertStream, is_over: &AtomicBool) {
    loop {
        match stream.next_blocking(Duration::from_secs(60)) {
            _ if is_over.load(Ordering::Relaxed) => return,
            NextAlert::Alert(alert) => json::event(alert.what(), events::fields(&alert)),
            NextAlert::TimedOut => {}
            NextAlert::Ended => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_names_and_others_are_refused() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(mask(None), Ok(USUAL));
        assert_eq!(mask(Some(&names(&["error", "tracker"]))), Ok(0x11));
        assert!(
            mask(Some(&names(&["errors"]))).unwrap_err().contains("there is no category \"errors\"; there are error,")
        );
    }
}
