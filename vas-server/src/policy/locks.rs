// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which lock mode does a new VAS have?

mod fixed;

use protocol::message::LockMode;

use super::New;

/// Answers which lock mode a VAS has.
pub trait LocksPolicy: Sync {
    /// The lock mode that it is made with.
    fn lock_mode(&self, new: New) -> LockMode;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn LocksPolicy); 3] = [
    ("cooperative", &LockMode::Cooperative),
    ("enforced", &LockMode::Enforced),
    ("none", &LockMode::None),
];
