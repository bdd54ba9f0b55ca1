// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work in steps: how much a request may do, and what deleted things are still made of.
//!
//! The server answers one request after the other, so how long one takes is how long all others
//! wait. Whatever takes time in proportion to something large asks for leave before each part
//! ([`Resources::step`]). What may no longer be reached is not taken apart at once but
//! [discarded](Resources::discard): a queue is worked off with each request, in the order in
//! which things came. So copies of a frame's cap are gone before the frame is.
//!
//! Heap: what is in the queue stands for the slots that it gives back.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use protocol::Error;
use protocol::limits::{RECLAIM_UNITS, STEP_UNITS};

use super::{Frames, Resources};
use crate::kernel::{Kernel, Slot};
use crate::slots::SlotRange;

/// Units of work: about a thousand instructions each, measured with `./simulate.sh bench steps`.
pub mod units {
    use crate::untyped::LARGE_BITS;

    /// To copy the cap of a frame and map the copy.
    pub const MAP: u32 = 2;
    /// To delete a cap that may be mapped.
    pub const DELETE: u32 = 1;
    /// To end an attachment.
    pub const ATTACHMENT: u32 = 8;
    /// To forget an object and look for the next.
    pub const OBJECT: u32 = 8;
    /// To look through all VASes and attachments for one segment.
    pub const SEARCH: u32 = 256;
    /// Segments of a VAS that are looked at in one unit.
    pub const LISTED: u32 = 32;
    /// To see who waits for locks.
    pub const LOCKS: u32 = 16;
    /// Locks of a VAS that are looked at in one unit.
    pub const LOCKED: u32 = 8;
    /// Bytes that the kernel clears in one unit.
    pub const CLEARED_BITS: u8 = 11;
    /// To make a page table of memory that was not divided for it, or to delete one.
    pub const TABLE: u32 = 2;
    /// Frames of a block that are deleted in one unit.
    pub const FRAMES: u32 = 2;

    /// To make something of a block of `1 << bits` bytes, which is taken from a larger one that
    /// has to be cleared for it: so many bytes. What is more than a request may do at all counts
    /// as if it were not.
    pub(in super::super) fn for_block(bits: u8, larger: u64) -> u32 {
        let cleared = ((1 << bits) + larger) >> CLEARED_BITS;
        TABLE + cleared.min(1 << (LARGE_BITS - CLEARED_BITS)) as u32
    }
}

/// What is left of something that nobody can reach any longer.
pub trait Remains<K> {
    /// Takes apart as much as is allowed; answers what then is left, if anything.
    fn take_apart(self: Box<Self>, resources: &mut Resources<K>) -> Option<Box<dyn Remains<K>>>;
}

/// What may be done for a request, and what waits to be taken apart.
pub(super) struct Steps<K> {
    left: u32,
    /// How much was left when nothing was done yet.
    whole: u32,
    remains: VecDeque<Box<dyn Remains<K>>>,
    /// How many things were taken apart altogether.
    reclaimed: u64,
}

impl<K> Steps<K> {
    pub(super) const fn new() -> Self {
        Steps {
            left: u32::MAX,
            whole: u32::MAX,
            remains: VecDeque::new(),
            reclaimed: 0,
        }
    }

    /// Whether all may be done at once: nothing is answered before the server has started.
    pub(super) const fn unbounded(&self) -> bool {
        self.whole == u32::MAX
    }

    pub(super) const fn step(&mut self, units: u32) -> Result<(), Error> {
        if self.left < units && self.left < self.whole {
            return Err(Error::Again);
        }
        self.left = self.left.saturating_sub(units);
        Ok(())
    }
}

impl<K> fmt::Debug for Steps<K> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remains = self.remains.len();
        write!(out, "{} units left, {remains} to take apart", self.left)
    }
}

impl<K: Kernel> Resources<K> {
    /// A request begins.
    pub const fn begin_request(&mut self) {
        self.allow(STEP_UNITS);
    }

    const fn allow(&mut self, units: u32) {
        self.steps.left = units;
        self.steps.whole = units;
    }

    /// Asks for leave to do so much. What is more than may be done at all is allowed if nothing
    /// else was done.
    ///
    /// # Errors
    /// [`Error::Again`] if the rest is for another request.
    pub const fn step(&mut self, units: u32) -> Result<(), Error> {
        self.steps.step(units)
    }

