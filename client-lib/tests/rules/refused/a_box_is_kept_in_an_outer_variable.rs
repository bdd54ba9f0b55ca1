// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

fn keep(writer: &Writer<List>) {
    let mut kept = None;
    let _ = writer.enter(|mut inside| kept = inside.root_mut().take());
    println!("{kept:?}");
}

fn main() {}
