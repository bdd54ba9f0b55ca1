// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Box<dyn Fn() -> u32>,
}

fn main() {}
