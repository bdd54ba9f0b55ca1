// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads what `figure4` has left in the VAS, and exits with it. It is another user's process, of
//! the group that mode 660 lets in.

#![no_std]
#![no_main]

use core::ptr;

use client_lib::Error;
use client_lib::raw::*;
use runtime::println;

runtime::heap!(1 << 14);
runtime::main!(main);

fn main() -> Result<i32, Error> {
    let vid = vas_find("v0")?;
    let vh = vas_attach(vid)?;
    let t: *const u64 = ptr::with_exposed_provenance(vas_root(vid, "t")? as usize);
    let before = vas_switch(vh)?;
    // SAFETY: the thread is inside the VAS, where `figure4` has left such a value.
    let value = unsafe { *t };
    vas_switch(before)?;
    vas_detach(vh)?;
    println!("figure4-reader: found {value} at {t:p}");
    Ok(value as i32)
}
