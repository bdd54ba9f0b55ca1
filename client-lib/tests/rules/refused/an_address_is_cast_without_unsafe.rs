// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::VasPtr;

fn cast(reader: &Reader<u64>, address: usize) {
    let _ = reader.enter(|inside| VasPtr::<u64>::vcast(address, inside.here()).is_ok());
}

fn main() {}
