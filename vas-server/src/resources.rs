// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the server spends: memory, capability slots and address-space identifiers.
//!
//! Whoever makes something here keeps what it got and gives it back by name; nothing is
//! given back twice because what stands for it can be neither copied nor used again.

mod account;
mod reclaim;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use protocol::address_map::{SERVER_LOCKS, SERVER_LOCKS_END, SERVER_WINDOW};
use protocol::limits::COPY_BYTES;
use protocol::message::{Quota, QuotaStatistics};
use protocol::{Access, Badge, Error, PageSize};

use crate::kernel::{ASIDS_PER_POOL, Kernel, Object, RETYPE_LIMIT, Slot, TABLE_BITS, TableLevel};
use crate::policy::admission::AdmissionPolicy;
use crate::slots::{SlotRange, Slots};
use crate::untyped::{Block, LARGE_BITS, Untypeds};
use account::Account;
pub use account::{Counted, Payer};
use reclaim::Steps;
pub use reclaim::{Caps, Remains, units};

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
    size: PageSize,
    /// How many have been made.
    made: u32,
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

/// A page that the server sees in its own root.
#[derive(Debug)]
#[must_use]
pub struct OwnPage {
    frames: Frames,
    /// The copy of its cap that is mapped there.
    mapped: SlotRange,
}

