// SPDX-License-Identifier: MIT OR Apache-2.0

//! A value that only this thread has stays where it is while the thread is elsewhere.

use client_lib::{DataError, Reader, Writer};
use storage::VasBox;

pub fn fill(
    writer: &Writer<Option<VasBox<'static, u64>>>,
    from: &Reader<u64>,
) -> Result<(), DataError> {
    writer.enter(|mut inside| {
        let mut value = VasBox::new_in(0, inside.heap());
        *value = from.enter_from(&mut inside, |inside| *inside.root())?;
        *inside.root_mut() = Some(value);
        Ok(())
    })?
}
