// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whoever comes: users with a quota have theirs, the others share the rest.

use super::{AdmissionPolicy, OneMore};

/// Refuses nobody.
#[derive(Clone, Copy, Debug)]
pub struct Everyone;

impl AdmissionPolicy for Everyone {
    fn admits(&self, _one_more: OneMore) -> bool {
        true
    }
}
