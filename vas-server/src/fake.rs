// SPDX-License-Identifier: MIT OR Apache-2.0

//! A model of seL4 for tests on the host.
//!
//! It knows capabilities and what they were derived from, untyped memory, page tables,
//! address-space identifiers and the contents of memory, and does with them what seL4
//! 5.0.0 does (with the errata of this project: deleting a frame cap always ends its
//! mapping), or the extended kernel: a copy of a mapped PDPT is an attachment of it, and
//! roots can be switch-only. [`Fake::check`] asserts the safety rule of the whole design: nothing is mapped
//! whose cap is gone. Any call can be made to fail, so that tests see what is left behind.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::AtomicU64;

use protocol::address_map::{
    IMAGE_BASE, PAGE_BYTES, SERVER_LOCK_SETS, SERVER_LOCKS, SERVER_LOCKS_END, SERVER_WINDOW,
};
use protocol::limits;
use protocol::lock::{Lock, LockSet};
use protocol::{Access, Badge, PageSize};

use crate::kernel::{
    ASIDS_PER_POOL, Kernel, KernelError, Object, Slot, TABLE_BITS, TableLevel, Timer,
};

/// Error numbers of the kernel (seL4 manual, chapter "Error Codes").
mod error {
    use crate::kernel::KernelError;

    pub const INVALID_ARGUMENT: KernelError = KernelError(1);
    pub const INVALID_CAPABILITY: KernelError = KernelError(2);
    pub const ILLEGAL_OPERATION: KernelError = KernelError(3);
    pub const RANGE: KernelError = KernelError(4);
    pub const ALIGNMENT: KernelError = KernelError(5);
    pub const FAILED_LOOKUP: KernelError = KernelError(6);
    pub const DELETE_FIRST: KernelError = KernelError(8);
    pub const REVOKE_FIRST: KernelError = KernelError(9);
    pub const NOT_ENOUGH_MEMORY: KernelError = KernelError(10);
}

/// What a call answers that was made to fail.
pub const INJECTED: KernelError = KernelError(0xff);
/// Pools of address-space identifiers that the kernel has left for the server.
const POOLS: u32 = 7;
/// Binary logarithm of the bytes that are cleared in a unit of work.
const CLEARED_BITS: u8 = 11;
/// Objects that one retype makes at most; not the constant that the server goes by.
const FAN_OUT_LIMIT: u32 = 256;

/// A cap that someone else than the server holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held(u32);

impl Held {
    /// A slot that is empty.
    pub const NONE: Held = Held(CapId::MAX);
}

/// Why a load or store did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The root cap is gone, or has no address-space identifier.
    NoRoot,
    /// Nothing is mapped there.
    NotMapped,
    /// A store to a read-only page.
    ReadOnly,
}

type CapId = u32;
type Asid = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Untyped {
        base: u64,
        bits: u8,
        /// Bytes from the start that were made into objects.
        used: u64,
    },
    Endpoint {
        badge: Option<Badge>,
    },
    /// The right to answer a message.
    Reply {
        number: u32,
    },
    AsidControl,
    AsidPool {
        base: u64,
        number: u32,
    },
    Pml4 {
        base: u64,
        asid: Option<Asid>,
        switch_only: bool,
    },
    Table {
        base: u64,
        level: TableLevel,
        mapped: Option<(Asid, u64)>,
    },
    /// A PDPT whose home is elsewhere.
    Attachment {
        base: u64,
        /// Its address there.
        address: u64,
        access: Access,
        /// The root that it is mapped in.
        mapped: Option<Asid>,
    },
    Frame {
        base: u64,
        size: PageSize,
        access: Access,
        mapped: Option<(Asid, u64)>,
    },
}

impl What {
    /// The object in memory that this is a cap of.
    const fn object(&self) -> Option<u64> {
        match *self {
            What::Untyped { .. }
            | What::Endpoint { .. }
            | What::Reply { .. }
            | What::AsidControl => None,
            What::AsidPool { base, .. }
            | What::Pml4 { base, .. }
            | What::Table { base, .. }
            | What::Attachment { base, .. }
            | What::Frame { base, .. } => Some(base),
        }
    }
}

#[derive(Debug)]
struct Cap {
    what: What,
    parent: Option<CapId>,
    children: BTreeSet<CapId>,
    /// Whether copies are derived from this cap rather than from its parent.
    original: bool,
    slot: Option<Slot>,
}

