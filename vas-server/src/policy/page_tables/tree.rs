// SPDX-License-Identifier: MIT OR Apache-2.0

//! A root table, the tables below it, and the frames mapped in it.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use alloc::vec::Vec;

use protocol::address_map::SLOT_BYTES;
use protocol::{Access, Error, PageSize};

use super::{Mapping, Piece};
use crate::kernel::{Kernel, Slot, TableLevel};
use crate::resources::{Resources, Root, Table};
use crate::slots::SlotRange;

/// A table and how many mappings need it.
#[derive(Debug)]
struct Counted {
    table: Table,
    users: u32,
}

/// A root table with tables of its own, made and deleted as its mappings need them.
///
/// An operation that fails has changed nothing and holds no resources.
#[derive(Debug)]
pub struct Tree {
    root: Root,
    /// By level and first address.
    tables: BTreeMap<(TableLevel, u64), Counted>,
    /// Copies of the frame caps of segments, mapped here.
    segments: BTreeMap<Piece, SlotRange>,
    /// Copies of other frame caps that stay mapped as long as the tree is there.
    others: Vec<SlotRange>,
}

impl Tree {
    /// Makes an empty one.
    ///
    /// # Errors
    /// No memory, slots or address-space identifiers, or the kernel refused.
    pub fn new<K: Kernel>(resources: &mut Resources<K>) -> Result<Self, Error> {
        Ok(Tree {
            root: resources.make_root()?,
            tables: BTreeMap::new(),
            segments: BTreeMap::new(),
            others: Vec::new(),
        })
    }

    /// Makes one that maps a piece of a segment.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`map_segment`](Self::map_segment).
    pub fn mapping<K: Kernel>(
        resources: &mut Resources<K>,
        piece: Piece,
        mapping: &Mapping,
    ) -> Result<Self, Error> {
        let mut tree = Tree::new(resources)?;
        match tree.map_segment(resources, piece, mapping, mapping.access) {
            Ok(()) => Ok(tree),
            Err(error) => {
                tree.delete(resources);
                Err(error)
            }
        }
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

    /// Maps the frames of a piece of a segment, by copies of their caps.
    ///
    /// # Errors
    /// No memory or slots, or the kernel refused.
    pub fn map_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        piece: Piece,
        mapping: &Mapping,
        access: Access,
    ) -> Result<(), Error> {
        let copies = self.map_copies(resources, mapping, access)?;
        self.segments.insert(piece, copies);
        Ok(())
    }

    /// Unmaps a piece of a segment that was mapped, if it was.
    pub fn unmap_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        piece: Piece,
        mapping: &Mapping,
    ) {
        if let Some(copies) = self.segments.remove(&piece) {
            resources.delete_slots(copies);
            self.leave_tables(resources, tables_of(mapping));
        }
    }

    /// Maps frames, by copies of their caps, for as long as the tree is there.
    ///
    /// # Errors
    /// As [`map_segment`](Self::map_segment).
    pub fn map<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        mapping: &Mapping,
    ) -> Result<(), Error> {
        let copies = self.map_copies(resources, mapping, mapping.access)?;
        self.others.push(copies);
        Ok(())
    }

    fn map_copies<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        mapping: &Mapping,
        access: Access,
    ) -> Result<SlotRange, Error> {
        for (done, (level, address)) in tables_of(mapping).enumerate() {
            if let Err(error) = self.use_table(resources, level, address) {
                self.leave_tables(resources, tables_of(mapping).take(done));
                return Err(error);
            }
        }
        let result = resources.map_frames(self.root.slot(), mapping.iter(), access);
        if result.is_err() {
            self.leave_tables(resources, tables_of(mapping));
        }
        result
    }

    fn use_table<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        level: TableLevel,
        address: u64,
    ) -> Result<(), Error> {
        if let Some(counted) = self.tables.get_mut(&(level, address)) {
            counted.users += 1;
            return Ok(());
        }
        let table = resources.make_table(level)?;
        let kernel = resources.kernel_mut();
        if let Err(error) = kernel.map_table(table.slot(), level, self.root.slot(), address) {
            resources.delete_table(table);
            return Err(error.into());
        }
        let counted = Counted { table, users: 1 };
        self.tables.insert((level, address), counted);
        Ok(())
    }

    /// Tables that no mapping needs any longer are deleted. A table below one that goes is
    /// needed by no other mapping either, so the order does not matter.
    fn leave_tables<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        tables: impl Iterator<Item = (TableLevel, u64)>,
    ) {
        for key in tables {
            if let Entry::Occupied(mut entry) = self.tables.entry(key) {
                entry.get_mut().users -= 1;
                if entry.get().users == 0 {
                    resources.delete_table(entry.remove().table);
                }
            }
        }
    }

    /// The root goes first: nothing can be reached through it from then on, and the kernel
    /// need not look for the others' entries. All goes before its address-space identifier
    /// can be given to another root.
    pub fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        resources.delete_root(self.root);
        for copies in self.others.into_iter().chain(self.segments.into_values()) {
            resources.delete_slots(copies);
        }
        for counted in self.tables.into_values() {
            resources.delete_table(counted.table);
        }
    }
}

/// The tables that a mapping needs, the highest level first, by level and first address.
fn tables_of(mapping: &Mapping) -> impl Iterator<Item = (TableLevel, u64)> + use<> {
    let (base, last) = (mapping.base, mapping.last());
    let levels: &'static [TableLevel] = match mapping.page_size {
        PageSize::Small => &[
            TableLevel::Pdpt,
            TableLevel::PageDirectory,
            TableLevel::PageTable,
        ],
        PageSize::Large => &[TableLevel::Pdpt, TableLevel::PageDirectory],
        PageSize::Huge => &[TableLevel::Pdpt],
    };
    levels.iter().flat_map(move |&level| {
        let bits = level.span_bits();
        (base >> bits..=last >> bits).map(move |index| (level, index << bits))
    })
}
