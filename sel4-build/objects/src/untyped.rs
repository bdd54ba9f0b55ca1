// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blocks of untyped memory, of any power of two.
//!
//! A buddy allocator whose blocks are untyped caps: a block is divided by retyping it into
//! two halves, and is whole again once everything derived from it is deleted. Halves that
//! are both free are *not* joined at once: seL4 clears a block when it is used again after
//! its parts were deleted, so joining and dividing over and over would clear over and over.
//! They are joined when a request cannot be met otherwise. So taking a block and giving it
//! back costs the same whatever else is in use.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use protocol::Error;
use slab::Slab;

use crate::kernel::{Kernel, Object, Slot};
use crate::slots::{SlotRange, Slots};

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
}

#[derive(Debug)]
struct Divided {
    place: Place,
    cap: Cap,
    /// Slots of the halves.
    halves: SlotRange,
    /// How many of the halves are not free: in use or divided.
    used: u8,
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
    total: u64,
    free_bytes: u64,
}

impl Untypeds {
    /// All of the given memory is free. With each cap the binary logarithm of its size in
    /// bytes, at most 47 (`seL4_MaxUntypedBits`).
    pub fn new(given: &[(Slot, u8)]) -> Self {
        let mut untypeds = Untypeds {
            free: BTreeMap::new(),
            divided: Slab::new(),
            idle: Vec::new(),
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
            let above = None;
            untypeds.free.insert(place, Cap { slot, above });
        }
        untypeds.free_bytes = untypeds.total;
        untypeds
    }

    /// Bytes there are.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are free.
    pub const fn free_bytes(&self) -> u64 {
        self.free_bytes
    }

    /// Slots that [`join_all`](Self::join_all) would empty.
    pub fn idle_slots(&self) -> u32 {
        let mut slots = 0;
        let divided = |index: u32| self.divided.get(index as usize);
        let is_idle = |&index: &u32| divided(index).is_some_and(|divided| divided.used == 0);
        let mut joined: Vec<u32> = self.idle.iter().copied().filter(is_idle).collect();
        let mut free_halves = BTreeMap::new();
        while let Some(index) = joined.pop() {
            slots += 2;
            if let Some(above) = divided(index).and_then(|divided| divided.cap.above) {
                let more = free_halves.entry(above).or_insert(0);
                *more += 1;
                if divided(above).is_some_and(|divided| divided.used == *more) {
                    joined.push(above);
                }
            }
        }
        slots
    }

    /// Takes a block of `1 << bits` bytes: the smallest that is large enough, divided as
    /// often as needed.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::OutOfSlots`] (dividing takes slots), or
    /// [`Error::Internal`] if the kernel refused.
    pub fn allocate<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<Block, Error> {
        match self.carve(kernel, slots, bits) {
            Err(Error::OutOfMemory | Error::OutOfSlots) if !self.idle.is_empty() => {
                self.join_all(kernel, slots);
                self.carve(kernel, slots, bits)
            }
            result => result,
        }
    }

    /// Takes a block of `1 << most` bytes or, if there is none, the largest there is, but
    /// none below `1 << least` bytes.
    ///
    /// # Errors
    /// As for [`allocate`](Self::allocate).
    pub fn allocate_at_most<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        most: u8,
        least: u8,
    ) -> Result<Block, Error> {
        if self.largest_bits() < most {
            self.join_all(kernel, slots);
        }
        let bits = self.largest_bits().min(most);
        if bits < least {
            return Err(Error::OutOfMemory);
        }
        self.allocate(kernel, slots, bits)
    }

    /// Gives a block back; everything made from it is deleted.
    pub fn release<K: Kernel>(&mut self, kernel: &mut K, block: Block) {
        let Block { place, cap } = block;
        kernel.revoke(cap.slot);
        self.free_bytes += place.bytes();
        self.put_free(place, cap);
    }

    /// Makes every free block as large as it can be, which empties the slots that divided
    /// it.
    pub fn join_all<K: Kernel>(&mut self, kernel: &mut K, slots: &mut Slots) {
        while let Some(divided) = self.idle.pop() {
            self.join(kernel, slots, divided);
        }
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
                self.idle.push(above);
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
            listed: false,
        }) as u32;
        for (half, slot) in place.halves().into_iter().zip(caps) {
            let above = Some(divided);
            self.put_free(half, Cap { slot, above });
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
            slots.release(halves);
            self.put_free(place, cap);
        }
    }
}