/// An object in memory.
#[derive(Debug)]
struct Live {
    object: Object,
    caps: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    target: u64,
    kind: EntryKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EntryKind {
    Table,
    /// In a root: a PDPT whose home is in another.
    Attachment(Access),
    Frame(PageSize, Access),
}

/// The model.
#[derive(Debug)]
pub struct Fake {
    caps: BTreeMap<CapId, Cap>,
    slots: BTreeMap<Slot, CapId>,
    /// Slots that the server may use.
    free_slots: Range<u32>,
    untypeds: Vec<(Slot, u8)>,
    objects: BTreeMap<u64, Live>,
    entries: BTreeMap<(u64, u64), Entry>,
    pools: u32,
    roots: BTreeMap<Asid, u64>,
    /// Words that are not zero, by physical address.
    memory: BTreeMap<u64, u64>,
    next_cap: CapId,
    next_base: u64,
    /// The server's root.
    vspace: Option<Held>,
    calls: u32,
    work: u64,
    fail_at: Option<u32>,
    extended: bool,
    locks: Vec<Lock>,
    lock_sets: Vec<LockSet>,
    locking: Vec<AtomicU64>,
    /// Answers that were given later, by the order in which they were asked for.
    replies: BTreeMap<u32, Reply>,
    saved: u32,
    timer: Countdown,
}

/// The timer.
#[derive(Debug, Default)]
struct Countdown {
    count: u16,
    /// Whether there is to be a notification when it comes to 0.
    armed: bool,
}

/// An answer that was given later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0, or the number of the error.
    pub label: u64,
    /// The body.
    pub words: Vec<u64>,
    /// The cap that came with it.
    pub cap: Option<Held>,
}

fn many<T: Default>(count: usize) -> Vec<T> {
    (0..count).map(|_| T::default()).collect()
}

impl Fake {
    /// The server's endpoint.
    pub const ENDPOINT: Slot = Slot(1);
    /// The cap that makes ASID pools.
    pub const ASID_CONTROL: Slot = Slot(2);
    /// The server's own root.
    pub const VSPACE: Slot = Slot(3);
    /// What wakes the server.
    pub const TIMER: Timer = Timer {
        interrupt: Slot(4),
        notification: Slot(5),
    };

    /// A machine whose server has `free_slots` empty slots and untyped caps of these sizes
    /// (binary logarithms of bytes).
    pub fn new(free_slots: u32, untyped_bits: &[u8]) -> Self {
        let first_untyped = 6;
        let first_free = first_untyped + untyped_bits.len() as u32;
        let mut fake = Fake {
            caps: BTreeMap::new(),
            slots: BTreeMap::new(),
            free_slots: first_free..first_free + free_slots,
            untypeds: Vec::new(),
            objects: BTreeMap::new(),
            entries: BTreeMap::new(),
            pools: 0,
            roots: BTreeMap::new(),
            memory: BTreeMap::new(),
            next_cap: 0,
            next_base: 0,
            vspace: None,
            calls: 0,
            work: 0,
            fail_at: None,
            extended: false,
            locks: many(limits::SEGMENTS),
            lock_sets: many(limits::VASES),
            locking: many(limits::ATTACHMENTS),
            replies: BTreeMap::new(),
            saved: 0,
            timer: Countdown::default(),
        };
        let endpoint = What::Endpoint { badge: None };
        fake.add(endpoint, None, true, Some(Self::ENDPOINT));
        fake.add(What::AsidControl, None, true, Some(Self::ASID_CONTROL));
        let (root, ..) = fake.private_table(&[(IMAGE_BASE, Access::ReadOnly)]);
        let copied = fake.derive(root.0, Access::ReadWrite, Some(Self::VSPACE));
        fake.vspace = copied.ok().map(Held);
        for (slot, &bits) in (first_untyped..).map(Slot).zip(untyped_bits) {
            fake.add_untyped(bits, Some(slot));
            fake.untypeds.push((slot, bits));
        }
        fake
    }

    /// The same machine with the extended kernel.
    #[must_use]
    pub const fn extended(mut self) -> Self {
        self.extended = true;
        self
    }

    /// Slots that the server may use.
    pub fn free_slots(&self) -> Range<u32> {
        self.free_slots.clone()
    }

    /// The server's untyped caps and the binary logarithms of their sizes.
    pub fn untypeds(&self) -> &[(Slot, u8)] {
        &self.untypeds
    }

    /// Calls so far that could have failed.
    pub const fn calls(&self) -> u32 {
        self.calls
    }

    /// What the kernel has done so far, in units of about a thousand instructions: a unit for each
    /// call, each cap that was deleted, and each 2 KiB of memory that was cleared.
    pub const fn work(&self) -> u64 {
        self.work
    }

    /// Makes one call fail: the one after which [`calls`](Self::calls) is this number.
    pub const fn fail_at(&mut self, call: Option<u32>) {
        self.fail_at = call;
    }

    /// How many messages were kept to be answered later.
    pub const fn saved(&self) -> u32 {
        self.saved
    }

    /// The later answer to the message that was kept as this one, counted from 1, if it was given.
    pub fn later_reply(&self, number: u32) -> Option<&Reply> {
        self.replies.get(&number)
    }

    /// How many ticks are left until the server is to be woken.
    pub fn wakes_in(&self) -> Option<u16> {
        self.timer.armed.then_some(self.timer.count)
    }

    /// So many ticks pass. Answers whether the server is to be woken then.
    pub fn pass(&mut self, ticks: u64) -> bool {
        let timer = &mut self.timer;
        let wakes = timer.armed && ticks >= timer.count.into();
        timer.armed &= !wakes;
        timer.count = timer.count.wrapping_sub(ticks as u16);
        wakes
    }

    // What others do with their caps.

    /// A copy of one of the server's caps, as by transfer in a message.
    ///
    /// # Errors
    /// If there is no cap, or it cannot be copied.
    pub fn transfer(&mut self, slot: Slot) -> Result<Held, KernelError> {
        let id = self.cap_in(slot)?;
        self.derive(id, Access::ReadWrite, None).map(Held)
    }

