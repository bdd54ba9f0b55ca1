// SPDX-License-Identifier: MIT OR Apache-2.0

//! A root table, the tables below it, and the frames mapped in it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use protocol::address_map::SLOT_BYTES;
use protocol::{Access, Error, PageSize};

use super::{Mapping, Piece};
use crate::kernel::{Kernel, Slot, TableLevel};
use crate::resources::{Caps, Remains, Resources, Root, Table, units};

/// A table and how many mappings need it.
#[derive(Debug)]
struct Counted {
    table: Table,
    users: u32,
}

/// A root table with tables of its own, made and deleted as its mappings need them.
///
/// Pieces are mapped and unmapped page by page, in order of address and back, each page with the
/// tables that it is the first to need. So either can be left off anywhere and continued.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    tables: Tables,
    /// Copies of the frame caps of segments, mapped here.
    segments: BTreeMap<Piece, Caps>,
    /// Copies of other frame caps that stay mapped as long as the tree is there.
    others: Vec<Caps>,
}

/// By level and first address.
type Tables = BTreeMap<(TableLevel, u64), Counted>;

impl Tree {
    /// Makes an empty one.
    ///
    /// # Errors
    /// No memory, slots or address-space identifiers, or the kernel refused.
    pub fn new<K: Kernel>(resources: &mut Resources<K>) -> Result<Self, Error> {
        Ok(Tree {
            root: resources.make_root()?,
            tables: Tables::new(),
            segments: BTreeMap::new(),
            others: Vec::new(),
        })
    }

    /// The cap of its root.
    pub const fn root(&self) -> Slot {
        self.root.slot()
    }

    /// How many tables there are, with the root.
    pub fn tables(&self) -> u32 {
        1 + self.tables.len() as u32
    }

    /// Of the root-table slots that a mapping lies in, those in use, with the caps of the
    /// PDPTs in them.
    pub fn pdpts(&self, mapping: &Mapping) -> impl Iterator<Item = (u64, Slot)> {
        let slots = mapping.slots();
        self.pdpts_in(slots.start() * SLOT_BYTES, slots.end() * SLOT_BYTES)
    }

    /// The root-table slots in use, with the caps of the PDPTs in them.
    pub fn all_pdpts(&self) -> impl Iterator<Item = (u64, Slot)> {
        self.pdpts_in(0, u64::MAX)
    }

    fn pdpts_in(&self, first: u64, last: u64) -> impl Iterator<Item = (u64, Slot)> {
        self.tables
            .range((TableLevel::Pdpt, first)..=(TableLevel::Pdpt, last))
            .map(|(&(_, address), counted)| (address / SLOT_BYTES, counted.table.slot()))
    }

    /// Whether a piece of a segment is all that the PDPT of a root-table slot is there for.
    pub fn needs_pdpt_alone(&self, piece: Piece, mapping: &Mapping, slot: u64) -> bool {
        let mapped = self.segments.get(&piece).map_or(0, Caps::filled);
        let last = mapping.base + u64::from(mapped) * mapping.page_size.bytes() - 1;
        let table = self.tables.get(&(TableLevel::Pdpt, slot * SLOT_BYTES));
        mapped > 0
            && (mapping.base / SLOT_BYTES..=last / SLOT_BYTES).contains(&slot)
            && table.is_some_and(|counted| counted.users == 1)
    }

    /// Maps the frames of a piece of a segment, by copies of their caps, as far as they are not
    /// mapped yet.
    ///
    /// # Errors
    /// [`Error::Again`] if some are still missing; no memory or slots, or the kernel refused.
    /// What is mapped stays, to be unmapped by [`unmap_segment`](Self::unmap_segment).
    pub fn map_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        piece: Piece,
        mapping: &Mapping,
        access: Access,
    ) -> Result<(), Error> {
        let copies = match self.segments.entry(piece) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let slots = resources.allocate_slots(mapping.pages)?;
                entry.insert(Caps::empty(slots))
            }
        };
        let root = self.root.slot();
        map_copies(&mut self.tables, resources, root, mapping, access, copies)
    }

    /// Unmaps a piece of a segment, as far as it is mapped.
    ///
    /// # Errors
    /// [`Error::Again`] if some of it is still mapped.
    pub fn unmap_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        piece: Piece,
        mapping: &Mapping,
    ) -> Result<(), Error> {
        let Entry::Occupied(mut entry) = self.segments.entry(piece) else {
            return Ok(());
        };
        let copies = entry.get_mut();
        while let Some(copy) = copies.last() {
            resources.step(units::DELETE)?;
            resources.kernel_mut().delete(copy);
            copies.empty_last();
            let tables = mapping.tables_first_needed_by(copies.filled());
            leave_tables(&mut self.tables, resources, tables);
        }
        resources.release_caps(entry.remove());
        Ok(())
    }

    /// Maps frames, by copies of their caps, for as long as the tree is there, as far as they are
    /// not mapped yet. Each time they are the same.
    ///
    /// # Errors
    /// As [`map_segment`](Self::map_segment); what is mapped stays.
    pub fn map<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        mappings: &[Mapping],
    ) -> Result<(), Error> {
        let root = self.root.slot();
        for (number, mapping) in mappings.iter().enumerate() {
            if self.others.len() == number {
                let slots = resources.allocate_slots(mapping.pages)?;
                self.others.push(Caps::empty(slots));
            }
            if let Some(copies) = self.others.get_mut(number) {
                let (tables, access) = (&mut self.tables, mapping.access);
                map_copies(tables, resources, root, mapping, access, copies)?;
            }
        }
        Ok(())
    }

    /// Takes it away from all who have it, at once. What it is made of is given back later, the
    /// root last: so long its address-space identifier is no other root's.
    pub fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        resources.kernel_mut().revoke(self.root.slot());
        resources.discard(self);
    }
}

