// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{Reader, Writer};

fn visit(one: &Writer<u64>, other: &Reader<u64>) {
    let _ = one.enter(|mut inside| {
        let root = inside.root_mut();
        if let Ok(number) = other.enter_from(&mut inside, |inside| *inside.root()) {
            *root = number;
        }
    });
}

fn main() {}
