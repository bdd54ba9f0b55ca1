// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the seL4 kernel from the registry package, and bindings from its descriptions.
//!
//! The package `sel4-sys` carries the whole of seL4 5.0.0. Cargo fetches it and checks
//! its checksum; [`source`] finds it and makes a copy with our patches, [`bitfield`] and
//! [`interfaces`] generate what seL4 describes in `.bf` and `.xml` files, for the kernel
//! as C and for the bindings as Rust, [`Config`] says what kernel is wanted, and
//! [`build`] makes it. It needs cargo, gcc and binutils, nothing else.

#![forbid(unsafe_code)]

pub mod bitfield;
mod build;
mod config;
mod error;
pub mod interfaces;
pub mod source;

pub use build::{Kernel, build, build_patched, user_types};
pub use config::Config;
pub use error::Error;
pub use source::Series;
