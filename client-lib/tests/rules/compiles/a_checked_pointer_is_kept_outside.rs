// SPDX-License-Identifier: MIT OR Apache-2.0

//! A private table of values in VASes, whose pointers are checked when they are used.

use std::collections::BTreeMap;

use client_lib::{DataError, Reader};
use storage::{CheckedPtr, VasPtr, VasVec};

type Numbers = VasVec<'static, u64>;

pub struct Table(BTreeMap<u64, CheckedPtr<u64>>);

impl Table {
    pub fn fill(&mut self, reader: &Reader<Numbers>) -> Result<(), DataError> {
        reader.enter(|inside| {
            let here = inside.here();
            let pointers = inside.root().iter().map(|number| {
                let pointer = VasPtr::new(number, here).expect("what the root has is in the VAS");
                (*number, CheckedPtr::new(pointer, here))
            });
            self.0.extend(pointers);
        })
    }

    pub fn address(&self, key: u64, reader: &Reader<Numbers>) -> Result<Option<usize>, DataError> {
        let pointer = self.0.get(&key);
        reader.enter(|inside| {
            let pointer = pointer?.check(inside.here()).ok()?;
            Some(pointer.address())
        })
    }
}
