// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blocks of untyped memory, of any power of two.
//!
//! A buddy allocator whose blocks are untyped caps: a block is divided by retyping it into
//! two halves, and is whole again once everything derived from it is deleted. Halves that
//! are both free are *not* joined at once: seL4 clears a block when it is used again after
//! its parts were deleted, so joining and dividing over and over would clear over and over.
//! They are joined when a request cannot be met otherwise. So taking a block and giving it
//! back costs the same whatever else is in use.
//!
//! Nothing takes long at once. A call joins no more than [`JOINS`] blocks and is to be repeated
//! if there are more. Blocks above [`LARGE_BITS`] are divided into slots that are kept for that,
//! and are made whole again for a larger object only: for anything else they would have to be
//! cleared to be divided again.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use protocol::{Error, PageSize};
use slab::Slab;

use crate::kernel::{Kernel, Object, Slot};
use crate::slots::{SlotRange, Slots};

/// Binary logarithm of the largest block that is made whole again to be divided again.
pub const LARGE_BITS: u8 = PageSize::Large.bits();
/// Blocks that one call makes whole at most.
pub const JOINS: u32 = 64;

/// The slots that are kept to divide blocks of these sizes (binary logarithms of bytes) down to
/// [`LARGE_BITS`].
pub fn slots_to_divide(sizes: impl IntoIterator<Item = u8>) -> u32 {
    let divisions = |bits: u8| (1 << bits.saturating_sub(LARGE_BITS)) - 1;
    sizes.into_iter().map(|bits| 2 * divisions(bits)).sum()
}

/// Where a block lies. The order is that of sizes, so the first free place that is not too
/// small is the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    /// Binary logarithm of its size in bytes.
    bits: u8,
    /// Which of the untyped caps the server was given.
    tree: u16,
    /// First byte within that.
    offset: u64,
}

impl Place {
    /// The first place of a size in the order of places.
    const fn first_of(bits: u8) -> Self {
        Place {
            bits,
            tree: 0,
            offset: 0,
        }
    }

    const fn bytes(self) -> u64 {
        1 << self.bits
    }

    const fn halves(self) -> [Self; 2] {
        let lower = Place {
            bits: self.bits - 1,
            ..self
        };
        let upper = Place {
            offset: self.offset + lower.bytes(),
            ..lower
        };
        [lower, upper]
    }
}

/// An untyped cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cap {
    slot: Slot,
    /// Which divided block it is half of, if it is not one that was given.
    above: Option<u32>,
    /// Whether the kernel clears it when something is made of it.
    dirty: bool,
}

#[derive(Debug)]
struct Divided {
    place: Place,
    cap: Cap,
    /// Slots of the halves.
    halves: SlotRange,
    /// How many of the halves are not free: in use or divided.
    used: u8,
    /// How many of the halves have anything that is in use.
    busy: u8,
    /// Whether it is among the [`idle`](Untypeds::idle) ones.
    listed: bool,
}

/// A block in use. Must be given back with [`Untypeds::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Block {
    place: Place,
    cap: Cap,
}

impl Block {
    /// Its untyped cap.
    pub const fn slot(&self) -> Slot {
        self.cap.slot
    }

    /// Binary logarithm of its size in bytes.
    pub const fn bits(&self) -> u8 {
        self.place.bits
    }
}

/// The memory of the server.
///
/// Heap: at most two entries for every untyped cap, each of which takes a slot.
#[derive(Debug)]
pub struct Untypeds {
    /// Free blocks.
    free: BTreeMap<Place, Cap>,
    divided: Slab<Divided>,
    /// Divided blocks of which both halves were free at some time; all those of which they
    /// are now.
    idle: Vec<u32>,
    /// The same above [`LARGE_BITS`].
    large_idle: Vec<u32>,
    /// Slots for the halves of those.
    large_slots: Slots,
    /// Divided blocks up to [`LARGE_BITS`] of which nothing is in use.
    joinable: u32,
    total: u64,
    free_bytes: u64,
}

