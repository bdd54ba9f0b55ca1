// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;

/// Waits for a thread that does it.
fn scoped(_work: impl FnOnce() + Send) {}

fn lend(writer: &Writer<u64>) {
    let _ = writer.enter(|mut inside| {
        let inside = &mut inside;
        scoped(move || *inside.root_mut() = 1);
    });
}

fn main() {}
