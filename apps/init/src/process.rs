// SPDX-License-Identifier: MIT OR Apache-2.0

//! One process: its objects, how it is built, and how it is taken apart.
//!
//! All objects of a process are made from blocks of untyped memory that belong to it alone,
//! and their caps lie in one range of init's slots. Revoking the blocks therefore takes the
//! whole process away, whatever state it is in.

use alloc::vec::Vec;

use image::{ArchivedProgram, ArchivedSegment, Image};
use objects::{Block, SlotRange};
use protocol::address_map::{
    FILES, IPC_BUFFER, LOCKING, LOCKING_PAGES, PAGE_BYTES, STACK_TOP, START_INFO, ipc_buffer,
    stack_top,
};
use protocol::message::{Access, PrivateExtent, SessionId};
use protocol::process::{Ended, InitError, ProcessId, slot};
use sel4::{ObjectType, PrioProps, SLOT_BITS, UserContext, cap};

use crate::memory::{Maker, Objects, first};
use crate::vspace;

/// Registers that a thread starts with: `rip`, `rsp`, `rflags`; the others are 0.
const INITIAL_REGISTERS: u64 = 3;
/// Interrupts enabled, all else clear.
pub const RFLAGS: u64 = 0x202;

/// Where the content of a page comes from.
pub enum Source<'a> {
    /// The frame of init's own image that holds it, shared read-only.
    Image(&'a [u8]),
    /// A frame of the VAS server's, by slot, shared read-only.
    Server(u64),
    /// A new frame that starts with these bytes; the rest is zero.
    New(&'a [u8]),
}

/// The threads that a process may have.
#[derive(Clone, Copy)]
pub struct Threads {
    /// How many at one time, with the first.
    pub count: usize,
    /// Bytes of the stack of each.
    pub stack_bytes: u64,
}

impl Threads {
    /// The first address of a thread's stack.
    fn stack(self, thread: usize) -> u64 {
        stack_top(thread, self.stack_bytes) - self.stack_bytes
    }

    /// Whether an address is in the page below a stack.
    pub fn guard(self, address: u64) -> bool {
        (0..self.count).any(|thread| {
            let stack = self.stack(thread);
            (stack - PAGE_BYTES..stack).contains(&address)
        })
    }

    /// A thread that is alone waits for no other.
    fn notifications(self) -> usize {
        if self.count > 1 { self.count } else { 0 }
    }

    /// Bytes of the objects of all threads: whole pages.
    fn object_bytes(self) -> u64 {
        let tcbs = (self.count as u64) << ObjectType::Tcb.size_bits(0);
        let notifications = self.notifications() as u64;
        let notifications = notifications << ObjectType::Notification.size_bits(0);
        (tcbs + notifications).next_multiple_of(PAGE_BYTES)
    }
}

/// Private memory of a process that is being built.
pub struct Layout<'a> {
    /// Its threads.
    pub threads: Threads,
    /// In order of address.
    pub extents: heapless::Vec<PrivateExtent, { protocol::limits::PRIVATE_EXTENTS }>,
    /// The pages of the extents, in the same order.
    pub pages: Vec<Source<'a>>,
}

