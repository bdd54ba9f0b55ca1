// SPDX-License-Identifier: MIT OR Apache-2.0

//! How large are the pages of a segment that does not ask for a size?

mod fixed;
mod largest_fit;

use protocol::PageSize;

pub use largest_fit::LargestFit;

/// Answers how large the pages of a segment are.
pub trait PageSizePolicy: Sync {
    /// The page size for a segment of `size` bytes at `base`. A base that is no multiple
    /// of it is refused afterwards; a size that is none is rounded up.
    fn page_size(&self, base: u64, size: u64) -> PageSize;
}

/// The answers by name.
pub const POLICIES: [(&str, &dyn PageSizePolicy); 4] = [
    ("small", &PageSize::Small),
    ("large", &PageSize::Large),
    ("huge", &PageSize::Huge),
    ("largest-fit", &LargestFit),
];
