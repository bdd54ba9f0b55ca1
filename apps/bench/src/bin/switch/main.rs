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

use core::fmt;

use bench::count::{Counter, NotInstructions};
use client_lib::{Error, Mode, Segment, Vas};
use protocol::address_map::GLOBAL;
use protocol::process::InitError;

runtime::heap!(64 << 10);
runtime::main!(main);

/// All may read and write.
const MODE: Mode = Mode(0o666);
/// Where segments begin: the first root-table slot for them.
const BASE: u64 = GLOBAL.start;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Why the benchmark ends early.
enum Failure {
    Counter(NotInstructions),
    Service(Error),
    Init(InitError),
    Kernel(sel4::Error),
    Refused,
    Attacher,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Counter(error) => error.fmt(out),
            Failure::Service(error) => write!(out, "the VAS service: {error}"),
            Failure::Init(error) => write!(out, "init: {error}"),
            Failure::Kernel(error) => write!(out, "the kernel: {error}"),
            Failure::Refused => out.write_str("the kernel refused to switch"),
            Failure::Attacher => out.write_str("a process could not attach"),
        }
    }
}

impl From<NotInstructions> for Failure {
    fn from(error: NotInstructions) -> Self {
        Failure::Counter(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Service(error)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        Failure::Init(error)
    }
}

impl From<sel4::Error> for Failure {
    fn from(error: sel4::Error) -> Self {
        Failure::Kernel(error)
    }
}

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
