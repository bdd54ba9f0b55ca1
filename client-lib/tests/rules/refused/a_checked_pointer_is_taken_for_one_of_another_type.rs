// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::{CheckedPtr, VasPtr};

fn follow(reader: &Reader<u64>, pointer: CheckedPtr<u32>) {
    let _ = reader.enter(|inside| {
        let pointer: Option<VasPtr<u64>> = pointer.check(inside.here()).ok();
        pointer.is_some()
    });
}

fn main() {}
