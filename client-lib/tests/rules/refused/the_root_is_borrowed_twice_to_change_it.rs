// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;

fn change(writer: &Writer<[u64; 2]>) {
    let _ = writer.enter(|mut inside| {
        let (one, other) = (inside.root_mut(), inside.root_mut());
        std::mem::swap(&mut one[0], &mut other[1]);
    });
}

fn main() {}