impl<K: Kernel> Remains<K> for Tree {
    fn take_apart(
        mut self: Box<Self>,
        resources: &mut Resources<K>,
    ) -> Option<Box<dyn Remains<K>>> {
        let tree = &mut *self;
        let pieces = core::mem::take(&mut tree.segments).into_values();
        tree.others.extend(pieces);
        while let Some(mut copies) = tree.others.pop() {
            if resources.delete_some(&mut copies).is_err() {
                tree.others.push(copies);
                return Some(self);
            }
            resources.release_caps(copies);
        }
        while let Some(entry) = tree.tables.first_entry() {
            if resources.step(units::DELETE).is_err() {
                return Some(self);
            }
            resources.delete_table(entry.remove().table);
        }
        resources.delete_root(self.root);
        None
    }
}

/// Maps copies of the caps of frames into the slots that are empty.
fn map_copies<K: Kernel>(
    tables: &mut Tables,
    resources: &mut Resources<K>,
    root: Slot,
    mapping: &Mapping,
    access: Access,
    copies: &mut Caps,
) -> Result<(), Error> {
    while let Some(copy) = copies.next() {
        resources.step(units::MAP)?;
        let page = copies.filled();
        let (frame, address) = mapping.page(page);
        let needed = || mapping.tables_first_needed_by(page);
        for (done, key) in needed().enumerate() {
            if let Err(error) = use_table(tables, resources, root, key) {
                leave_tables(tables, resources, needed().take(done));
                return Err(error);
            }
        }
        if let Err(error) = resources.map_copy(frame, copy, root, address, access) {
            leave_tables(tables, resources, needed());
            return Err(error);
        }
        copies.fill();
    }
    Ok(())
}

fn use_table<K: Kernel>(
    tables: &mut Tables,
    resources: &mut Resources<K>,
    root: Slot,
    (level, address): (TableLevel, u64),
) -> Result<(), Error> {
    if let Some(counted) = tables.get_mut(&(level, address)) {
        counted.users += 1;
        return Ok(());
    }
    let table = resources.make_table(level)?;
    let kernel = resources.kernel_mut();
    if let Err(error) = kernel.map_table(table.slot(), level, root, address) {
        resources.delete_table(table);
        return Err(error.into());
    }
    tables.insert((level, address), Counted { table, users: 1 });
    Ok(())
}

/// Tables that no mapping needs any longer are deleted. A table below one that goes is needed by
/// no other mapping either, so the order does not matter.
fn leave_tables<K: Kernel>(
    tables: &mut Tables,
    resources: &mut Resources<K>,
    left: impl Iterator<Item = (TableLevel, u64)>,
) {
    for key in left {
        if let Entry::Occupied(mut entry) = tables.entry(key) {
            entry.get_mut().users -= 1;
            if entry.get().users == 0 {
                resources.delete_table(entry.remove().table);
            }
        }
    }
}

impl Mapping {
    /// The tables, the highest first, that this page is the first of the mapping to need.
    fn tables_first_needed_by(&self, page: u32) -> impl Iterator<Item = (TableLevel, u64)> + use<> {
        let (_, address) = self.page(page);
        let levels: &'static [TableLevel] = match self.page_size {
            PageSize::Small => &[
                TableLevel::Pdpt,
                TableLevel::PageDirectory,
                TableLevel::PageTable,
            ],
            PageSize::Large => &[TableLevel::Pdpt, TableLevel::PageDirectory],
            PageSize::Huge => &[TableLevel::Pdpt],
        };
        levels.iter().filter_map(move |&level| {
            let first = address >> level.span_bits() << level.span_bits();
            (page == 0 || address == first).then_some((level, first))
        })
    }
}
