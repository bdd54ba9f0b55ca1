// SPDX-License-Identifier: MIT OR Apache-2.0

//! A VAS server that faults before it has answered anything.

#![no_std]
#![no_main]

use core::arch::asm;

runtime::server_heap!();
runtime::server_main!(main);

fn main() -> ! {
    // SAFETY: nothing is mapped there, so the load faults, and the thread does not go on.
    unsafe { asm!("mov rax, [8]", "ud2", options(noreturn, nostack)) }
}