impl<'a> Layout<'a> {
    /// Lays a component out: program, stacks, IPC buffers, start page, the pages that say who must
    /// take locks, and files. `locking` is the slot of the first of those pages, which are the VAS
    /// server's, or `None` for that itself.
    pub fn new(
        program: &ArchivedProgram,
        threads: Threads,
        image: Image<'static>,
        start_page: &'a [u8],
        locking: Option<u64>,
        files: &[&'a [u8]],
    ) -> Result<Self, InitError> {
        let mut layout = Layout {
            threads,
            extents: heapless::Vec::new(),
            pages: Vec::new(),
        };
        for segment in program.segments.iter() {
            layout.add_segment(segment, image)?;
        }
        let stack_pages = threads.stack_bytes / PAGE_BYTES;
        for thread in (0..threads.count).rev() {
            layout.add_new(threads.stack(thread), stack_pages, Access::ReadWrite, &[])?;
        }
        layout.add_new(IPC_BUFFER, threads.count as u64, Access::ReadWrite, &[])?;
        layout.add_new(START_INFO, 1, Access::ReadOnly, start_page)?;
        match locking {
            None => layout.add_new(LOCKING, LOCKING_PAGES, Access::ReadWrite, &[])?,
            Some(first) => {
                layout.add_extent(LOCKING, LOCKING_PAGES, Access::ReadOnly)?;
                let frames = first..first + LOCKING_PAGES;
                layout.pages.extend(frames.map(Source::Server));
            }
        }
        let mut base = FILES;
        for file in files {
            let pages = (file.len() as u64).div_ceil(PAGE_BYTES);
            layout.add_extent(base, pages, Access::ReadOnly)?;
            layout
                .pages
                .extend(file.chunks(PAGE_BYTES as usize).map(Source::Image));
            base += pages * PAGE_BYTES;
        }
        Ok(layout)
    }

    fn add_segment(
        &mut self,
        segment: &ArchivedSegment,
        image: Image<'static>,
    ) -> Result<(), InitError> {
        let content = image.segment_pages(segment);
        let base = segment.address.to_native();
        let pages = u64::from(segment.memory_pages.to_native());
        if segment.writable {
            self.add_new(base, pages, Access::ReadWrite, content)
        } else {
            self.add_extent(base, pages, Access::ReadOnly)?;
            self.pages
                .extend(content.chunks(PAGE_BYTES as usize).map(Source::Image));
            Ok(())
        }
    }

    fn add_new(
        &mut self,
        base: u64,
        pages: u64,
        access: Access,
        content: &'a [u8],
    ) -> Result<(), InitError> {
        self.add_extent(base, pages, access)?;
        let filled = content.chunks(PAGE_BYTES as usize);
        let empty = pages as usize - filled.len();
        self.pages.extend(filled.map(Source::New));
        self.pages.extend((0..empty).map(|_| Source::New(&[])));
        Ok(())
    }

    fn add_extent(&mut self, base: u64, pages: u64, access: Access) -> Result<(), InitError> {
        if pages == 0 {
            return Ok(());
        }
        let extent = PrivateExtent {
            base,
            pages: pages as u32,
            access,
        };
        self.extents
            .push(extent)
            .map_err(|_| InitError::OutOfMemory)
    }
}

/// A process, from its first object until its parent has learned how it ended.
pub struct Process {
    /// Its number.
    pub id: ProcessId,
    /// Who started it, while that lives; init itself for the first.
    pub parent: Option<ProcessId>,
    /// Which component of the system description it runs.
    pub component: usize,
    /// Its session with the VAS server.
    pub session: Option<SessionId>,
    /// Its private memory, for fault reports.
    pub extents: heapless::Vec<PrivateExtent, { protocol::limits::PRIVATE_EXTENTS }>,
    /// Its threads.
    pub threads: Threads,
    /// Set once it has ended.
    pub ended: Option<Ended>,
    /// The parent's reply cap while it waits for the end.
    pub waiter: Option<SlotRange>,
    blocks: Vec<Block>,
    slots: Option<SlotRange>,
    tables: usize,
}

impl Process {
    /// A process with no objects yet.
    pub fn new(id: ProcessId, parent: Option<ProcessId>, component: usize) -> Self {
        Process {
            id,
            parent,
            component,
            session: None,
            extents: heapless::Vec::new(),
            threads: Threads {
                count: 0,
                stack_bytes: 0,
            },
            ended: None,
            waiter: None,
            blocks: Vec::new(),
            slots: None,
            tables: 0,
        }
    }

    fn slot(&self, position: usize) -> u64 {
        self.slots
            .as_ref()
            .map_or(0, |slots| first(slots) + position as u64)
    }

    /// The CNode, without guard.
    pub fn cnode(&self) -> cap::CNode {
        cap::CNode::from_bits(self.slot(0))
    }

    /// The root table that it starts in.
    pub fn root(&self) -> cap::PML4 {
        cap::PML4::from_bits(self.slot(1))
    }

    /// A thread.
    pub fn tcb(&self, thread: usize) -> cap::Tcb {
        cap::Tcb::from_bits(self.slot(2 + thread))
    }

    /// What threads wait with for each other: one for each, or none.
    pub fn notifications(&self) -> impl Iterator<Item = u64> {
        let first = 2 + self.threads.count;
        (first..self.first_table()).map(|position| self.slot(position))
    }

    fn first_table(&self) -> usize {
        2 + self.threads.count + self.threads.notifications()
    }

    /// The PDPT that maps all private memory.
    pub fn pdpt(&self) -> u64 {
        // The tables are in the order in which they must be mapped.
        self.slot(self.first_table())
    }

    /// The frame of a private page by its position among all pages.
    pub fn frame(&self, page: usize) -> u64 {
        self.slot(self.first_table() + self.tables + page)
    }

    /// The frame of the private page at an address.
    pub fn frame_at(&self, address: u64) -> Option<u64> {
        let mut page = 0;
        for extent in &self.extents {
            let bytes = u64::from(extent.pages) * PAGE_BYTES;
            if (extent.base..extent.base + bytes).contains(&address) {
                return Some(self.frame(page + ((address - extent.base) / PAGE_BYTES) as usize));
            }
            page += extent.pages as usize;
        }
        None
    }

