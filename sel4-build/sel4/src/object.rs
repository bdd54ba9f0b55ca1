// SPDX-License-Identifier: MIT OR Apache-2.0
//! Kernel objects: their sizes, and which table holds which.

use crate::cap::{self, PML4, Unspecified};
use crate::{Error, VmAttributes, message_register};

/// What untyped memory can be made into (`seL4_ObjectType` and its extensions), in a kernel
/// that has pages of 1 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum ObjectType {
    /// Smaller untyped memory.
    Untyped = 0,
    /// A thread.
    Tcb = 1,
    /// An endpoint.
    Endpoint = 2,
    /// A notification.
    Notification = 3,
    /// A CNode (`seL4_CapTableObject`).
    CNode = 4,
    /// A table of the second level.
    PDPT = 5,
    /// A root table.
    PML4 = 6,
    /// A page of 1 GiB.
    HugePage = 7,
    /// A page of 4 KiB (`seL4_X86_4K`).
    SmallPage = 8,
    /// A page of 2 MiB.
    LargePage = 9,
    /// A table of the last level.
    PageTable = 10,
    /// A table of the third level.
    PageDirectory = 11,
}

/// Binary logarithm of the size of a CNode slot in bytes.
pub const SLOT_BITS: u8 = 5;
/// Binary logarithm of the smallest size of untyped memory in bytes.
pub const MIN_UNTYPED_BITS: u8 = 4;
/// Binary logarithm of the largest size of untyped memory in bytes.
pub const MAX_UNTYPED_BITS: u8 = 47;

/// The first address that is not the user's: half of the address space.
pub const USER_TOP: u64 = 1 << 47;

impl ObjectType {
    /// The number by which [`retype`](crate::Cap#method.retype) knows it.
    pub const fn bits(self) -> u64 {
        self as u64
    }

    /// Binary logarithm of the object's size in bytes, which is also its alignment.
    /// `parameter` is the `size_bits` of [`retype`](crate::Cap#method.retype): the logarithm of
    /// the bytes of untyped memory or of the slots of a CNode; other objects have one size.
    pub const fn size_bits(self, parameter: u8) -> u8 {
        match self {
            ObjectType::Untyped => parameter,
            ObjectType::CNode => parameter + SLOT_BITS,
            ObjectType::Tcb => 11,
            ObjectType::Endpoint => 4,
            ObjectType::Notification => 5,
            ObjectType::PDPT
            | ObjectType::PML4
            | ObjectType::PageTable
            | ObjectType::PageDirectory
            | ObjectType::SmallPage => 12,
            ObjectType::LargePage => 21,
            ObjectType::HugePage => 30,
        }
    }
}

/// The sizes of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameSize {
    /// 4 KiB.
    Small,
    /// 2 MiB.
    Large,
    /// 1 GiB.
    Huge,
}

impl FrameSize {
    /// All sizes, the smallest first.
    pub const ALL: [FrameSize; 3] = [FrameSize::Small, FrameSize::Large, FrameSize::Huge];

    /// The object to make.
    pub const fn object_type(self) -> ObjectType {
        match self {
            FrameSize::Small => ObjectType::SmallPage,
            FrameSize::Large => ObjectType::LargePage,
            FrameSize::Huge => ObjectType::HugePage,
        }
    }

    /// Binary logarithm of the size in bytes.
    pub const fn bits(self) -> u8 {
        self.object_type().size_bits(0)
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }
}

/// One level of page tables.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    /// The object that is a table of this level.
    pub object_type: ObjectType,
    /// Binary logarithm of the bytes that a table spans.
    pub span_bits: u8,
    /// Binary logarithm of the bytes that one entry spans.
    pub step_bits: u8,
    /// Enters a table of this level in the address space of a root table, at an address that
    /// is a multiple of its span. `None` for the root table itself.
    pub map: Option<MapTable>,
    /// Takes a table of this level out of the address space. `None` for the root table.
    pub unmap: Option<fn(Unspecified) -> Result<(), Error>>,
}

/// Enters a table (1st argument) in an address space (2nd) at an address (3rd).
pub type MapTable = fn(Unspecified, PML4, u64, VmAttributes) -> Result<(), Error>;

/// The levels of page tables, the root first. A page lies in the table whose step is its size.
pub const LEVELS: [Level; 4] = [
    Level {
        object_type: ObjectType::PML4,
        span_bits: 48,
        step_bits: 39,
        map: None,
        unmap: None,
    },
    Level {
        object_type: ObjectType::PDPT,
        span_bits: 39,
        step_bits: 30,
        map: Some(|table, root, vaddr, attr| {
            table.cast::<cap::cap_type::PDPT>().map(root, vaddr, attr)
        }),
        unmap: Some(|table| table.cast::<cap::cap_type::PDPT>().unmap()),
    },
    Level {
        object_type: ObjectType::PageDirectory,
        span_bits: 30,
        step_bits: 21,
        map: Some(|table, root, vaddr, attr| {
            table
                .cast::<cap::cap_type::PageDirectory>()
                .map(root, vaddr, attr)
        }),
        unmap: Some(|table| table.cast::<cap::cap_type::PageDirectory>().unmap()),
    },
    Level {
        object_type: ObjectType::PageTable,
        span_bits: 21,
        step_bits: 12,
        map: Some(|table, root, vaddr, attr| {
            table
                .cast::<cap::cap_type::PageTable>()
                .map(root, vaddr, attr)
        }),
        unmap: Some(|table| table.cast::<cap::cap_type::PageTable>().unmap()),
    },
];

const _: () = {
    let mut level = 0;
    while level < LEVELS.len() {
        // A table has 512 entries, and an entry leads to a table of the next level.
        assert!(LEVELS[level].span_bits - LEVELS[level].step_bits == 9);
        assert!(level == 0 || LEVELS[level - 1].step_bits == LEVELS[level].span_bits);
        level += 1;
    }
};

/// Right after a refused mapping ([`Error::FailedLookup`]): the level of the table that is
/// missing, as an index into [`LEVELS`] (`seL4_MappingFailedLookupLevel`).
pub fn mapping_failed_level() -> Option<usize> {
    let span_bits = message_register(2);
    LEVELS
        .iter()
        .position(|level| u64::from(level.span_bits) == span_bits)
}
