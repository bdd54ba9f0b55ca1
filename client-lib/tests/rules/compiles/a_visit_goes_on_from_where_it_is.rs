// SPDX-License-Identifier: MIT OR Apache-2.0

//! From the second VAS to a third, and back through the second. What a visit uses is moved into it.

use std::rc::Rc;

use client_lib::{DataError, Reader};

pub fn chain(
    one: &Reader<u64>,
    other: &Reader<u64>,
    third: Rc<Reader<u64>>,
) -> Result<u64, DataError> {
    one.enter(|mut inside| {
        let there = other.enter_from(&mut inside, move |mut inside| {
            let further = third.enter_from(&mut inside, |inside| *inside.root())?;
            Ok::<_, DataError>(further + inside.root())
        })??;
        Ok(there + inside.root())
    })?
}