    /// The badge that the server receives for a cap, if the kernel unwraps it.
    pub fn badge(&self, cap: Held) -> Option<Badge> {
        match self.caps.get(&cap.0)?.what {
            What::Endpoint { badge } => badge,
            _ => None,
        }
    }

    /// Whether a cap still exists.
    pub fn exists(&self, cap: Held) -> bool {
        self.caps.contains_key(&cap.0)
    }

    /// The holder deletes a cap.
    pub fn drop_cap(&mut self, cap: Held) {
        self.remove(cap.0);
    }

    /// A frame that init makes for a process.
    pub fn private_frame(&mut self) -> Held {
        let frame = Object::Frame(PageSize::Small);
        self.others_object(frame, |base| What::Frame {
            base,
            size: PageSize::Small,
            access: Access::ReadWrite,
            mapped: None,
        })
    }

    /// The root and the PDPT of a process, in which init maps its private pages; and the
    /// frames of those. The caps of tables below are not to be had.
    pub fn private_table(&mut self, pages: &[(u64, Access)]) -> (Held, Held, Vec<Held>) {
        // Never that of another.
        let asid = POOLS * ASIDS_PER_POOL + self.next_cap;
        let root = self.others_object(Object::Pml4, |base| What::Pml4 {
            base,
            asid: Some(asid),
            switch_only: false,
        });
        let root_base = self.base_of(root);
        self.roots.insert(asid, root_base);
        let mut pdpt = None;
        let mut frames = Vec::new();
        for &(address, access) in pages {
            for level in [
                TableLevel::Pdpt,
                TableLevel::PageDirectory,
                TableLevel::PageTable,
            ] {
                let address = address >> level.span_bits() << level.span_bits();
                let Ok(place) = self.entry(root_base, address, depth_of(level)) else {
                    continue;
                };
                if self.entries.contains_key(&place) {
                    continue;
                }
                let table = self.others_object(Object::Table(level), |base| What::Table {
                    base,
                    level,
                    mapped: Some((asid, address)),
                });
                let target = self.base_of(table);
                let kind = EntryKind::Table;
                self.entries.insert(place, Entry { target, kind });
                pdpt.get_or_insert(table);
            }
            let frame = self.private_frame();
            let target = self.base_of(frame);
            if let Ok(place) = self.entry(root_base, address, 3) {
                let kind = EntryKind::Frame(PageSize::Small, access);
                self.entries.insert(place, Entry { target, kind });
            }
            if let Some(Cap {
                what: What::Frame { mapped, .. },
                ..
            }) = self.caps.get_mut(&frame.0)
            {
                *mapped = Some((asid, address));
            }
            frames.push(frame);
        }
        (root, pdpt.unwrap_or(root), frames)
    }

    /// An object of memory that is not the server's.
    fn others_object(&mut self, object: Object, what: impl FnOnce(u64) -> What) -> Held {
        let untyped = self.add_untyped(object.size_bits(), None);
        let base = self.base_of_untyped(untyped);
        self.add_object(base, object);
        Held(self.add(what(base), Some(untyped), true, None))
    }

    fn base_of(&self, cap: Held) -> u64 {
        let cap = self.caps.get(&cap.0);
        cap.and_then(|cap| cap.what.object()).unwrap_or_default()
    }

    /// Init copies a cap into a slot of the server's CNode.
    ///
    /// # Errors
    /// If the cap is gone or the slot is taken.
    pub fn deliver(&mut self, cap: Held, slot: Slot) -> Result<(), KernelError> {
        self.empty(slot)?;
        self.derive(cap.0, Access::ReadWrite, Some(slot))?;
        Ok(())
    }

    /// Init takes a frame back from all who have it.
    pub fn revoke_and_drop(&mut self, cap: Held) {
        self.revoke_id(cap.0);
        self.remove(cap.0);
    }

    /// Where an address of a root leads, and what it may be used for there.
    ///
    /// # Errors
    /// The fault of a load.
    pub fn translate(&self, root: Held, address: u64) -> Result<(u64, Access), Fault> {
        let base = self.root_of(root).ok_or(Fault::NoRoot)?;
        let mut table = base;
        let mut most = Access::ReadWrite;
        for depth in 0..4 {
            let entry = self
                .entries
                .get(&(table, index(address, depth)))
                .ok_or(Fault::NotMapped)?;
            match entry.kind {
                EntryKind::Frame(size, access) => {
                    return Ok((entry.target + address % size.bytes(), access.min(most)));
                }
                EntryKind::Attachment(access) => most = access,
                EntryKind::Table => {}
            }
            table = entry.target;
        }
        Err(Fault::NotMapped)
    }

    /// Loads the word at an address.
    ///
    /// # Errors
    /// If the processor would fault.
    pub fn load(&self, root: Held, address: u64) -> Result<u64, Fault> {
        let (physical, _) = self.translate(root, address)?;
        Ok(self.memory.get(&physical).copied().unwrap_or(0))
    }

