// SPDX-License-Identifier: MIT OR Apache-2.0

//! In no more root-table slots than it needs: a segment of a few pages that lies across the
//! boundary between two takes nearly twice the page tables (paper section 4.4).

use protocol::Error;
use protocol::address_map::SLOT_BYTES;

use super::{Asked, PlacementPolicy};

/// Moves the base up to the next boundary if the segment would lie in more slots than it
/// needs, whatever lies there. Without a base, takes the lowest such that is free.
#[derive(Clone, Copy, Debug)]
pub struct SlotAligned;

impl PlacementPolicy for SlotAligned {
    fn place(
        &self,
        asked: &Asked,
        taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error> {
        let suitable = |base: u64| {
            let slots = (base % SLOT_BYTES + asked.bytes).div_ceil(SLOT_BYTES);
            match slots > asked.bytes.div_ceil(SLOT_BYTES) {
                true => base.next_multiple_of(SLOT_BYTES),
                false => base,
            }
        };
        match asked.base {
            Some(base) => Ok(suitable(base)),
            None => asked.first_gap(taken, suitable),
        }
    }
}
