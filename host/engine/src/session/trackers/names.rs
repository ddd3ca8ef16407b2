//! Names of UDP trackers that were resolved or are being resolved, so that a thousand torrents of one tracker need one
//! question. HTTP trackers are resolved by whoever makes the request.

use crate::ids::RequestId;
use crate::time::Time;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// What is known of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, (Vec<IpAddr>, Time)>,
    asked: BTreeMap<RequestId, Lookup>,
}

#[derive(Debug)]
struct Lookup {
    host: String,
    waiting: Vec<RequestId>,
}

impl Names {
    /// The addresses of a host, if it is an address itself or was resolved a short while ago.
    pub(super) fn addresses(&self, host: &str, now: Time) -> Option<Vec<IpAddr>> {
        if let Ok(ip) = host.parse() {
            return Some(vec![ip]);
        }
        self.known.get(host).filter(|(_, until)| now < *until).map(|(addresses, _)| addresses.clone())
    }

    /// Lets an announce wait for a name that is being resolved; false if it is not.
    pub(super) fn join(&mut self, host: &str, announce: RequestId) -> bool {
        let lookup = self.asked.values_mut().find(|lookup| lookup.host == host);
        lookup.map(|lookup| lookup.waiting.push(announce)).is_some()
    }

    /// A name is being resolved for an announce.
    pub(super) fn asked(&mut self, question: RequestId, host: &str, announce: RequestId) {
        self.asked.insert(question, Lookup { host: host.to_owned(), waiting: vec![announce] });
    }

    /// A name was resolved, or not: the announces that waited for it. They are gone or go on.
    pub(super) fn resolved(&mut self, question: RequestId, addresses: Option<&[IpAddr]>, now: Time) -> Vec<RequestId> {
        let Some(lookup) = self.asked.remove(&question) else { return Vec::new() };
        self.known.retain(|_, (_, until)| now < *until);
        if let Some(addresses) = addresses.filter(|_| self.known.len() < MAX_KNOWN) {
            self.known.insert(lookup.host, (addresses.to_vec(), now + KEPT_FOR));
        }
        lookup.waiting
    }
}

/// A name is resolved again after this: trackers move.
const KEPT_FOR: Duration = Duration::from_secs(300);

/// Names at most that are kept.
const MAX_KNOWN: usize = 1000;
