// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the VAS service, its clients and init must agree on.
//!
//! Ids, rights, errors, messages, the address map and the limits are defined here and
//! nowhere else, so that a client and a server built at different times cannot disagree
//! unnoticed. The crate contains no kernel call and is tested on the host.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod address_map;
pub mod error;
#[cfg(feature = "generate")]
pub mod generate;
pub mod handle;
pub mod limits;
pub mod lock;
pub mod message;
pub mod process;
pub mod wire;

pub use error::{Error, Limit};
pub use handle::{Badge, Handle, Kind, Rights};
pub use message::{Access, AttachmentId, Command, Lifetime, LockMode, Mode, Name, PageSize};
