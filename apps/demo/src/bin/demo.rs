// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the programs of the demonstration one after the other and checks how each ends.
//!
//! Its exit status is that of the system.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;

use anyhow::{Context, Result, ensure};
use client_lib::Access;
use demo::index::{Error, Index};
use demo::memory::{self, Region};
use demo::{SEGMENT, VAS};
use protocol::process::ExitStatus;
use runtime::{println, process};

/// Enough for an error.
const HEAP_BYTES: usize = 1 << 14;
/// A program that has done its work ends so.
const DONE: ExitStatus = ExitStatus::Exited(0);

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

fn main() -> i32 {
    demo::exit_code("demo", run())
}

fn run() -> Result<()> {
    let before = client_lib::settle().context("asking the server")?;
    must_end("indexer", "", DONE)?;
    let shared = look()?;
    must_end("searcher", "", DONE)?;
    let address = shared.forbidden;
    must_end("trespasser", "", ExitStatus::Faulted { address })?;
    must_end("stranger", "", DONE)?;
    must_end("searcher", "", DONE)?;
    must_end("indexer", "clean", DONE)?;
    let after = client_lib::settle().context("asking the server")?;

    println!(
        "demo: {} words, {} different ones, in a segment of {} bytes",
        shared.words, shared.distinct, shared.bytes,
    );
    println!(
        "demo: indexer, searcher and stranger ended with 0, trespasser by its fault at \
         {address:#x}",
    );
    println!(
        "demo: free in the server: {} bytes, {} slots, {} ASIDs before; {}, {}, {} after",
        before.memory_free,
        before.slots_free,
        before.asids_free,
        after.memory_free,
        after.slots_free,
        after.asids_free,
    );
    ensure!(
        after == before,
        "the server has not got everything back: {before:?} before, {after:?} after"
    );
    Ok(())
}

/// Starts a component, waits for its end, and checks how it ended.
fn must_end(component: &str, arguments: &str, right: ExitStatus) -> Result<()> {
    let child =
        process::spawn(component, arguments).with_context(|| format!("starting {component}"))?;
    let status = process::wait(child).with_context(|| format!("waiting for {component}"))?;
    ensure!(
        status == right,
        "{component} ended with {status:?} instead of {right:?}"
    );
    Ok(())
}

/// What this program reads in the index.
struct Shared {
    words: u64,
    distinct: u64,
    /// Of the segment.
    bytes: u64,
    /// Where the trespasser will write.
    forbidden: u64,
}

fn look() -> Result<Shared> {
    let vas = client_lib::vas_find(VAS).context("finding the VAS")?;
    let segment = client_lib::seg_find(SEGMENT).context("finding the segment")?;
    let attachment =
        client_lib::vas_attach(&vas, Access::ReadOnly).context("attaching to the VAS")?;
    let read = |region: Region<'_>| -> Result<Shared, Error> {
        let index = Index::open(region)?;
        Ok(Shared {
            words: index.words(),
            distinct: index.distinct(),
            bytes: segment.size(),
            forbidden: index.forbidden()?.addr() as u64,
        })
    };
    let shared = memory::read(&attachment, &segment, read).context("switching")??;
    client_lib::vas_detach(attachment)
        .map_err(|(_, error)| error)
        .context("detaching")?;
    Ok(shared)
}
