// SPDX-License-Identifier: MIT OR Apache-2.0

//! Heaps, pointers and roots, in memory of the host that stands for a segment.

mod heap;
mod memory;
mod pointers;
mod roots;
