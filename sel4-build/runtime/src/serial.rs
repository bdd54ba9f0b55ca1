// SPDX-License-Identifier: MIT OR Apache-2.0
//! The first serial port and QEMU's way out, through a capability to I/O ports.

use protocol::process::slot;
use sel4::cap;

/// COM1: its data register, and its line status register with the bit that says that there is
/// room for another byte.
const DATA: u16 = 0x3f8;
const LINE_STATUS: u16 = DATA + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 5;

/// QEMU's `isa-debug-exit` device, as the builder configures it.
const DEBUG_EXIT: u64 = 0xf4;

/// The code that a panic of a trusted component powers off with.
pub const PANIC: u8 = 101;

/// Writes bytes to the first serial port. Each line feed gets the carriage return that a
/// terminal needs. If `ports` does not reach the port, nothing is written.
pub fn write(ports: cap::IoPort, bytes: &[u8]) {
    for &byte in bytes {
        if byte == b'\n' {
            write_byte(ports, b'\r');
        }
        write_byte(ports, byte);
    }
}

fn write_byte(ports: cap::IoPort, byte: u8) {
    while let Ok(status) = ports.in8(LINE_STATUS) {
        if status & TRANSMITTER_EMPTY != 0 {
            let _ = ports.out8(DATA.into(), byte.into());
            return;
        }
    }
}

/// Powers off. QEMU ends with status `2 * code + 1`. Where there is no such device, the
/// calling thread stops for ever.
pub fn exit(ports: cap::IoPort, code: u8) -> ! {
    let _ = ports.out8(DEBUG_EXIT, code.into());
    loop {
        let _ = cap::Tcb::from_bits(slot::TCB).suspend();
    }
}

// The root task finds its thread in the same slot.
const _: () = assert!(slot::TCB == sel4::init_slot::TCB);
