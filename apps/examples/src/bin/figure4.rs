// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program that the paper prints as Figure 4.
//!
//! As printed:
//!
//! ```c
//! type *t; vasid_t vid; vhandle_t vh; segid_t sid;
//!
//! // Example use of segment API.
//! va=0xC0DE; sz=(1UL<35);
//! vid=vas_create("v0",660);
//! sid=seg_alloc("s0",va,sz,660);
//! seg_attach(vid, sid);
//!
//! // Example use of VAS API.
//! vid=vas_find("v0");
//! vh=vas_attach(vid);
//! vas_switch(vh);
//! t=malloc(...); *t = 42;
//! ```
//!
//! It ends inside the VAS. VAS and segment live on, for `figure4-reader`.

#![no_std]
#![no_main]

use client_lib::Error;
use client_lib::raw::*;
use runtime::println;

runtime::heap!(1 << 14);
runtime::main!(main);

fn main() -> Result<i32, Error> {
    // The printed address, moved up to where segments of VASes may lie and pages begin.
    let va = 0xC0_DE00_0000;
    // `1UL<<35`, which is meant, are 32 GiB, and memory is reserved when a segment is made. This
    // machine has room for 32 MiB.
    let sz = 1 << 25;
    let vid = vas_create("v0", 0o660)?;
    match seg_alloc("s0", 0xC0DE, sz, 0o660) {
        Err(reason @ Error::Unaligned { base: 0xC0DE, .. }) => {
            println!("figure4: the printed base is refused: {reason}");
        }
        other => {
            println!("figure4: the printed base is not refused for what it is: {other:?}");
            return Ok(1);
        }
    }
    let sid = seg_alloc("s0", va, sz, 0o660)?;
    seg_attach(vid, sid)?;

    let vid = vas_find("v0")?;
    let vh = vas_attach(vid)?;
    vas_switch(vh)?;
    let t: *mut u64 = malloc(size_of::<u64>()).cast();
    // SAFETY: from the VAS's heap, of this size, and nobody else has it.
    unsafe { *t = 42 };
    // By this the next process finds it.
    vas_set_root(vid, "t", t.addr() as u64)?;
    println!("figure4: wrote at {t:p}, and ends");
    Ok(0)
}
