// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{Reader, Writer};

fn visit(one: &Reader<u64>, other: &Writer<u64>) {
    let _ = one.enter(|mut here| {
        other.enter_from(&mut here, |mut there| *there.root_mut() = *here.root())
    });
}

fn main() {}
