// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads what `figure4` has left in the VAS, and exits with it. It is another user's process, of
//! the group that mode 660 lets in.

#![no_std]
#![no_main]

use client_lib::Error;
use client_lib::raw::*;
use examples::only_value;
use runtime::println;

runtime::main!(main);

fn main() -> Result<i32, Error> {
    let vid = vas_find("v0")?;
    let vh = vas_attach(vid)?;
    let t = only_value::<u64>(seg_find("s0")?);
    let before = vas_switch(vh)?;
    // SAFETY: the thread is inside the VAS, where the segment is mapped. A page begins at its base,
    // it was zeroed when it was made, and whoever wrote to it has ended.
    let value = unsafe { *t };
    vas_switch(before)?;
    vas_detach(vh)?;
    println!("figure4-reader: found {value} at {t:p}");
    Ok(value as i32)
}
