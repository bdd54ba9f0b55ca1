// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: String,
}

fn main() {}
