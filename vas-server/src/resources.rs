// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the server spends: memory, capability slots and address-space identifiers.
//!
//! Whoever makes something here keeps what it got and gives it back by name; nothing is
//! given back twice because what stands for it can be neither copied nor used again.

mod account;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use protocol::address_map::SERVER_WINDOW;
use protocol::limits::COPY_BYTES;
use protocol::message::{Quota, QuotaStatistics};
use protocol::{Access, Badge, Error, PageSize};

use crate::kernel::{ASIDS_PER_POOL, Kernel, Object, RETYPE_LIMIT, Slot, TABLE_BITS, TableLevel};
use crate::policy::admission::AdmissionPolicy;
use crate::slots::{SlotRange, Slots};
use crate::untyped::{Block, Untypeds};
use account::Account;
pub use account::{Counted, Payer};

/// A page table of any level, the root included.
#[derive(Debug)]
#[must_use]
pub struct Table {
    block: Block,
    slot: SlotRange,
    payer: Payer,
}

impl Table {
    /// Its cap.
    pub const fn slot(&self) -> Slot {
        self.slot.first()
    }
}

/// A root table with an address-space identifier.
#[derive(Debug)]
#[must_use]
pub struct Root {
    table: Table,
    pool: usize,
}

impl Root {
    /// Its cap.
    pub const fn slot(&self) -> Slot {
        self.table.slot()
    }
}

/// Frames whose caps lie in consecutive slots, in order of address.
#[derive(Debug)]
#[must_use]
pub struct Frames {
    blocks: Vec<Block>,
    slots: SlotRange,
    payer: Payer,
}

impl Frames {
    /// The cap of the first frame.
    pub const fn first(&self) -> Slot {
        self.slots.first()
    }

    /// How many frames.
    pub const fn count(&self) -> u32 {
        self.slots.count()
    }
}

/// A place in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is copied from.
    Source,
    /// What is copied to.
    Target,
}

impl Side {
    /// Where frames of this size are mapped: [`COPY_BYTES`] of small ones, or one.
    pub const fn address(self, page_size: PageSize) -> u64 {
        let side = self as u64;
        SERVER_WINDOW.start
            + match page_size {
                PageSize::Small => side * COPY_BYTES,
                PageSize::Large | PageSize::Huge => (1 + side) * page_size.bytes(),
            }
    }
}

#[derive(Debug)]
struct AsidPool {
    slot: Slot,
    used: u32,
}

/// Everything the server can spend, and the kernel that it is spent through.
pub struct Resources<K> {
    kernel: K,
    /// By payer: the rest first.
    accounts: Vec<Account>,
    /// Memory and slots that accounts of users are made of.
    reserved: Vec<(Vec<Block>, SlotRange)>,
    /// Who pays for what is made now.
    payer: Payer,
    admission: &'static dyn AdmissionPolicy,
    pools: Vec<AsidPool>,
    endpoint: Slot,
    /// The server's own root, and the tables of the window in it.
    vspace: Slot,
    window: Vec<Table>,
    tables: u32,
}

impl<K: Kernel> Resources<K> {
    /// Takes over slots, memory, the server's endpoint and its own root.
    pub fn new(
        kernel: K,
        slots: Range<u32>,
        endpoint: Slot,
        vspace: Slot,
        untypeds: &[(Slot, u8)],
        admission: &'static dyn AdmissionPolicy,
    ) -> Self {
        Resources {
            kernel,
            accounts: vec![Account::rest(Untypeds::new(untypeds), slots)],
            reserved: Vec::new(),
            payer: Payer::REST,
            admission,
            pools: Vec::new(),
            endpoint,
            vspace,
            window: Vec::new(),
            tables: 0,
        }
    }

    /// Sets aside what is promised to a user, for good.
    ///
    /// # Errors
    /// There is not so much left.
    pub fn promise(&mut self, quota: &Quota) -> Result<(), Error> {
        let Some(rest) = self.accounts.first_mut() else {
            return Err(Error::OutOfMemory);
        };
        rest.give(quota.counts)?;
        let slots = rest.allocate_slots(&mut self.kernel, quota.slots)?;
        rest.reserved_slots += slots.count();
        let mut blocks = Vec::new();
        let mut missing = quota.memory >> TABLE_BITS;
        while let Some(bits) = missing.checked_ilog2() {
            let most = bits as u8 + TABLE_BITS;
            let block = rest.allocate(&mut self.kernel, |untypeds, kernel, slots| {
                untypeds.allocate_at_most(kernel, slots, most, TABLE_BITS)
            })?;
            missing -= 1 << (block.bits() - TABLE_BITS);
            rest.reserved += 1 << block.bits();
            blocks.push(block);
        }
        let untypeds: Vec<_> = blocks
            .iter()
            .map(|block| (block.slot(), block.bits()))
            .collect();
        let Slot(first) = slots.first();
        self.accounts.push(Account::new(
            Some(quota.user),
            Untypeds::new(&untypeds),
            first..first + slots.count(),
            quota.counts,
        ));
        self.reserved.push((blocks, slots));
        Ok(())
    }

