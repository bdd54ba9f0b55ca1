// SPDX-License-Identifier: MIT OR Apache-2.0

//! The logic of the VAS server: VASes, segments, attachments and the memory behind them.
//!
//! Everything here is generic over [`Kernel`], the few capability operations of seL4 that
//! the server needs, so that it runs on the host against a model of the kernel (feature
//! `fake`) exactly as it runs on seL4. The module `guest` (feature `guest`) binds it to seL4 for
//! server binaries, that of this crate and others.
//!
//! [`Server::handle`] is the one entry: a message in, an answer out.

#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

extern crate alloc;

pub mod arena;
#[cfg(feature = "fake")]
#[allow(clippy::panic)]
pub mod fake;
// A loop that ends with a panic if it cannot begin, over arrays whose sizes are constants.
#[cfg(feature = "guest")]
#[allow(clippy::indexing_slicing, clippy::panic)]
pub mod guest;
pub mod policy;
pub mod resources;
pub mod server;

#[cfg(feature = "guest")]
pub use objects::Sel4;
pub use objects::{Kernel, KernelError, Object, Slot, TableLevel, Timer, kernel, slots, untyped};
pub use policy::{Answers, Policies};
pub use server::{Answer, Configuration, Server, StartError};
