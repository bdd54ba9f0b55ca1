// SPDX-License-Identifier: MIT OR Apache-2.0

//! Every attachment has page tables of its own.
//!
//! Works on any seL4, because no table is entered in two roots; the price is that attaching
//! costs in proportion to the size of the VAS, and that a change of the VAS is repeated in
//! every attachment. A frame cap can be mapped once, so each attachment also has its own
//! copies of them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;

use protocol::message::PrivateForm;
use protocol::{Access, Error};

use super::tree::Tree;
use super::{PageTables, PageTablesPolicy, Private, SegmentMapping, attachment_access};
use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::resources::Resources;

/// This answer.
pub fn policy<K: Kernel + 'static>() -> PageTablesPolicy<K> {
    PageTablesPolicy {
        make: |_| {
            Ok(Box::new(Mirrored {
                mirrors: BTreeMap::new(),
            }))
        },
        private: PrivateForm::Frames,
        shares_tables: false,
    }
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
        private: Private<'_>,
        segments: &mut dyn Iterator<Item = SegmentMapping<'_>>,
    ) -> Result<Slot, Error> {
        let mirror = match self.mirrors.entry(attachment) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Mirror {
                tree: Tree::new(resources)?,
                access,
            }),
        };
        mirror.fill(resources, private, segments)?;
        Ok(mirror.tree.root())
    }

    fn detach(&mut self, resources: &mut Resources<K>, attachment: Key) {
        if let Some(mirror) = self.mirrors.remove(&attachment) {
            mirror.tree.delete(resources);
        }
    }

    fn add_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let mut mirrors = self.mirrors.values_mut();
        mirrors.try_for_each(|mirror| mirror.add_segment(resources, segment))
    }

    fn remove_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let mut mirrors = self.mirrors.values_mut();
        mirrors.try_for_each(|mirror| mirror.remove_segment(resources, segment))
    }

    fn add_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        match self.mirrors.get_mut(&attachment) {
            Some(mirror) => mirror.add_segment(resources, segment),
            None => Err(Error::StaleAttachment),
        }
    }

    fn remove_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        match self.mirrors.get_mut(&attachment) {
            Some(mirror) => mirror.remove_segment(resources, segment),
            None => Ok(()),
        }
    }

    fn tables(&self) -> u32 {
        let mirrors = self.mirrors.values();
        mirrors.map(|mirror| mirror.tree.tables()).sum()
    }

    fn delete(self: Box<Self>, resources: &mut Resources<K>) {
        for mirror in self.mirrors.into_values() {
            mirror.tree.delete(resources);
        }
    }
}

/// The tables of one attachment.
struct Mirror {
    tree: Tree,
    access: Access,
}

impl Mirror {
    fn fill<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        private: Private<'_>,
        segments: &mut dyn Iterator<Item = SegmentMapping<'_>>,
    ) -> Result<(), Error> {
        // The server has the form that this policy asks for.
        if let Private::Frames(mappings) = private {
            self.tree.map(resources, mappings)?;
        }
        for segment in segments {
            self.add_segment(resources, &segment)?;
        }
        Ok(())
    }

    fn add_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let mapping = &segment.mapping;
        let most = attachment_access(*mapping.slots().start(), self.access);
        let access = mapping.access.min(most);
        self.tree
            .map_segment(resources, segment.piece, mapping, access)
    }

    fn remove_segment<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        self.tree
            .unmap_segment(resources, segment.piece, &segment.mapping)
    }
}
