// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::Store;

#[derive(Store)]
struct Pair<T> {
    one: T,
    other: T,
}

fn read(reader: &Reader<Pair<u64>>) {
    let _ = reader.enter(|inside| inside.root().one + inside.root().other);
}

fn main() {}
