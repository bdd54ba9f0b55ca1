// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values that point nowhere leave a stay, and so do copies in private memory.

use client_lib::{DataError, Reader, Writer};
use storage::VasVec;

pub fn sum(reader: &Reader<VasVec<'static, u64>>) -> Result<u64, DataError> {
    reader.enter(|inside| inside.root().iter().sum())
}

pub fn copy(reader: &Reader<VasVec<'static, u64>>) -> Result<Vec<u64>, DataError> {
    reader.enter(|inside| inside.root().to_vec())
}

pub fn push(writer: &Writer<VasVec<'static, u64>>, word: &str) -> Result<(), DataError> {
    let pushed = writer.enter(|mut inside| {
        let number = word.parse::<u64>()?;
        inside.root_mut().push(number);
        Ok::<_, std::num::ParseIntError>(())
    })?;
    pushed.expect("a number");
    Ok(())
}
