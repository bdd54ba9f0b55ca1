// SPDX-License-Identifier: MIT OR Apache-2.0

//! Reads the index through a read-only attachment, then writes to it on purpose.
//!
//! The write must fault and end the process. If it does not, the exit code is
//! [`NOT_REFUSED`].

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use anyhow::{Context, Result, ensure};
use client_lib::Access;
use demo::index::{Error, Index};
use demo::memory::{self, Region};
use demo::words::Word;
use demo::{FILE, SEGMENT, VAS};
use runtime::println;

/// The exit code when the write was not refused.
const NOT_REFUSED: i32 = 2;
/// Enough for an error.
const HEAP_BYTES: usize = 1 << 14;
/// Words whose positions are read.
const WORDS: usize = 3;

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

fn main() -> i32 {
    demo::exit_code("trespasser", run())
}

fn run() -> Result<()> {
    let text = runtime::file(FILE).context("the file is missing")?;
    let vas = client_lib::vas_find(VAS).context("finding the VAS")?;
    let segment = client_lib::seg_find(SEGMENT).context("finding the segment")?;
    let attachment =
        client_lib::vas_attach(&vas, Access::ReadOnly).context("attaching to the VAS")?;
    memory::read(&attachment, &segment, |region| trespass(region, text)).context("switching")?
}

fn trespass(region: Region<'_>, text: &[u8]) -> Result<()> {
    let index = Index::open(region)?;
    let mut right = 0;
    for found in index.most_frequent::<WORDS>()?.into_iter().flatten() {
        for position in found.positions() {
            let position = position?;
            ensure!(
                Word::at(text, position as usize) == Some(found.word()),
                "there is no {} at byte {position}",
                found.word(),
            );
            right += 1;
        }
    }
    let forbidden = index.forbidden()?;
    let number = region.get(forbidden).map_err(Error::from)?;
    println!(
        "trespasser: read {right} positions, all right; overwrites the {number} at {:#x} now",
        forbidden.addr(),
    );
    match memory::overwrite(region, forbidden, NOT_REFUSED).map_err(Error::from)? {}
}