    /// Stores a word.
    ///
    /// # Errors
    /// If the processor would fault.
    pub fn store(&mut self, root: Held, address: u64, value: u64) -> Result<(), Fault> {
        match self.translate(root, address)? {
            (_, Access::ReadOnly) => Err(Fault::ReadOnly),
            (physical, Access::ReadWrite) => {
                self.memory.insert(physical, value);
                Ok(())
            }
        }
    }

    /// Everything that a root maps: address, physical address, size and access of each
    /// page. Empty if the root is gone.
    pub fn pages(&self, root: Held) -> Vec<(u64, u64, PageSize, Access)> {
        let mut pages = Vec::new();
        if let Some(base) = self.root_of(root) {
            self.walk(base, 0, 0, &mut |address, entry| {
                if let EntryKind::Frame(size, _) = entry.kind
                    && let Ok((_, access)) = self.translate(root, address)
                {
                    pages.push((address, entry.target, size, access));
                }
            });
        }
        pages
    }

    /// Caps in the slots that were free at the start, other than of untyped memory and
    /// ASID pools.
    pub fn caps_of_objects(&self) -> usize {
        self.slots
            .iter()
            .filter(|(slot, _)| self.free_slots.contains(&slot.0))
            .filter_map(|(_, id)| self.caps.get(id))
            .filter(|cap| !matches!(cap.what, What::Untyped { .. } | What::AsidPool { .. }))
            .count()
    }

    /// Caps in the slots that were free at the start.
    pub fn caps(&self) -> usize {
        self.slots
            .keys()
            .filter(|slot| self.free_slots.contains(&slot.0))
            .count()
    }

    /// Asserts that nothing can be reached that should not be.
    ///
    /// # Panics
    /// If the safety rule is broken.
    pub fn check(&self) {
        let mut end = 0;
        for (&base, live) in &self.objects {
            assert!(base >= end, "two live objects overlap at {base:#x}");
            assert!(live.caps > 0, "the object at {base:#x} has no cap");
            end = base + (1 << live.object.size_bits());
        }

        let mut mapped = BTreeMap::new();
        for cap in self.caps.values() {
            if let What::Frame {
                base,
                size,
                access,
                mapped: Some(place),
            } = cap.what
            {
                let other = mapped.insert(place, (base, size, access));
                assert_eq!(other, None, "two caps are mapped at {place:x?}");
            }
        }

        for (&asid, &root) in &self.roots {
            let live = self.objects.get(&root).map(|live| live.object);
            assert_eq!(live, Some(Object::Pml4), "identifier {asid} has no root");
            self.check_attachments(asid, root);
            self.walk_home(root, 0, 0, &mut |address, entry| {
                let target = entry.target;
                let live = self.objects.get(&target).map(|live| live.object);
                let EntryKind::Frame(size, access) = entry.kind else {
                    let table = matches!(live, Some(Object::Table(_)));
                    assert!(table, "a table that is gone is entered at {address:#x}");
                    return;
                };
                assert_eq!(
                    live,
                    Some(Object::Frame(size)),
                    "a frame that is gone is mapped at {address:#x}"
                );
                let Some((base, _, allowed)) = mapped.remove(&(asid, address)) else {
                    panic!("the cap of the mapping at {address:#x} is gone");
                };
                assert_eq!(base, target, "another frame than the cap's at {address:#x}");
                assert!(
                    access <= allowed,
                    "more than the cap allows at {address:#x}"
                );
            });
        }
        assert!(
            mapped.is_empty(),
            "caps claim mappings that are not there: {mapped:x?}"
        );
    }

    /// What is attached in a root: an attachment's cap says so, and what can be reached
    /// through it was entered at the same address of its home, where it is checked.
    fn check_attachments(&self, asid: Asid, root: u64) {
        for (&(_, index), entry) in self.entries.range((root, 0)..=(root, 511)) {
            let EntryKind::Attachment(access) = entry.kind else {
                continue;
            };
            let target = entry.target;
            let known = self.caps.values().any(|cap| {
                cap.what
                    == What::Attachment {
                        base: target,
                        address: index << 39,
                        access,
                        mapped: Some(asid),
                    }
            });
            assert!(known, "the cap of the attachment in slot {index} is gone");
            let empty = self
                .entries
                .range((target, 0)..=(target, 511))
                .next()
                .is_none();
            let home = self.roots.values().any(|&root| {
                self.entries.get(&(root, index))
                    == Some(&Entry {
                        target,
                        kind: EntryKind::Table,
                    })
            });
            assert!(empty || home, "slot {index} leads to a table without home");
        }
    }

    // Caps.

    fn add(
        &mut self,
        what: What,
        parent: Option<CapId>,
        original: bool,
        slot: Option<Slot>,
    ) -> CapId {
        let id = self.next_cap;
        self.next_cap += 1;
        if let Some(live) = what.object().and_then(|base| self.objects.get_mut(&base)) {
            live.caps += 1;
        }
        self.caps.insert(
            id,
            Cap {
                what,
                parent,
                children: BTreeSet::new(),
                original,
                slot,
            },
        );
        if let Some(parent) = parent.and_then(|parent| self.caps.get_mut(&parent)) {
            parent.children.insert(id);
        }
        if let Some(slot) = slot {
            self.slots.insert(slot, id);
        }
        id
    }

