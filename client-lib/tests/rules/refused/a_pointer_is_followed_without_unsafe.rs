// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Reader;
use storage::{Store, VasPtr};

#[derive(Store)]
struct Place<'v> {
    at: VasPtr<'v, u64>,
}

fn follow(reader: &Reader<Place>) {
    let _ = reader.enter(|inside| *inside.root().at.as_ref());
}

fn main() {}
