// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Store, VasBox};

#[derive(Store)]
struct Pair<'one, 'other> {
    one: VasBox<'one, u64>,
    other: VasBox<'other, u64>,
}

fn main() {}
