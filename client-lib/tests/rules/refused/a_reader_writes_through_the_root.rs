// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn change(reader: &Reader<u64>) {
    let _ = reader.enter(|inside| {
        *inside.root() = 1;
    });
}

fn main() {}
