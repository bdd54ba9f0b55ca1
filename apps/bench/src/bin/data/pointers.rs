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
        let counts =
            |references: &[&u64], pointers: &[VasPtr<u64>], checked: &[CheckedPtr<u64>]| {
                counter.repeat(|counter| {
                    let follow = || black_box(add_references(black_box(references)));
                    let (by_references, sum) = counter.count(follow);
                    let follow = || black_box(add_pointers(black_box(pointers)));
                    let (by_pointers, same) = counter.count(follow);
                    let follow = || black_box(add_checked(black_box(checked), here));
                    let (by_checked, again) = counter.count(follow);
                    assert!(sum == same && sum == again?, "these are other numbers");
                    Ok([by_references, by_pointers, by_checked])
                })
            };
        let one = counts(&references[..1], &pointers[..1], &checked[..1])?;
        let many = counts(&references, &pointers, &checked)?;
        Ok::<_, WrongVas>([one, many])
    })?;
    let [one, many] = counted.expect("in the VAS");
    figures(MEASURE, "one", WAYS, &one);
    figures(MEASURE, "1,000 in a loop", WAYS, &many);
    Ok(())
}

#[inline(never)]
fn add_references(numbers: &[&u64]) -> u64 {
    numbers.iter().copied().sum()
}

#[inline(never)]
fn add_pointers(numbers: &[VasPtr<'_, u64>]) -> u64 {
    // SAFETY: of numbers that are alive and that nobody changes.
    let loads = numbers.iter().map(|number| unsafe { *number.as_ref() });
    loads.sum()
}

#[inline(never)]
fn add_checked(numbers: &[CheckedPtr<u64>], here: Here<'_>) -> Result<u64, WrongVas> {
    let loads = numbers.iter().map(|number| {
        let number = number.check(here)?;
        // SAFETY: as above.
        Ok(unsafe { *number.as_ref() })
    });
    loads.sum()
}
