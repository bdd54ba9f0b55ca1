// SPDX-License-Identifier: MIT OR Apache-2.0

use std::ptr::NonNull;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: NonNull<u8>,
}

fn main() {}
