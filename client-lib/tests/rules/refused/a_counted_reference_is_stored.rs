// SPDX-License-Identifier: MIT OR Apache-2.0

use std::rc::Rc;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Rc<u32>,
}

fn main() {}
