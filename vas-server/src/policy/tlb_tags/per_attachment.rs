// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every VAS, unless `vas_ctl` declines.

use super::TlbTagsPolicy;

/// Tags for all but who declines.
#[derive(Clone, Copy, Debug)]
pub struct PerAttachment;

impl TlbTagsPolicy for PerAttachment {
    fn tagged(&self, hint: Option<bool>) -> bool {
        hint.unwrap_or(true)
    }
}
