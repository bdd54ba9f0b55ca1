// SPDX-License-Identifier: MIT OR Apache-2.0

//! Blocks of untyped memory, of any power of two.
//!
//! A buddy allocator whose blocks are untyped caps: a block is divided by retyping it into
//! two halves, and is whole again once everything derived from it is deleted. Halves that
//! are both free are *not* joined at once: seL4 clears a block when it is used again after
//! its parts were deleted, so joining and dividing over and over would clear over and over.
//! They are joined when a request cannot be met otherwise. So taking a block and giving it
//! back costs the same whatever else is in use.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use protocol::Error;

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

    const fn parent(self) -> Self {
        Place {
            bits: self.bits + 1,
            tree: self.tree,
            offset: self.offset & !((2 << self.bits) - 1),
        }
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

#[derive(Debug)]
enum State {
    Free,
    Used,
    Divided {
        /// Slots of the halves.
        halves: SlotRange,
        /// How many of the halves are not free: in use or divided.
        used: u8,
    },
}

#[derive(Debug)]
struct Node {
    slot: Slot,
    state: State,
}

/// A block in use. Must be given back with [`Untypeds::release`].
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Block {
    place: Place,
    slot: Slot,
}

impl Block {
    /// Its untyped cap.
    pub const fn slot(&self) -> Slot {
        self.slot
    }

    /// Binary logarithm of its size in bytes.
    pub const fn bits(&self) -> u8 {
        self.place.bits
    }
}

/// The memory of the server.
///
/// Heap: a node and at most one entry in a set for every untyped cap, each of which takes
/// a slot.
#[derive(Debug)]
pub struct Untypeds {
    nodes: BTreeMap<Place, Node>,
    /// Free blocks.
    free: BTreeSet<Place>,
    /// Divided blocks whose halves are both free.
    idle: BTreeSet<Place>,
    total: u64,
    free_bytes: u64,
}

impl Untypeds {
    /// All of the given memory is free. With each cap the binary logarithm of its size in
    /// bytes, at most 47 (`seL4_MaxUntypedBits`).
    pub fn new(given: &[(Slot, u8)]) -> Self {
        let mut untypeds = Untypeds {
            nodes: BTreeMap::new(),
            free: BTreeSet::new(),
            idle: BTreeSet::new(),
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
            untypeds.put_free(place, slot);
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
        let mut joined: Vec<Place> = self.idle.iter().copied().collect();
        let mut free_halves = BTreeMap::new();
        while let Some(place) = joined.pop() {
            slots += 2;
            let above = place.parent();
            if let Some(Node {
                state: State::Divided { used, .. },
                ..
            }) = self.nodes.get(&above)
            {
                let more = free_halves.entry(above).or_insert(0);
                *more += 1;
                if more == used {
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
        let largest = |free: &BTreeSet<Place>| free.last().map_or(0, |place| place.bits);
        if largest(&self.free) < most {
            self.join_all(kernel, slots);
        }
        let bits = largest(&self.free).min(most);
        if bits < least {
            return Err(Error::OutOfMemory);
        }
        self.allocate(kernel, slots, bits)
    }

    /// Gives a block back; everything made from it is deleted.
    pub fn release<K: Kernel>(&mut self, kernel: &mut K, block: Block) {
        let Block { place, slot } = block;
        kernel.revoke(slot);
        self.put_free(place, slot);
        self.free_bytes += place.bytes();
        self.half_is_free(place);
    }

    /// Makes every free block as large as it can be, which empties the slots that divided
    /// it.
    pub fn join_all<K: Kernel>(&mut self, kernel: &mut K, slots: &mut Slots) {
        // The smallest first: what it becomes half of may be idle then.
        while let Some(&smallest) = self.idle.first() {
            self.join(kernel, slots, smallest);
        }
    }

    /// What this is half of has one half more that is free.
    fn half_is_free(&mut self, place: Place) {
        let above = place.parent();
        if let Some(Node {
            state: State::Divided { used, .. },
            ..
        }) = self.nodes.get_mut(&above)
        {
            *used -= 1;
            if *used == 0 {
                self.idle.insert(above);
            }
        }
    }

    /// What this is half of has one half less that is free.
    fn half_is_used(&mut self, place: Place) {
        let above = place.parent();
        if let Some(Node {
            state: State::Divided { used, .. },
            ..
        }) = self.nodes.get_mut(&above)
        {
            *used += 1;
            self.idle.remove(&above);
        }
    }

    fn put_free(&mut self, place: Place, slot: Slot) {
        let state = State::Free;
        self.nodes.insert(place, Node { slot, state });
        self.free.insert(place);
    }

    fn carve<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        bits: u8,
    ) -> Result<Block, Error> {
        loop {
            let &place = self
                .free
                .range(Place::first_of(bits)..)
                .next()
                .ok_or(Error::OutOfMemory)?;
            if place.bits > bits {
                self.divide(kernel, slots, place)?;
                continue;
            }
            let node = self.nodes.get_mut(&place).ok_or(Error::OutOfMemory)?;
            node.state = State::Used;
            let slot = node.slot;
            self.free.remove(&place);
            self.free_bytes -= place.bytes();
            self.half_is_used(place);
            return Ok(Block { place, slot });
        }
    }

    fn divide<K: Kernel>(
        &mut self,
        kernel: &mut K,
        slots: &mut Slots,
        place: Place,
    ) -> Result<(), Error> {
        let node = self.nodes.get_mut(&place).ok_or(Error::OutOfMemory)?;
        let halves = slots.allocate(2).map_err(|_| Error::OutOfSlots)?;
        let object = Object::Untyped {
            bits: place.bits - 1,
        };
        if let Err(error) = kernel.retype(node.slot, object, halves.first(), 2) {
            slots.release(halves);
            return Err(error.into());
        }
        let caps = halves.iter();
        node.state = State::Divided { halves, used: 0 };
        self.free.remove(&place);
        self.idle.insert(place);
        self.half_is_used(place);
        for (half, slot) in place.halves().into_iter().zip(caps) {
            self.put_free(half, slot);
        }
        Ok(())
    }

    /// Makes one block of an idle divided one.
    fn join<K: Kernel>(&mut self, kernel: &mut K, slots: &mut Slots, place: Place) {
        self.idle.remove(&place);
        if let Some(Node {
            slot,
            state: State::Divided { halves, .. },
        }) = self.nodes.remove(&place)
        {
            kernel.revoke(slot);
            for half in place.halves() {
                self.nodes.remove(&half);
                self.free.remove(&half);
            }
            slots.release(halves);
            self.put_free(place, slot);
            self.half_is_free(place);
        }
    }
}
