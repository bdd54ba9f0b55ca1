// SPDX-License-Identifier: MIT OR Apache-2.0

//! Following pointers between values in a VAS, beside references of Rust.

#![allow(unsafe_code)]

use core::hint::black_box;

use bench::count::Counter;
use client_lib::Writer;
use storage::{CheckedPtr, Here, VasBox, VasPtr, WrongVas};

use crate::{Failure, figures};

const MEASURE: &str = "follow";
const WAYS: [&str; 3] = ["&T", "VasPtr", "CheckedPtr, checked"];

/// Pointers that are followed one after the other.
const MANY: usize = 1000;

pub fn run(counter: &Counter, writer: &Writer<u64>) -> Result<(), Failure> {
    let counted = writer.enter(|inside| {
        let here = inside.here();
        let numbers = VasBox::new_in([1u64; MANY], inside.heap());
        let pointer = |number| VasPtr::new(number, here).expect("in the heap");
        let references: [&u64; MANY] = core::array::from_fn(|at| &numbers[at]);
        let pointers: [VasPtr<u64>; MANY] = references.map(pointer);
        let checked: [CheckedPtr<u64>; MANY] =
            pointers.map(|pointer| CheckedPtr::new(pointer, here));
        let one = counter.repeat(|counter| {
            let (reference, _) = counter.count(|| *black_box(references[0]));
            // SAFETY: `numbers` is alive, and nobody changes it.
            let (pointer, _) = counter.count(|| unsafe { *black_box(pointers[0]).as_ref() });
            let (check, number) = counter.count(|| load(black_box(checked[0]), black_box(here)));
            number.map(|_| [reference, pointer, check])
        })?;
        let many = counter.repeat(|counter| {
            let (by_references, _) = counter.count(|| add_references(black_box(&references)));
            let (by_pointers, _) = counter.count(|| add_pointers(black_box(&pointers)));
            let (by_checked, sum) = counter.count(|| add_checked(black_box(&checked), here));
            sum.map(|_| [by_references, by_pointers, by_checked])
        })?;
        Ok::<_, WrongVas>([one, many])
    })?;
    let [one, many] = counted.expect("in the VAS");
    figures(MEASURE, "one", WAYS, &one);
    figures(MEASURE, "1,000 in a loop", WAYS, &many);
    Ok(())
}

/// Checks and loads.
#[inline]
fn load(pointer: CheckedPtr<u64>, here: Here<'_>) -> Result<u64, WrongVas> {
    // SAFETY: `run` has made it of a value that is alive, and nobody changes it.
    pointer
        .check(here)
        .map(|pointer| unsafe { *pointer.as_ref() })
}

#[inline(never)]
fn add_references(numbers: &[&u64; MANY]) -> u64 {
    numbers.iter().copied().sum()
}

#[inline(never)]
fn add_pointers(numbers: &[VasPtr<'_, u64>; MANY]) -> u64 {
    // SAFETY: as in `load`.
    numbers
        .iter()
        .map(|number| unsafe { *number.as_ref() })
        .sum()
}

#[inline(never)]
fn add_checked(numbers: &[CheckedPtr<u64>; MANY], here: Here<'_>) -> Result<u64, WrongVas> {
    numbers.iter().map(|&number| load(number, here)).sum()
}
