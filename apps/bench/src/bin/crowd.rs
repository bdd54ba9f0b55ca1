// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes VASes that die with it, attaches to each in both ways, and ends.
//!
//! Argument: how many VASes.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;

use client_lib::{Access, Command, Error, Lifetime, Mode, vas_attach, vas_create, vas_ctl};

runtime::heap!(4 << 10);
runtime::main!(main);

fn main() -> Result<(), Error> {
    let info = runtime::start_info();
    let count: u32 = info.arguments.parse().map_err(|_| Error::Malformed)?;
    for number in 0..count {
        let vas = vas_create(&format!("crowd {number}"), Mode(0o666))?;
        vas_ctl(&vas, Command::Lifetime(Lifetime::Creator))?;
        vas_attach(&vas, Access::ReadWrite)?;
        vas_attach(&vas, Access::ReadOnly)?;
    }
    Ok(())
}