    fn add_untyped(&mut self, bits: u8, slot: Option<Slot>) -> CapId {
        let base = self.next_base.next_multiple_of(1 << bits);
        self.next_base = base + (1 << bits);
        // The kernel takes memory at boot for used.
        let used = 1 << bits;
        self.add(What::Untyped { base, bits, used }, None, true, slot)
    }

    fn base_of_untyped(&self, id: CapId) -> u64 {
        match self.caps.get(&id).map(|cap| cap.what) {
            Some(What::Untyped { base, .. }) => base,
            other => panic!("{other:?} is not untyped memory"),
        }
    }

    fn add_object(&mut self, base: u64, object: Object) {
        let end = base + (1 << object.size_bits());
        let before = self.objects.range(..end).next_back();
        if let Some((&other, live)) = before {
            let other_end = other + (1 << live.object.size_bits());
            assert!(other_end <= base, "memory at {base:#x} is still in use");
        }
        let zero = self.memory.range(base..end).next().is_none();
        assert!(zero, "an object is made of memory that was not cleared");
        self.objects.insert(base, Live { object, caps: 0 });
    }

    fn cap_in(&self, slot: Slot) -> Result<CapId, KernelError> {
        self.slots.get(&slot).copied().ok_or(error::FAILED_LOOKUP)
    }

    fn what_in(&self, slot: Slot) -> Result<What, KernelError> {
        let id = self.cap_in(slot)?;
        let cap = self.caps.get(&id).ok_or(error::FAILED_LOOKUP)?;
        Ok(cap.what)
    }

    fn set(&mut self, slot: Slot, what: What) {
        let cap = self.slots.get(&slot).and_then(|id| self.caps.get_mut(id));
        if let Some(cap) = cap {
            cap.what = what;
        }
    }

    fn empty(&self, slot: Slot) -> Result<(), KernelError> {
        if self.slots.contains_key(&slot) {
            return Err(error::DELETE_FIRST);
        }
        assert!(
            self.free_slots.contains(&slot.0),
            "{slot:?} is not the server's"
        );
        Ok(())
    }

    fn derive(
        &mut self,
        id: CapId,
        most: Access,
        slot: Option<Slot>,
    ) -> Result<CapId, KernelError> {
        let cap = self.caps.get(&id).ok_or(error::FAILED_LOOKUP)?;
        let parent = if cap.original { Some(id) } else { cap.parent };
        let what = match cap.what {
            What::Frame {
                base, size, access, ..
            } => What::Frame {
                base,
                size,
                access: access.min(most),
                mapped: None,
            },
            What::Pml4 { asid: None, .. } | What::Table { mapped: None, .. } => {
                return Err(error::ILLEGAL_OPERATION);
            }
            What::Table {
                base,
                level: TableLevel::Pdpt,
                mapped: Some((_, address)),
            } if self.extended => What::Attachment {
                base,
                address,
                access: most,
                mapped: None,
            },
            What::Attachment {
                base,
                address,
                access,
                ..
            } => What::Attachment {
                base,
                address,
                access: access.min(most),
                mapped: None,
            },
            What::Pml4 {
                base,
                asid,
                switch_only,
            } if self.extended => What::Pml4 {
                base,
                asid,
                switch_only: switch_only || most == Access::ReadOnly,
            },
            What::Untyped { .. } if !cap.children.is_empty() => return Err(error::REVOKE_FIRST),
            What::AsidControl => return Err(error::ILLEGAL_OPERATION),
            what => what,
        };
        Ok(self.add(what, parent, false, slot))
    }

    fn remove(&mut self, id: CapId) {
        let Some(cap) = self.caps.remove(&id) else {
            return;
        };
        self.work += 1;
        if let Some(slot) = cap.slot {
            self.slots.remove(&slot);
        }
        if let Some(parent) = cap.parent.and_then(|parent| self.caps.get_mut(&parent)) {
            parent.children.remove(&id);
            parent.children.extend(&cap.children);
        }
        for child in &cap.children {
            if let Some(child) = self.caps.get_mut(child) {
                child.parent = cap.parent;
            }
        }
        self.finalise(cap.what);
    }

    fn finalise(&mut self, what: What) {
        if let What::Frame {
            base,
            size,
            mapped: Some((asid, address)),
            ..
        } = what
        {
            let depth = match size {
                PageSize::Huge => 1,
                PageSize::Large => 2,
                PageSize::Small => 3,
            };
            self.unmap(asid, address, depth, base);
        }
        match what {
            What::Attachment {
                base,
                address,
                mapped: Some(asid),
                ..
            } => self.unmap(asid, address, 0, base),
            // There is one cap of a home, and what lies below goes with it.
            What::Table {
                base,
                level: TableLevel::Pdpt,
                mapped: Some((asid, address)),
            } if self.extended => {
                self.unmap(asid, address, 0, base);
                self.entries.retain(|&(table, _), _| table != base);
            }
            _ => {}
        }
        let Some(base) = what.object() else { return };
        let Some(live) = self.objects.get_mut(&base) else {
            return;
        };
        live.caps -= 1;
        if live.caps > 0 {
            return;
        }
        self.objects.remove(&base);
        match what {
            What::Table {
                level,
                mapped: Some((asid, address)),
                ..
            } => self.unmap(asid, address, depth_of(level), base),
            What::Pml4 {
                asid: Some(asid), ..
            } if self.roots.get(&asid) == Some(&base) => {
                self.roots.remove(&asid);
                self.clear_homes(base);
            }
            What::AsidPool { .. } => panic!("an ASID pool is deleted"),
            _ => {}
        }
        self.entries.retain(|&(table, _), _| table != base);
    }

