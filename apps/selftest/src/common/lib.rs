// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the test program and its actors share.

#![no_std]

extern crate alloc;

pub mod calls;
pub mod data;
pub mod failure;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod segment_memory;
pub mod statistics;
pub mod verdict;

pub use failure::{Failure, Outcome};
