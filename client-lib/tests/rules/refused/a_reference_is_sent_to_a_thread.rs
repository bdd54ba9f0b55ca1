// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

/// Starts a thread.
fn spawn(_work: impl FnOnce() + Send + 'static) {}

fn send(reader: &Reader<u64>) {
    let _ = reader.enter(|inside| {
        let root = inside.root();
        spawn(move || println!("{root}"));
    });
}

fn main() {}
