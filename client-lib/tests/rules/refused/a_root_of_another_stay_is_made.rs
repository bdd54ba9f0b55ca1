// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::{Root, VasBox};

struct Number;

impl Root for Number {
    type At<'v> = VasBox<'static, u64>;
}

fn main() {}
