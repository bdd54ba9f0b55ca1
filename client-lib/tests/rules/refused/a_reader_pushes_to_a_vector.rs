// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::VasVec;

fn change(reader: &Reader<VasVec<'static, u64>>) {
    let _ = reader.enter(|inside| {
        inside.root().push(1);
    });
}

fn main() {}
