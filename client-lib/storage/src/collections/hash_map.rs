// SPDX-License-Identifier: MIT OR Apache-2.0

//! A hash map in a VAS.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasherDefault, Hash};

use allocator_api2::alloc::AllocError;
use hashbrown::hash_map;
use rustc_hash::FxHasher;

use crate::{Heap, Root, Shape, Store};

/// The same for all processes: no seed.
type Hashes = BuildHasherDefault<FxHasher>;

type Table<'v, K, V> = hashbrown::HashMap<K, V, Hashes, Heap<'v>>;

/// A hash map in a VAS: `HashMap` of the standard library.
///
/// Hashes are the same in all processes, and nothing in them is secret: who chooses keys can choose
/// such as have the same hash, and make the map slow. Where keys come from who is not trusted with
/// that, [`VasBTreeMap`](crate::VasBTreeMap) stays fast.
///
/// An empty table of `hashbrown` is an address in the program. So a map has memory of the heap from
/// the beginning on, and never gives all of it back as long as it is there: it has no `Default`,
/// `drain` and `shrink_to_fit`, and its table is never shown.
pub struct VasHashMap<'v, K, V> {
    /// Has memory, always.
    table: Table<'v, K, V>,
}

impl<'v, K, V> VasHashMap<'v, K, V> {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The number of entries that there is room for, those that are there included.
    pub fn capacity(&self) -> usize {
        self.table.capacity()
    }

    /// All entries, in no order. The order is the same for all who read.
    pub fn iter(&self) -> hash_map::Iter<'_, K, V> {
        self.table.iter()
    }

    /// All entries, in no order, to change the values.
    pub fn iter_mut(&mut self) -> hash_map::IterMut<'_, K, V> {
        self.table.iter_mut()
    }

    /// All keys, in no order.
    pub fn keys(&self) -> hash_map::Keys<'_, K, V> {
        self.table.keys()
    }

    /// All values, in no order.
    pub fn values(&self) -> hash_map::Values<'_, K, V> {
        self.table.values()
    }

    /// All values, in no order, to change them.
    pub fn values_mut(&mut self) -> hash_map::ValuesMut<'_, K, V> {
        self.table.values_mut()
    }

    /// Removes all entries. The memory stays.
    pub fn clear(&mut self) {
        self.table.clear();
    }

    /// Keeps those entries only for which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&K, &mut V) -> bool) {
        self.table.retain(keep);
    }
}

impl<'v, K: Eq + Hash, V> VasHashMap<'v, K, V> {
    /// An empty map.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn new_in(heap: Heap<'v>) -> Self {
        Self::with_capacity_in(1, heap)
    }

    /// An empty map.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow.
    pub fn try_new_in(heap: Heap<'v>) -> Result<Self, AllocError> {
        let mut table = Table::with_hasher_in(Hashes::default(), heap);
        table.try_reserve(1).map_err(|_| AllocError)?;
        Ok(VasHashMap { table })
    }

    /// An empty map, with room for so many entries.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn with_capacity_in(capacity: usize, heap: Heap<'v>) -> Self {
        let capacity = capacity.max(1);
        let table = Table::with_capacity_and_hasher_in(capacity, Hashes::default(), heap);
        VasHashMap { table }
    }

    /// Makes room for so many entries more.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn reserve(&mut self, additional: usize) {
        self.table.reserve(additional);
    }

    /// Makes room for so many entries more.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), AllocError> {
        self.table.try_reserve(additional).map_err(|_| AllocError)
    }

    /// The value of a key.
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.table.get(key)
    }

    /// The value of a key, and the key that is there.
    pub fn get_key_value<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        self.table.get_key_value(key)
    }

    /// The value of a key, to change it.
    pub fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.table.get_mut(key)
    }

    /// Whether a key is there.
    pub fn contains_key<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.table.contains_key(key)
    }

    /// Puts an entry in, and takes the value that the key had.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.table.insert(key, value)
    }

    /// Puts an entry in, and takes the value that the key had.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; key and value come back.
    pub fn try_insert(&mut self, key: K, value: V) -> Result<Option<V>, (K, V)> {
        if self.len() < self.capacity() || self.try_reserve(1).is_ok() {
            return Ok(self.insert(key, value));
        }
        match self.get_mut(&key) {
            Some(present) => Ok(Some(core::mem::replace(present, value))),
            None => Err((key, value)),
        }
    }

    /// Takes the value of a key, and the key with it.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.table.remove(key)
    }

    /// Takes the entry of a key.
    pub fn remove_entry<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
    {
        self.table.remove_entry(key)
    }

    /// What there is for a key, to put a value there if there is none.
    pub fn entry(&mut self, key: K) -> Entry<'_, 'v, K, V> {
        Entry {
            entry: self.table.entry(key),
        }
    }
}

/// What a [`VasHashMap`] has for a key, or has not.
pub struct Entry<'m, 'v, K, V> {
    /// Not shown: it would show the table.
    entry: hash_map::Entry<'m, K, V, Hashes, Heap<'v>>,
}

impl<'m, K: Eq + Hash, V> Entry<'m, '_, K, V> {
    /// The key that was asked for.
    pub fn key(&self) -> &K {
        self.entry.key()
    }

    /// Changes the value, if there is one.
    #[must_use]
    pub fn and_modify(self, change: impl FnOnce(&mut V)) -> Self {
        Entry {
            entry: self.entry.and_modify(change),
        }
    }

    /// The value, `value` if there is none.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn or_insert(self, value: V) -> &'m mut V {
        self.entry.or_insert(value)
    }

    /// The value, what `value` makes if there is none.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn or_insert_with(self, value: impl FnOnce() -> V) -> &'m mut V {
        self.entry.or_insert_with(value)
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for Entry<'_, '_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entry.fmt(out)
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for VasHashMap<'_, K, V> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.table.fmt(out)
    }
}

impl<K: Eq + Hash, V: PartialEq> PartialEq for VasHashMap<'_, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl<K: Eq + Hash, V: Eq> Eq for VasHashMap<'_, K, V> {}

impl<'m, K, V> IntoIterator for &'m VasHashMap<'_, K, V> {
    type Item = (&'m K, &'m V);
    type IntoIter = hash_map::Iter<'m, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'m, K, V> IntoIterator for &'m mut VasHashMap<'_, K, V> {
    type Item = (&'m K, &'m mut V);
    type IntoIter = hash_map::IterMut<'m, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

// SAFETY: its memory is the heap's, since it is never without, and what it holds may be stored.
// Hashes do not depend on the process.
unsafe impl<'v, K: Store<'v>, V: Store<'v>> Store<'v> for VasHashMap<'v, K, V> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasHashMap", |shape| {
            // Decides how many entries `hashbrown` looks at at once, which shows in the table.
            shape.part(if cfg!(all(target_feature = "sse2", not(miri))) {
                "groups of 16"
            } else {
                "groups of 8"
            });
            K::describe(shape);
            V::describe(shape);
        });
    }
}

impl<K: Root, V: Root> Root for VasHashMap<'_, K, V> {
    type At<'v> = VasHashMap<'v, K::At<'v>, V::At<'v>>;
}
