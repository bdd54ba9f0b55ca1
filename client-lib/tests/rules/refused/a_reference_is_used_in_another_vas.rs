// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{Reader, Writer};

fn visit(one: &Reader<u64>, other: &Writer<u64>) {
    let _ = one.enter(|mut inside| {
        let root = inside.root();
        other.enter_from(&mut inside, |mut inside| *inside.root_mut() = *root)
    });
}

fn main() {}
