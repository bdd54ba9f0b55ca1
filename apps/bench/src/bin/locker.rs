// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attaches to a VAS, takes its locks, for which it may have to wait, and ends.
//!
//! Argument: the VAS's name.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use client_lib::{Access, Error, vas_attach, vas_find, vas_switch};

runtime::heap!(16 << 10);
runtime::main!(main);

fn main() -> Result<(), Error> {
    let info = runtime::start_info();
    let vas = vas_find(&info.arguments)?;
    let attachment = vas_attach(&vas, Access::ReadOnly)?;
    vas_switch(attachment.space())?;
    Ok(())
}
