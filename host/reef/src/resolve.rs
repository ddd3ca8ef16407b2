//! Host names to addresses, by the operating system, on threads of their own since that may take long.

use crate::workers::Workers;
use reef_engine::RequestId;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::Arc;

/// Gets each answer, on a thread of the resolver.
pub(crate) type OnResolved = Arc<dyn Fn(RequestId, Result<Vec<IpAddr>, String>) + Send + Sync>;

/// Resolves names.
pub(crate) struct Resolver {
    workers: Workers<(RequestId, String)>,
}

impl Resolver {
    /// A resolver that gives its answers to `on_resolved`.
    pub(crate) fn new(on_resolved: OnResolved) -> Self {
        let make = move || {
            let on_resolved = Arc::clone(&on_resolved);
            let work: Box<dyn FnMut((RequestId, String))> = Box::new(move |(id, host)| on_resolved(id, resolve(&host)));
            work
        };
        Self { workers: Workers::new("reef-resolve", THREADS, make) }
    }

    /// Resolves a name; an address is its own answer.
    pub(crate) fn resolve(&self, id: RequestId, host: String) {
        self.workers.submit((id, host));
    }
}

fn resolve(host: &str) -> Result<Vec<IpAddr>, String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, 0).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found.map(|a| a.ip()).take(MOST_ADDRESSES) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(format!("{host}: the name has no address")) } else { Ok(addresses) }
}

const THREADS: usize = 4;
const MOST_ADDRESSES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, expected: Option<&str>) {
        let found = resolve(host);
        match expected {
            Some(address) => assert_eq!(found, Ok(vec![address.parse().unwrap()]), "{host}"),
            None => assert!(found.is_err(), "{host}: {found:?}"),
        }
    }

    #[test]
    fn addresses_are_their_own_answer_and_nonsense_has_none() {
        check("127.0.0.1", Some("127.0.0.1"));
        check("::1", Some("::1"));
        check("[::1]", Some("::1"));
        check("", None);
        check("not a name", None);
    }
}
