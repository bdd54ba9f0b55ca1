// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasVec;

fn change(writer: &Writer<VasVec<'static, u64>>) {
    let _ = writer.enter(|mut inside| {
        let first = &inside.root()[0];
        inside.root_mut().clear();
        println!("{first}");
    });
}

fn main() {}
