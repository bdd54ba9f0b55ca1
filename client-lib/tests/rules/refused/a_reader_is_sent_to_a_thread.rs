// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;

/// Starts a thread.
fn spawn(_work: impl FnOnce() + Send + 'static) {}

fn send(reader: Reader<u64>) {
    spawn(move || drop(reader.enter(|inside| *inside.root())));
}

fn main() {}
