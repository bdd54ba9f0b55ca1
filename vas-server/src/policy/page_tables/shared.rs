// SPDX-License-Identifier: MIT OR Apache-2.0

//! One tree of tables for all who are attached.
//!
//! Needs the extended kernel, in which a PDPT can be attached to several roots. A VAS has a
//! master root, which never runs: the PDPTs of its segments have their home there. The root
//! of an attachment has one entry for the process's private memory and one for each
//! root-table slot that the VAS uses, so what attaching costs does not depend on what the
//! VAS holds, and a change within slots in use is seen by all with nothing to do. A segment
//! with slots of its own has tables of its own, with their home in a root of its own; a VAS
//! that has it attaches those. Read-only attachments have read-only entries.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::iter;

use protocol::address_map::{PRIVATE_SLOT, SLOT_BYTES};
use protocol::message::PrivateForm;
use protocol::{Access, Error};

use super::tree::Tree;
use super::{Mapping, PageTables, PageTablesPolicy, Private, SegmentMapping};
use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::resources::Resources;
use crate::slots::SlotRange;

/// This answer.
pub fn policy<K: Kernel + 'static>() -> PageTablesPolicy<K> {
    PageTablesPolicy {
        make: |resources| {
            Ok(Box::new(Shared {
                master: Tree::new(resources)?,
                attached: BTreeMap::new(),
            }))
        },
        private: PrivateForm::Table,
        shares_tables: true,
    }
}

struct Shared {
    master: Tree,
    attached: BTreeMap<Key, Attached>,
}

impl<K: Kernel> PageTables<K> for Shared {
    fn attach(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        access: Access,
        private: Private<'_>,
        segments: &mut dyn Iterator<Item = SegmentMapping<'_>>,
    ) -> Result<Slot, Error> {
        let mut attached = Attached {
            tree: Tree::new(resources)?,
            access,
            entries: BTreeMap::new(),
        };
        match attached.fill(resources, private, &self.master, segments) {
            Ok(()) => {
                let root = attached.tree.root();
                self.attached.insert(attachment, attached);
                Ok(root)
            }
            Err(error) => {
                attached.delete(resources);
                Err(error)
            }
        }
    }

    fn detach(&mut self, resources: &mut Resources<K>, attachment: Key) {
        if let Some(attached) = self.attached.remove(&attachment) {
            attached.delete(resources);
        }
    }

    fn add_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let SegmentMapping {
            piece,
            ref mapping,
            own_tables,
        } = *segment;
        let entered = match own_tables {
            Some(tables) => self.enter(resources, tables.pdpts(mapping), mapping.access),
            None => {
                let before: Vec<u64> = slots_in_use(&self.master, mapping).collect();
                self.master
                    .map_segment(resources, piece, mapping, mapping.access)?;
                let new: Vec<(u64, Slot)> = self
                    .master
                    .pdpts(mapping)
                    .filter(|(slot, _)| !before.contains(slot))
                    .collect();
                self.enter(resources, new.into_iter(), OF_MASTER)
            }
        };
        if entered.is_err() {
            self.remove_segment(resources, segment);
        }
        entered
    }

    fn remove_segment(&mut self, resources: &mut Resources<K>, segment: &SegmentMapping<'_>) {
        let mapping = &segment.mapping;
        if segment.own_tables.is_none() {
            self.master.unmap_segment(resources, segment.piece, mapping);
        }
        for slot in mapping.slots() {
            if slots_in_use(&self.master, mapping).all(|used| used != slot) {
                for attached in self.attached.values_mut() {
                    attached.leave(resources, slot);
                }
            }
        }
    }

    fn add_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let attached = self
            .attached
            .get_mut(&attachment)
            .ok_or(Error::StaleAttachment)?;
        let mapping = &segment.mapping;
        let access = mapping.access.min(attached.access);
        let Some(tables) = segment.own_tables else {
            return attached
                .tree
                .map_segment(resources, segment.piece, mapping, access);
        };
        let entered = attached.enter(resources, tables.pdpts(mapping), access);
        if entered.is_err() {
            self.remove_local_segment(resources, attachment, segment);
        }
        entered
    }

    fn remove_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) {
        let Some(attached) = self.attached.get_mut(&attachment) else {
            return;
        };
        let mapping = &segment.mapping;
        if segment.own_tables.is_some() {
            for slot in mapping.slots() {
                attached.leave(resources, slot);
            }
        } else {
            attached
                .tree
                .unmap_segment(resources, segment.piece, mapping);
        }
    }

    fn tables(&self) -> u32 {
        let roots = self.attached.values();
        let attached: u32 = roots.map(|attached| attached.tree.tables()).sum();
        self.master.tables() + attached
    }

    fn delete(self: Box<Self>, resources: &mut Resources<K>) {
        for attached in self.attached.into_values() {
            attached.delete(resources);
        }
        self.master.delete(resources);
    }
}

