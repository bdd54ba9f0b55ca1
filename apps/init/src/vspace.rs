// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which page tables a process's private memory needs, and how pages are mapped.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use protocol::address_map::PAGE_BYTES;
use protocol::message::{Access, PrivateExtent};
use sel4::{CapRights, Error, LEVELS, ObjectType, VmAttributes, cap};

use crate::memory::{Maker, Objects, first};

/// Where the page directory is in [`LEVELS`].
const DIRECTORY: usize = 2;

/// A table below the root: where in [`LEVELS`], and the first address that it spans.
#[derive(Clone, Copy)]
pub struct Table {
    pub level: usize,
    pub base: u64,
}

impl Table {
    /// The object that it is.
    pub fn object(self) -> ObjectType {
        LEVELS[self.level].object_type
    }

    /// Enters it, whose upper levels are there, in `root`.
    pub fn map(self, root: cap::PML4, slot: u64) -> Result<(), Error> {
        match LEVELS[self.level].map {
            Some(map) => map(
                cap::Unspecified::from_bits(slot),
                root,
                self.base,
                VmAttributes::DEFAULT,
            ),
            // The root itself is in no table.
            None => Err(Error::IllegalOperation),
        }
    }
}

/// The tables below the root that map `extents`, in the order in which they must be mapped.
pub fn tables(extents: &[PrivateExtent]) -> Vec<Table> {
    let mut tables = Vec::new();
    for (level, description) in LEVELS.iter().enumerate().skip(1) {
        let span_bits = description.span_bits;
        let bases: BTreeSet<u64> = extents
            .iter()
            .filter(|extent| extent.pages > 0)
            .flat_map(|extent| {
                let last = extent.base + u64::from(extent.pages) * PAGE_BYTES - 1;
                extent.base >> span_bits..=last >> span_bits
            })
            .map(|index| index << span_bits)
            .collect();
        tables.extend(bases.into_iter().map(|base| Table { level, base }));
    }
    tables
}

/// Maps a page whose tables are there.
pub fn map_page(root: cap::PML4, address: u64, slot: u64, access: Access) -> Result<(), Error> {
    let page = cap::Page::from_bits(slot);
    page.map(root, address, rights(access), VmAttributes::DEFAULT)
}

/// Maps at least `bytes` bytes of new memory, writable, by pages of 2 MiB, for good. The PDPT
/// is there, the page directories are not.
pub fn map_large(
    objects: &mut Objects,
    root: cap::PML4,
    base: u64,
    bytes: u64,
) -> Result<(), Error> {
    let page_bits = ObjectType::LargePage.size_bits(0);
    let pages = bytes.div_ceil(1 << page_bits);
    let end = base + (pages << page_bits);
    for base in (base..end).step_by(1 << LEVELS[DIRECTORY].span_bits) {
        let table = Table {
            level: DIRECTORY,
            base,
        };
        let slot = objects.make_one(table.object(), 0)?;
        table.map(root, slot)?;
    }
    let blocks = objects.blocks(pages << page_bits)?;
    let slots = objects.slots(pages as usize)?;
    let mut maker = Maker::new(blocks.iter());
    maker.make(ObjectType::LargePage, 0, first(&slots), pages as usize)?;
    for (slot, address) in slots.iter().zip((base..end).step_by(1 << page_bits)) {
        map_page(root, address, slot.0.into(), Access::ReadWrite)?;
    }
    Ok(())
}

/// The kernel's word for an access.
pub fn rights(access: Access) -> CapRights {
    match access {
        Access::ReadOnly => CapRights::READ,
        Access::ReadWrite => CapRights::READ_WRITE,
    }
}