    /// So much was done that nobody could know before.
    pub const fn spend(&mut self, units: u32) {
        self.steps.left = self.steps.left.saturating_sub(units);
    }

    /// Gives away what nobody can reach any longer, to be taken apart with this and later
    /// requests.
    pub fn discard(&mut self, remains: impl Remains<K> + 'static) {
        self.steps.remains.push_back(Box::new(remains));
    }

    /// Discards slots and the caps in them.
    pub fn discard_slots(&mut self, slots: SlotRange) {
        self.discard(Caps::full(slots));
    }

    /// Discards a cap of which clients have copies.
    pub fn discard_badged(&mut self, cap: SlotRange) {
        self.discard(Badged(cap));
    }

    /// How many things wait to be taken apart.
    pub fn pending(&self) -> usize {
        self.steps.remains.len()
    }

    /// How many things were taken apart since the start.
    pub const fn reclaimed(&self) -> u64 {
        self.steps.reclaimed
    }

    /// A request is done: what follows is for what was deleted.
    pub fn allow_reclaiming(&mut self) {
        self.allow(RECLAIM_UNITS);
    }

    /// Takes some of what waits apart.
    pub fn reclaim(&mut self) {
        while let Some(remains) = self.steps.remains.pop_front() {
            if let Some(rest) = remains.take_apart(self) {
                self.steps.remains.push_front(rest);
                return;
            }
            self.steps.reclaimed += 1;
        }
    }

    /// Deletes caps, the last first.
    ///
    /// # Errors
    /// [`Error::Again`] if there are more.
    pub fn delete_some(&mut self, caps: &mut Caps) -> Result<(), Error> {
        while let Some(last) = caps.last() {
            self.step(units::DELETE)?;
            self.kernel.delete(last);
            caps.filled -= 1;
        }
        Ok(())
    }

    /// Gives the slots of caps back of which none is left.
    pub fn release_caps(&mut self, caps: Caps) {
        self.release_slots(caps.slots);
    }
}

/// Consecutive slots, of which the first have caps.
#[derive(Debug)]
#[must_use]
pub struct Caps {
    slots: SlotRange,
    filled: u32,
}

impl Caps {
    /// Slots that are all empty.
    pub const fn empty(slots: SlotRange) -> Self {
        Caps { slots, filled: 0 }
    }

    const fn full(slots: SlotRange) -> Self {
        let filled = slots.count();
        Caps { slots, filled }
    }

    /// How many caps there are.
    pub const fn filled(&self) -> u32 {
        self.filled
    }

    /// The first empty slot.
    pub fn next(&self) -> Option<Slot> {
        let Slot(first) = self.slots.first();
        (self.filled < self.slots.count()).then_some(Slot(first + self.filled))
    }

    /// The first empty slot has a cap from now on.
    pub const fn fill(&mut self) {
        self.filled += 1;
    }

    /// The last slot with a cap.
    pub fn last(&self) -> Option<Slot> {
        let Slot(first) = self.slots.first();
        self.filled.checked_sub(1).map(|last| Slot(first + last))
    }

    /// That slot has none from now on.
    pub const fn empty_last(&mut self) {
        self.filled -= 1;
    }
}

impl<K: Kernel> Remains<K> for Caps {
    fn take_apart(
        mut self: Box<Self>,
        resources: &mut Resources<K>,
    ) -> Option<Box<dyn Remains<K>>> {
        if resources.delete_some(&mut self).is_err() {
            return Some(self);
        }
        resources.release_caps(*self);
        None
    }
}

/// A cap of which clients have copies.
struct Badged(SlotRange);

impl<K: Kernel> Remains<K> for Badged {
    fn take_apart(self: Box<Self>, resources: &mut Resources<K>) -> Option<Box<dyn Remains<K>>> {
        if resources.step(2 * units::DELETE).is_err() {
            return Some(self);
        }
        resources.delete_badged(self.0);
        None
    }
}

impl<K: Kernel> Remains<K> for Frames {
    fn take_apart(
        mut self: Box<Self>,
        resources: &mut Resources<K>,
    ) -> Option<Box<dyn Remains<K>>> {
        while let Some(block) = self.blocks.pop() {
            let frames = 1 << (block.bits() - self.size.bits());
            if resources
                .step(units::DELETE + frames / units::FRAMES)
                .is_err()
            {
                self.blocks.push(block);
                return Some(self);
            }
            resources.release_block(self.payer, block);
        }
        resources.release_slots(self.slots);
        None
    }
}
