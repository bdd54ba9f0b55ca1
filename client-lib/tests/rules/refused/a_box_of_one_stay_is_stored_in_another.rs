// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn mix(one: &Writer<List>, other: &Writer<List>) {
    let _ = one.enter(|mut here| {
        let _ = other.enter(|mut there| *there.root_mut() = here.root_mut().take());
    });
}

fn main() {}
