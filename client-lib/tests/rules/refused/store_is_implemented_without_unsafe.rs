// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Shape, Store};

struct Name(&'static str);

impl Store<'_> for Name {
    fn describe(_: &mut Shape) {}
}

fn main() {}
