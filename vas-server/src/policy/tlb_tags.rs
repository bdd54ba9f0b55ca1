// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which VASes should have tags in the TLB, so that a switch does not flush it (paper section
//! 4.4)?
//!
//! There are no tags yet: the answer is kept and told.

mod none;
mod per_attachment;

pub use none::NoTags;
pub use per_attachment::PerAttachment;

/// Answers whether attachments have tags.
pub trait TlbTagsPolicy: Sync {
    /// Whether each attachment of a VAS should have a tag of its own, with the hint that
    /// `vas_ctl` has given for that VAS. Without a hint it is a new one.
    fn tagged(&self, hint: Option<bool>) -> bool;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn TlbTagsPolicy); 2] =
    [("none", &NoTags), ("per-attachment", &PerAttachment)];
