// SPDX-License-Identifier: MIT OR Apache-2.0

//! All of it without unsafe code, that of the derive macro included.

#![forbid(unsafe_code)]

use client_lib::{DataError, DataVas, Mode, SegmentOptions};
use storage::{LEAST_BYTES, Store, VasBox, VasVec};

#[derive(Store)]
pub struct Notes<'v> {
    numbers: VasVec<'v, u64>,
    last: Option<VasBox<'v, Notes<'v>>>,
}

pub fn run() -> Result<usize, DataError> {
    let options = SegmentOptions::new(LEAST_BYTES as u64, Mode(0o600));
    let data = DataVas::<Notes>::find_or_create("notes", options, |heap| Notes {
        numbers: VasVec::new_in(heap),
        last: None,
    })?;
    let writer = data.writer()?;
    writer.enter(|mut inside| {
        let heap = inside.heap();
        let numbers = VasVec::new_in(heap);
        let before = core::mem::replace(
            inside.root_mut(),
            Notes {
                numbers,
                last: None,
            },
        );
        inside.root_mut().last = Some(VasBox::new_in(before, heap));
    })?;
    writer.enter(|inside| inside.root().numbers.len())
}
