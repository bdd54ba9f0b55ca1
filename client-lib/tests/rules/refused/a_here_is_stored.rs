// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Here, Store, VasBox};

#[derive(Store)]
struct Book<'v> {
    next: Option<VasBox<'v, Book<'v>>>,
    more: Here<'v>,
}

fn main() {}
