//! Values by number: keys that are given out one after the other, such as those of connections and pieces.
//!
//! One is found in a step or two, however many there are, because each message of each peer comes this way. The hash is
//! fixed, so that a session does the same in each run; whoever acts on all values in turn takes them in the order of the
//! keys. Open addressing with linear probing: a key lies at its home or close behind it, with no free place between.

use crate::ids::ConnId;
use std::fmt;
use std::ops::Index;

/// A key.
pub(crate) trait Id: Copy + Ord {
    /// What tells it from others.
    fn number(self) -> u64;
}

impl Id for ConnId {
    fn number(self) -> u64 {
        self.0
    }
}

/// The index of a piece.
impl Id for u32 {
    fn number(self) -> u64 {
        self.into()
    }
}

/// A map from ids.
#[derive(Clone)]
pub(crate) struct IdMap<K, V> {
    /// A power of two of places, half of them taken at most; none at all while it is empty.
    places: Vec<Option<(K, V)>>,
    len: usize,
}

/// Spreads numbers that follow each other, and those at any fixed distance: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
/// Places at first.
const FEW: usize = 4;

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self { places: Vec::new(), len: 0 }
    }
}

impl<K: Id, V> IdMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let at = self.seek(*key)?;
        self.places[at].as_ref().map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = self.seek(*key)?;
        self.places[at].as_mut().map(|(_, value)| value)
    }

    /// The value of a key, a new one if it has none.
    pub(crate) fn get_or_insert_with(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if (self.len + 1) * 2 > self.places.len() {
            self.grow();
        }
        // There are free places, so the search ends at one if not before.
        let at = self.seek(key).unwrap_or_default();
        let place = &mut self.places[at];
        self.len += usize::from(place.is_none());
        &mut place.get_or_insert_with(|| (key, new())).1
    }

    /// Gives a key a value in place of the one that it has.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(old) = self.get_mut(&key) {
            return Some(std::mem::replace(old, value));
        }
        self.get_or_insert_with(key, || value);
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.seek(*key)?;
        let (_, value) = self.places[at].take()?;
        self.len -= 1;
        self.close_gap(at);
        if self.is_empty() {
            self.places = Vec::new();
        }
        Some(value)
    }

    /// Every key, in ascending order.
    pub(crate) fn keys(&self) -> Vec<K> {
        let mut keys: Vec<K> = self.places.iter().flatten().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// Every key and value, in ascending order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        let mut all: Vec<(K, &V)> = self.unordered().collect();
        all.sort_unstable_by_key(|(key, _)| *key);
        all.into_iter()
    }

    /// The same in an order that means nothing: to look for one, to count, or to sort otherwise.
    pub(crate) fn unordered(&self) -> impl Iterator<Item = (K, &V)> {
        self.places.iter().flatten().map(|(key, value)| (*key, value))
    }

    /// Every value, in an order that means nothing.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.unordered().map(|(_, value)| value)
    }

    /// Every value, in an order that means nothing.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.places.iter_mut().flatten().map(|(_, value)| value)
    }

    /// Where a key is, or else the free place that it would take; nothing if there are no places.
    fn seek(&self, key: K) -> Option<usize> {
        let last = self.places.len().checked_sub(1)?;
        let mut at = self.home(key);
        while self.places[at].as_ref().is_some_and(|(other, _)| *other != key) {
            at = (at + 1) & last;
        }
        Some(at)
    }

    /// Where a key would be if it were alone.
    fn home(&self, key: K) -> usize {
        // The upper bits of the product depend on all bits of the number.
        (key.number().wrapping_mul(SPREAD) >> 32) as usize & (self.places.len() - 1)
    }

    fn grow(&mut self) {
        let places = (self.places.len() * 2).max(FEW);
        let old = std::mem::take(&mut self.places);
        self.places.resize_with(places, || None);
        for (key, value) in old.into_iter().flatten() {
            if let Some(at) = self.seek(key) {
                self.places[at] = Some((key, value));
            }
        }
    }

    /// A place is free: what was put behind it because it was taken moves up.
    fn close_gap(&mut self, mut gap: usize) {
        let last = self.places.len() - 1;
        let mut at = (gap + 1) & last;
        while let Some((key, _)) = &self.places[at] {
            let from_home = at.wrapping_sub(self.home(*key)) & last;
            if from_home >= at.wrapping_sub(gap) & last {
                self.places.swap(gap, at);
                gap = at;
            }
            at = (at + 1) & last;
        }
    }
}

impl<K: Id, V> Index<&K> for IdMap<K, V> {
    type Output = V;

    fn index(&self, key: &K) -> &V {
        self.get(key).expect("a key that is in the map")
    }
}

impl<K: Id + fmt::Debug, V: fmt::Debug> fmt::Debug for IdMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every key is where the search for it ends, and there are places left.
    fn check<V>(map: &IdMap<u32, V>) {
        assert_eq!(map.places.iter().flatten().count(), map.len);
        assert!(map.len * 2 <= map.places.len());
        for (at, place) in map.places.iter().enumerate() {
            assert!(place.as_ref().is_none_or(|(key, _)| map.seek(*key) == Some(at)));
        }
    }

    #[test]
    fn does_what_an_ordered_map_does() {
        let (mut map, mut model) = (IdMap::default(), BTreeMap::new());
        let mut random = 1_u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = random >> 25;
            match random >> 8 & 3 {
                0 => assert_eq!(map.insert(key, step), model.insert(key, step)),
                1 => {
                    let (ours, theirs) = (map.get_or_insert_with(key, || step), model.entry(key).or_insert(step));
                    assert_eq!(ours, theirs);
                }
                _ => assert_eq!(map.remove(&key), model.remove(&key)),
            }
            assert_eq!((map.get(&key), map.len()), (model.get(&key), model.len()));
            check(&map);
        }
        assert!(map.keys().into_iter().eq(model.keys().copied()));
        assert!(map.iter().eq(model.iter().map(|(key, value)| (*key, value))));
        assert_eq!(map.values().sum::<i32>(), model.values().sum());
    }

    #[test]
    fn keys_at_any_distance_lie_near_their_homes() {
        for distance in [1, 2, 3, 64, 1 << 12, 1 << 20] {
            let mut map = IdMap::default();
            (0..1000).for_each(|n| assert_eq!(map.insert(n * distance, n), None));
            let last = map.places.len() - 1;
            let far = |(at, place): (usize, &Option<(u32, u32)>)| {
                place.as_ref().map(|(key, _)| at.wrapping_sub(map.home(*key)) & last)
            };
            let steps: usize = map.places.iter().enumerate().filter_map(far).sum();
            assert!(steps < 1000, "{steps} steps for a thousand keys at a distance of {distance}");
        }
    }

    #[test]
    fn nothing_is_kept_when_it_is_empty() {
        let mut map = IdMap::default();
        (0..100).for_each(|n| assert_eq!(map.insert(ConnId(n), n), None));
        (0..100).for_each(|n| assert_eq!(map.remove(&ConnId(n)), Some(n)));
        assert!(map.is_empty() && map.places.capacity() == 0 && map.get(&ConnId(1)).is_none());
    }
}