    fn clear_homes(&mut self, root: u64) {
        let homes: BTreeSet<u64> = self
            .entries
            .range((root, 0)..=(root, 511))
            .filter(|(_, entry)| entry.kind == EntryKind::Table)
            .map(|(_, entry)| entry.target)
            .collect();
        if self.extended {
            self.entries.retain(|(table, _), _| !homes.contains(table));
        }
    }

    fn revoke_id(&mut self, id: CapId) {
        while let Some(&child) = self.caps.get(&id).and_then(|cap| cap.children.first()) {
            self.revoke_id(child);
            self.remove(child);
        }
    }

    // Page tables.

    fn root_of(&self, root: Held) -> Option<u64> {
        match self.caps.get(&root.0)?.what {
            What::Pml4 {
                base,
                asid: Some(asid),
                ..
            } if self.roots.get(&asid) == Some(&base) => Some(base),
            _ => None,
        }
    }

    /// Where the entry for an address lies: in a root table at depth 0, and so on.
    fn entry(&self, root: u64, address: u64, depth: u32) -> Result<(u64, u64), KernelError> {
        let mut table = root;
        for above in 0..depth {
            match self.entries.get(&(table, index(address, above))) {
                Some(entry) if entry.kind == EntryKind::Table => table = entry.target,
                _ => return Err(error::FAILED_LOOKUP),
            }
        }
        Ok((table, index(address, depth)))
    }

    fn map(
        &mut self,
        root: Slot,
        address: u64,
        depth: u32,
        entry: Entry,
    ) -> Result<Asid, KernelError> {
        let What::Pml4 {
            base,
            asid,
            switch_only: false,
        } = self.what_in(root)?
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        let asid = asid
            .filter(|asid| self.roots.get(asid) == Some(&base))
            .ok_or(error::INVALID_CAPABILITY)?;
        let place = self.entry(base, address, depth)?;
        if self.entries.contains_key(&place) {
            return Err(error::DELETE_FIRST);
        }
        self.entries.insert(place, entry);
        Ok(asid)
    }

    fn unmap(&mut self, asid: Asid, address: u64, depth: u32, target: u64) {
        let Some(&root) = self.roots.get(&asid) else {
            return;
        };
        if let Ok(place) = self.entry(root, address, depth)
            && self.entries.get(&place).map(|entry| entry.target) == Some(target)
        {
            self.entries.remove(&place);
        }
    }

    /// All entries of a table and below.
    fn walk(&self, table: u64, base: u64, depth: u32, visit: &mut dyn FnMut(u64, Entry)) {
        for (&(_, index), &entry) in self.entries.range((table, 0)..=(table, 511)) {
            let address = base | index << (39 - 9 * depth);
            visit(address, entry);
            if !matches!(entry.kind, EntryKind::Frame(..)) {
                self.walk(entry.target, address, depth + 1, visit);
            }
        }
    }

    /// The same without what is attached.
    fn walk_home(&self, table: u64, base: u64, depth: u32, visit: &mut dyn FnMut(u64, Entry)) {
        for (&(_, index), &entry) in self.entries.range((table, 0)..=(table, 511)) {
            let address = base | index << (39 - 9 * depth);
            if matches!(entry.kind, EntryKind::Attachment(_)) {
                continue;
            }
            visit(address, entry);
            if entry.kind == EntryKind::Table {
                self.walk_home(entry.target, address, depth + 1, visit);
            }
        }
    }

    /// What the server shares with clients is kept apart from the memory of the frames.
    fn clear_locks(&mut self, page: u64) {
        let page = page as usize;
        if let Some(lock) = self.locks.get_mut(page) {
            *lock = Lock::default();
        } else if let Some(set) = self.lock_sets.get_mut(page - limits::SEGMENTS) {
            *set = LockSet::default();
        }
    }

    fn assert_mapped(&self, first: u64, index: u16) {
        let vspace = self.vspace.unwrap_or(Held::NONE);
        let address = first + u64::from(index) * PAGE_BYTES;
        let place = self.translate(vspace, address);
        assert!(place.is_ok(), "the server faults at {address:#x}");
    }

    fn call(&mut self) -> Result<(), KernelError> {
        self.calls += 1;
        self.work += 1;
        if self.fail_at == Some(self.calls) {
            return Err(INJECTED);
        }
        Ok(())
    }
}

impl Kernel for Fake {
    fn shares_tables(&mut self) -> bool {
        self.extended
    }

