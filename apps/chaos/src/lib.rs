// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the drivers agree on with those that they start.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod board;
pub mod operation;
pub mod pool;
pub mod record;
pub mod stage;

/// Workers that run at one time.
pub const WORKERS: u64 = 8;
/// Exit code of a worker that saw what must not be, and has printed it.
pub const WRONG: i32 = 1;
