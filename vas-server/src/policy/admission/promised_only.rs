// SPDX-License-Identifier: MIT OR Apache-2.0

//! Only those to whom something is promised make anything. The others can still find what
//! there is and ask about it.

use super::{AdmissionPolicy, OneMore};
use crate::resources::Counted;

/// Refuses VASes, segments and attachments to users without a quota.
#[derive(Clone, Copy, Debug)]
pub struct PromisedOnly;

impl AdmissionPolicy for PromisedOnly {
    fn admits(&self, one_more: OneMore) -> bool {
        match one_more.of {
            Counted::Vases | Counted::Segments | Counted::Attachments => one_more.user.is_some(),
            Counted::Sessions | Counted::Handles => true,
        }
    }
}
