// SPDX-License-Identifier: MIT OR Apache-2.0

//! The free slots of the process's own CNode.

use core::sync::atomic::{AtomicU64, Ordering};

use protocol::Error;
use protocol::process::{CNODE_BITS, slot};
use sel4::cap;

const SLOTS: usize = 1 << CNODE_BITS;
const RESERVED: u64 = (1 << slot::FREE) - 1;

/// One bit a slot, set while it is taken.
static TAKEN: [AtomicU64; SLOTS / 64] = {
    let mut taken = [const { AtomicU64::new(0) }; SLOTS / 64];
    taken[0] = AtomicU64::new(RESERVED);
    taken
};

/// A slot of this process's CNode; emptied and given back on drop.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot(u64);

impl Slot {
    /// Takes a free slot.
    pub fn new() -> Result<Self, Error> {
        for (index, word) in TAKEN.iter().enumerate() {
            let taken = word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
                (bits != u64::MAX).then(|| bits | (bits + 1))
            });
            if let Ok(before) = taken {
                return Ok(Slot(index as u64 * 64 + u64::from(before.trailing_ones())));
            }
        }
        Err(Error::OutOfSlots)
    }

    /// Keeps it taken without an owner.
    pub fn leak(self) -> u64 {
        core::mem::ManuallyDrop::new(self).0
    }

    /// One that was [leaked](Self::leak). If it was emptied and given back since, it may have
    /// another owner by now.
    pub fn leaked(cptr: u64) -> Self {
        Slot(cptr)
    }

    /// The capability pointer that means this slot.
    pub fn cptr(&self) -> u64 {
        self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // An empty slot can be deleted too, so this fails only if the process has taken its
        // own CNode cap away; then the slot stays taken.
        let cnode = cap::CNode::from_bits(slot::CNODE);
        if cnode.delete(self.0, u64::BITS as u8).is_ok() {
            TAKEN[self.0 as usize / 64].fetch_and(!(1 << (self.0 % 64)), Ordering::Relaxed);
        }
    }
}
