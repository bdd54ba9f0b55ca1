// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Box<u32>,
}

fn main() {}
