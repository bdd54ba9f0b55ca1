// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasPtr;

/// Waits for a thread that does it.
fn scoped(_work: impl FnOnce() + Send) {}

fn lend(writer: &Writer<u64>) {
    let _ = writer.enter(|inside| {
        let pointer = VasPtr::new(inside.root(), inside.here()).unwrap();
        scoped(move || println!("{pointer:?}"));
    });
}

fn main() {}
