// SPDX-License-Identifier: MIT OR Apache-2.0

use std::cell::Cell;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Cell<u32>,
}

fn main() {}
