// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasBox;

/// Waits for a thread that does it.
fn scoped(_work: impl FnOnce() + Send) {}

fn lend(writer: &Writer<u64>) {
    let _ = writer.enter(|inside| {
        let value = VasBox::new_in(1, inside.heap());
        scoped(move || println!("{value}"));
    });
}

fn main() {}