impl Untypeds {
    /// All of the given memory is free, and counts as used before: so the kernel takes what it
    /// gives at boot. With each cap the binary logarithm of its size in bytes, at most 47
    /// (`seL4_MaxUntypedBits`). Slots to divide it are taken now.
    ///
    /// # Errors
    /// [`Error::OutOfSlots`]; see [`slots_to_divide`].
    pub fn new(slots: &mut Slots, given: &[(Slot, u8)]) -> Result<Self, Error> {
        let kept = slots
            .allocate(slots_to_divide(given.iter().map(|&(_, bits)| bits)))
            .map_err(|_| Error::OutOfSlots)?;
        let Slot(first) = kept.first();
        let mut untypeds = Untypeds {
            free: BTreeMap::new(),
            divided: Slab::new(),
            idle: Vec::new(),
            large_idle: Vec::new(),
            large_slots: Slots::new(first..first + kept.count()),
            joinable: 0,
            total: 0,
            free_bytes: 0,
        };
        for (tree, &(slot, bits)) in (0..).zip(given) {
            let place = Place {
                bits,
                tree,
                offset: 0,
            };
            untypeds.total += place.bytes();
            let (above, dirty) = (None, true);
            untypeds.free.insert(place, Cap { slot, above, dirty });
        }
        untypeds.free_bytes = untypeds.total;
        Ok(untypeds)
    }

