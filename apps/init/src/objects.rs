// SPDX-License-Identifier: MIT OR Apache-2.0

//! init's own memory and slots, and objects made from them.

use alloc::vec::Vec;

use protocol::address_map::PAGE_BYTES;
use sel4::{BootInfo, CapRights, Error, LEVELS, ObjectType, VmAttributes, cap};

use crate::vspace::Table;

const DEPTH: u8 = u64::BITS as u8;
/// The most objects that one Retype makes (the kernel's `CONFIG_RETYPE_FAN_OUT_LIMIT`).
const RETYPE_LIMIT: usize = 256;
/// The smallest block: a page.
const SMALLEST_BITS: u8 = 12;
/// Where init maps frames for a moment. Behind init's image and the archive, which the
/// kernel maps below 64 GiB.
const WINDOW: u64 = 1 << 36;

/// Slots of init's CNode that follow one another.
#[derive(Debug)]
pub struct SlotRange {
    pub first: u64,
    pub count: usize,
}

/// The free slots of init's CNode: ranges in order, none adjoining.
pub struct Slots {
    free: Vec<SlotRange>,
}

impl Slots {
    fn new(first: u64, end: u64) -> Self {
        Slots {
            free: alloc::vec![SlotRange {
                first,
                count: (end - first) as usize
            }],
        }
    }

    /// Takes `count` slots that follow one another.
    pub fn allocate(&mut self, count: usize) -> Option<SlotRange> {
        let position = self.free.iter().position(|range| range.count >= count)?;
        let range = &mut self.free[position];
        let taken = SlotRange {
            first: range.first,
            count,
        };
        range.first += count as u64;
        range.count -= count;
        if range.count == 0 {
            self.free.remove(position);
        }
        Some(taken)
    }

    /// Gives slots back, which must be empty.
    pub fn release(&mut self, range: SlotRange) {
        let position = self.free.partition_point(|free| free.first < range.first);
        self.free.insert(position, range);
        for left in [position, position.wrapping_sub(1)] {
            let [a, b] = match self.free.get(left..left.wrapping_add(2)) {
                Some([a, b]) => [a, b],
                _ => continue,
            };
            if a.first + a.count as u64 == b.first {
                self.free[left].count += self.free[left + 1].count;
                self.free.remove(left + 1);
            }
        }
    }
}

/// A block of untyped memory of 2^`bits` bytes.
#[derive(Debug)]
pub struct Block {
    slot: u64,
    pub bits: u8,
    /// The block that it is one half of, and the slot of the other half.
    parents: Vec<Half>,
}

/// One division of a block in two: the slots of the block and of its other half.
#[derive(Debug, Clone)]
struct Half {
    whole: u64,
    other: u64,
}

impl Block {
    /// The cap of the block.
    pub fn untyped(&self) -> cap::Untyped {
        cap::Untyped::from_bits(self.slot)
    }
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
                    (block.untyped(), 1 << block.bits)
                }
            };
            let run = (count - made)
                .min(RETYPE_LIMIT)
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
    /// Free slots of init's CNode.
    pub slots: Slots,
    /// Where address-space identifiers of processes come from.
    pub asid_pool: cap::AsidPool,
    free: Vec<Block>,
    image_first_frame: u64,
    image_base: u64,
    window_slot: u64,
}

impl Objects {
    /// init's CNode, as seen by init.
    pub const CNODE: cap::CNode = cap::CNode::from_bits(sel4::init_slot::CNODE);

    /// Takes over what the kernel left, except the untyped memory.
    pub fn new(boot_info: &BootInfo, image_base: u64) -> Self {
        let empty = boot_info.empty();
        let mut slots = Slots::new(empty.start, empty.end);
        let window_slot = slots.allocate(1).map_or(0, |range| range.first);
        Objects {
            slots,
            asid_pool: cap::AsidPool::from_bits(sel4::init_slot::ASID_POOL),
            free: Vec::new(),
            image_first_frame: boot_info.user_image_frames().start,
            image_base,
            window_slot,
        }
    }

