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
use alloc::collections::btree_map::Entry;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use protocol::address_map::{PRIVATE_SLOT, SLOT_BYTES};
use protocol::message::PrivateForm;
use protocol::{Access, Error};

use super::tree::Tree;
use super::{Mapping, PageTables, PageTablesPolicy, Private, SegmentMapping, attachment_access};
use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::resources::{Resources, units};
use crate::slots::SlotRange;

/// This answer.
pub fn policy<K: Kernel + 'static>() -> PageTablesPolicy<K> {
    PageTablesPolicy {
        make: |resources| {
            Ok(Box::new(Shared {
                master: Tree::new(resources)?,
                partly: BTreeSet::new(),
                attached: BTreeMap::new(),
            }))
        },
        private: PrivateForm::Table,
        shares_tables: true,
    }
}

struct Shared {
    master: Tree,
    /// Root-table slots that the master root uses and of which some attachments have no entry:
    /// of segments that come or go.
    partly: BTreeSet<u64>,
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
        let attached = match self.attached.entry(attachment) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(Attached {
                tree: Tree::new(resources)?,
                access,
                entries: BTreeMap::new(),
            }),
        };
        attached.fill(resources, private, &self.master, segments)?;
        Ok(attached.tree.root())
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
        if let Some(tables) = own_tables {
            let mut pdpts = tables.pdpts(mapping);
            return pdpts
                .try_for_each(|pdpt| enter(&mut self.attached, resources, pdpt, mapping.access));
        }
        let before: Vec<u64> = slots_in_use(&self.master, mapping).collect();
        let mapped = self
            .master
            .map_segment(resources, piece, mapping, mapping.access);
        let new = slots_in_use(&self.master, mapping).filter(|slot| !before.contains(slot));
        self.partly.extend(new);
        mapped?;
        // Within slots in use, nothing is done for each attachment.
        for pdpt in self.master.pdpts(mapping) {
            if self.partly.contains(&pdpt.0) {
                enter(&mut self.attached, resources, pdpt, OF_MASTER)?;
                self.partly.remove(&pdpt.0);
            }
        }
        Ok(())
    }

    /// Entries of slots that will not be in use any longer go first. Those of whoever attaches
    /// meanwhile are found by the next step.
    fn remove_segment(
        &mut self,
        resources: &mut Resources<K>,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let (piece, mapping) = (segment.piece, &segment.mapping);
        let own = segment.own_tables.is_some();
        for slot in mapping.slots() {
            let alone = self.master.needs_pdpt_alone(piece, mapping, slot);
            if alone {
                self.partly.insert(slot);
            }
            if alone || own {
                for attached in self.attached.values_mut() {
                    attached.leave(resources, slot)?;
                }
            }
        }
        let unmapped = self.master.unmap_segment(resources, piece, mapping);
        let in_use: Vec<u64> = slots_in_use(&self.master, mapping).collect();
        self.partly
            .retain(|slot| !mapping.slots().contains(slot) || in_use.contains(slot));
        unmapped
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
        let mut pdpts = tables.pdpts(mapping);
        pdpts.try_for_each(|(slot, pdpt)| attached.enter(resources, slot, pdpt, access))
    }

    fn remove_local_segment(
        &mut self,
        resources: &mut Resources<K>,
        attachment: Key,
        segment: &SegmentMapping<'_>,
    ) -> Result<(), Error> {
        let Some(attached) = self.attached.get_mut(&attachment) else {
            return Ok(());
        };
        let mapping = &segment.mapping;
        if segment.own_tables.is_some() {
            let mut slots = mapping.slots();
            slots.try_for_each(|slot| attached.leave(resources, slot))
        } else {
            attached
                .tree
                .unmap_segment(resources, segment.piece, mapping)
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

/// Enters a PDPT in all roots that do not have it.
fn enter<K: Kernel>(
    attached: &mut BTreeMap<Key, Attached>,
    resources: &mut Resources<K>,
    (slot, pdpt): (u64, Slot),
    access: Access,
) -> Result<(), Error> {
    attached.values_mut().try_for_each(|attached| {
        let access = access.min(attachment_access(slot, attached.access));
        attached.enter(resources, slot, pdpt, access)
    })
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
            self.enter(resources, PRIVATE_SLOT, pdpt, Access::ReadWrite)?;
        }
        let access = self.access;
        for (slot, pdpt) in master.all_pdpts() {
            let access = OF_MASTER.min(attachment_access(slot, access));
            self.enter(resources, slot, pdpt, access)?;
        }
        for SegmentMapping {
            mapping,
            own_tables,
            ..
        } in segments
        {
            for (slot, pdpt) in own_tables.into_iter().flat_map(|own| own.pdpts(&mapping)) {
                self.enter(resources, slot, pdpt, mapping.access.min(access))?;
            }
        }
        Ok(())
    }

    /// Attaches a PDPT, if it is not attached.
    fn enter<K: Kernel>(
        &mut self,
        resources: &mut Resources<K>,
        slot: u64,
        pdpt: Slot,
        access: Access,
    ) -> Result<(), Error> {
        if let Entry::Vacant(entry) = self.entries.entry(slot) {
            resources.step(units::MAP)?;
            let (root, address) = (self.tree.root(), slot * SLOT_BYTES);
            entry.insert(resources.attach_pdpt(pdpt, root, address, access)?);
        }
        Ok(())
    }

    fn leave<K: Kernel>(&mut self, resources: &mut Resources<K>, slot: u64) -> Result<(), Error> {
        if let Entry::Occupied(entry) = self.entries.entry(slot) {
            resources.step(units::DELETE)?;
            resources.delete_slots(entry.remove());
        }
        Ok(())
    }

    /// The attached PDPTs are gone before the root is: see [`Tree::delete`].
    fn delete<K: Kernel>(self, resources: &mut Resources<K>) {
        for entry in self.entries.into_values() {
            resources.discard_slots(entry);
        }
        self.tree.delete(resources);
    }
}
