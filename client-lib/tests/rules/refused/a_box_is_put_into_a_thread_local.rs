// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use std::cell::RefCell;
use storage::VasBox;

type List = Option<VasBox<'static, u64>>;

thread_local! {
    static KEPT: RefCell<List> = const { RefCell::new(None) };
}

fn keep(writer: &Writer<List>) {
    let _ = writer.enter(|mut inside| KEPT.set(inside.root_mut().take()));
}

fn main() {}
