// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

fn visit(one: &Reader<u64>, other: &Reader<u64>) {
    let _ = one.enter(|mut inside| {
        let before = inside.root();
        let _ = other.enter_from(&mut inside, |_| ());
        *before
    });
}

fn main() {}