/// What the PDPTs of the master root are entered for: several segments may lie below one, and
/// the pages say what may be written.
const OF_MASTER: Access = Access::ReadWrite;

impl Shared {
    /// Enters PDPTs of slots that are new in all roots. Within slots in use nothing is to be
    /// done for each attachment. What was entered when one is refused stays.
    fn enter<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        mut pdpts: impl Iterator<Item = (u64, Slot)>,
        access: Access,
    ) -> Result<(), Error> {
        pdpts.try_for_each(|entry| {
            let mut all = self.attached.values_mut();
            all.try_for_each(|attached| attached.enter(resources, iter::once(entry), access))
        })
    }
}

/// Of the root-table slots that a mapping lies in, those that the tree has tables for.
fn slots_in_use(tree: &Tree, mapping: &Mapping) -> impl Iterator<Item = u64> {
    tree.pdpts(mapping).map(|(slot, _)| slot)
}

/// The root of one attachment.
struct Attached {
    /// Segments of this attachment alone have their home here.
    tree: Tree,
    access: Access,
    /// The caps of attached PDPTs, by root-table slot.
    entries: BTreeMap<u64, SlotRange>,
}

impl Attached {
    fn fill<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        private: Private<'_>,
        master: &Tree,
        segments: &mut dyn Iterator<Item = SegmentMapping<'_>>,
    ) -> Result<(), Error> {
        // The server has the form that this policy asks for.
        if let Private::Table(pdpt) = private {
            self.enter_one(resources, PRIVATE_SLOT, pdpt, Access::ReadWrite)?;
        }
        self.enter(resources, master.all_pdpts(), OF_MASTER)?;
        for SegmentMapping {
            mapping,
            own_tables,
            ..
        } in segments
        {
            if let Some(tables) = own_tables {
                self.enter(resources, tables.pdpts(&mapping), mapping.access)?;
            }
        }
        Ok(())
    }

    /// Attaches those PDPTs whose slots are not in use: pieces of a segment may lie in one.
    /// What was attached when one is refused stays.
    fn enter<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        mut pdpts: impl Iterator<Item = (u64, Slot)>,
        access: Access,
    ) -> Result<(), Error> {
        let access = access.min(self.access);
        pdpts.try_for_each(|(slot, pdpt)| match self.entries.contains_key(&slot) {
            true => Ok(()),
            false => self.enter_one(resources, slot, pdpt, access),
        })
    }

    fn enter_one<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        slot: u64,
        pdpt: Slot,
        access: Access,
    ) -> Result<(), Error> {
        let entry = resources.attach_pdpt(pdpt, self.tree.root(), slot * SLOT_BYTES, access)?;
        self.entries.insert(slot, entry);
        Ok(())
    }

    fn leave<K: Kernel>(&mut self, resources: &mut Resources<K>, slot: u64) {
        if let Some(entry) = self.entries.remove(&slot) {
            resources.delete_slots(entry);
        }
    }

    /// The root goes first, as in [`Tree::delete`].
    fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        self.tree.delete(resources);
        for entry in self.entries.into_values() {
            resources.delete_slots(entry);
        }
    }
}
