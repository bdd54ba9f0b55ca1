// SPDX-License-Identifier: MIT OR Apache-2.0

//! From one VAS to another and back, with what points nowhere.

use client_lib::{DataError, Reader, Writer};
use storage::VasVec;

pub fn copy(
    from: &Reader<VasVec<'static, u64>>,
    to: &Writer<VasVec<'static, u64>>,
) -> Result<usize, DataError> {
    from.enter(|mut inside| {
        let numbers = inside.root().to_vec();
        let copied = to.enter_from(&mut inside, move |mut inside| {
            inside.root_mut().extend(numbers);
            inside.root().len()
        })?;
        assert_eq!(copied, inside.root().len());
        Ok(copied)
    })?
}
