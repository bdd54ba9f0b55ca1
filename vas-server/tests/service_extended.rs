// SPDX-License-Identifier: MIT OR Apache-2.0

//! The same suite on a model of the extended kernel, where page tables are shared.

#[path = "service/atomicity.rs"]
mod atomicity;
#[path = "service/attachments.rs"]
mod attachments;
#[path = "service/clones.rs"]
mod clones;
#[path = "service/control.rs"]
mod control;
#[path = "service/faults.rs"]
mod faults;
#[path = "service/growth.rs"]
mod growth;
#[path = "service/handles.rs"]
mod handles;
#[path = "service/kills.rs"]
mod kills;
#[path = "service/lifetimes.rs"]
mod lifetimes;
#[path = "service/limits.rs"]
mod limits;
#[path = "service/locks.rs"]
mod locks;
#[path = "service/memory.rs"]
mod memory;
#[path = "service/policies.rs"]
mod policies;
#[path = "service/protocol_misuse.rs"]
mod protocol_misuse;
#[path = "service/quotas.rs"]
mod quotas;
#[path = "service/random.rs"]
mod random;
#[path = "service/replay.rs"]
mod replay;
#[path = "service/rights.rs"]
mod rights;
#[path = "service/segments.rs"]
mod segments;
#[path = "service/sessions.rs"]
mod sessions;
#[path = "service/start.rs"]
mod start;
#[path = "service/stat.rs"]
mod stat;
#[path = "service/steps.rs"]
mod steps;
#[path = "service/support.rs"]
mod support;
#[path = "service/vases.rs"]
mod vases;

/// Whether the kernel is the extended one.
const EXTENDED: bool = true;
