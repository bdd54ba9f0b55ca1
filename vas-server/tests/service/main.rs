// SPDX-License-Identifier: MIT OR Apache-2.0

//! The service as its clients see it, on a model of the stock kernel.

mod atomicity;
mod attachments;
mod clones;
mod control;
mod faults;
mod growth;
mod handles;
mod kills;
mod lifetimes;
mod limits;
mod locks;
mod memory;
mod policies;
mod protocol_misuse;
mod quotas;
mod random;
mod replay;
mod rights;
mod segments;
mod sessions;
mod start;
mod stat;
mod steps;
mod support;
mod vases;

/// Whether the kernel is the extended one.
const EXTENDED: bool = false;
