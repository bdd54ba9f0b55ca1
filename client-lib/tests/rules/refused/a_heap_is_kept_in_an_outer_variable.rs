// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

fn keep(writer: &Writer<u64>) {
    let mut kept = None;
    let _ = writer.enter(|inside| kept = Some(inside.heap()));
    if let Some(heap) = kept {
        VasBox::new_in(1, heap);
    }
}

fn main() {}
