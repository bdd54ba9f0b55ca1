// SPDX-License-Identifier: MIT OR Apache-2.0

use std::cell::RefCell;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: RefCell<u32>,
}

fn main() {}
