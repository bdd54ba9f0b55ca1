// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the example programs have in common.

#![no_std]
#![deny(unsafe_code)]

use core::ptr;

use client_lib::raw::SegId;

/// Where a program puts the one value that it keeps in a segment: at its base. It stands in for a
/// heap in the segment.
pub fn only_value<T>(segment: SegId) -> *mut T {
    ptr::with_exposed_provenance_mut(segment.base() as usize)
}
