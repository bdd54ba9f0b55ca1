// SPDX-License-Identifier: MIT OR Apache-2.0

//! What types let pass and is told at run time: the inner stay is refused, its work not done.

use client_lib::{DataError, Reader, Writer};

pub fn nested(one: &Writer<u64>, other: &Reader<u64>) -> Result<(), DataError> {
    one.enter(|_| match other.enter(|inside| *inside.root()) {
        Err(DataError::Nested) => Ok(()),
        answer => answer.map(|_| ()),
    })?
}
