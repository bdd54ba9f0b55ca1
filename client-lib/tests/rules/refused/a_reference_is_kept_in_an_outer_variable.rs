// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn keep(reader: &Reader<u64>) {
    let mut kept = None;
    let _ = reader.enter(|inside| kept = Some(inside.root()));
    println!("{kept:?}");
}

fn main() {}
