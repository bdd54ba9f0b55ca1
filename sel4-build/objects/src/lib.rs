// SPDX-License-Identifier: MIT OR Apache-2.0

//! Untyped memory and capability slots: what kernel objects are made of.
//!
//! `init` and the VAS server each own memory and a CNode and give out parts of them. The
//! allocators are generic over [`Kernel`], the few capability operations that they and the
//! server need, so that they are tested on the host; [`Sel4`] is the kernel itself.

#![no_std]
#![deny(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

extern crate alloc;

pub mod kernel;
#[cfg(feature = "guest")]
mod sel4_kernel;
pub mod slots;
pub mod untyped;

pub use kernel::{Kernel, KernelError, Object, Slot, TableLevel, Timer};
#[cfg(feature = "guest")]
pub use sel4_kernel::Sel4;
pub use slots::{SlotRange, Slots};
pub use untyped::{Block, Untypeds};
