// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to enter the kernel, to switch, to attach, and to change a VAS.
//!
//! Every figure is of a whole call of the client library, the work of the kernel and the VAS
//! server included.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod attach;
mod attachers;
mod entry;
mod second;

use bench::count::Counter;
use bench::failure::Failure;
use client_lib::{Error, Mode, Segment, Vas};
use protocol::address_map::GLOBAL;

runtime::heap!(64 << 10);
runtime::main!(main);

/// All may read and write.
const MODE: Mode = Mode(0o666);
/// Where segments begin: the first root-table slot for them.
const BASE: u64 = GLOBAL.start;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn main() -> Result<(), Failure> {
    let counter = Counter::new()?;
    entry::run(&counter)?;
    attachers::run(&counter)?;
    second::run(&counter)?;
    attach::run(&counter)
}

/// Deletes a VAS and frees its segments.
fn remove(vas: &Vas, segments: &[&Segment]) -> Result<(), Error> {
    client_lib::vas_delete(vas)?;
    segments
        .iter()
        .try_for_each(|segment| client_lib::seg_free(segment))
}

/// Whether an error says that there is too little of something.
fn is_shortage(error: &Error) -> bool {
    matches!(error, Error::OutOfMemory | Error::OutOfSlots)
}
