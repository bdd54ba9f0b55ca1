// SPDX-License-Identifier: MIT OR Apache-2.0

//! Objects that are named by an index and a generation.
//!
//! A name of something that is gone is detected, not taken for what came after. Indexes
//! are used again in the order in which they became free, so each lies idle as long as
//! possible before its next generation.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use protocol::handle::GENERATIONS;

/// Names an object in an [`Arena`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Which place.
    pub index: u16,
    /// Which use of the place: below [`GENERATIONS`].
    pub generation: u16,
}

impl Key {
    /// The key as one number.
    pub const fn number(self) -> u32 {
        (self.generation as u32) << u16::BITS | self.index as u32
    }

    /// The key of a number; `None` if the number belongs to no key.
    pub fn from_number(number: u64) -> Option<Self> {
        let generation = u16::try_from(number >> u16::BITS).ok()?;
        let index = u16::try_from(number & u64::from(u16::MAX)).ok()?;
        (generation < GENERATIONS).then_some(Key { index, generation })
    }
}

#[derive(Debug)]
struct Place<T> {
    generation: u16,
    value: Option<T>,
}

/// A bounded collection. Most of its heap is taken when it is made.
#[derive(Debug)]
pub struct Arena<T> {
    places: Vec<Place<T>>,
    free: VecDeque<u16>,
    used: BTreeSet<u16>,
}

impl<T> Arena<T> {
    /// Room for `limit` objects.
    pub fn new(limit: u16) -> Self {
        Arena {
            places: (0..limit)
                .map(|_| Place {
                    generation: 0,
                    value: None,
                })
                .collect(),
            free: (0..limit).collect(),
            used: BTreeSet::new(),
        }
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key that [`insert`](Self::insert) will give next; `None` if all room is taken.
    pub fn next_key(&self) -> Option<Key> {
        let &index = self.free.front()?;
        let generation = self.places.get(usize::from(index))?.generation;
        Some(Key { index, generation })
    }

    /// Adds an object; gives it back if all room is taken.
    ///
    /// # Errors
    /// The object.
    pub fn insert(&mut self, value: T) -> Result<Key, T> {
        let Some(key) = self.next_key() else {
            return Err(value);
        };
        let Some(place) = self.places.get_mut(usize::from(key.index)) else {
            return Err(value);
        };
        place.value = Some(value);
        self.free.pop_front();
        self.used.insert(key.index);
        Ok(key)
    }

    /// The object of a key, if it still exists.
    pub fn get(&self, key: Key) -> Option<&T> {
        let place = self.places.get(usize::from(key.index))?;
        place
            .value
            .as_ref()
            .filter(|_| place.generation == key.generation)
    }

    /// The object of a key, if it still exists.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(usize::from(key.index))?;
        place
            .value
            .as_mut()
            .filter(|_| place.generation == key.generation)
    }

    /// Takes an object out; its key names nothing from now on.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(usize::from(key.index))?;
        if place.generation != key.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = (place.generation + 1) % GENERATIONS;
        self.free.push_back(key.index);
        self.used.remove(&key.index);
        Some(value)
    }

    /// Every object and its key, in order of index.
    pub fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.used.iter().filter_map(|&index| {
            let place = self.places.get(usize::from(index))?;
            let generation = place.generation;
            let value = place.value.as_ref()?;
            Some((Key { index, generation }, value))
        })
    }

    /// The same, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        (0u16..).zip(&mut self.places).filter_map(|(index, place)| {
            let generation = place.generation;
            let value = place.value.as_mut()?;
            Some((Key { index, generation }, value))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_key_of_a_removed_object_names_nothing_even_when_its_place_is_used_again() {
        let mut arena = Arena::new(1);
        let first = arena.insert("first").unwrap();
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second").unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.get_mut(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
    }

    #[test]
    fn places_are_used_again_in_the_order_in_which_they_became_free() {
        let mut arena = Arena::new(3);
        let keys = [0, 1, 2].map(|value| arena.insert(value).unwrap());
        assert_eq!(arena.insert(3), Err(3));
        for position in [1, 0, 2] {
            arena.remove(*keys.get(position).unwrap());
        }
        let indexes = [4, 5, 6].map(|value| arena.insert(value).unwrap().index);
        assert_eq!(indexes, [1, 0, 2]);
    }

    #[test]
    fn a_generation_wraps_within_its_bits() {
        let mut arena = Arena::new(1);
        for _ in 0..GENERATIONS {
            let key = arena.insert(()).unwrap();
            assert!(key.generation < GENERATIONS);
            arena.remove(key).unwrap();
        }
        assert_eq!(arena.insert(()).unwrap().generation, 0);
    }

    #[test]
    fn the_next_key_is_the_one_that_insert_gives() {
        let mut arena = Arena::new(2);
        for _ in 0..5 {
            let next = arena.next_key().unwrap();
            let key = arena.insert(()).unwrap();
            assert_eq!(next, key);
            arena.remove(key);
        }
    }

    #[test]
    fn a_key_and_its_number_are_the_same() {
        let key = Key {
            index: 1023,
            generation: GENERATIONS - 1,
        };
        assert_eq!(Key::from_number(u64::from(key.number())), Some(key));
        assert_eq!(Key::from_number(u64::MAX), None);
        assert_eq!(Key::from_number(u64::from(GENERATIONS) << 16), None);
    }
}
