// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use std::sync::Mutex;

static KEPT: Mutex<Option<&u64>> = Mutex::new(None);

fn keep(reader: &Reader<u64>) {
    let _ = reader.enter(|inside| *KEPT.lock().unwrap() = Some(inside.root()));
}

fn main() {}
