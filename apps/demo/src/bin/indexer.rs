// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds an index of the words of a file in a VAS, and exits.
//!
//! With the argument `clean` it deletes VAS and segment again.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;

use anyhow::{Context, Result, bail};
use client_lib::Access;
use demo::{FILE, MODE, SEGMENT, VAS, index, memory, slice};
use protocol::address_map::GLOBAL;
use runtime::println;

/// Enough for the references that counting holds.
const HEAP_BYTES: usize = 2 << 20;
/// Different words that are counted at a time.
const WORDS_AT_ONCE: usize = 16384;

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

fn main() -> i32 {
    demo::exit_code("indexer", run())
}

fn run() -> Result<()> {
    match runtime::start_info().arguments.as_str() {
        "" => build(),
        "clean" => clean(),
        other => bail!("the argument may be \"clean\", not \"{other}\""),
    }
}

fn build() -> Result<()> {
    let text = runtime::file(FILE).context("the file is missing")?;
    let counts = slice::count(text, WORDS_AT_ONCE);
    let bytes = counts.index_bytes() as u64;
    let segment = client_lib::seg_alloc(SEGMENT, GLOBAL.start, bytes, None, MODE)
        .with_context(|| format!("no segment of {bytes} bytes"))?;
    let vas = client_lib::vas_create(VAS, MODE).context("creating the VAS")?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite).context("attaching the segment")?;
    let attachment =
        client_lib::vas_attach(&vas, Access::ReadWrite).context("attaching to the VAS")?;
    memory::write(&attachment, &segment, |mut arena| {
        index::build(&mut arena, &counts, text)
    })
    .context("switching")??;
    println!(
        "indexer: indexed {} bytes of text in {bytes} bytes at {:#x}, and ends",
        text.len(),
        segment.base(),
    );
    // The end of the process detaches it; the VAS and the segment live on.
    Ok(())
}

fn clean() -> Result<()> {
    let vas = client_lib::vas_find(VAS).context("finding the VAS")?;
    let segment = client_lib::seg_find(SEGMENT).context("finding the segment")?;
    client_lib::vas_delete(&vas).context("deleting the VAS")?;
    client_lib::seg_free(&segment).context("freeing the segment")?;
    println!("indexer: deleted the VAS and freed the segment");
    Ok(())
}
