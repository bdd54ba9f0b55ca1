// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who pays for what.
//!
//! A user with a quota has an account with memory and slots of its own, set aside when the
//! server starts, so neither their amount nor how they are divided depends on anybody else. All other
//! users share the rest. Whoever asks pays, and what was paid for goes back to who paid,
//! whoever takes it away.

use core::ops::Range;

use protocol::message::{Counts, QuotaStatistics};
use protocol::{Error, Limit, limits};

use crate::kernel::{Kernel, Slot};
use crate::policy::admission::OneMore;
use crate::slots::{SlotRange, Slots};
use crate::untyped::{Block, LARGE_BITS, Untypeds};

/// Names an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payer(pub(super) usize);

impl Payer {
    /// The account that all users without a quota share.
    pub const REST: Payer = Payer(0);
}

/// What is counted for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Sessions.
    Sessions,
    /// VASes.
    Vases,
    /// Segments.
    Segments,
    /// Attachments of processes to VASes.
    Attachments,
    /// Handles.
    Handles,
}

impl Counted {
    const fn limit(self) -> Limit {
        match self {
            Counted::Sessions => Limit::Sessions,
            Counted::Vases => Limit::Vases,
            Counted::Segments => Limit::Segments,
            Counted::Attachments => Limit::Attachments,
            Counted::Handles => Limit::Handles,
        }
    }

    const fn of(self, counts: &mut Counts) -> &mut u32 {
        match self {
            Counted::Sessions => &mut counts.sessions,
            Counted::Vases => &mut counts.vases,
            Counted::Segments => &mut counts.segments,
            Counted::Attachments => &mut counts.attachments,
            Counted::Handles => &mut counts.handles,
        }
    }

    const ALL: [Counted; 5] = [
        Counted::Sessions,
        Counted::Vases,
        Counted::Segments,
        Counted::Attachments,
        Counted::Handles,
    ];
}

/// What one user, or all without a quota, may have, and has.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) user: Option<u32>,
    pub(super) untypeds: Untypeds,
    /// Bytes of `untypeds` that are set aside for other accounts.
    pub(super) reserved: u64,
    pub(super) slots: Slots,
    /// Slots that are set aside likewise.
    pub(super) reserved_slots: u32,
    /// Where its slots lie, and those that are set aside for other accounts.
    slot_range: Range<u32>,
    most: Counts,
    used: Counts,
}

impl Account {
    /// The one of all users without a quota, from which others are taken.
    pub(super) fn rest(untypeds: Untypeds, slots: Slots, slot_range: Range<u32>) -> Self {
        let most = Counts {
            sessions: limits::SESSIONS as u32,
            vases: limits::VASES as u32,
            segments: limits::SEGMENTS as u32,
            attachments: limits::ATTACHMENTS as u32,
            handles: limits::HANDLES as u32,
        };
        Account::new(None, untypeds, slots, slot_range, most)
    }

    /// The one of a user.
    pub(super) fn new(
        user: Option<u32>,
        untypeds: Untypeds,
        slots: Slots,
        slot_range: Range<u32>,
        most: Counts,
    ) -> Self {
        Account {
            user,
            untypeds,
            reserved: 0,
            slots,
            reserved_slots: 0,
            slot_range,
            most,
            used: Counts::default(),
        }
    }

    /// Whether a slot is one of its own, or was before it was set aside.
    pub(super) fn has_slot(&self, Slot(slot): Slot) -> bool {
        self.slot_range.contains(&slot)
    }

    /// Its slots that are free or spent only on dividing free memory.
    pub(super) fn slots_free(&self) -> u32 {
        self.slots.free_count() + self.untypeds.idle_slots()
    }

    /// Binary logarithm of the size of the largest free block, but not more than this.
    ///
    /// # Errors
    /// [`Error::Again`] if there is still something to be made larger.
    pub(super) fn largest_up_to<K: Kernel>(
        &mut self,
        kernel: &mut K,
        bits: u8,
    ) -> Result<u8, Error> {
        self.untypeds.largest_up_to(kernel, &mut self.slots, bits)
    }

    /// Takes memory.
    ///
    /// # Errors
    /// As [`Untypeds::allocate`].
    pub(super) fn allocate<K: Kernel>(&mut self, kernel: &mut K, bits: u8) -> Result<Block, Error> {
        self.untypeds.allocate(kernel, &mut self.slots, bits)
    }

    /// Takes consecutive slots; those that only divide free memory are emptied if there are no
    /// others.
    ///
    /// # Errors
    /// [`Error::OutOfSlots`], or [`Error::Again`] if there are still some to be emptied.
    pub(super) fn allocate_slots<K: Kernel>(
        &mut self,
        kernel: &mut K,
        count: u32,
    ) -> Result<SlotRange, Error> {
        if let Ok(range) = self.slots.allocate(count) {
            return Ok(range);
        }
        self.join_some(kernel)?;
        self.slots.allocate(count).map_err(|_| Error::OutOfSlots)
    }

    /// Sees that there are so many slots, likewise.
    ///
    /// # Errors
    /// As [`allocate_slots`](Self::allocate_slots).
    pub(super) fn empty_slots<K: Kernel>(
        &mut self,
        kernel: &mut K,
        count: u32,
    ) -> Result<(), Error> {
        if self.slots.free_count() < count {
            self.join_some(kernel)?;
        }
        match self.slots.free_count() < count {
            true => Err(Error::OutOfSlots),
            false => Ok(()),
        }
    }

    fn join_some<K: Kernel>(&mut self, kernel: &mut K) -> Result<(), Error> {
        self.untypeds.join_some(kernel, &mut self.slots, LARGE_BITS)
    }

    /// Gives some of what it may have away.
    ///
    /// # Errors
    /// [`Error::LimitReached`] if it has not so much.
    pub(super) fn give(&mut self, mut counts: Counts) -> Result<(), Error> {
        for counted in Counted::ALL {
            let most = counted.of(&mut self.most);
            *most = most
                .checked_sub(*counted.of(&mut counts))
                .ok_or(Error::LimitReached(counted.limit()))?;
        }
        Ok(())
    }

    /// One more of this, if it may have that many.
    ///
    /// # Errors
    /// [`Error::LimitReached`].
    pub(super) fn one_more(&self, of: Counted) -> Result<OneMore, Error> {
        let (mut used, mut most) = (self.used, self.most);
        let (used, most) = (*of.of(&mut used), *of.of(&mut most));
        match used < most {
            true => Ok(OneMore {
                of,
                user: self.user,
                used,
                most,
            }),
            false => Err(Error::LimitReached(of.limit())),
        }
    }

    /// It has one more.
    pub(super) const fn charge(&mut self, counted: Counted) {
        *counted.of(&mut self.used) += 1;
    }

    /// It has one less.
    pub(super) const fn refund(&mut self, counted: Counted) {
        *counted.of(&mut self.used) -= 1;
    }

    pub(super) fn statistics(&self) -> QuotaStatistics {
        QuotaStatistics {
            user: self.user,
            memory_total: self.untypeds.total() - self.reserved,
            memory_free: self.untypeds.free_bytes(),
            slots_total: self.slots.total() - self.reserved_slots,
            slots_free: self.slots_free(),
            most: self.most,
            used: self.used,
        }
    }
}