    /// The account of a user.
    pub fn payer_of(&self, user: u32) -> Payer {
        let mut accounts = self.accounts.iter();
        let own = accounts.position(|account| account.user == Some(user));
        own.map_or(Payer::REST, Payer)
    }

    /// Who pays for what is made from now on.
    pub const fn pay_as(&mut self, payer: Payer) {
        self.payer = payer;
    }

    /// Who pays for what is made now.
    pub const fn payer(&self) -> Payer {
        self.payer
    }

    /// Whether the payer may have one more.
    ///
    /// # Errors
    /// [`Error::LimitReached`], [`Error::NotAdmitted`].
    pub fn check(&self, counted: Counted) -> Result<(), Error> {
        let Payer(payer) = self.payer;
        let account = self.accounts.get(payer).ok_or(Error::OutOfMemory)?;
        match self.admission.admits(account.one_more(counted)?) {
            true => Ok(()),
            false => Err(Error::NotAdmitted),
        }
    }

    /// The payer has one more.
    pub fn charge(&mut self, counted: Counted) {
        let Payer(payer) = self.payer;
        if let Some(account) = self.accounts.get_mut(payer) {
            account.charge(counted);
        }
    }

    /// Who has paid has one less.
    pub fn refund(&mut self, Payer(payer): Payer, counted: Counted) {
        if let Some(account) = self.accounts.get_mut(payer) {
            account.refund(counted);
        }
    }

    /// What a payer may have, and has.
    ///
    /// # Errors
    /// None: every payer has an account.
    pub fn account(&self, Payer(payer): Payer) -> Result<QuotaStatistics, Error> {
        let account = self.accounts.get(payer).ok_or(Error::OutOfMemory)?;
        Ok(account.statistics())
    }

    /// Makes ASID pools. They stay for good: after a pool is deleted, seL4 5.0.0 may still
    /// run threads in its address spaces.
    ///
    /// # Errors
    /// No memory, no slots, or no pool left in the kernel.
    pub fn make_asid_pools(&mut self, control: Slot, count: u32) -> Result<(), Error> {
        for _ in 0..count {
            let block = self.allocate_block(TABLE_BITS)?;
            let slot = self.allocate_slots(1)?.first();
            self.kernel.make_asid_pool(control, block.slot(), slot)?;
            self.pools.push(AsidPool { slot, used: 0 });
        }
        Ok(())
    }

    /// Makes the tables of the window through which memory is copied. They stay for good.
    ///
    /// # Errors
    /// No memory, no slots, or the kernel refused.
    pub fn open_window(&mut self) -> Result<(), Error> {
        for level in [TableLevel::PageDirectory, TableLevel::PageTable] {
            let table = self.make_table(level)?;
            let (slot, address) = (table.slot(), SERVER_WINDOW.start);
            self.window.push(table);
            self.kernel.map_table(slot, level, self.vspace, address)?;
        }
        Ok(())
    }

    /// Copies memory between frames, which are mapped at these addresses of the window
    /// meanwhile.
    ///
    /// # Errors
    /// No slots, or the kernel refused; nothing is copied then.
    pub fn copy_memory(
        &mut self,
        from: (&[(Slot, u64)], u64),
        to: (&[(Slot, u64)], u64),
        bytes: u64,
    ) -> Result<(), Error> {
        let frames = from.0.iter().copied();
        let source = self.map_frames(self.vspace, frames, Access::ReadOnly)?;
        let frames = to.0.iter().copied();
        let target = self.map_frames(self.vspace, frames, Access::ReadWrite);
        if target.is_ok() {
            self.kernel.copy_memory(from.1, to.1, bytes);
        }
        self.delete_slots(source);
        self.delete_slots(target?);
        Ok(())
    }

    /// The kernel.
    pub const fn kernel(&self) -> &K {
        &self.kernel
    }

