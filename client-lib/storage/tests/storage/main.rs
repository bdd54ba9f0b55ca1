// SPDX-License-Identifier: MIT OR Apache-2.0

//! Heaps, pointers and roots, in memory of the host that stands for a segment.

#![expect(
    clippy::redundant_closure,
    reason = "a function of a type with a lifetime is one for that stay, a closure is for each"
)]

mod addresses;
mod collections;
mod heap;
mod memory;
mod pointers;
mod roots;
