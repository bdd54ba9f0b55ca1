// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VASes and segments that all workers share, by number.

use protocol::address_map::{GLOBAL, LOCAL, SLOT_BYTES};

/// How many VASes.
pub const VASES: usize = 6;
/// Segments that are made, and after them those that are clones of others.
pub const MADE: usize = 10;
/// All segments.
pub const SEGMENTS: usize = MADE + 4;

const VAS_NAMES: [&str; VASES] = ["v0", "v1", "v2", "v3", "v4", "v5"];
const SEGMENT_NAMES: [&str; SEGMENTS] = [
    "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "l0", "l1", "c0", "c1", "c2", "c3",
];

/// Where the segments that are made begin, and whether they have root-table slots of their own.
const PLACES: [(u64, bool); MADE] = [
    // Neighbours: the first cannot grow much.
    (GLOBAL.start, false),
    (GLOBAL.start + 8 * 4096, false),
    // In the same page directory; across two page tables.
    (GLOBAL.start + (4 << 20), false),
    (GLOBAL.start + (8 << 20) - 2 * 4096, false),
    // Across two root-table slots.
    (3 * SLOT_BYTES - 2 * 4096, false),
    // The slot that the first has for itself is one that the others are in.
    (3 * SLOT_BYTES + (1 << 30), true),
    (3 * SLOT_BYTES + (2 << 30), false),
    (7 * SLOT_BYTES, true),
    // For single attachments.
    (LOCAL.start, false),
    (LOCAL.start + SLOT_BYTES, true),
];

/// The name of a VAS.
pub fn vas_name(vas: usize) -> &'static str {
    VAS_NAMES[vas]
}

/// The name of a segment.
pub fn segment_name(segment: usize) -> &'static str {
    SEGMENT_NAMES[segment]
}

/// Where a segment that is made begins, and whether it has root-table slots of its own.
pub fn place(segment: usize) -> (u64, bool) {
    PLACES[segment]
}

/// Whether a segment of this base is for single attachments.
pub fn is_local(base: u64) -> bool {
    LOCAL.contains(&base)
}
