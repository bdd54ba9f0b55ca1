// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn carry(one: &Writer<List>, other: &Writer<List>) {
    let _ = one.enter(|mut inside| {
        let carried = inside.root_mut().take();
        other.enter_from(&mut inside, move |mut inside| *inside.root_mut() = carried)
    });
}

fn main() {}
