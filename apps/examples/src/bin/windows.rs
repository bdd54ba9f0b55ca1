// SPDX-License-Identifier: MIT OR Apache-2.0

//! More data than its window of addresses holds (paper sections 1 and 2.1).
//!
//! A table of numbers is cut into parts, each in a VAS of its own, all at the same addresses. To
//! reach an entry the program enters the VAS that has its part, so its window is as large as one
//! part, however large the table is. The updates are those of RandomAccess (GUPS): entries at random
//! are changed by exclusive or, and the same updates once more must give the table of before.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;

use anyhow::{Context, Result, ensure};
use client_lib::{DataVas, Mode, SegmentOptions, Writer};
use fastrand::Rng;
use runtime::println;
use storage::VasVec;

runtime::heap!(64 << 10);
runtime::main!(main);

/// Parts of the table.
const PARTS: usize = 8;
/// Entries of one part, of eight bytes: 2 MiB.
const ENTRIES: usize = 1 << 18;
/// Bytes of the window: a part, and what the heap needs besides.
const WINDOW: u64 = (ENTRIES * size_of::<u64>() + (1 << 18)) as u64;
/// Updates of entries.
const UPDATES: usize = 4096;
/// Updates that are sorted by part before they are made, so that each part is entered once for them.
const BATCH: usize = 1024;

/// One part, and the addresses that it lies at.
type Part = Writer<VasVec<'static, u64>>;

fn main() -> Result<()> {
    let mut parts = Vec::new();
    let mut vases = Vec::new();
    for part in 0..PARTS {
        let options = SegmentOptions::new(WINDOW, Mode(0o600));
        let first = part * ENTRIES;
        let vas = DataVas::<VasVec<u64>>::create(&format!("table {part}"), options, |heap| {
            let mut entries = VasVec::with_capacity_in(ENTRIES, heap);
            entries.extend((first..first + ENTRIES).map(|entry| entry as u64));
            entries
        })
        .with_context(|| format!("part {part}"))?;
        parts.push(vas.writer()?);
        vases.push(vas);
    }

    let mut window: Option<Range<usize>> = None;
    for part in &parts {
        let addresses = part.enter(|inside| inside.here().addresses())?;
        let window = window.get_or_insert(addresses.clone());
        ensure!(*window == addresses, "{addresses:#x?} is not the window");
    }
    let window = window.context("no parts")?;
    let bytes = PARTS * ENTRIES * size_of::<u64>();
    ensure!(bytes > window.len(), "the table fits in its window");
    println!("windows: a table of {bytes} bytes, seen through {window:#x?}");

    update(&parts)?;
    let changed = differing(&parts)?;
    ensure!(changed > UPDATES / 2, "only {changed} entries have changed");
    update(&parts)?;
    let changed = differing(&parts)?;
    ensure!(changed == 0, "{changed} entries are not what they were");
    println!("windows: {UPDATES} updates, made twice, have left the table as it was");

    drop(parts);
    for vas in vases {
        vas.delete()?;
    }
    Ok(())
}

/// Makes the updates, the same ones each time.
fn update(parts: &[Part]) -> Result<()> {
    let mut random = Rng::with_seed(1);
    for _ in 0..UPDATES / BATCH {
        let mut batches = [const { Vec::new() }; PARTS];
        for _ in 0..BATCH {
            let value = random.u64(..);
            let entry = value as usize % (PARTS * ENTRIES);
            batches[entry / ENTRIES].push((entry % ENTRIES, value));
        }
        for (part, updates) in parts.iter().zip(&batches) {
            part.enter(|mut inside| {
                for &(entry, value) in updates {
                    inside.root_mut()[entry] ^= value;
                }
            })?;
        }
    }
    Ok(())
}

/// How many entries are not as they were made.
fn differing(parts: &[Part]) -> Result<usize> {
    let mut differing = 0;
    for (part, first) in parts.iter().zip((0..).step_by(ENTRIES)) {
        differing += part.enter(|inside| {
            let entries = inside.root().iter().zip(first..);
            entries
                .filter(|&(&value, entry)| value != entry as u64)
                .count()
        })?;
    }
    Ok(differing)
}
