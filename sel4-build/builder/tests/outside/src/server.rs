// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VAS server, with one more answer to where segments lie.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use protocol::Error;
use protocol::address_map::SLOT_BYTES;
use vas_server::policy::placement::{Asked, PlacementPolicy};
use vas_server::{Answers, Sel4, guest};

runtime::server_heap!();
runtime::server_main!(main);

/// Where it was asked for, or else in root-table slots that nothing lies in, from the top down.
struct TopDown;

impl PlacementPolicy for TopDown {
    fn place(
        &self,
        asked: &Asked,
        taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error> {
        if let Some(base) = asked.base {
            return Ok(base);
        }
        let taken: Vec<_> = taken.collect();
        let (start, end) = (asked.range.start, asked.range.end);
        let size = asked.bytes.next_multiple_of(SLOT_BYTES);
        let free = |base: &u64| {
            let mut taken = taken.iter();
            taken.all(|&(first, last)| last < *base || *base + size <= first)
        };
        let mut bases = (start..=end - size).rev().step_by(SLOT_BYTES as usize);
        bases.find(free).ok_or(Error::NoRoom { size: asked.bytes })
    }
}

fn main() -> ! {
    let mut answers = Answers::new(&mut Sel4);
    answers.placement.push(("top-down", &TopDown));
    guest::serve(&answers)
}
