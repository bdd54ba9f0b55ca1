// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where does a segment lie?
//!
//! The base that an answer gives is checked like one that was asked for, so a wrong answer
//! makes `seg_alloc` fail and nothing else.

mod as_asked;
mod server_chooses;
mod slot_aligned;

use alloc::vec::Vec;
use core::ops::Range;

use protocol::address_map::SLOT_BYTES;
use protocol::{Error, PageSize};

pub use as_asked::AsAsked;
pub use server_chooses::ServerChooses;
pub use slot_aligned::SlotAligned;

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Where it should lie: a multiple of the page size, and all of it is within the range.
    /// `None`: anywhere.
    pub base: Option<u64>,
    /// Its size in bytes: a multiple of the page size, at most that of the range.
    pub bytes: u64,
    /// Its pages.
    pub page_size: PageSize,
    /// Whether it takes the root-table slots that it lies in for itself.
    pub own_slots: bool,
    /// The addresses for its kind: [`GLOBAL`](protocol::address_map::GLOBAL) if it is for
    /// VASes, [`LOCAL`](protocol::address_map::LOCAL) if it is for single attachments.
    pub range: Range<u64>,
}

/// Answers where segments lie.
pub trait PlacementPolicy: Sync {
    /// The first address: a multiple of the page size, with the whole segment within the
    /// range.
    ///
    /// `taken` are the first and the last address of every segment there is, with the whole
    /// slots that some have for themselves, in no order. Segments may overlap as long as no
    /// VAS has both.
    ///
    /// # Errors
    /// What the client is told instead.
    fn place(
        &self,
        asked: &Asked,
        taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error>;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn PlacementPolicy); 3] = [
    ("as-asked", &AsAsked),
    ("slot-aligned", &SlotAligned),
    ("server-chooses", &ServerChooses),
];

impl Asked {
    /// The lowest base where nothing is taken. `suitable` answers the lowest base from the
    /// one it is given on that the policy likes. Takes time for sorting what is taken.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn first_gap(
        &self,
        taken: &mut dyn Iterator<Item = (u64, u64)>,
        suitable: impl Fn(u64) -> u64,
    ) -> Result<u64, Error> {
        let unit = match self.own_slots {
            true => SLOT_BYTES,
            false => self.page_size.bytes(),
        };
        let bytes = self.bytes.next_multiple_of(unit);
        let mut taken: Vec<_> = taken.collect();
        taken.sort_unstable();
        let mut base = suitable(self.range.start);
        for (first, last) in taken {
            if base + bytes <= first {
                break;
            }
            base = base.max(suitable((last + 1).next_multiple_of(unit)));
        }
        match base + bytes <= self.range.end {
            true => Ok(base),
            false => Err(Error::NoRoom { size: self.bytes }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::address_map::{GLOBAL, LOCAL, PAGE_BYTES};

    const BASE: u64 = GLOBAL.start;
    const PAGE: u64 = PAGE_BYTES;

    fn asked(base: Option<u64>, bytes: u64) -> Asked {
        Asked {
            base,
            bytes,
            page_size: PageSize::Small,
            own_slots: false,
            range: GLOBAL,
        }
    }

    fn place(
        policy: &dyn PlacementPolicy,
        asked: &Asked,
        taken: &[(u64, u64)],
    ) -> Result<u64, Error> {
        policy.place(asked, &mut taken.iter().copied())
    }

    #[test]
    fn what_is_asked_for_is_kept_and_nothing_else_chosen() {
        let base = BASE + SLOT_BYTES - PAGE;
        let taken = [(BASE, BASE + 2 * SLOT_BYTES)];
        for policy in [&AsAsked as &dyn PlacementPolicy, &ServerChooses] {
            assert_eq!(
                place(policy, &asked(Some(base), 2 * PAGE), &taken),
                Ok(base)
            );
        }
        let nothing = place(&AsAsked, &asked(None, PAGE), &[]);
        assert_eq!(nothing, Err(Error::BaseNeeded));
    }

    #[test]
    fn the_server_chooses_the_first_gap_that_is_large_enough() {
        let page = |number: u64| BASE + number * PAGE;
        // In no order, and two overlap: pages 0, 2 to 5 and 8 are taken.
        let taken = [
            (page(8), page(9) - 1),
            (page(2), page(6) - 1),
            (page(0), page(1) - 1),
            (page(3), page(4) - 1),
        ];
        for (pages, first) in [(1, 1), (2, 6), (3, 9)] {
            let found = place(&ServerChooses, &asked(None, pages * PAGE), &taken);
            assert_eq!(found, Ok(page(first)), "{pages} pages");
        }
        let mut large = asked(None, PageSize::Large.bytes());
        large.page_size = PageSize::Large;
        let found = place(&ServerChooses, &large, &taken);
        assert_eq!(found, Ok(BASE + PageSize::Large.bytes()));
        let mut own_slots = asked(None, PAGE);
        own_slots.own_slots = true;
        let found = place(&ServerChooses, &own_slots, &taken);
        assert_eq!(found, Ok(BASE + SLOT_BYTES));
        let mut local = asked(None, PAGE);
        local.range = LOCAL;
        assert_eq!(place(&ServerChooses, &local, &taken), Ok(LOCAL.start));
    }

    #[test]
    fn a_gap_at_the_end_is_found_and_none_beyond_it() {
        for policy in [&SlotAligned as &dyn PlacementPolicy, &ServerChooses] {
            let all_but_a_page = [(GLOBAL.start, GLOBAL.end - PAGE - 1)];
            let found = place(policy, &asked(None, PAGE), &all_but_a_page);
            assert_eq!(found, Ok(GLOBAL.end - PAGE));
            for (pages, taken) in [(2, &all_but_a_page[..]), (1, &[(BASE, GLOBAL.end - 1)])] {
                let size = pages * PAGE;
                let found = place(policy, &asked(None, size), taken);
                assert_eq!(found, Err(Error::NoRoom { size }));
            }
        }
    }

    #[test]
    fn no_segment_lies_in_more_slots_than_it_needs() {
        let boundary = BASE + SLOT_BYTES;
        for (base, bytes, aligned) in [
            (boundary - 2 * PAGE, 2 * PAGE, boundary - 2 * PAGE),
            (boundary - PAGE, 2 * PAGE, boundary),
            (BASE, SLOT_BYTES, BASE),
            (BASE + PAGE, SLOT_BYTES, boundary),
            // It needs two, and may lie anywhere in them.
            (BASE + PAGE, SLOT_BYTES + PAGE, BASE + PAGE),
            (boundary - PAGE, SLOT_BYTES + PAGE, boundary - PAGE),
            (boundary - PAGE, SLOT_BYTES + 2 * PAGE, boundary),
        ] {
            let found = place(&SlotAligned, &asked(Some(base), bytes), &[]);
            assert_eq!(found, Ok(aligned), "{bytes:#x} bytes at {base:#x}");
        }
        let taken = [(BASE, boundary - PAGE - 1)];
        for (pages, base) in [(1, boundary - PAGE), (2, boundary)] {
            let found = place(&SlotAligned, &asked(None, pages * PAGE), &taken);
            assert_eq!(found, Ok(base), "{pages} pages");
        }
    }
}
