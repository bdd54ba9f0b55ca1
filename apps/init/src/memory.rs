// SPDX-License-Identifier: MIT OR Apache-2.0

//! init's own memory and slots, and what is made from them.

use alloc::vec::Vec;

use protocol::address_map::PAGE_BYTES;
use sel4::{BootInfo, CapRights, Error, LEVELS, ObjectType, VmAttributes, cap};

use objects::kernel::RETYPE_LIMIT;
use objects::{Block, Sel4, Slot, SlotRange, Slots, Untypeds};

use crate::vspace::Table;

const DEPTH: u8 = u64::BITS as u8;
/// The smallest block: a page.
const SMALLEST_BITS: u8 = 12;
/// Where init maps frames for a moment. Behind init's image and the archive, which the
/// kernel maps below 64 GiB.
pub const WINDOW: u64 = 1 << 36;

/// The first slot of a range.
pub fn first(range: &SlotRange) -> u64 {
    range.first().0.into()
}

/// Makes objects from blocks, one block after the other.
pub struct Maker<'a, I: Iterator<Item = &'a Block>> {
    blocks: I,
    current: Option<(cap::Untyped, u64)>,
}

impl<'a, I: Iterator<Item = &'a Block>> Maker<'a, I> {
    pub fn new(blocks: I) -> Self {
        Maker {
            blocks,
            current: None,
        }
    }

    /// Makes `count` objects, no larger than those made before, into the slots from `first`
    /// on. `size_bits` counts for objects of variable size only.
    pub fn make(
        &mut self,
        object: ObjectType,
        size_bits: u8,
        first: u64,
        count: usize,
    ) -> Result<(), Error> {
        let bytes = 1 << object.size_bits(size_bits);
        let mut made = 0;
        while made < count {
            let (untyped, room) = match self.current {
                Some((untyped, room)) if room >= bytes => (untyped, room),
                _ => {
                    let block = self.blocks.next().ok_or(Error::NotEnoughMemory)?;
                    (
                        cap::Untyped::from_bits(block.slot().0.into()),
                        1 << block.bits(),
                    )
                }
            };
            let run = (count - made)
                .min(RETYPE_LIMIT as usize)
                .min((room / bytes) as usize);
            untyped.retype(
                object,
                size_bits.into(),
                Objects::CNODE,
                0,
                0,
                first + made as u64,
                run as u64,
            )?;
            self.current = Some((untyped, room - run as u64 * bytes));
            made += run;
        }
        Ok(())
    }
}

/// init's own memory and slots.
pub struct Objects {
    /// Where address-space identifiers of processes come from.
    pub asid_pool: cap::AsidPool,
    slots: Slots,
    untypeds: Untypeds,
    image_first_frame: u64,
    image_base: u64,
    window_slot: u64,
}

impl Objects {
    /// init's CNode, as seen by init.
    pub const CNODE: cap::CNode = cap::CNode::from_bits(sel4::init_slot::CNODE);

    /// Takes over the empty slots that the kernel left, and the untyped memory that init keeps:
    /// caps and binary logarithms of their sizes in bytes.
    ///
    /// # Errors
    /// Not enough slots to divide the memory.
    pub fn new(
        boot_info: &BootInfo,
        image_base: u64,
        untypeds: &[(Slot, u8)],
    ) -> Result<Self, Error> {
        let empty = boot_info.empty();
        let window_slot = empty.start;
        let mut slots = Slots::new(empty.start as u32 + 1..empty.end as u32);
        let untypeds = Untypeds::new(&mut slots, untypeds).map_err(|_| Error::NotEnoughMemory)?;
        Ok(Objects {
            asid_pool: cap::AsidPool::from_bits(sel4::init_slot::ASID_POOL),
            slots,
            untypeds,
            image_first_frame: boot_info.user_image_frames().start,
            image_base,
            window_slot,
        })
    }

    /// Takes consecutive slots.
    pub fn slots(&mut self, count: usize) -> Result<SlotRange, Error> {
        let count = u32::try_from(count).map_err(|_| Error::NotEnoughMemory)?;
        self.slots
            .allocate(count)
            .map_err(|_| Error::NotEnoughMemory)
    }

    /// Empties slots and gives them back.
    pub fn release_slots(&mut self, range: SlotRange) {
        for slot in range.iter() {
            self.delete(slot.0.into());
        }
        self.slots.release(range);
    }