    /// Divides what is larger than [`LARGE_BITS`] and was used, so that the kernel clears it now
    /// and not when a part of it is needed.
    ///
    /// # Errors
    /// [`Error::Internal`] if the kernel refused.
    pub fn clear_large<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
    ) -> Result<(), Error> {
        let large = self.free.range(Place::first_of(LARGE_BITS + 1)..);
        let used = large.filter(|(_, cap)| cap.dirty);
        let used: Vec<(Place, Cap)> = used.map(|(&place, &cap)| (place, cap)).collect();
        used.into_iter()
            .try_for_each(|(place, cap)| self.divide(kernel, slots, place, cap))
    }

    /// Bytes there are.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are free.
    pub const fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// Slots that [`join_some`](Self::join_some) would empty, repeated until it is done.
    pub const fn idle_slots(&self) -> u32 {
        2 * self.joinable
    }

    /// Bytes that the kernel would clear to make [`allocate`](Self::allocate) possible, if it is
    /// without making blocks larger.
    pub fn bytes_to_clear(&self, bits: u8) -> u64 {
        match self.free.range(Place::first_of(bits)..).next() {
            Some((place, cap)) if cap.dirty && place.bits > bits => place.bytes(),
            _ => 0,
        }
    }

    /// Slots that dividing for [`allocate`](Self::allocate) takes, other than those that are kept
    /// for it.
    pub fn slots_to_take(&self, bits: u8) -> u32 {
        let place = self.free.range(Place::first_of(bits)..).next();
        let from = place.map_or(bits, |(place, _)| place.bits.min(LARGE_BITS));
        2 * u32::from(from.saturating_sub(bits))
    }

    /// Takes a block of `1 << bits` bytes: the smallest that is large enough, divided as
    /// often as needed.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::OutOfSlots`] (dividing takes slots), [`Error::Again`] if
    /// some blocks were made whole and there are more, or [`Error::Internal`] if the kernel
    /// refused.
    pub fn allocate<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<Block, Error> {
        match self.carve(kernel, slots, bits) {
            Err(Error::OutOfMemory | Error::OutOfSlots) if self.any_idle(bits) => {
                self.join_some(kernel, slots, bits)?;
                self.carve(kernel, slots, bits)
            }
            result => result,
        }
    }

    /// Binary logarithm of the size in bytes of the largest free block, but not more than this.
    /// Free blocks are made larger if there is none so large.
    ///
    /// # Errors
    /// [`Error::Again`] as for [`allocate`](Self::allocate).
    pub fn largest_up_to<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<u8, Error> {
        if self.largest_bits() < bits {
            self.join_some(kernel, slots, bits)?;
        }
        Ok(self.largest_bits().min(bits))
    }

    /// Gives a block back; everything made from it is deleted.
    pub fn release<K: Kernel>(&mut self, kernel: &mut K, block: Block) {
        let Block { place, cap } = block;
        kernel.revoke(cap.slot);
        self.free_bytes += place.bytes();
        self.count_busy(cap.above, false);
        self.put_free(place, Cap { dirty: true, ..cap });
    }

    /// Makes free blocks larger, up to [`LARGE_BITS`] or, if that is more, up to these, which
    /// empties the slots that divided them.
    ///
    /// # Errors
    /// [`Error::Again`] if there are more.
    pub fn join_some<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<(), Error> {
        for _ in 0..JOINS {
            let next = self.idle.pop();
            let next = next.or_else(|| self.large_idle.pop_if(|_| bits > LARGE_BITS));
            let Some(divided) = next else {
                return Ok(());
            };
            self.join(kernel, slots, divided);
        }
        match self.any_idle(bits) {
            true => Err(Error::Again),
            false => Ok(()),
        }
    }

    fn any_idle(&self, bits: u8) -> bool {
        !self.idle.is_empty() || bits > LARGE_BITS && !self.large_idle.is_empty()
    }

    fn largest_bits(&self) -> u8 {
        let largest = self.free.last_key_value();
        largest.map_or(0, |(place, _)| place.bits)
    }

    fn put_free(&mut self, place: Place, cap: Cap) {
        self.free.insert(place, cap);
        if let Some(above) = cap.above
            && let Some(divided) = self.divided.get_mut(above as usize)
        {
            divided.used -= 1;
            if divided.used == 0 && !divided.listed {
                divided.listed = true;
                match divided.place.bits > LARGE_BITS {
                    true => self.large_idle.push(above),
                    false => self.idle.push(above),
                }
            }
        }
    }

    fn take_free(&mut self, place: Place, cap: Cap) {
        self.free.remove(&place);
        if let Some(above) = cap.above
            && let Some(divided) = self.divided.get_mut(above as usize)
        {
            divided.used += 1;
        }
    }

    /// A half of a divided block is in use from now on, or no longer. What is larger than
    /// [`LARGE_BITS`] is not counted.
    fn count_busy(&mut self, mut above: Option<u32>, busy: bool) {
        while let Some(index) = above
            && let Some(divided) = self.divided.get_mut(index as usize)
            && divided.place.bits <= LARGE_BITS
        {
            let before = divided.busy;
            let after = if busy { before + 1 } else { before - 1 };
            divided.busy = after;
            match (before, after) {
                (0, _) => self.joinable -= 1,
                (_, 0) => self.joinable += 1,
                _ => return,
            }
            above = divided.cap.above;
        }
    }

    fn carve<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<Block, Error> {
        loop {
            let (&place, &cap) = self
                .free
                .range(Place::first_of(bits)..)
                .next()
                .ok_or(Error::OutOfMemory)?;
            if place.bits > bits {
                self.divide(kernel, slots, place, cap)?;
                continue;
            }
            self.take_free(place, cap);
            self.count_busy(cap.above, true);
            self.free_bytes -= place.bytes();
            return Ok(Block { place, cap });
        }
    }

    fn divide<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        place: Place,
        cap: Cap,
    ) -> Result<(), Error> {
        let slots = match place.bits > LARGE_BITS {
            true => &mut self.large_slots,
            false => slots,
        };
        let halves = slots.allocate(2).map_err(|_| Error::OutOfSlots)?;
        let object = Object::Untyped {
            bits: place.bits - 1,
        };
        if let Err(error) = kernel.retype(cap.slot, object, halves.first(), 2) {
            slots.release(halves);
            return Err(error.into());
        }
        self.take_free(place, cap);
        let caps = halves.iter();
        // There are fewer than slots.
        let divided = self.divided.insert(Divided {
            place,
            cap,
            halves,
            used: 2,
            busy: 0,
            listed: false,
        }) as u32;
        self.joinable += u32::from(place.bits <= LARGE_BITS);
        for (half, slot) in place.halves().into_iter().zip(caps) {
            let (above, dirty) = (Some(divided), false);
            self.put_free(half, Cap { slot, above, dirty });
        }
        Ok(())
    }

    /// Makes one block of a divided one, if both halves are free.
    fn join<K: Kernel>(&mut self, kernel: &mut K, slots: &mut Slots, index: u32) {
        let index = index as usize;
        if let Some(divided) = self.divided.get_mut(index)
            && divided.used > 0
        {
            divided.listed = false;
        } else if let Some(Divided {
            place, cap, halves, ..
        }) = self.divided.try_remove(index)
        {
            kernel.revoke(cap.slot);
            for half in place.halves() {
                self.free.remove(&half);
            }
            match place.bits > LARGE_BITS {
                true => self.large_slots.release(halves),
                false => {
                    slots.release(halves);
                    self.joinable -= 1;
                }
            }
            self.put_free(place, Cap { dirty: true, ..cap });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use alloc::vec::Vec;
    use core::sync::atomic::AtomicU64;

    use protocol::lock::{Lock, LockSet};
    use protocol::{Access, Badge};

    use super::*;
    use crate::kernel::{KernelError, TableLevel, Timer};

    /// Agrees to everything.
    struct Agreeable;

    type Done = Result<(), KernelError>;

    impl Kernel for Agreeable {
        fn shares_tables(&mut self) -> bool {
            false
        }
        fn retype(&mut self, _: Slot, _: Object, _: Slot, _: u32) -> Done {
            Ok(())
        }
        fn copy(&mut self, _: Slot, _: Slot, _: Access) -> Done {
            Ok(())
        }
        fn mint(&mut self, _: Slot, _: Slot, _: Badge) -> Done {
            Ok(())
        }
        fn delete(&mut self, _: Slot) {}
        fn revoke(&mut self, _: Slot) {}
        fn make_asid_pool(&mut self, _: Slot, _: Slot, _: Slot) -> Done {
            Ok(())
        }
        fn assign_asid(&mut self, _: Slot, _: Slot) -> Done {
            Ok(())
        }
        fn map_table(&mut self, _: Slot, _: TableLevel, _: Slot, _: u64) -> Done {
            Ok(())
        }
        fn map_frame(&mut self, _: Slot, _: Slot, _: u64, _: Access) -> Done {
            Ok(())
        }
        fn copy_memory(&mut self, _: u64, _: u64, _: u64) {}
        fn save_caller(&mut self, _: Slot) -> Done {
            Ok(())
        }
        fn reply(&mut self, _: Slot, _: u64, _: &[u64], _: Option<Slot>) {}
        fn lock(&self, _: u16) -> &Lock {
            unreachable!("allocators know no locks")
        }
        fn lock_set(&self, _: u16) -> &LockSet {
            unreachable!("allocators know no locks")
        }
        fn locking(&self, _: u16) -> &AtomicU64 {
            unreachable!("allocators know no locks")
        }
        fn set_timer(&mut self, _: Timer, _: Option<u16>) {}
        fn timer_count(&mut self) -> u16 {
            0
        }
    }

    #[test]
    fn so_many_slots_are_idle_as_joining_empties() {
        let mut slots = Slots::new(0..4000);
        let mut untypeds =
            Untypeds::new(&mut slots, &[(Slot(9000), 23), (Slot(9001), 14)]).unwrap();
        let all = slots.free_count();
        let mut blocks: Vec<Block> = Vec::new();
        // Any sequence of numbers will do.
        let mut number: u32 = 1;
        for _ in 0..2000 {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            let choice = number >> 16;
            if choice.is_multiple_of(2) || blocks.is_empty() {
                let bits = 12 + (choice / 2 % 6) as u8;
                blocks.extend(untypeds.allocate(&mut Agreeable, &mut slots, bits).ok());
            } else {
                let block = blocks.swap_remove(choice as usize % blocks.len());
                untypeds.release(&mut Agreeable, block);
            }
            if choice.is_multiple_of(16) {
                let expected = slots.free_count() + untypeds.idle_slots();
                while untypeds.join_some(&mut Agreeable, &mut slots, 12).is_err() {}
                assert_eq!(slots.free_count(), expected);
                assert_eq!(untypeds.idle_slots(), 0);
            }
        }
        for block in blocks {
            untypeds.release(&mut Agreeable, block);
        }
        assert_eq!(slots.free_count() + untypeds.idle_slots(), all);
    }

    #[test]
    fn one_call_makes_a_bounded_number_of_blocks_whole_and_says_if_there_are_more() {
        let mut slots = Slots::new(0..4000);
        let mut untypeds = Untypeds::new(&mut slots, &[(Slot(9000), 21)]).unwrap();
        let pages: Vec<Block> = (0..512)
            .map(|_| untypeds.allocate(&mut Agreeable, &mut slots, 12).unwrap())
            .collect();
        for page in pages {
            untypeds.release(&mut Agreeable, page);
        }
        let mut calls = 0;
        while untypeds.allocate(&mut Agreeable, &mut slots, 21) == Err(Error::Again) {
            calls += 1;
        }
        // Dividing so much has taken 511 divisions.
        assert_eq!(calls, 511 / JOINS);
    }

    #[test]
    fn what_was_divided_above_two_megabytes_stays_divided_unless_more_is_asked_for() {
        let mut slots = Slots::new(0..100);
        let mut untypeds = Untypeds::new(&mut slots, &[(Slot(9000), 23)]).unwrap();
        assert_eq!(slots.free_count(), 100 - slots_to_divide([23]));
        let block = untypeds.allocate(&mut Agreeable, &mut slots, 21).unwrap();
        untypeds.release(&mut Agreeable, block);
        let largest = untypeds.largest_up_to(&mut Agreeable, &mut slots, 21);
        assert_eq!(largest, Ok(21));
        // Nothing has to be cleared to take a part of what was used.
        assert_eq!(untypeds.bytes_to_clear(21), 0);
        assert_eq!(untypeds.bytes_to_clear(20), 1 << 21);
        let all = untypeds.allocate(&mut Agreeable, &mut slots, 23).unwrap();
        untypeds.release(&mut Agreeable, all);
        assert_eq!(untypeds.bytes_to_clear(21), 1 << 23);
    }
}