impl OwnPage {
    /// Its cap, of which copies can be mapped elsewhere.
    pub const fn frame(&self) -> Slot {
        self.frames.first()
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
    steps: Steps<K>,
    /// The server's own root, and the tables of the window and of locks in it.
    vspace: Slot,
    window: Vec<Table>,
    tables: u32,
}

impl<K: Kernel> Resources<K> {
    /// Takes over slots, memory, the server's endpoint and its own root.
    ///
    /// # Errors
    /// Not enough slots to divide the memory, or the kernel refused.
    pub fn new(
        mut kernel: K,
        slots: Range<u32>,
        endpoint: Slot,
        vspace: Slot,
        untypeds: &[(Slot, u8)],
        admission: &'static dyn AdmissionPolicy,
    ) -> Result<Self, Error> {
        let (range, mut slots) = (slots.clone(), Slots::new(slots));
        let mut untypeds = Untypeds::new(&mut slots, untypeds)?;
        untypeds.clear_large(&mut kernel, &mut slots)?;
        Ok(Resources {
            kernel,
            accounts: vec![Account::rest(untypeds, slots, range)],
            reserved: Vec::new(),
            payer: Payer::REST,
            admission,
            pools: Vec::new(),
            endpoint,
            steps: Steps::new(),
            vspace,
            window: Vec::new(),
            tables: 0,
        })
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
            let bits = rest.largest_up_to(&mut self.kernel, most)?;
            if bits < TABLE_BITS {
                return Err(Error::OutOfMemory);
            }
            let block = rest.allocate(&mut self.kernel, bits)?;
            missing -= 1 << (block.bits() - TABLE_BITS);
            rest.reserved += 1 << block.bits();
            blocks.push(block);
        }
        let given: Vec<_> = blocks
            .iter()
            .map(|block| (block.slot(), block.bits()))
            .collect();
        // What divides large blocks is taken of the rest.
        let mut untypeds = Untypeds::new(&mut rest.slots, &given)?;
        untypeds.clear_large(&mut self.kernel, &mut rest.slots)?;
        let Slot(first) = slots.first();
        let range = first..first + slots.count();
        let own = Slots::new(range.clone());
        let user = Some(quota.user);
        let account = Account::new(user, untypeds, own, range, quota.counts);
        self.accounts.push(account);
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
            let block = self.take_block(TABLE_BITS, TABLE_BITS)?;
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
            self.make_own_table(level, SERVER_WINDOW.start)?;
        }
        Ok(())
    }

    /// Makes the tables for pages that are shared with clients for their locks. They stay for good.
    ///
    /// # Errors
    /// As [`open_window`](Self::open_window).
    pub fn open_locks(&mut self) -> Result<(), Error> {
        for level in [TableLevel::PageDirectory, TableLevel::PageTable] {
            let span = 1 << level.span_bits();
            for address in (SERVER_LOCKS..SERVER_LOCKS_END).step_by(span) {
                self.make_own_table(level, address)?;
            }
        }
        Ok(())
    }

    fn make_own_table(&mut self, level: TableLevel, address: u64) -> Result<(), Error> {
        let table = self.make_table(level)?;
        let slot = table.slot();
        self.window.push(table);
        Ok(self.kernel.map_table(slot, level, self.vspace, address)?)
    }

    /// Makes a page of memory, all zeros, that the server sees at this address.
    ///
    /// # Errors
    /// No memory, no slots, or the kernel refused.
    pub fn make_own_page(&mut self, address: u64) -> Result<OwnPage, Error> {
        let frames = self.make_page()?;
        let page = [(frames.first(), address)];
        match self.map_frames(self.vspace, &page, Access::ReadWrite) {
            Ok(mapped) => Ok(OwnPage { frames, mapped }),
            Err(error) => {
                self.discard(frames);
                Err(error)
            }
        }
    }

    /// Makes a page of memory, all zeros.
    ///
    /// # Errors
    /// No memory, no slots, or the kernel refused; [`Error::Again`] if there is no time for it.
    pub fn make_page(&mut self) -> Result<Frames, Error> {
        let mut frames = self.reserve_frames(PageSize::Small, 1)?;
        match self.make_frames(&mut frames) {
            Ok(()) => Ok(frames),
            Err(error) => {
                self.discard(frames);
                Err(error)
            }
        }
    }

    /// Takes such a page out of the own root, and discards it.
    pub fn discard_own_page(&mut self, page: OwnPage) {
        // Another may come to its place before it is taken apart.
        self.delete_slots(page.mapped);
        self.discard(page.frames);
    }

    /// Keeps the right to answer the message that is handled.
    ///
    /// # Errors
    /// No slot, or the kernel refused.
    pub fn save_caller(&mut self) -> Result<SlotRange, Error> {
        let slot = self.allocate_slots(1)?;
        if let Err(error) = self.kernel.save_caller(slot.first()) {
            self.release_slots(slot);
            return Err(error.into());
        }
        Ok(slot)
    }

    /// Answers a message that was kept.
    pub fn reply(&mut self, caller: SlotRange, label: u64, words: &[u64], cap: Option<Slot>) {
        self.kernel.reply(caller.first(), label, words, cap);
        self.delete_slots(caller);
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
        let source = self.map_frames(self.vspace, from.0, Access::ReadOnly)?;
        let target = self.map_frames(self.vspace, to.0, Access::ReadWrite);
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

    /// Page tables of all levels, roots included, but not those in the server's own root.
    pub const fn tables(&self) -> u32 {
        self.tables - self.window.len() as u32
    }

    /// Takes consecutive slots of the payer's.
    ///
    /// # Errors
    /// [`Error::OutOfSlots`].
    pub fn allocate_slots(&mut self, count: u32) -> Result<SlotRange, Error> {
        self.insist(|resources| {
            let Payer(payer) = resources.payer;
            let account = resources.accounts.get_mut(payer);
            let account = account.ok_or(Error::OutOfSlots)?;
            account.allocate_slots(&mut resources.kernel, count)
        })
    }

    /// Goes on with what is done in steps if there are none: what was done in vain would be undone,
    /// and be to do again.
    fn insist<T>(&mut self, step: impl Fn(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        loop {
            match step(self) {
                Err(Error::Again) if self.steps.unbounded() => {}
                result => return result,
            }
        }
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

    /// Copies the caps of frames into slots of their own and maps the copies, in a root that has
    /// the tables for them.
    fn map_frames(
        &mut self,
        root: Slot,
        frames: &[(Slot, u64)],
        access: Access,
    ) -> Result<SlotRange, Error> {
        let count = u32::try_from(frames.len()).map_err(|_| Error::OutOfSlots)?;
        let copies = self.allocate_slots(count)?;
        for (copy, &(frame, address)) in copies.iter().zip(frames) {
            if let Err(error) = self.map_copy(frame, copy, root, address, access) {
                self.delete_slots(copies);
                return Err(error);
            }
        }
        Ok(copies)
    }

    /// Copies the cap of a frame into an empty slot and maps the copy.
    ///
    /// # Errors
    /// The kernel refused; the slot is empty then.
    pub fn map_copy(
        &mut self,
        frame: Slot,
        copy: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<(), Error> {
        self.kernel.copy(frame, copy, access)?;
        if let Err(error) = self.kernel.map_frame(copy, root, address, access) {
            self.kernel.delete(copy);
            return Err(error.into());
        }
        Ok(())
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

    /// Takes slots for so many frames, which are not made yet.
    ///
    /// # Errors
    /// No memory or no slots.
    pub fn reserve_frames(&mut self, size: PageSize, count: u32) -> Result<Frames, Error> {
        if u64::from(count) > self.available() >> size.bits() {
            return Err(Error::OutOfMemory);
        }
        Ok(Frames {
            blocks: Vec::new(),
            slots: self.allocate_slots(count)?,
            size,
            made: 0,
            payer: self.payer,
        })
    }

    /// Makes frames that are missing; their memory is zero.
    ///
    /// # Errors
    /// [`Error::Again`] if some are still missing; no memory, no slots, or the kernel refused.
    pub fn make_frames(&mut self, frames: &mut Frames) -> Result<(), Error> {
        let payer = core::mem::replace(&mut self.payer, frames.payer);
        let made = self.fill_frames(frames);
        self.payer = payer;
        made
    }

    fn fill_frames(&mut self, frames: &mut Frames) -> Result<(), Error> {
        let size = frames.size;
        let Slot(first) = frames.first();
        while let Some(missing) = (frames.count() - frames.made).checked_ilog2() {
            let most = size.bits() + missing as u8;
            let most = most.min(LARGE_BITS.max(size.bits()));
            let block = self.take_block(most, size.bits())?;
            let untyped = block.slot();
            let mut left = 1 << (block.bits() - size.bits());
            frames.blocks.push(block);
            while left > 0 {
                let some = left.min(RETYPE_LIMIT);
                let next = Slot(first + frames.made);
                self.kernel
                    .retype(untyped, Object::Frame(size), next, some)?;
                frames.made += some;
                left -= some;
            }
        }
        Ok(())
    }

    /// Makes a page table.
    ///
    /// # Errors
    /// No memory, no slot, or the kernel refused.
    pub fn make_table(&mut self, level: TableLevel) -> Result<Table, Error> {
        self.make_table_object(Object::Table(level))
    }

    fn make_table_object(&mut self, object: Object) -> Result<Table, Error> {
        let block = self.take_block(TABLE_BITS, TABLE_BITS)?;
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
        self.spend(units::TABLE);
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

    /// Takes memory of the payer's: a block of `1 << most` bytes or, if there is none, the
    /// largest there is, but none below `1 << least` bytes.
    fn take_block(&mut self, most: u8, least: u8) -> Result<Block, Error> {
        self.insist(|resources| resources.try_block(most, least))
    }

    fn try_block(&mut self, most: u8, least: u8) -> Result<Block, Error> {
        let Payer(payer) = self.payer;
        let account = self.accounts.get_mut(payer).ok_or(Error::OutOfMemory)?;
        let bits = account.largest_up_to(&mut self.kernel, most)?;
        if bits < least {
            return Err(Error::OutOfMemory);
        }
        // What is divided in vain is cleared in vain.
        account.empty_slots(&mut self.kernel, account.untypeds.slots_to_take(bits))?;
        let divided = account.untypeds.bytes_to_clear(bits);
        self.steps.step(units::for_block(bits, divided))?;
        account.allocate(&mut self.kernel, bits)
    }

    fn release_block(&mut self, Payer(payer): Payer, block: Block) {
        if let Some(account) = self.accounts.get_mut(payer) {
            account.untypeds.release(&mut self.kernel, block);
        }
    }
}
