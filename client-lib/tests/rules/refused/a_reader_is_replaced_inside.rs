// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn replace(mut reader: Reader<u64>, other: Reader<u64>) {
    let _ = reader.enter(|inside| {
        reader = other;
        *inside.root()
    });
}

fn main() {}
