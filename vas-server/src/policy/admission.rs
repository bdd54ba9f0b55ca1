// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may have one more of what is counted?
//!
//! Whatever the answer, nobody gets more than a quota or the limits allow.

mod everyone;
mod promised_only;

use crate::resources::Counted;

pub use everyone::Everyone;
pub use promised_only::PromisedOnly;

/// One more of something.
#[derive(Clone, Copy, Debug)]
pub struct OneMore {
    /// Of what.
    pub of: Counted,
    /// For which user; `None`: for one of those without a quota, who share what is left.
    pub user: Option<u32>,
    /// How many the user has, or all without a quota together.
    pub used: u32,
    /// How many the user may have, or all without a quota together.
    pub most: u32,
}

/// Answers who may have one more.
pub trait AdmissionPolicy: Sync {
    /// Whether it is given. There is one left.
    fn admits(&self, one_more: OneMore) -> bool;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn AdmissionPolicy); 2] =
    [("everyone", &Everyone), ("promised-only", &PromisedOnly)];
