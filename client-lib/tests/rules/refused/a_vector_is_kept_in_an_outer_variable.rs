// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasVec;

fn keep(writer: &Writer<u64>) {
    let mut kept = None;
    let _ = writer.enter(|inside| kept = Some(VasVec::<u64>::new_in(inside.heap())));
    println!("{kept:?}");
}

fn main() {}
