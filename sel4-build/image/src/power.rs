// SPDX-License-Identifier: MIT OR Apache-2.0

//! How init ends a system, and how the builder sees whether it passed.
//!
//! init writes a sentinel to the serial console, then a byte to the port of QEMU's
//! `isa-debug-exit` device. A system has passed only if both say so: QEMU also ends when
//! the machine resets, and a component may print anything.

/// Starts a sentinel; occurs in no text.
pub const SENTINEL_START: u8 = 0x04;
/// What init prints just before it ends a system that passed.
pub const SENTINEL_PASS: &[u8] = b"\x04PASS\n";
/// What init prints just before it ends a system that failed.
pub const SENTINEL_FAIL: &[u8] = b"\x04FAIL\n";

/// I/O port of the debug-exit device.
pub const EXIT_PORT: u16 = 0xf4;
/// What init writes to [`EXIT_PORT`] when the system passed.
pub const EXIT_PASS: u8 = 0x10;
/// What init writes to [`EXIT_PORT`] when the system failed.
pub const EXIT_FAIL: u8 = 0x11;

/// The exit status of QEMU after a byte is written to [`EXIT_PORT`].
pub const fn qemu_status(written: u8) -> i32 {
    (written as i32) << 1 | 1
}
