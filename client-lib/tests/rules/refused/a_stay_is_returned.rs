// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn keep(reader: &Reader<u64>) {
    let kept = reader.enter(|inside| inside);
    println!("{kept:?}");
}

fn main() {}
