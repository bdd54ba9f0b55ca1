// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
struct Pair<T> {
    one: T,
    other: T,
}

#[derive(Store)]
struct Book {
    titles: Pair<String>,
}

fn main() {}
