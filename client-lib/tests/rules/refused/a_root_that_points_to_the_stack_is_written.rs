// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::Store;

#[derive(Store)]
struct Book {
    pages: u32,
}

fn store(writer: &Writer<Option<&Book>>) {
    let book = Book { pages: 1 };
    let _ = writer.enter(|mut inside| *inside.root_mut() = Some(&book));
}

fn main() {}
