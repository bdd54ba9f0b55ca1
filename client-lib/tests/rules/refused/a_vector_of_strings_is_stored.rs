// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Store, VasBox, VasVec};

#[derive(Store)]
struct Book<'v> {
    next: Option<VasBox<'v, Book<'v>>>,
    more: VasVec<'v, String>,
}

fn main() {}
