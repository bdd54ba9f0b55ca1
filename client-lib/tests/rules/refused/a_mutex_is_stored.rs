// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::Mutex;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Mutex<u32>,
}

fn main() {}
