// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::CheckedPtr;

fn follow(reader: &Reader<u64>, pointer: CheckedPtr<u64>) {
    let _ = reader.enter(|_| *pointer);
}

fn main() {}
