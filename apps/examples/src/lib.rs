// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the example programs have in common.

#![no_std]
#![deny(unsafe_code)]

use core::ptr;

use client_lib::raw::SegId;

/// Where a program puts the one value that it keeps in a segment: at its base. It stands in for
/// `malloc`, which is to choose the heap of the active VAS.
pub fn only_value<T>(segment: SegId) -> *mut T {
    ptr::with_exposed_provenance_mut(segment.base() as usize)
}
