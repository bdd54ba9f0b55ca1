// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::VasVec;

/// Waits for a thread that does it.
fn scoped(_work: impl FnOnce() + Send) {}

fn lend(writer: &Writer<u64>) {
    let _ = writer.enter(|inside| {
        let numbers = VasVec::<u64>::new_in(inside.heap());
        scoped(move || println!("{numbers:?}"));
    });
}

fn main() {}