    /// Builds the tables of the window through which pages are filled. To be called once,
    /// after memory was added.
    pub fn open_window(&mut self) -> Result<(), Error> {
        let root = cap::PML4::from_bits(sel4::init_slot::VSPACE);
        // The kernel has made the PDPT, in which init's image lies too.
        for level in 2..LEVELS.len() {
            let table = Table {
                level,
                base: WINDOW,
            };
            let slot = self.make_one(table.object(), 0)?;
            table.map(root, slot)?;
        }
        Ok(())
    }

    /// Makes one object that is never given back.
    pub fn make_one(&mut self, object: ObjectType, size_bits: u8) -> Result<u64, Error> {
        let bits = object.size_bits(size_bits).max(SMALLEST_BITS);
        let block = self.block(bits)?;
        let slot = first(&self.slots(1)?);
        Maker::new(core::iter::once(&block)).make(object, size_bits, slot, 1)?;
        Ok(slot)
    }

    /// Blocks of at least `bytes` bytes together, largest first.
    pub fn blocks(&mut self, bytes: u64) -> Result<Vec<Block>, Error> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let mut blocks = Vec::new();
        for bits in (SMALLEST_BITS..u64::BITS as u8)
            .rev()
            .filter(|bits| bytes & (1 << bits) != 0)
        {
            match self.block(bits) {
                Ok(block) => blocks.push(block),
                Err(error) => {
                    self.release_blocks(blocks);
                    return Err(error);
                }
            }
        }
        Ok(blocks)
    }

    fn block(&mut self, bits: u8) -> Result<Block, Error> {
        loop {
            match self.untypeds.allocate(&mut Sel4, &mut self.slots, bits) {
                Err(protocol::Error::Again) => {}
                block => return block.map_err(|_| Error::NotEnoughMemory),
            }
        }
    }

    /// Destroys all objects in blocks and takes these back.
    pub fn release_blocks(&mut self, blocks: impl IntoIterator<Item = Block>) {
        for block in blocks {
            self.untypeds.release(&mut Sel4, block);
        }
    }

    /// Empties a slot; an empty one stays so.
    pub fn delete(&self, slot: u64) {
        let deleted = Self::CNODE.delete(slot, DEPTH);
        debug_assert!(deleted.is_ok());
    }

    /// Copies the cap of the frame of init's image that holds `page` to an empty slot.
    pub fn copy_image_frame(&self, page: &[u8], to: u64) -> Result<(), Error> {
        let position = (page.as_ptr().addr() as u64 - self.image_base) / PAGE_BYTES;
        self.copy_frame(self.image_first_frame + position, to)
    }

    /// Copies the cap of a frame to an empty slot, without the right to write.
    pub fn copy_frame(&self, frame: u64, to: u64) -> Result<(), Error> {
        Self::CNODE.copy(to, DEPTH, Self::CNODE, frame, DEPTH, CapRights::READ)
    }

    /// Writes `content`, at most a page, to the beginning of a frame.
    pub fn fill(&self, frame: u64, content: &[u8]) -> Result<(), Error> {
        self.with_window(frame, |window| {
            // SAFETY: the window is a page of memory that is mapped, writable, and used by
            // nothing else while this closure runs; the content is init's own and at most
            // a page.
            unsafe {
                let length = content.len().min(PAGE_BYTES as usize);
                core::ptr::copy_nonoverlapping(content.as_ptr(), window, length);
            }
        })
    }

    /// Reads the word at a byte offset, a multiple of 8 within the page, of a frame.
    pub fn read_word(&self, frame: u64, offset: usize) -> Result<u64, Error> {
        self.with_window(frame, |window| {
            // SAFETY: the window is mapped; the offset is aligned and within it. The process
            // it belongs to does not run, but its content may be anything: a plain word.
            unsafe {
                window
                    .byte_add(offset % PAGE_BYTES as usize)
                    .cast::<u64>()
                    .read_volatile()
            }
        })
    }

    fn with_window<T>(&self, frame: u64, body: impl FnOnce(*mut u8) -> T) -> Result<T, Error> {
        let slot = self.window_slot;
        Self::CNODE.copy(
            slot,
            DEPTH,
            Self::CNODE,
            frame,
            DEPTH,
            CapRights::READ_WRITE,
        )?;
        let root = cap::PML4::from_bits(sel4::init_slot::VSPACE);
        let mapped = cap::Page::from_bits(slot).map(
            root,
            WINDOW,
            CapRights::READ_WRITE,
            VmAttributes::DEFAULT,
        );
        let result = mapped.map(|()| body(WINDOW as *mut u8));
        self.delete(slot);
        result
    }
}
