// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{DataError, Reader};

fn keep(reader: &Reader<u64>) -> Result<&u64, DataError> {
    reader.enter(|inside| inside.root())
}

fn main() {}
