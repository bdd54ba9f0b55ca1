// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers queries from the index that another program has left, and checks all of it.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::string::String;
use core::fmt::Write;

use anyhow::{Context, Result, anyhow};
use client_lib::Access;
use demo::check::{Limits, compare};
use demo::index::{Found, Index};
use demo::memory::{self, Region};
use demo::{FILE, SEGMENT, VAS};
use runtime::println;

/// Enough for an index within [`LIMITS`].
const HEAP_BYTES: usize = 8 << 20;
/// What the ordinary index holds at a time.
const LIMITS: Limits = Limits {
    words: 16384,
    positions: 131072,
};
/// Words that are asked for.
const QUERIES: usize = 3;
/// Positions that are printed of each.
const PRINTED: usize = 3;

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

fn main() -> i32 {
    demo::exit_code("searcher", run())
}

fn run() -> Result<()> {
    let text = runtime::file(FILE).context("the file is missing")?;
    let vas = client_lib::vas_find(VAS).context("finding the VAS")?;
    let segment = client_lib::seg_find(SEGMENT).context("finding the segment")?;
    let attachment =
        client_lib::vas_attach(&vas, Access::ReadOnly).context("attaching to the VAS")?;
    memory::read(&attachment, &segment, |region| search(region, text)).context("switching")??;
    client_lib::vas_detach(attachment)
        .map_err(|(_, error)| error)
        .context("detaching")
}

fn search(region: Region<'_>, text: &[u8]) -> Result<()> {
    let index = Index::open(region)?;
    for found in index.most_frequent::<QUERIES>()?.into_iter().flatten() {
        print_answer(&found)?;
    }
    compare(&index, text, LIMITS).map_err(|difference| anyhow!("{difference}"))?;
    println!(
        "searcher: all {} words, {} different ones, are the same in its own index",
        index.words(),
        index.distinct(),
    );
    Ok(())
}

fn print_answer(found: &Found<'_>) -> Result<()> {
    let mut first = String::new();
    for position in found.positions().take(PRINTED) {
        write!(first, " {}", position?)?;
    }
    println!(
        "searcher: {} occurs {}x, first at bytes:{first}",
        found.word(),
        found.count(),
    );
    Ok(())
}
