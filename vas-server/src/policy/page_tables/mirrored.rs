// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every attachment has page tables of its own.
//!
//! Works on any seL4, because no table is entered in two roots; the price is that attaching
//! costs in proportion to the size of the VAS, and that a change of the VAS is repeated in
//! every attachment. A frame cap can be mapped once, so each attachment also has its own
//! copies of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use protocol::{Access, Error, PageSize};

use super::{Mapping, PageTables, SegmentMapping};
use crate::arena::Key;
use crate::kernel::{Kernel, Slot, TableLevel};
use crate::resources::{Resources, Root, Table};
use crate::slots::SlotRange;

/// Makes the page tables of a VAS.
///
/// # Errors
/// None.
pub fn make<K: Kernel + 'static>(
    _resources: &mut Resources<K>,
) -> Result<Box<dyn PageTables<K>>, Error> {
    Ok(Box::new(Mirrored {
        mirrors: BTreeMap::new(),
    }))
}

struct Mirrored {
    mirrors: BTreeMap<Key, Mirror>,
}

impl<K: Kernel> PageTables<K> for Mirrored {
    fn attach(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        access: Access,
        private: &[Mapping],
        segments: &[SegmentMapping],
    ) -> Result<Slot, Error> {
        let mut mirror = Mirror {
            root: resources.make_root()?,
            access,
            tables: BTreeMap::new(),
            private: Vec::new(),
            segments: BTreeMap::new(),
        };
        match mirror.fill(resources, private, segments) {
            Ok(()) => {
                let root = mirror.root.slot();
                self.mirrors.insert(attachment, mirror);
                Ok(root)
            }
            Err(error) => {
                mirror.delete(resources);
                Err(error)
            }
        }
    }

    fn detach(&mut self, resources: &mut Resources<K>, attachment: Key) {
        if let Some(mirror) = self.mirrors.remove(&attachment) {
            mirror.delete(resources);
        }
    }

    fn add_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping,
    ) -> Result<(), Error> {
        let result = self
            .mirrors
            .values_mut()
            .try_for_each(|mirror| mirror.add_segment(resources, segment));
        if result.is_err() {
            self.remove_segment(resources, segment);
        }
        result
    }

    fn remove_segment(&mut self, resources: &mut Resources<K>, segment: &SegmentMapping) {
        for mirror in self.mirrors.values_mut() {
            mirror.remove_segment(resources, segment);
        }
    }

    fn delete(self: Box<Self>, resources: &mut Resources<K>) {
        for mirror in self.mirrors.into_values() {
            mirror.delete(resources);
        }
    }
}

/// A table and how many mappings need it.
struct Shared {
    table: Table,
    users: u32,
}

/// The tables of one attachment.
struct Mirror {
    root: Root,
    access: Access,
    /// By level and first address.
    tables: BTreeMap<(TableLevel, u64), Shared>,
    /// Copies of the frame caps, mapped here.
    private: Vec<SlotRange>,
    segments: BTreeMap<Key, SlotRange>,
}

impl Mirror {
    fn fill<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        private: &[Mapping],
        segments: &[SegmentMapping],
    ) -> Result<(), Error> {
        for mapping in private {
            let copies = self.map(resources, mapping, mapping.access)?;
            self.private.push(copies);
        }
        segments
            .iter()
            .try_for_each(|segment| self.add_segment(resources, segment))
    }

    fn add_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping,
    ) -> Result<(), Error> {
        let access = segment.mapping.access.min(self.access);
        let copies = self.map(resources, &segment.mapping, access)?;
        self.segments.insert(segment.segment, copies);
        Ok(())
    }

    fn remove_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping,
    ) {
        if let Some(copies) = self.segments.remove(&segment.segment) {
            resources.delete_slots(copies);
            self.leave_tables(resources, tables_of(&segment.mapping));
        }
    }

    fn map<K: Kernel>(
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
        if let Some(shared) = self.tables.get_mut(&(level, address)) {
            shared.users += 1;
            return Ok(());
        }
        let table = resources.make_table(level)?;
        let kernel = resources.kernel_mut();
        if let Err(error) = kernel.map_table(table.slot(), level, self.root.slot(), address) {
            resources.delete_table(table);
            return Err(error.into());
        }
        let shared = Shared { table, users: 1 };
        self.tables.insert((level, address), shared);
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
            let Some(shared) = self.tables.get_mut(&key) else {
                continue;
            };
            shared.users -= 1;
            if shared.users == 0
                && let Some(shared) = self.tables.remove(&key)
            {
                resources.delete_table(shared.table);
            }
        }
    }

    /// The root goes first: nothing can be reached through it from then on, and the kernel
    /// need not look for the others' entries. All goes before its address-space identifier
    /// can be given to another root.
    fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        resources.delete_root(self.root);
        for copies in self.private.into_iter().chain(self.segments.into_values()) {
            resources.delete_slots(copies);
        }
        for shared in self.tables.into_values() {
            resources.delete_table(shared.table);
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
