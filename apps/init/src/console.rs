// SPDX-License-Identifier: MIT OR Apache-2.0

//! The serial port and the power switch, which init alone owns.

use image::power;
use runtime::serial;
use sel4::cap;

const PORTS: cap::IoPort = cap::IoPort::from_bits(sel4::init_slot::IO_PORT);

/// Writes what a process prints, without the character that is init's alone.
pub fn write(text: &[u8]) {
    for part in text.split(|&byte| byte == power::SENTINEL_START) {
        serial::write(PORTS, part);
    }
}

/// Says how the system ended, to the builder too, and turns the machine off.
pub fn power_off(passed: bool) -> ! {
    let (sentinel, status) = if passed {
        (power::SENTINEL_PASS, power::EXIT_PASS)
    } else {
        (power::SENTINEL_FAIL, power::EXIT_FAIL)
    };
    serial::write(PORTS, sentinel);
    serial::exit(PORTS, status)
}
