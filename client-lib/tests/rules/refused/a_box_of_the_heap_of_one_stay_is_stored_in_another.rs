// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn mix(one: &Writer<u64>, other: &Writer<List>) {
    let _ = one.enter(|here| {
        let heap = here.heap();
        let _ = other.enter(|mut there| *there.root_mut() = Some(VasBox::new_in(1, heap)));
    });
}

fn main() {}
