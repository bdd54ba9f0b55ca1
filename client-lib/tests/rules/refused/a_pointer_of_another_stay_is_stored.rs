// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Store, VasBox, VasPtr};

#[derive(Store)]
struct Book<'v> {
    next: Option<VasBox<'v, Book<'v>>>,
    more: VasPtr<'static, u64>,
}

fn main() {}
