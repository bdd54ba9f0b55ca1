// SPDX-License-Identifier: MIT OR Apache-2.0

//! What benchmarks have in common: counting instructions, and telling the builder.

#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod count;
pub mod failure;
pub mod large;
pub mod report;

use protocol::process::slot;
use sel4::cap;

/// An endpoint of the system description, by its position in the component's list.
pub fn endpoint(position: u64) -> cap::Endpoint {
    cap::Endpoint::from_bits(slot::ENDPOINTS + position)
}
