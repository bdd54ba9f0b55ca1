// SPDX-License-Identifier: MIT OR Apache-2.0

//! Loads and stores in segments.
//!
//! Each is one instruction that the compiler neither omits nor merges, so a test says
//! exactly which access happens; on x86-64 an aligned one is atomic, and loads acquire and
//! stores release, so processes can also talk to each other this way.

use core::arch::asm;

use alloc::format;
use protocol::address_map::{GLOBAL, LOCAL};

use crate::Failure;

/// Times that [`wait_for`] looks before it gives up.
const PATIENCE: u32 = 1_000_000;

/// The word at an address in a segment. If none is mapped there the process faults.
pub fn load(address: u64) -> u64 {
    check_place(address);
    let value;
    // SAFETY: no object of this program lies at the addresses of segments, so no reference
    // is disturbed; an access to what is not mapped ends the process.
    unsafe {
        asm!("mov {}, [{}]", out(reg) value, in(reg) address, options(nostack, preserves_flags));
    }
    value
}

/// Writes the word at an address in a segment. If none is mapped writable there the process
/// faults.
pub fn store(address: u64, value: u64) {
    check_place(address);
    // SAFETY: as in `load`.
    unsafe {
        asm!("mov [{}], {}", in(reg) address, in(reg) value, options(nostack, preserves_flags));
    }
}

/// Adds to the word at an address in a segment, atomically, and returns what it was.
pub fn fetch_add(address: u64, summand: u64) -> u64 {
    check_place(address);
    let before;
    // SAFETY: as in `load`.
    unsafe {
        asm!("lock xadd [{}], {}", in(reg) address, inout(reg) summand => before, options(nostack));
    }
    before
}

/// Lets others run until the word at an address in a segment is `value`.
///
/// # Errors
/// A failure if that takes too long.
#[track_caller]
pub fn wait_for(address: u64, value: u64) -> Result<(), Failure> {
    for _ in 0..PATIENCE {
        if load(address) == value {
            return Ok(());
        }
        sel4::yield_now();
    }
    let found = load(address);
    Err(Failure::new(format!(
        "waited in vain for {value:#x} at {address:#x}: it is {found:#x}"
    )))
}

fn check_place(address: u64) {
    assert!(
        GLOBAL.contains(&address) || LOCAL.contains(&address),
        "{address:#x} is no address of a segment"
    );
    assert!(
        address.is_multiple_of(8),
        "{address:#x} is no address of a word"
    );
}
