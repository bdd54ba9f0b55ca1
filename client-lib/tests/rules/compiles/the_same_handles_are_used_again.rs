// SPDX-License-Identifier: MIT OR Apache-2.0

//! Stays follow each other; a reader and a writer of the same VAS are there at the same time.

use client_lib::{DataError, DataVas};

pub fn turns(data: &DataVas<u64>) -> Result<u64, DataError> {
    let (reader, writer) = (data.reader()?, data.writer()?);
    for _ in 0..10 {
        let before = reader.enter(|inside| *inside.root())?;
        writer.enter(|mut inside| *inside.root_mut() = before + 1)?;
    }
    drop(writer);
    reader.try_enter(|inside| *inside.root())
}
