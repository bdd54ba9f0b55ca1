// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocating in a VAS, beside the same allocator in private memory.

use alloc::boxed::Box;
use core::alloc::Layout;
use core::hint::black_box;

use allocator_api2::alloc::{AllocError, Allocator, Global};
use allocator_api2::vec::Vec;
use bench::count::{Counter, Samples};
use client_lib::Writer;
use storage::VasBox;

use crate::{Failure, figures};

const WAYS: [&str; 2] = ["in private memory", "in a VAS"];

/// What an allocator is asked for.
const SIZES: [(&str, usize); 4] = [
    ("16 bytes", 16),
    ("256 bytes", 256),
    ("4 KiB", 4 << 10),
    ("64 KiB", 64 << 10),
];

/// Numbers that are pushed to a vector.
const NUMBERS: u64 = 1000;

pub fn run(counter: &Counter, writer: &Writer<u64>) -> Result<(), Failure> {
    for (series, bytes) in SIZES {
        let layout = Layout::from_size_align(bytes, 16).expect("a power of two");
        let [allocate, free] = allocate_and_free(counter, Global, layout);
        let [there_allocate, there_free] =
            writer.enter(|inside| allocate_and_free(counter, inside.heap(), layout))?;
        figures("allocate", series, WAYS, &[allocate, there_allocate]);
        figures("free", series, WAYS, &[free, there_free]);
    }
    boxes(counter, writer, "a box of 8 bytes", 1u64)?;
    boxes(counter, writer, "a box of 1 KiB", [1u64; 128])?;

    let private = push(counter, Global);
    let there = writer.enter(|inside| push(counter, inside.heap()))?;
    figures(
        "push to a vector, and drop it",
        "1,000 numbers",
        WAYS,
        &[private, there],
    );
    Ok(())
}

fn allocate_and_free(counter: &Counter, allocator: impl Allocator, layout: Layout) -> [Samples; 2] {
    let samples = counter.repeat(|counter| {
        let (allocate, block) = counter.count(|| allocator.allocate(black_box(layout)));
        let block = black_box(block?.cast());
        let (free, ()) = counter.count(|| free(&allocator, block, layout));
        Ok::<_, AllocError>([allocate, free])
    });
    samples.expect("there is room")
}

/// Gives back what [`allocate_and_free`] has got.
#[allow(unsafe_code)]
#[inline(always)]
fn free(allocator: &impl Allocator, block: core::ptr::NonNull<u8>, layout: Layout) {
    // SAFETY: from this allocator, with this layout, and not used again.
    unsafe { allocator.deallocate(block, black_box(layout)) };
}

/// New boxes, dropped at once.
fn boxes<T: Copy>(
    counter: &Counter,
    writer: &Writer<u64>,
    series: &str,
    value: T,
) -> Result<(), Failure> {
    let [new, dropped] = counter.repeat(|counter| {
        let (new, boxed) = counter.count(|| black_box(Box::new(value)));
        let (dropped, ()) = counter.count(|| drop(boxed));
        Ok::<_, Failure>([new, dropped])
    })?;
    let there = writer.enter(|inside| {
        let heap = inside.heap();
        counter.repeat(|counter| {
            let (new, boxed) = counter.count(|| black_box(VasBox::new_in(value, heap)));
            let (dropped, ()) = counter.count(|| drop(boxed));
            Ok::<_, Failure>([new, dropped])
        })
    })?;
    let [there_new, there_dropped] = there?;
    figures("new", series, WAYS, &[new, there_new]);
    figures("drop", series, WAYS, &[dropped, there_dropped]);
    Ok(())
}

fn push(counter: &Counter, allocator: impl Allocator + Copy) -> Samples {
    let [samples] = counter
        .repeat(|counter| {
            let (count, ()) = counter.count(|| {
                let mut numbers = Vec::new_in(allocator);
                for number in 0..NUMBERS {
                    numbers.push(number);
                }
                black_box(numbers);
            });
            Ok::<_, core::convert::Infallible>([count])
        })
        .unwrap_or_else(|never| match never {});
    samples
}