    /// Makes all objects and maps the private memory. On an error the process is to be taken
    /// apart like any other.
    pub fn build(
        &mut self,
        objects: &mut Objects,
        layout: &Layout,
        cnode_bits: u8,
    ) -> Result<(), InitError> {
        self.extents = layout.extents.clone();
        self.threads = layout.threads;
        let tables = vspace::tables(&self.extents);
        self.tables = tables.len();

        let new_pages = layout
            .pages
            .iter()
            .filter(|page| matches!(page, Source::New(_)))
            .count() as u64;
        let cnode_bytes = 1 << (cnode_bits + SLOT_BITS);
        // What is smaller than a page comes last.
        let pages = new_pages + 1 + self.tables as u64;
        let bytes = cnode_bytes + pages * PAGE_BYTES + self.threads.object_bytes();
        self.blocks = objects.blocks(bytes).map_err(|_| InitError::OutOfMemory)?;
        let first_table = self.first_table();
        let slots = objects.slots(first_table + self.tables + layout.pages.len());
        self.slots = Some(slots.map_err(|_| InitError::OutOfMemory)?);

        let mut maker = Maker::new(self.blocks.iter());
        let result = (|| {
            maker.make(ObjectType::CNode, cnode_bits, self.slot(0), 1)?;
            maker.make(ObjectType::PML4, 0, self.root().bits(), 1)?;
            for (position, table) in tables.iter().enumerate() {
                maker.make(table.object(), 0, self.slot(first_table + position), 1)?;
            }
            self.make_pages(objects, &mut maker, &layout.pages)?;
            let (threads, notifications) = (self.threads.count, self.threads.notifications());
            maker.make(ObjectType::Tcb, 0, self.tcb(0).bits(), threads)?;
            let first = self.slot(2 + threads);
            maker.make(ObjectType::Notification, 0, first, notifications)?;

            objects.asid_pool.assign(self.root())?;
            for (position, table) in tables.iter().enumerate() {
                table.map(self.root(), self.slot(first_table + position))?;
            }
            let addresses = self.extents.iter().flat_map(|extent| {
                (0..u64::from(extent.pages))
                    .map(|page| (extent.base + page * PAGE_BYTES, extent.access))
            });
            for (page, (address, access)) in addresses.enumerate() {
                vspace::map_page(self.root(), address, self.frame(page), access)?;
            }
            for (page, source) in layout.pages.iter().enumerate() {
                if let Source::New(content) = source
                    && !content.is_empty()
                {
                    objects.fill(self.frame(page), content)?;
                }
            }
            Ok(())
        })();
        result.map_err(|_: sel4::Error| InitError::OutOfMemory)
    }

    /// New frames in runs as long as they come, copies of caps for frames of the image.
    fn make_pages<'b>(
        &self,
        objects: &Objects,
        maker: &mut Maker<'b, impl Iterator<Item = &'b Block>>,
        pages: &[Source],
    ) -> Result<(), sel4::Error> {
        let mut page = 0;
        while page < pages.len() {
            let run = pages[page..]
                .iter()
                .take_while(|page| matches!(page, Source::New(_)))
                .count();
            if run > 0 {
                maker.make(ObjectType::SmallPage, 0, self.frame(page), run)?;
                page += run;
            } else {
                match pages[page] {
                    Source::Image(content) => {
                        objects.copy_image_frame(content, self.frame(page))?
                    }
                    Source::Server(frame) => objects.copy_frame(frame, self.frame(page))?,
                    Source::New(_) => {}
                }
                page += 1;
            }
        }
        Ok(())
    }

    /// Makes the threads ready and lets the first run from `entry` with its stack pointer at the
    /// top of its stack; it is the one that starts the others.
    pub fn start(&self, entry: u64, priority: u8, cnode_bits: u8) -> Result<(), sel4::Error> {
        let guard = sel4::cnode_guard(0, u64::BITS as u8 - cnode_bits);
        for thread in 0..self.threads.count {
            let buffer = ipc_buffer(thread);
            self.tcb(thread).configure(
                slot::fault(thread),
                PrioProps {
                    maximum: priority,
                    priority,
                },
                self.cnode(),
                guard,
                self.root(),
                0,
                buffer,
                cap::Page::from_bits(self.frame_at(buffer).unwrap_or(0)),
            )?;
        }
        // As after a call instruction: 8 below a multiple of 16.
        let context = UserContext {
            rip: entry,
            rsp: STACK_TOP - 8,
            rflags: RFLAGS,
            ..UserContext::default()
        };
        self.tcb(0)
            .write_registers(true, 0, INITIAL_REGISTERS, &context)
    }

    /// Takes everything away. The caller has told the VAS server before.
    pub fn dismantle(&mut self, objects: &mut Objects) {
        objects.release_blocks(self.blocks.drain(..));
        // What did not come from the blocks is still there: caps of frames of others.
        if let Some(slots) = self.slots.take() {
            objects.release_slots(slots);
        }
        self.extents.clear();
    }
}
