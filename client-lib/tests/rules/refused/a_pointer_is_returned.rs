// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::VasPtr;

fn keep(reader: &Reader<u64>) {
    let kept = reader.enter(|inside| VasPtr::new(inside.root(), inside.here()));
    println!("{kept:?}");
}

fn main() {}
