// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the builder puts into a boot image and init reads from it.
//!
//! An archive holds the manifest of a system and the pages of its programs and files. The
//! builder appends it to init's ELF as one more segment; init reads it where it lies.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod archive;
mod manifest;
pub mod power;

pub use archive::{Error, HEADER_BYTES, Header, Image, encode_manifest};
pub use manifest::{
    ArchivedComponent, ArchivedFile, ArchivedPolicy, ArchivedProgram, ArchivedQuota,
    ArchivedSegment, ArchivedServer, ArchivedSystem, Component, File, Policy, Program, Quota,
    Segment, Server, System,
};

/// init keeps one part in so many of memory: for itself, the VAS server's slots and heap, and
/// processes.
pub const INIT_SHARE: u64 = 4;
/// Priority of the VAS server: below init's, which is seL4's highest, 255.
pub const SERVER_PRIORITY: u8 = 254;
/// Highest priority of a component: below the VAS server's, so that none can starve it.
pub const COMPONENT_PRIORITY: u8 = 253;
