// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;

fn leave(writer: Writer<u64>) {
    let _ = writer.enter(|inside| {
        drop(writer);
        *inside.root()
    });
}

fn main() {}
