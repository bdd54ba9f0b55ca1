// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn bring(one: &Writer<List>, other: &Writer<List>) {
    let _ = one.enter(|mut inside| {
        let brought = other.enter_from(&mut inside, |mut inside| inside.root_mut().take());
        *inside.root_mut() = brought.unwrap();
    });
}

fn main() {}
