// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attaches to a VAS, says so, and stays attached until it is killed.
//!
//! Arguments: the VAS's name, and how many attachments: 1 or 2, the second read-only.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use client_lib::{Access, Attachment, Error, vas_attach, vas_find};
use sel4::MessageInfo;

runtime::heap!(4 << 10);
runtime::main!(main);

fn main() {
    let info = runtime::start_info();
    let attachments = attach(&info.arguments);
    let label = u64::from(attachments.is_err());
    // Nobody ever answers.
    sel4::call(bench::endpoint(0), MessageInfo::new(label, 0, 0, 0), [0; 4]);
}

fn attach(arguments: &str) -> Result<Vec<Attachment>, Error> {
    let (vas, count) = arguments.split_once(' ').ok_or(Error::Malformed)?;
    let vas = vas_find(vas)?;
    [Access::ReadWrite, Access::ReadOnly]
        .into_iter()
        .take(count.parse().map_err(|_| Error::Malformed)?)
        .map(|access| vas_attach(&vas, access))
        .collect()
}
