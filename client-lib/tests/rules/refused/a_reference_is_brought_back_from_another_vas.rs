// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{Reader, Writer};

fn bring(one: &Writer<u64>, other: &Reader<u64>) {
    let _ = one.enter(|mut inside| {
        let brought = other.enter_from(&mut inside, |inside| inside.root());
        *inside.root_mut() = *brought.unwrap();
    });
}

fn main() {}
