//! The counters and gauges that plugins register: one list a session, each value an atomic that its plugin changes from any
//! thread. A plugin's leave with it; a replacement that registers the same goes on from its value.

use reef_engine::counters::{Counters, Kind};
use reef_plugin_api::{HostError, NewStatistic, Statistic, StatisticKind};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The statistics of a session's plugins.
#[derive(Default)]
pub(crate) struct Statistics(Mutex<Vec<Registered>>);

struct Registered {
    name: String,
    kind: StatisticKind,
    doc: String,
    plugin: String,
    /// The instances that have it: more than one only while a plugin is replaced.
    owners: BTreeSet<u64>,
    value: Arc<AtomicI64>,
}

/// One statistic, as its plugin changes it.
pub(crate) struct Value {
    kind: StatisticKind,
    value: Arc<AtomicI64>,
}

impl Statistics {
    /// Gives a plugin's instance a name.
    pub(crate) fn register(&self, (plugin, owner): (&str, u64), wanted: &NewStatistic<'_>) -> Result<Value, HostError> {
        if !is_name(wanted.name) || wanted.doc.len() > MAX_DOC {
            return Err(HostError::BadArgument);
        }
        let mut all = self.all();
        let holder = match all.iter_mut().find(|other| other.name == wanted.name) {
            Some(same) if same.plugin == plugin && same.kind == wanted.kind => {
                same.owners.insert(owner);
                wanted.doc.clone_into(&mut same.doc);
                return Ok(Value { kind: same.kind, value: same.value.clone() });
            }
            Some(other) if other.plugin == plugin => Some("itself, as one of the other kind".to_owned()),
            Some(other) => Some(format!("plugin {}", other.plugin)),
            None => Counters::TABLE.iter().any(|(name, ..)| *name == wanted.name).then(|| "the session".to_owned()),
        };
        if let Some(holder) = holder {
            let name = wanted.name;
            log::error!("plugin {plugin} gets no statistic {name}, because {holder} has it: choose another name");
            return Err(HostError::Taken);
        }
        let value = Arc::<AtomicI64>::default();
        all.push(Registered {
            name: wanted.name.to_owned(),
            kind: wanted.kind,
            doc: wanted.doc.to_owned(),
            plugin: plugin.to_owned(),
            owners: BTreeSet::from([owner]),
            value: value.clone(),
        });
        Ok(Value { kind: wanted.kind, value })
    }

    /// An instance is gone.
    pub(crate) fn forget(&self, owner: u64) {
        let mut all = self.all();
        all.retain_mut(|statistic| {
            statistic.owners.remove(&owner);
            !statistic.owners.is_empty()
        });
    }

    /// Names and values, by name.
    pub(crate) fn values(&self) -> Vec<(String, i64)> {
        let mut values: Vec<(String, i64)> =
            self.all().iter().map(|one| (one.name.clone(), one.value.load(Ordering::Relaxed))).collect();
        values.sort_unstable();
        values
    }

    /// These, with the session's own before them.
    pub(crate) fn with_own(&self, own: &[(std::borrow::Cow<'static, str>, i64)]) -> Vec<Statistic> {
        let one = |name: &str, kind, doc: &str, value| {
            let mut statistic = Statistic::default();
            (statistic.name, statistic.kind, statistic.value) = (name.to_owned(), kind, value);
            doc.trim().clone_into(&mut statistic.doc);
            statistic
        };
        let described = own.iter().filter_map(|(name, value)| {
            let (_, kind, doc) = Counters::TABLE.iter().find(|(other, ..)| other == name)?;
            let kind = if *kind == Kind::Counter { StatisticKind::Counter } else { StatisticKind::Gauge };
            Some(one(name, kind, doc, *value))
        });
        let mut list: Vec<Statistic> = described.collect();
        let own = list.len();
        let all = self.all();
        list.extend(all.iter().map(|two| one(&two.name, two.kind, &two.doc, two.value.load(Ordering::Relaxed))));
        list[own..].sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    fn all(&self) -> MutexGuard<'_, Vec<Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Value {
    pub(crate) fn add(&self, difference: i64) -> Result<(), HostError> {
        if self.kind == StatisticKind::Counter && difference < 0 {
            return Err(HostError::BadArgument);
        }
        self.value.fetch_add(difference, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn set(&self, value: i64) -> Result<(), HostError> {
        if self.kind == StatisticKind::Counter {
            return Err(HostError::BadArgument);
        }
        self.value.store(value, Ordering::Relaxed);
        Ok(())
    }
}

/// Names are the session's own alike: `net.recv_bytes`.
fn is_name(name: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    (1..=64).contains(&name.len()) && name.bytes().all(known)
}

const MAX_DOC: usize = 500;

#[cfg(test)]
mod tests {
    use super::*;

    fn register(all: &Statistics, plugin: &str, owner: u64, name: &str) -> Result<Value, HostError> {
        all.register((plugin, owner), &NewStatistic { name, kind: StatisticKind::Counter, doc: "d" })
    }

    #[test]
    fn a_name_has_one_plugin_and_the_sessions_are_taken() {
        let all = Statistics::default();
        assert!(register(&all, "a", 1, "a.x").is_ok());
        assert_eq!(register(&all, "b", 2, "a.x").err(), Some(HostError::Taken));
        assert_eq!(register(&all, "b", 2, "ses.num_torrents").err(), Some(HostError::Taken));
        assert_eq!(register(&all, "b", 2, "A b").err(), Some(HostError::BadArgument));
        let gauge = NewStatistic { name: "a.x", kind: StatisticKind::Gauge, doc: "" };
        assert_eq!(all.register(("a", 1), &gauge).err(), Some(HostError::Taken));
        all.forget(1);
        assert!(register(&all, "b", 2, "a.x").is_ok());
    }

    #[test]
    fn a_replacement_goes_on_counting_and_what_has_gone_is_not_shown() {
        let all = Statistics::default();
        let old = register(&all, "a", 1, "a.x").expect("free");
        assert_eq!(
            (old.add(3), old.add(-1), old.set(1)),
            (Ok(()), Err(HostError::BadArgument), Err(HostError::BadArgument))
        );
        let new = register(&all, "a", 2, "a.x").expect("its own");
        all.forget(1);
        assert_eq!(new.add(4), Ok(()));
        assert_eq!(all.values(), [("a.x".to_owned(), 7)]);
        let listed = all.with_own(&[("net.recv_bytes".into(), 5)]);
        let seen: Vec<(&str, i64)> = listed.iter().map(|one| (one.name.as_str(), one.value)).collect();
        assert_eq!(seen, [("net.recv_bytes", 5), ("a.x", 7)]);
        assert_eq!(listed[0].doc, "Bytes received from peers.");
        all.forget(2);
        assert_eq!(all.values(), []);
    }
}
