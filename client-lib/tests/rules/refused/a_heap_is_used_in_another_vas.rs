// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn mix(one: &Writer<u64>, other: &Writer<List>) {
    let _ = one.enter(|mut inside| {
        let heap = inside.heap();
        other.enter_from(&mut inside, move |mut inside| {
            *inside.root_mut() = Some(VasBox::new_in(1, heap));
        })
    });
}

fn main() {}
