// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the driver agrees on with those that it starts.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod board;
pub mod content;
pub mod operation;
pub mod table;

/// Processes that write at one time.
pub const WORKERS: u64 = 3;
/// The VAS with the collections.
pub const DATA: &str = "collections";
/// Exit code of who saw what must not be, and has printed it.
pub const WRONG: i32 = 1;
