// SPDX-License-Identifier: MIT OR Apache-2.0

use std::sync::Arc;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
    more: Arc<u32>,
}

fn main() {}
