// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::VasBox;

fn change(reader: &Reader<u64>) {
    let _ = reader.enter(|inside| {
        VasBox::new_in(1, inside.heap());
    });
}

fn main() {}
