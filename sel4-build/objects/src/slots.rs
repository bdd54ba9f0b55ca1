// SPDX-License-Identifier: MIT OR Apache-2.0

//! Free slots of the server's CNode.
//!
//! Frames of a segment, and copies of their caps, lie in consecutive slots, so that a
//! segment of any size is remembered by one number.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;

use crate::kernel::Slot;

/// Consecutive slots that belong to someone. Must be given back with [`Slots::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct SlotRange {
    first: u32,
    count: u32,
}

impl SlotRange {
    /// The first slot; without meaning if the range is empty.
    pub const fn first(&self) -> Slot {
        Slot(self.first)
    }

    /// How many slots.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Every slot, in order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + use<> {
        (self.first..self.first + self.count).map(Slot)
    }
}

/// How many single slots lie ready.
const SINGLES: usize = 64;

/// Not enough consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfSlots;

/// The free slots.
///
/// Heap: two entries for every gap between ranges in use.
#[derive(Debug)]
pub struct Slots {
    /// First slot of every free range and how many follow; ranges never touch.
    free: BTreeMap<u32, u32>,
    /// The same, how many slots first: in the order in which they are taken.
    by_count: BTreeSet<(u32, u32)>,
    /// Single slots that were given back, at most [`SINGLES`]. Most are taken one at a time,
    /// and these cost next to nothing to take and to give back.
    singles: Vec<u32>,
    free_count: u32,
    total: u32,
}

impl Slots {
    /// All of `range` is free.
    pub fn new(range: Range<u32>) -> Self {
        let mut slots = Slots {
            free: BTreeMap::new(),
            by_count: BTreeSet::new(),
            singles: Vec::with_capacity(SINGLES),
            free_count: 0,
            total: range.end.saturating_sub(range.start),
        };
        slots.release(SlotRange {
            first: range.start,
            count: slots.total,
        });
        slots
    }

    /// How many there are.
    pub const fn total(&self) -> u32 {
        self.total
    }

    /// How many are free.
    pub const fn free_count(&self) -> u32 {
        self.free_count
    }

    /// Takes `count` consecutive slots: a single one that was given back, or from the smallest
    /// gap that has so many.
    ///
    /// # Errors
    /// [`OutOfSlots`] if no gap has.
    pub fn allocate(&mut self, count: u32) -> Result<SlotRange, OutOfSlots> {
        let first = match count {
            0 => Some(0),
            1 => self.singles.pop().or_else(|| self.take(1)),
            _ => self.take(count).or_else(|| {
                self.join_singles();
                self.take(count)
            }),
        };
        let first = first.ok_or(OutOfSlots)?;
        self.free_count -= count;
        Ok(SlotRange { first, count })
    }

    /// Gives slots back. They must be empty.
    pub fn release(&mut self, range: SlotRange) {
        let SlotRange { first, count } = range;
        self.free_count += count;
        match count {
            0 => {}
            1 if self.singles.len() < SINGLES => self.singles.push(first),
            _ => self.join(first, count),
        }
    }

    fn take(&mut self, count: u32) -> Option<u32> {
        let &(length, first) = self.by_count.range((count, 0)..).next()?;
        self.remove(first, length);
        if length > count {
            self.insert(first + count, length - count);
        }
        Some(first)
    }

    fn join_singles(&mut self) {
        while let Some(single) = self.singles.pop() {
            self.join(single, 1);
        }
    }

    /// Makes one gap of these slots and the gaps beside them.
    fn join(&mut self, mut first: u32, mut count: u32) {
        if let Some(&after) = self.free.get(&(first + count)) {
            self.remove(first + count, after);
            count += after;
        }
        if let Some((&before, &length)) = self.free.range(..first).next_back()
            && before + length == first
        {
            self.remove(before, length);
            first = before;
            count += length;
        }
        self.insert(first, count);
    }

    fn insert(&mut self, first: u32, count: u32) {
        self.free.insert(first, count);
        self.by_count.insert((count, first));
    }

    fn remove(&mut self, first: u32, count: u32) {
        self.free.remove(&first);
        self.by_count.remove(&(count, first));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn slots_given_back_in_any_order_become_one_range_again() {
        for order in [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ] {
            let mut slots = Slots::new(10..40);
            let mut ranges = [5, 10, 15].map(|count| Some(slots.allocate(count).unwrap()));
            assert_eq!(slots.allocate(1), Err(OutOfSlots));
            for position in order {
                slots.release(ranges.get_mut(position).unwrap().take().unwrap());
            }
            assert_eq!(slots.free_count(), 30);
            assert_eq!(slots.allocate(30).unwrap().first(), Slot(10));
        }
    }

    #[test]
    fn the_smallest_gap_that_fits_is_used() {
        let mut slots = Slots::new(0..100);
        let large = slots.allocate(20).unwrap();
        let wall = slots.allocate(1).unwrap();
        let small = slots.allocate(3).unwrap();
        let other_wall = slots.allocate(1).unwrap();
        slots.release(large);
        slots.release(small);
        assert_eq!(slots.allocate(2).unwrap().first(), Slot(21));
        assert_eq!(slots.allocate(2).unwrap().first(), Slot(0));
        slots.release(wall);
        slots.release(other_wall);
    }

    #[test]
    fn slots_given_back_one_by_one_can_be_had_as_one_range() {
        const COUNT: u32 = 2 * SINGLES as u32;
        let mut slots = Slots::new(0..COUNT);
        let ones: Vec<SlotRange> = (0..COUNT).map(|_| slots.allocate(1).unwrap()).collect();
        assert_eq!(slots.allocate(1), Err(OutOfSlots));
        for one in ones {
            slots.release(one);
        }
        assert_eq!(slots.free_count(), COUNT);
        assert_eq!(slots.allocate(COUNT).unwrap().count(), COUNT);
    }

    #[test]
    fn no_slots_are_no_range_and_cost_nothing() {
        let mut slots = Slots::new(5..5);
        let none = slots.allocate(0).unwrap();
        assert_eq!(none.iter().count(), 0);
        slots.release(none);
        assert_eq!(slots.allocate(1), Err(OutOfSlots));
    }

    #[test]
    fn slots_in_a_range_are_consecutive() {
        let mut slots = Slots::new(7..20);
        let range = slots.allocate(3).unwrap();
        assert!(range.iter().eq([Slot(7), Slot(8), Slot(9)]));
    }
}
