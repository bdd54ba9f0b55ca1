// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

struct Cover(u8);

#[derive(Store)]
struct Book {
    pages: u32,
    more: Cover,
}

fn main() {}