    fn retype(
        &mut self,
        untyped: Slot,
        object: Object,
        first: Slot,
        count: u32,
    ) -> Result<(), KernelError> {
        self.call()?;
        let id = self.cap_in(untyped)?;
        let What::Untyped {
            base,
            bits,
            mut used,
        } = self.what_in(untyped)?
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        if !(1..=FAN_OUT_LIMIT).contains(&count) {
            return Err(error::RANGE);
        }
        let slots = (first.0..first.0 + count).map(Slot);
        for slot in slots.clone() {
            self.empty(slot)?;
        }
        let childless = self
            .caps
            .get(&id)
            .is_some_and(|cap| cap.children.is_empty());
        if childless && used > 0 {
            self.work += 1 << bits >> CLEARED_BITS;
            used = 0;
        }
        let size = 1 << object.size_bits();
        let start = used.next_multiple_of(size);
        let end = start + u64::from(count) * size;
        if end > 1 << bits {
            return Err(error::NOT_ENOUGH_MEMORY);
        }
        if childless {
            let cleared: Vec<u64> = self
                .memory
                .range(base..base + (1 << bits))
                .map(|(&address, _)| address)
                .collect();
            for address in cleared {
                self.memory.remove(&address);
            }
        }
        let used = end;
        self.set(untyped, What::Untyped { base, bits, used });
        for (slot, at) in slots.zip((base + start..).step_by(size as usize)) {
            let what = match object {
                Object::Untyped { bits } => What::Untyped {
                    base: at,
                    bits,
                    used: 0,
                },
                Object::Pml4 => What::Pml4 {
                    base: at,
                    asid: None,
                    switch_only: false,
                },
                Object::Table(level) => What::Table {
                    base: at,
                    level,
                    mapped: None,
                },
                Object::Frame(size) => What::Frame {
                    base: at,
                    size,
                    access: Access::ReadWrite,
                    mapped: None,
                },
            };
            if what.object().is_some() {
                self.add_object(at, object);
            }
            self.add(what, Some(id), true, Some(slot));
        }
        Ok(())
    }

    fn copy(&mut self, from: Slot, to: Slot, access: Access) -> Result<(), KernelError> {
        self.call()?;
        self.empty(to)?;
        let id = self.cap_in(from)?;
        self.derive(id, access, Some(to))?;
        Ok(())
    }

    fn mint(&mut self, from: Slot, to: Slot, badge: Badge) -> Result<(), KernelError> {
        self.call()?;
        self.empty(to)?;
        let id = self.cap_in(from)?;
        if self.what_in(from)? != (What::Endpoint { badge: None }) {
            return Err(error::ILLEGAL_OPERATION);
        }
        let badge = Some(badge);
        self.add(What::Endpoint { badge }, Some(id), true, Some(to));
        Ok(())
    }

    fn delete(&mut self, slot: Slot) {
        if let Ok(id) = self.cap_in(slot) {
            self.remove(id);
        }
    }

    fn revoke(&mut self, slot: Slot) {
        if let Ok(id) = self.cap_in(slot) {
            self.revoke_id(id);
        }
    }

    fn make_asid_pool(
        &mut self,
        control: Slot,
        untyped: Slot,
        pool: Slot,
    ) -> Result<(), KernelError> {
        self.call()?;
        self.empty(pool)?;
        if self.what_in(control)? != What::AsidControl {
            return Err(error::INVALID_CAPABILITY);
        }
        if self.pools == POOLS {
            return Err(error::DELETE_FIRST);
        }
        let id = self.cap_in(untyped)?;
        let What::Untyped {
            base,
            bits: TABLE_BITS,
            ..
        } = self.what_in(untyped)?
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        if self
            .caps
            .get(&id)
            .is_some_and(|cap| !cap.children.is_empty())
        {
            return Err(error::REVOKE_FIRST);
        }
        self.add_object(base, Object::Untyped { bits: TABLE_BITS });
        let number = self.pools;
        self.pools += 1;
        self.add(What::AsidPool { base, number }, Some(id), true, Some(pool));
        Ok(())
    }

    fn assign_asid(&mut self, pool: Slot, root: Slot) -> Result<(), KernelError> {
        self.call()?;
        let (
            What::AsidPool { number, .. },
            What::Pml4 {
                base, asid: None, ..
            },
        ) = (self.what_in(pool)?, self.what_in(root)?)
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        let first = number * ASIDS_PER_POOL;
        let asid = (first..first + ASIDS_PER_POOL)
            .find(|asid| !self.roots.contains_key(asid))
            .ok_or(error::DELETE_FIRST)?;
        self.roots.insert(asid, base);
        let asid = Some(asid);
        let switch_only = false;
        self.set(
            root,
            What::Pml4 {
                base,
                asid,
                switch_only,
            },
        );
        Ok(())
    }

