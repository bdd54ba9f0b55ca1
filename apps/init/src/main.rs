// SPDX-License-Identifier: MIT OR Apache-2.0

//! Root task: processes, console, faults, power.
//!
//! init unpacks the components from the image, gives most memory and the ASID authority to
//! the VAS server, starts processes, hears of their faults, owns the serial port, and tells
//! the VAS server when a process has ended, however it ended.

#![no_std]
#![no_main]

extern crate alloc;

mod console;
mod fault;
mod memory;
mod process;
mod server;
mod start;
mod system;
mod vspace;
mod watch;

use image::{Header, Image};
use protocol::address_map::PAGE_BYTES;
use runtime::println;
use sel4::BootInfo;

use crate::start::Error;

runtime::heap!(4 << 20);
runtime::root_main!(main);

fn main(boot_info: &'static BootInfo) -> ! {
    let started = archive()
        .and_then(Image::parse)
        .map_err(Error::Image)
        .and_then(|image| start::start(boot_info, image_base(), image));
    match started {
        Ok(system) => system.run(),
        Err(error) => {
            println!("init: cannot start the system: {error}");
            console::power_off(false)
        }
    }
}

unsafe extern "C" {
    /// The linker's name for the beginning of init's memory.
    static __executable_start: u8;
    /// The linker's name for its end.
    static _end: u8;
}

/// Where init's image begins: the first of the image frames that the kernel tells of.
fn image_base() -> u64 {
    (&raw const __executable_start) as u64
}

/// The archive that the builder put behind init in the boot image.
fn archive() -> Result<&'static [u8], image::Error> {
    let end = (&raw const _end) as u64;
    let first = end.next_multiple_of(PAGE_BYTES) as *const u8;
    // SAFETY: the builder places the archive, at least one page, as a read-only load segment
    // at the first page boundary behind init; the kernel has mapped all load segments.
    let header = unsafe { core::slice::from_raw_parts(first, PAGE_BYTES as usize) };
    let bytes = Header::parse(header)?.total_bytes as usize;
    // SAFETY: as above; the builder has written into the header how long the segment is.
    Ok(unsafe { core::slice::from_raw_parts(first, bytes) })
}
