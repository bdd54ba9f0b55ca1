// SPDX-License-Identifier: MIT OR Apache-2.0

//! The other of two programs that share data. It has code and constants that the first has not, so
//! all that both have lies elsewhere.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use core::hint::black_box;

use collections::WRONG;
use collections::table::{self, Late};

runtime::heap!(256 << 10);
runtime::main!(main);

/// Takes up space.
static MORE: [u64; 4096] = [0x5a5a; 4096];

/// Does what the other program does not: counts how often each word is there. Linkers put what is
/// seldom called first, so all other code moves.
#[cold]
#[inline(never)]
fn more() -> usize {
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for word in black_box(&MORE) {
        *counts.entry(*word).or_default() += 1;
    }
    counts.values().sum()
}

fn main() -> i32 {
    let info = runtime::start_info();
    if more() != MORE.len() {
        return WRONG;
    }
    match table::run::<Late>(&info.arguments) {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("late {}: {failure}", info.arguments);
            WRONG
        }
    }
}