    fn map_table(
        &mut self,
        table: Slot,
        level: TableLevel,
        root: Slot,
        address: u64,
    ) -> Result<(), KernelError> {
        self.call()?;
        if let What::Attachment {
            base,
            address: home,
            access,
            mapped: None,
        } = self.what_in(table)?
            && level == TableLevel::Pdpt
        {
            if address >> level.span_bits() != home >> level.span_bits() {
                return Err(error::INVALID_ARGUMENT);
            }
            let kind = EntryKind::Attachment(access);
            let asid = self.map(root, home, 0, Entry { target: base, kind })?;
            self.set(
                table,
                What::Attachment {
                    base,
                    address: home,
                    access,
                    mapped: Some(asid),
                },
            );
            return Ok(());
        }
        let What::Table {
            base,
            level: found,
            mapped: None,
        } = self.what_in(table)?
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        if found != level {
            return Err(error::INVALID_CAPABILITY);
        }
        let entry = Entry {
            target: base,
            kind: EntryKind::Table,
        };
        let address = address >> level.span_bits() << level.span_bits();
        let asid = self.map(root, address, depth_of(level), entry)?;
        let mapped = Some((asid, address));
        self.set(
            table,
            What::Table {
                base,
                level,
                mapped,
            },
        );
        Ok(())
    }

    fn map_frame(
        &mut self,
        frame: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<(), KernelError> {
        self.call()?;
        let What::Frame {
            base,
            size,
            access: allowed,
            mapped: None,
        } = self.what_in(frame)?
        else {
            return Err(error::INVALID_CAPABILITY);
        };
        if !address.is_multiple_of(size.bytes()) {
            return Err(error::ALIGNMENT);
        }
        if root == Self::VSPACE && (SERVER_LOCKS..SERVER_LOCKS_END).contains(&address) {
            // A new frame.
            self.clear_locks((address - SERVER_LOCKS) / PAGE_BYTES);
        }
        let depth = match size {
            PageSize::Huge => 1,
            PageSize::Large => 2,
            PageSize::Small => 3,
        };
        let entry = Entry {
            target: base,
            kind: EntryKind::Frame(size, access.min(allowed)),
        };
        let asid = self.map(root, address, depth, entry)?;
        self.set(
            frame,
            What::Frame {
                base,
                size,
                access: allowed,
                mapped: Some((asid, address)),
            },
        );
        Ok(())
    }

    fn copy_memory(&mut self, from: u64, to: u64, bytes: u64) {
        let vspace = self.vspace.unwrap_or(Held::NONE);
        for offset in (0..bytes).step_by(PAGE_BYTES as usize) {
            let [(source, _), (target, access)] = [from, to].map(|address| {
                let address = address + offset;
                assert!(
                    SERVER_WINDOW.contains(&address),
                    "{address:#x} is not in the window"
                );
                let place = self.translate(vspace, address);
                place.unwrap_or_else(|fault| panic!("the server faults: {fault:?}"))
            });
            assert_eq!(access, Access::ReadWrite, "the server writes to the source");
            for word in (0..PAGE_BYTES).step_by(8) {
                match self.memory.get(&(source + word)).copied() {
                    Some(value) => self.memory.insert(target + word, value),
                    None => self.memory.remove(&(target + word)),
                };
            }
        }
    }

    fn save_caller(&mut self, slot: Slot) -> Result<(), KernelError> {
        self.call()?;
        self.empty(slot)?;
        self.saved += 1;
        let number = self.saved;
        self.add(What::Reply { number }, None, true, Some(slot));
        Ok(())
    }

    fn reply(&mut self, slot: Slot, label: u64, words: &[u64], cap: Option<Slot>) {
        let Ok(What::Reply { number }) = self.what_in(slot) else {
            return;
        };
        self.delete(slot);
        let cap = cap.map(|slot| match self.transfer(slot) {
            Ok(cap) => cap,
            Err(error) => panic!("the cap to send: {error:?}"),
        });
        let words = words.to_vec();
        self.replies.insert(number, Reply { label, words, cap });
    }

    fn lock(&self, segment: u16) -> &Lock {
        self.assert_mapped(SERVER_LOCKS, segment);
        let lock = self.locks.get(usize::from(segment));
        lock.unwrap_or_else(|| panic!("no such segment"))
    }

    fn lock_set(&self, vas: u16) -> &LockSet {
        self.assert_mapped(SERVER_LOCK_SETS, vas);
        let set = self.lock_sets.get(usize::from(vas));
        set.unwrap_or_else(|| panic!("no such VAS"))
    }

    fn locking(&self, attachment: u16) -> &AtomicU64 {
        let word = self.locking.get(usize::from(attachment));
        word.unwrap_or_else(|| panic!("no such attachment"))
    }

    fn set_timer(&mut self, timer: Timer, ticks: Option<u16>) {
        assert_eq!(timer, Self::TIMER, "another timer");
        assert_ne!(ticks, Some(0), "the timer counts from 1 at least");
        // Five invocations.
        self.work += 5;
        self.timer.armed = ticks.is_some();
        self.timer.count = ticks.unwrap_or(self.timer.count);
    }

    fn timer_count(&mut self) -> u16 {
        // Three invocations.
        self.work += 3;
        self.timer.count
    }
}

/// The index of an address in a table of this depth.
const fn index(address: u64, depth: u32) -> u64 {
    address >> (39 - 9 * depth) & 511
}

/// The depth of the table that a table of this level is entered in.
const fn depth_of(level: TableLevel) -> u32 {
    match level {
        TableLevel::Pdpt => 0,
        TableLevel::PageDirectory => 1,
        TableLevel::PageTable => 2,
    }
}
