// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

fn keep(writer: &Writer<u64>) {
    let kept = writer.enter(|inside| VasBox::new_in(1, inside.heap()));
    println!("{kept:?}");
}

fn main() {}
