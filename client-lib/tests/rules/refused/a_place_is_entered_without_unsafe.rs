// SPDX-License-Identifier: MIT OR Apache-2.0

use std::ptr::NonNull;
use storage::Place;

fn enter(base: NonNull<u8>) -> u64 {
    Place::new(base).read::<u64, _>(|inside| *inside.root())
}

fn main() {}