    /// Adds untyped memory of 2^`bits` bytes.
    pub fn add(&mut self, slot: u64, bits: u8) {
        self.free.push(Block {
            slot,
            bits,
            parents: Vec::new(),
        });
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
        let block = self.block(bits).ok_or(Error::NotEnoughMemory)?;
        let slot = self.slots.allocate(1).ok_or(Error::NotEnoughMemory)?.first;
        Maker::new(core::iter::once(&block)).make(object, size_bits, slot, 1)?;
        Ok(slot)
    }

    /// Blocks of at least `bytes` bytes together, largest first.
    pub fn blocks(&mut self, bytes: u64) -> Option<Vec<Block>> {
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let mut blocks = Vec::new();
        for bits in (SMALLEST_BITS..u64::BITS as u8)
            .rev()
            .filter(|bits| bytes & (1 << bits) != 0)
        {
            match self.block(bits) {
                Some(block) => blocks.push(block),
                None => {
                    self.free.append(&mut blocks);
                    return None;
                }
            }
        }
        Some(blocks)
    }

    /// Takes a block of exactly 2^`bits` bytes, dividing the smallest that is large enough.
    fn block(&mut self, bits: u8) -> Option<Block> {
        loop {
            let candidates = self
                .free
                .iter()
                .enumerate()
                .filter(|(_, block)| block.bits >= bits);
            match candidates
                .min_by_key(|(_, block)| block.bits)
                .map(|(position, _)| position)
            {
                Some(position) => {
                    let mut block = self.free.swap_remove(position);
                    while block.bits > bits {
                        block = self.divide(block)?;
                    }
                    return Some(block);
                }
                None if self.join() => {}
                None => return None,
            }
        }
    }

    /// Divides a block, keeps one half free and returns the other.
    fn divide(&mut self, block: Block) -> Option<Block> {
        let Some(halves) = self.slots.allocate(2) else {
            self.free.push(block);
            return None;
        };
        let bits = block.bits - 1;
        let made =
            Maker::new(core::iter::once(&block)).make(ObjectType::Untyped, bits, halves.first, 2);
        if made.is_err() {
            self.slots.release(halves);
            self.free.push(block);
            return None;
        }
        let half = |slot, other| {
            let mut parents = block.parents.clone();
            parents.push(Half {
                whole: block.slot,
                other,
            });
            Block {
                slot,
                bits,
                parents,
            }
        };
        self.free.push(half(halves.first + 1, halves.first));
        Some(half(halves.first, halves.first + 1))
    }

    /// Joins all halves that are both free; whether there were any. Only done when memory is
    /// short: the kernel clears a block that is divided again.
    fn join(&mut self) -> bool {
        let mut joined = false;
        let mut position = 0;
        while position < self.free.len() {
            let other = self.free[position]
                .parents
                .last()
                .and_then(|half| self.free.iter().position(|block| block.slot == half.other));
            let Some(other) = other else {
                position += 1;
                continue;
            };
            let (high, low) = (position.max(other), position.min(other));
            let other = self.free.swap_remove(high);
            let mut block = self.free.swap_remove(low);
            for slot in [block.slot, other.slot] {
                self.delete(slot);
                self.slots.release(SlotRange {
                    first: slot,
                    count: 1,
                });
            }
            if let Some(half) = block.parents.pop() {
                self.free.push(Block {
                    slot: half.whole,
                    bits: block.bits + 1,
                    parents: block.parents,
                });
            }
            joined = true;
            position = 0;
        }
        joined
    }

    /// Destroys all objects in a block and takes it back.
    pub fn revoke_and_release(&mut self, block: Block) {
        // Revoking a cap that exists cannot fail.
        let revoked = Self::CNODE.revoke(block.slot, DEPTH);
        debug_assert!(revoked.is_ok());
        self.free.push(block);
    }

    /// Empties a slot; an empty one stays so.
    pub fn delete(&self, slot: u64) {
        let deleted = Self::CNODE.delete(slot, DEPTH);
        debug_assert!(deleted.is_ok());
    }

    /// Copies the cap of the frame of init's image that holds `page` to an empty slot.
    pub fn copy_image_frame(&self, page: &[u8], to: u64) -> Result<(), Error> {
        let position = (page.as_ptr().addr() as u64 - self.image_base) / PAGE_BYTES;
        let frame = self.image_first_frame + position;
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
