// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn change(reader: &Reader<u64>) {
    let _ = reader.enter(|mut inside| {
        *inside.root_mut() = 1;
    });
}

fn main() {}
