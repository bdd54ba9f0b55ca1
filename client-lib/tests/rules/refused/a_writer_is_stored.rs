// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Writer<u64>,
}

fn main() {}