    /// The kernel.
    pub const fn kernel_mut(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Memory the server was given, in bytes.
    pub fn memory_total(&self) -> u64 {
        self.accounts
            .iter()
            .map(|one| one.statistics().memory_total)
            .sum()
    }

    /// Of that, free.
    pub fn memory_free(&self) -> u64 {
        self.accounts
            .iter()
            .map(|one| one.untypeds.free_bytes())
            .sum()
    }

    /// Bytes that the payer has free.
    pub fn available(&self) -> u64 {
        let Payer(payer) = self.payer;
        let account = self.accounts.get(payer);
        account.map_or(0, |account| account.untypeds.free_bytes())
    }

    /// Slots the server was given.
    pub fn slots_total(&self) -> u32 {
        self.accounts
            .iter()
            .map(|one| one.statistics().slots_total)
            .sum()
    }

    /// Of those, free or spent only on dividing free memory.
    pub fn slots_free(&self) -> u32 {
        self.accounts.iter().map(Account::slots_free).sum()
    }

    /// Address-space identifiers the server was given.
    pub fn asids_total(&self) -> u32 {
        self.pools.len() as u32 * ASIDS_PER_POOL
    }

    /// Of those, free.
    pub fn asids_free(&self) -> u32 {
        let used: u32 = self.pools.iter().map(|pool| pool.used).sum();
        self.asids_total() - used
    }

    /// Page tables of all levels, roots included, but not those of the window.
    pub const fn tables(&self) -> u32 {
        self.tables - self.window.len() as u32
    }

    /// Takes consecutive slots of the payer's.
    ///
    /// # Errors
    /// [`Error::OutOfSlots`].
    pub fn allocate_slots(&mut self, count: u32) -> Result<SlotRange, Error> {
        let Payer(payer) = self.payer;
        let account = self.accounts.get_mut(payer).ok_or(Error::OutOfSlots)?;
        account.allocate_slots(&mut self.kernel, count)
    }

    /// Gives empty slots back to whose they are.
    fn release_slots(&mut self, range: SlotRange) {
        // The rest, which is first, has those too that were set aside.
        let mut accounts = self.accounts.iter_mut().rev();
        if let Some(account) = accounts.find(|one| one.has_slot(range.first())) {
            account.slots.release(range);
        }
    }

    /// Deletes the caps in these slots, if any, and gives the slots back.
    pub fn delete_slots(&mut self, range: SlotRange) {
        for slot in range.iter() {
            self.kernel.delete(slot);
        }
        self.release_slots(range);
    }

    /// Makes a cap on the server's endpoint that clients can be given copies of.
    ///
    /// # Errors
    /// No slot, or the kernel refused.
    pub fn make_badged(&mut self, badge: Badge) -> Result<SlotRange, Error> {
        let slot = self.allocate_slots(1)?;
        if let Err(error) = self.kernel.mint(self.endpoint, slot.first(), badge) {
            self.release_slots(slot);
            return Err(error.into());
        }
        Ok(slot)
    }

    /// Deletes such a cap and all copies of it.
    pub fn delete_badged(&mut self, cap: SlotRange) {
        self.kernel.revoke(cap.first());
        self.delete_slots(cap);
    }

    /// Copies the caps of frames into slots of their own and maps the copies at consecutive
    /// addresses from `base` on, in a root that has the tables for them.
    ///
    /// # Errors
    /// No slots, or the kernel refused; nothing is mapped then.
    pub fn map_frames(
        &mut self,
        root: Slot,
        frames: impl ExactSizeIterator<Item = (Slot, u64)>,
        access: Access,
    ) -> Result<SlotRange, Error> {
        let count = u32::try_from(frames.len()).map_err(|_| Error::OutOfSlots)?;
        let copies = self.allocate_slots(count)?;
        for (copy, (frame, address)) in copies.iter().zip(frames) {
            let mapped = self
                .kernel
                .copy(frame, copy, access)
                .and_then(|()| self.kernel.map_frame(copy, root, address, access));
            if let Err(error) = mapped {
                self.delete_slots(copies);
                return Err(error.into());
            }
        }
        Ok(copies)
    }

    /// Attaches a PDPT to a further root, at the address of its home.
    ///
    /// # Errors
    /// No slot, or the kernel refused.
    pub fn attach_pdpt(
        &mut self,
        pdpt: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<SlotRange, Error> {
        let copy = self.allocate_slots(1)?;
        let attached = self.kernel.copy(pdpt, copy.first(), access).and_then(|()| {
            self.kernel
                .map_table(copy.first(), TableLevel::Pdpt, root, address)
        });
        if let Err(error) = attached {
            self.delete_slots(copy);
            return Err(error.into());
        }
        Ok(copy)
    }

    /// Makes frames of `page_bits` each; their memory is zero.
    ///
    /// # Errors
    /// No memory, no slots, or the kernel refused.
    pub fn make_frames(&mut self, object: Object, count: u32) -> Result<Frames, Error> {
        let page_bits = object.size_bits();
        let bytes = u64::from(count)
            .checked_mul(1 << page_bits)
            .ok_or(Error::OutOfMemory)?;
        if bytes > self.available() {
            return Err(Error::OutOfMemory);
        }
        let mut frames = Frames {
            blocks: Vec::new(),
            slots: self.allocate_slots(count)?,
            payer: self.payer,
        };
        match self.fill_frames(&mut frames, object) {
            Ok(()) => Ok(frames),
            Err(error) => {
                self.delete_frames(frames);
                Err(error)
            }
        }
    }

    fn fill_frames(&mut self, frames: &mut Frames, object: Object) -> Result<(), Error> {
        let page_bits = object.size_bits();
        let Slot(mut next) = frames.first();
        let mut missing = frames.count();
        while let Some(bits) = missing.checked_ilog2() {
            let most = page_bits + bits as u8;
            let block = self.allocate_from(|untypeds, kernel, slots| {
                untypeds.allocate_at_most(kernel, slots, most, page_bits)
            })?;
            let untyped = block.slot();
            let mut left = 1 << (block.bits() - page_bits);
            frames.blocks.push(block);
            missing -= left;
            while left > 0 {
                let some = left.min(RETYPE_LIMIT);
                self.kernel.retype(untyped, object, Slot(next), some)?;
                next += some;
                left -= some;
            }
        }
        Ok(())
    }

    /// Deletes frames and every copy of their caps, and so their mappings.
    pub fn delete_frames(&mut self, frames: Frames) {
        for block in frames.blocks {
            self.release_block(frames.payer, block);
        }
        self.release_slots(frames.slots);
    }

    /// Makes a page table.
    ///
    /// # Errors
    /// No memory, no slot, or the kernel refused.
    pub fn make_table(&mut self, level: TableLevel) -> Result<Table, Error> {
        self.make_table_object(Object::Table(level))
    }

    fn make_table_object(&mut self, object: Object) -> Result<Table, Error> {
        let block = self.allocate_block(TABLE_BITS)?;
        let slot = match self.allocate_slots(1) {
            Ok(slot) => slot,
            Err(error) => {
                self.release_block(self.payer, block);
                return Err(error);
            }
        };
        self.tables += 1;
        let payer = self.payer;
        let table = Table { block, slot, payer };
        match self
            .kernel
            .retype(table.block.slot(), object, table.slot(), 1)
        {
            Ok(()) => Ok(table),
            Err(error) => {
                self.delete_table(table);
                Err(error.into())
            }
        }
    }

    /// Deletes a page table and every copy of its cap.
    pub fn delete_table(&mut self, table: Table) {
        self.release_block(table.payer, table.block);
        self.release_slots(table.slot);
        self.tables -= 1;
    }

    /// Makes a root table with an address-space identifier.
    ///
    /// # Errors
    /// No memory, no slot, no identifier, or the kernel refused.
    pub fn make_root(&mut self) -> Result<Root, Error> {
        let (pool, pool_slot) = self
            .pools
            .iter()
            .enumerate()
            .find(|(_, pool)| pool.used < ASIDS_PER_POOL)
            .map(|(index, pool)| (index, pool.slot))
            .ok_or(Error::OutOfAsids)?;
        let table = self.make_table_object(Object::Pml4)?;
        if let Err(error) = self.kernel.assign_asid(pool_slot, table.slot()) {
            self.delete_table(table);
            return Err(error.into());
        }
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.used += 1;
        }
        Ok(Root { table, pool })
    }

    /// Deletes a root table and every copy of its cap; its identifier is free again.
    pub fn delete_root(&mut self, root: Root) {
        self.delete_table(root.table);
        if let Some(pool) = self.pools.get_mut(root.pool) {
            pool.used -= 1;
        }
    }

    /// Makes a copy of a root's cap with which one can switch to it and map nothing.
    ///
    /// # Errors
    /// No slot, or the kernel refused.
    pub fn copy_switch_only(&mut self, root: Slot) -> Result<SlotRange, Error> {
        let copy = self.allocate_slots(1)?;
        if let Err(error) = self.kernel.copy(root, copy.first(), Access::ReadOnly) {
            self.release_slots(copy);
            return Err(error.into());
        }
        Ok(copy)
    }

    fn allocate_block(&mut self, bits: u8) -> Result<Block, Error> {
        self.allocate_from(|untypeds, kernel, slots| untypeds.allocate(kernel, slots, bits))
    }

    /// Takes memory of the payer's.
    fn allocate_from(
        &mut self,
        take: impl Fn(&mut Untypeds, &mut K, &mut Slots) -> Result<Block, Error>,
    ) -> Result<Block, Error> {
        let Payer(payer) = self.payer;
        let account = self.accounts.get_mut(payer).ok_or(Error::OutOfMemory)?;
        account.allocate(&mut self.kernel, take)
    }

    fn release_block(&mut self, Payer(payer): Payer, block: Block) {
        if let Some(account) = self.accounts.get_mut(payer) {
            account.untypeds.release(&mut self.kernel, block);
        }
    }
}
