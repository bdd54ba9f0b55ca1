// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocating in a VAS, beside the same allocator in private memory.

use core::alloc::{GlobalAlloc, Layout};
use core::convert::Infallible;
use core::hint::black_box;
use core::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use bench::count::{Counter, Samples};
use client_lib::{DataVas, Writer, raw};
use runtime::heap::{Heap, InImage};
use storage::VasBox;

use crate::{Failure, HEAP_BYTES, NAME, figures};

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

pub fn run(counter: &Counter, data: &DataVas<u64>) -> Result<(), Failure> {
    by_allocators(counter, &data.writer()?)?;
    by_malloc(counter)
}

fn by_allocators(counter: &Counter, writer: &Writer<u64>) -> Result<(), Failure> {
    for (series, bytes) in SIZES {
        let layout = Layout::from_size_align(bytes, 16).expect("a power of two");
        let [allocate, free] = allocate_and_free(counter, Private, layout);
        let [there_allocate, there_free] =
            writer.enter(|inside| allocate_and_free(counter, inside.heap(), layout))?;
        figures("allocate", series, WAYS, &[allocate, there_allocate]);
        figures("free", series, WAYS, &[free, there_free]);
    }
    boxes(counter, writer, "a box of 8 bytes", 1u64)?;
    boxes(counter, writer, "a box of 1 KiB", [1u64; 128])?;

    let private = push(counter, Private);
    let there = writer.enter(|inside| push(counter, inside.heap()))?;
    figures(
        "push to a vector, and drop it",
        "1,000 numbers",
        WAYS,
        &[private, there],
    );
    Ok(())
}

/// `malloc` and `free` of the process's own memory, and of the VAS that they are called in.
fn by_malloc(counter: &Counter) -> Result<(), Failure> {
    let vas = raw::vas_attach(raw::vas_find(NAME)?)?;
    let [malloc, free] = malloc_and_free(counter)?;
    raw::vas_switch(vas)?;
    let there = malloc_and_free(counter);
    raw::vas_switch(raw::VasHandle::OWN)?;
    let [there_malloc, there_free] = there?;
    raw::vas_detach(vas)?;
    figures("malloc", "256 bytes", WAYS, &[malloc, there_malloc]);
    figures("free of malloc", "256 bytes", WAYS, &[free, there_free]);
    Ok(())
}

fn malloc_and_free(counter: &Counter) -> Result<[Samples; 2], Failure> {
    counter.repeat(|counter| {
        let (malloc, memory) = counter.count(|| raw::malloc(black_box(256)));
        assert!(!memory.is_null(), "there is room");
        let (free, freed) = counter.count(|| free_memory(black_box(memory)));
        freed.expect("it is from here");
        Ok([malloc, free])
    })
}

/// Frees what [`malloc_and_free`] has got.
#[allow(unsafe_code)]
#[inline(always)]
fn free_memory(memory: *mut u8) -> Result<(), raw::NotHere> {
    // SAFETY: from `malloc`, and not used again.
    unsafe { raw::free(memory) }
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
fn free(allocator: &impl Allocator, block: NonNull<u8>, layout: Layout) {
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
        let (new, boxed) = counter.count(|| black_box(Box::new_in(value, Private)));
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
            Ok::<_, Infallible>([count])
        })
        .unwrap_or_else(|never| match never {});
    samples
}

/// A heap such as the runtime's, with nothing else in it, as little is in the VAS: what is free
/// looks the same in both. Nor is it compiled into each place that uses it, for sizes known there.
#[derive(Clone, Copy)]
struct Private;

static HEAP: Heap<InImage<HEAP_BYTES>> = Heap::new(InImage::new());

// SAFETY: the heap is a static and keeps this contract for blocks of more than no bytes.
#[allow(unsafe_code)]
unsafe impl Allocator for Private {
    #[inline(never)]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert!(layout.size() != 0, "nothing here asks for no bytes");
        // SAFETY: there are some bytes.
        block(unsafe { HEAP.alloc(layout) }, layout)
    }

    #[inline(never)]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: passed on.
        unsafe { HEAP.dealloc(block.as_ptr(), layout) };
    }

    #[inline(never)]
    unsafe fn grow(
        &self,
        old_block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: passed on; vectors do not change the alignment.
        block(
            unsafe { HEAP.realloc(old_block.as_ptr(), old, new.size()) },
            new,
        )
    }
}

fn block(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}
