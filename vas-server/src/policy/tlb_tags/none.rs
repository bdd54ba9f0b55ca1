// SPDX-License-Identifier: MIT OR Apache-2.0

//! No VAS, unless `vas_ctl` asks for it: the default of the paper, where all spaces share the
//! tag 0, which is flushed.

use super::TlbTagsPolicy;

/// Tags only for who asks.
#[derive(Clone, Copy, Debug)]
pub struct NoTags;

impl TlbTagsPolicy for NoTags {
    fn tagged(&self, hint: Option<bool>) -> bool {
        hint.unwrap_or(false)
    }
}
