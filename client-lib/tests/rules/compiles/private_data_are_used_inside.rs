// SPDX-License-Identifier: MIT OR Apache-2.0

//! The common region is always there: what lies in it is read and written during a stay.

use std::collections::BTreeMap;

use client_lib::{DataError, Reader};
use storage::VasVec;

static LEAST: u64 = 10;

fn larger(least: u64) -> impl Fn(&u64) -> bool {
    move |&number| number >= least
}

pub fn count(
    reader: &Reader<VasVec<'static, u64>>,
    label: &str,
    counts: &mut BTreeMap<String, usize>,
) -> Result<(), DataError> {
    let keep: Box<dyn Fn(&u64) -> bool> = Box::new(larger(LEAST));
    reader.enter(|inside| {
        for number in inside.root().iter().filter(|number| keep(number)) {
            *counts.entry(format!("{label} {number}")).or_default() += 1;
        }
    })
}
