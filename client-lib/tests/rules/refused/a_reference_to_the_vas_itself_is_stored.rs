// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Store, VasBox};

#[derive(Store)]
struct Book<'v> {
    next: Option<VasBox<'v, Book<'v>>>,
    more: &'v Book<'v>,
}

fn main() {}
