// SPDX-License-Identifier: MIT OR Apache-2.0

//! What it costs to use data of known types in a VAS, beside what is done without: entering the
//! VAS and leaving it, allocating, following pointers.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

mod allocate;
mod enter;
mod pointers;

use bench::count::{Counter, Samples};
use bench::failure::Failure;
use bench::report::{Of, figure};
use client_lib::{DataVas, Mode, SegmentOptions};

runtime::heap!(64 << 10);
runtime::main!(main);

const NAME: &str = "data";
/// Of the heaps that are compared.
const HEAP_BYTES: usize = 1 << 20;
const OPTIONS: SegmentOptions = SegmentOptions::new(HEAP_BYTES as u64, Mode(0o600));

fn main() -> Result<(), Failure> {
    let counter = Counter::new()?;
    enter::run(&counter)?;
    let data = DataVas::<u64>::create(NAME, OPTIONS, |_| 0)?;
    allocate::run(&counter, &data)?;
    pointers::run(&counter, &data.writer()?)?;
    Ok(data.delete()?)
}

/// Tells figures of the same in several ways.
fn figures<const N: usize>(measure: &str, series: &str, ways: [&str; N], samples: &[Samples; N]) {
    for ((case, x), samples) in ways.into_iter().zip(0..).zip(samples) {
        let of = Of {
            measure,
            series,
            case,
            x,
        };
        figure(of, samples);
    }
}
