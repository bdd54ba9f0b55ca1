// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::atomic::AtomicU32;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: AtomicU32,
}

fn main() {}
