// SPDX-License-Identifier: MIT OR Apache-2.0

//! How are the page tables of a VAS and of everything attached to it kept?
//!
//! The server says what happens to a VAS (a process attaches, a segment is added); the
//! answer decides which tables that takes, and keeps for itself what it has to remember.

pub mod mirrored;
pub mod shared;
pub mod tree;

use alloc::boxed::Box;
use core::ops::RangeInclusive;

use protocol::address_map::{LOCK_SLOT, SLOT_BYTES};
use protocol::message::PrivateForm;
use protocol::{Access, Error, PageSize};

use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::resources::Resources;
use tree::Tree;

/// Frames at consecutive addresses, their caps in consecutive slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address: a multiple of the page size.
    pub base: u64,
    /// How many frames.
    pub pages: u32,
    /// Their size.
    pub page_size: PageSize,
    /// The cap of the first.
    pub frames: Slot,
    /// The most they may be used for.
    pub access: Access,
}

impl Mapping {
    /// The last address.
    pub const fn last(&self) -> u64 {
        self.base + (self.pages as u64) * self.page_size.bytes() - 1
    }

    /// The root-table slots that it lies in.
    pub const fn slots(&self) -> RangeInclusive<u64> {
        self.base / SLOT_BYTES..=self.last() / SLOT_BYTES
    }

    /// The part of it beyond a root-table slot, if there is any.
    pub fn beyond_slot(&self, slot: u64) -> Option<Self> {
        let first = self.base.max((slot + 1) * SLOT_BYTES);
        let skipped = ((first - self.base) >> self.page_size.bits()) as u32;
        let pages = self.pages.checked_sub(skipped).filter(|&pages| pages > 0)?;
        let Slot(frames) = self.frames;
        Some(Mapping {
            base: first,
            pages,
            frames: Slot(frames + skipped),
            ..*self
        })
    }

    /// A frame's cap and address.
    pub fn page(&self, page: u32) -> (Slot, u64) {
        let Slot(first) = self.frames;
        let address = self.base + u64::from(page) * self.page_size.bytes();
        (Slot(first + page), address)
    }
}

/// Which segment, and which piece of it: it has one more each time it is grown.
pub type Piece = (Key, u16);

/// A piece of a segment in a VAS.
#[derive(Clone, Copy, Debug)]
pub struct SegmentMapping<'a> {
    /// Which piece. Those of a segment follow one another, and come and go together, except
    /// when the segment is grown.
    pub piece: Piece,
    /// Where it lies, and how this VAS has it.
    pub mapping: Mapping,
    /// The tables that map it, if it has root-table slots, and tables, of its own.
    pub own_tables: Option<&'a Tree>,
}

/// The most that something in this root-table slot may be used for through an attachment with
/// this access. Who only reads writes to locks all the same.
pub const fn attachment_access(slot: u64, access: Access) -> Access {
    match slot {
        LOCK_SLOT => Access::ReadWrite,
        _ => access,
    }
}

/// The private memory of a process, in the form that the policy asks for.
#[derive(Clone, Copy, Debug)]
pub enum Private<'a> {
    /// The caps of its frames.
    Frames(&'a [Mapping]),
    /// An attachment of the PDPT that maps it.
    Table(Slot),
}

/// The page tables of one VAS.
///
/// To make a root, and to make a segment visible and to remove it, takes as many calls as it takes
/// steps ([`Error::Again`]); each goes on where the last one left off. Whatever refuses to make
/// one, what is there already stays and is to be taken away. Frames passed in stay the server's: it
/// does not delete them while they are here.
pub trait PageTables<K> {
    /// Makes a root in which a process sees its private memory and all segments of the
    /// VAS, as far as it is not made, and answers its cap, which clients are given copies of. From
    /// the first call on, it has each segment that is added.
    ///
    /// `segments` are asked for in order; what was asked for before the last one of a call need not
    /// come again.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do; no memory, slots or address-space identifiers, or
    /// the kernel refused.
    fn attach(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        access: Access,
        private: Private<'_>,
        segments: &mut dyn Iterator<Item = SegmentMapping<'_>>,
    ) -> Result<Slot, Error>;

    /// Takes a root away from all who have it, if it was made or begun.
    fn detach(&mut self, resources: &mut Resources<K>, attachment: Key);

    /// Makes a segment visible in every root, as far as it is not.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do; no memory or slots, or the kernel refused.
    fn add_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error>;

    /// Removes a segment that was added, or there at attach, from every root, as far as it is
    /// there.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    fn remove_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error>;

    /// Makes a segment visible in one root only, in root-table slots that no segment of the
    /// VAS uses.
    ///
    /// # Errors
    /// As [`add_segment`](Self::add_segment).
    fn add_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error>;

    /// Removes a segment that was added so.
    ///
    /// # Errors
    /// As [`remove_segment`](Self::remove_segment).
    fn remove_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error>;

    /// How many tables there are, roots included, for the VAS and for all attached to it.
    fn tables(&self) -> u32;

    /// Releases what the VAS itself holds. Nothing is attached any longer.
    fn delete(self: Box<Self>, resources: &mut Resources<K>);
}

/// Makes the page tables of a new, empty VAS.
pub type MakePageTables<K> = fn(&mut Resources<K>) -> Result<Box<dyn PageTables<K>>, Error>;

/// An answer to the question.
pub struct PageTablesPolicy<K: 'static> {
    /// Makes the page tables of a new, empty VAS.
    pub make: MakePageTables<K>,
    /// What it needs of a process's private memory.
    pub private: PrivateForm,
    /// Whether it enters a table in several roots, which not every kernel can.
    pub shares_tables: bool,
}

impl<K> Clone for PageTablesPolicy<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for PageTablesPolicy<K> {}

/// The answers by name. Of those that work on the kernel, the first is the default.
pub fn policies<K: Kernel + 'static>() -> [(&'static str, PageTablesPolicy<K>); 2] {
    [
        ("shared", shared::policy()),
        ("mirrored", mirrored::policy()),
    ]
}
