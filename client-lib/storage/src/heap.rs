// SPDX-License-Identifier: MIT OR Apache-2.0

//! Heaps that live in the memory they hand out (the paper's `m_space`s, section 4.1).
//!
//! A heap begins at the base of its segment with a header: what says that it is one, the state of
//! the allocator, and the address of the root, from which all other data is reached. Whoever may
//! write the segment can allocate and free; who does must be alone in it, which the lock of the
//! segment sees to.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, Ordering, compiler_fence};

use allocator_api2::alloc::{AllocError, Allocator};
use rlsf::Tlsf;

use crate::{Root, Shape};

/// Classes of blocks for each power of two.
const CLASSES: usize = 16;

/// Blocks of any size. Only with classes for all sizes do blocks that a growing segment adds become
/// one with those before.
type Blocks = Tlsf<'static, u64, u16, 59, CLASSES>;

/// Bytes of the least segment that a heap fits in.
pub const LEAST_BYTES: usize = 16 << 10;

/// `sel4heap`, as the bytes lie in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"sel4heap");

/// Stands for the compiler and the crates that decide how what is here lies in memory.
const FORMAT: u64 = {
    // FNV-1a. The number is changed by hand with how values of this crate lie there.
    let text = concat!(env!("STORAGE_FORMAT"), " 2").as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut position = 0;
    while position < text.len() {
        hash = (hash ^ text[position] as u64).wrapping_mul(0x100_0000_01b3);
        position += 1;
    }
    hash
};

/// The lifetime of one stay in a VAS: no two stays have the same, and none can stand for another.
pub(crate) type Stay<'v> = PhantomData<fn(&'v ()) -> &'v ()>;

#[repr(C)]
struct Header {
    /// [`MAGIC`], once all else is there.
    magic: u64,
    /// [`FORMAT`].
    format: u64,
    /// [`Shape`] of the root.
    shape: u64,
    /// Differs from that of any other heap that began at the same address, as far as
    /// [`CheckedPtr`](crate::CheckedPtr) has bits for it. Lies where those are.
    tag: u64,
    /// How often all that was in it was discarded.
    rebuilt: u64,
    /// Whether somebody is changing what follows.
    changing: u64,
    root: *mut u8,
    statistics: Statistics,
    blocks: Blocks,
}

const _: () = assert!(size_of::<Header>() < LEAST_BYTES / 2);

/// What a heap has handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Bytes of the heap, its own header included.
    pub bytes: usize,
    /// Pieces that were allocated and not freed.
    pub allocations: usize,
    /// Bytes that were asked for in them.
    pub allocated_bytes: usize,
    /// The most that these have been.
    pub peak_bytes: usize,
}

/// Why a heap cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeapError {
    /// There is no heap, or none whose making was finished.
    NoHeap,
    /// It was made by a program of another compiler, or with another version of this library.
    OtherFormat,
    /// Its root is not of this type, or the type was defined otherwise when it was made.
    OtherRoot {
        /// [`Shape`] of the type that was expected.
        expected: u64,
        /// That of what is there.
        found: u64,
    },
    /// Whoever changed it last has died while doing so.
    HalfChanged,
    /// The segment is smaller than [`LEAST_BYTES`], or than what its root needs.
    TooSmall,
}

impl fmt::Display for HeapError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeapError::NoHeap => write!(out, "there is no heap in the VAS"),
            HeapError::OtherFormat => {
                write!(out, "the heap was made with another compiler or library")
            }
            HeapError::OtherRoot { expected, found } => write!(
                out,
                "the root is of another type: shape {found:#x} instead of {expected:#x}"
            ),
            HeapError::HalfChanged => {
                write!(out, "the heap is half changed: who changed it has died")
            }
            HeapError::TooSmall => write!(out, "the segment is too small for the heap"),
        }
    }
}

impl core::error::Error for HeapError {}

/// Makes the segment, whose base comes first, at least so many bytes large, and answers how large it
/// is then.
pub type Grow = fn(usize, usize) -> Option<usize>;

/// What this process grows segments with. A function of its own, so it lies outside of all heaps.
static GROW: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Says how the segments of heaps are grown in this process. Without it, heaps do not grow.
///
/// # Safety
/// When `grow` has answered, the memory up to there belongs to the segment, and nothing else lies
/// in what was added.
pub unsafe fn grow_with(grow: Grow) {
    GROW.store(grow as *mut (), Ordering::Relaxed);
}

fn grow(base: usize, bytes: usize) -> Option<usize> {
    let grow = GROW.load(Ordering::Relaxed);
    if grow.is_null() {
        return None;
    }
    // SAFETY: only `grow_with` stores there, and only such functions.
    let grow: Grow = unsafe { core::mem::transmute(grow) };
    grow(base, bytes)
}

/// A heap in a VAS, for one stay in it for writing.
///
/// It is the allocator of everything that is stored there: `VasVec::new_in(heap)`. If there is no
/// room, its segment is grown; if that is refused, an allocation fails: those that cannot say so
/// panic, as in the standard library.
///
/// Allocating needs the segment to be attached for writing. Collections know their heap also for
/// who only reads; if one of those allocates all the same, that is a fault, which ends the process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Heap<'v> {
    header: NonNull<Header>,
    stay: Stay<'v>,
}

impl fmt::Debug for Heap<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Heap({:p})", self.header)
    }
}

/// A segment with a heap, for who must find out what is there and is in charge of the lock.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    header: NonNull<Header>,
}

impl Place {
    /// The memory from `base` on.
    ///
    /// # Safety
    /// `base` is that of a segment, a multiple of 4096, and each of the methods is called only
    /// while the segment is attached, and locked at least to read. It either holds zeros or a heap
    /// was [built](Place::build) there, by whatever program, and whoever has written to it since
    /// kept to what this crate's safe functions do.
    pub const unsafe fn new(base: NonNull<u8>) -> Self {
        Place {
            header: base.cast(),
        }
    }

    /// The first address.
    pub fn base(self) -> usize {
        self.header.addr().get()
    }

    fn header(self) -> *mut Header {
        self.header.as_ptr()
    }

    /// Makes a heap of the `bytes` of the segment, with a root that `root` makes. What was there
    /// is discarded, without being dropped. `name` tells the heap from others at the same address.
    ///
    /// # Errors
    /// [`HeapError::TooSmall`]; then there is no heap.
    ///
    /// # Safety
    /// As for [`Place::new`], and the lock is held to write.
    pub unsafe fn build<R: Root>(
        self,
        bytes: usize,
        name: &str,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<(), HeapError> {
        let tag = tag_of(name);
        if bytes < LEAST_BYTES {
            return Err(HeapError::TooSmall);
        }
        let base = self.header.cast::<u8>().as_ptr();
        let header = self.header();
        // SAFETY: the segment is ours alone, and large enough for the header; all bits are a
        // number.
        let rebuilt = unsafe {
            let rebuilt = (&raw const (*header).rebuilt).read();
            (&raw mut (*header).magic).write_volatile(0);
            compiler_fence(Ordering::SeqCst);
            rebuilt.wrapping_add(1)
        };
        // SAFETY: as above. What was there is not looked at.
        unsafe {
            header.write(Header {
                magic: 0,
                format: FORMAT,
                shape: Shape::of::<R>(),
                tag,
                rebuilt,
                changing: 0,
                root: ptr::null_mut(),
                statistics: Statistics {
                    bytes,
                    ..Statistics::default()
                },
                blocks: Blocks::new(),
            });
        }
        let free = ptr::slice_from_raw_parts_mut(
            base.wrapping_add(size_of::<Header>()),
            bytes - size_of::<Header>(),
        );
        let heap = Heap {
            header: self.header,
            stay: PhantomData,
        };
        // SAFETY: the rest of the segment, which the allocator alone hands out from here on.
        heap.change(|header| unsafe {
            header
                .blocks
                .insert_free_block_ptr(NonNull::new_unchecked(free))
        });
        let value = root(heap);
        let layout = Layout::new::<R::At<'_>>();
        let place = heap
            .allocate(layout)
            .map_err(|AllocError| HeapError::TooSmall)?;
        let place = place.cast::<R::At<'_>>().as_ptr();
        // SAFETY: allocated for such a value just now; the header is ours alone.
        unsafe {
            place.write(value);
            (*header).root = place.cast();
            compiler_fence(Ordering::SeqCst);
            (&raw mut (*header).magic).write_volatile(MAGIC);
        }
        Ok(())
    }

    /// Calls `work` with the heap, whatever its root is, for who allocates as in C. If there is
    /// none, it is made of `bytes`, without a root.
    ///
    /// # Errors
    /// [`HeapError::OtherFormat`], [`HeapError::HalfChanged`], [`HeapError::TooSmall`].
    ///
    /// # Safety
    /// As for [`build`](Place::build), while `work` runs too.
    pub unsafe fn malloc<T>(
        self,
        bytes: usize,
        work: impl for<'v> FnOnce(Heap<'v>) -> T,
    ) -> Result<T, HeapError> {
        // SAFETY: any value is a number; else passed on.
        unsafe {
            if (&raw const (*self.header()).magic).read_volatile() != MAGIC {
                self.build::<()>(bytes, "", |_| ())?;
            }
            self.check((&raw const (*self.header()).shape).read())?;
            Ok(work(self.heap()))
        }
    }

    /// Whether the root is of the type with this [`Shape`], and the heap is whole.
    ///
    /// # Errors
    /// All but [`HeapError::TooSmall`].
    ///
    /// # Safety
    /// As for [`Place::new`].
    #[inline]
    pub unsafe fn check(self, expected: u64) -> Result<(), HeapError> {
        // SAFETY: nobody writes meanwhile, and these fields may have any value.
        let (magic, format, shape, changing) = unsafe {
            let header = self.header();
            (
                (&raw const (*header).magic).read_volatile(),
                (*header).format,
                (*header).shape,
                (*header).changing,
            )
        };
        if magic == MAGIC && format == FORMAT && shape == expected && changing == 0 {
            return Ok(());
        }
        Err(why_not(magic, format, shape, changing, expected))
    }

    /// How often all that was there was discarded.
    ///
    /// # Safety
    /// As for [`Place::new`].
    pub unsafe fn rebuilt(self) -> u64 {
        // SAFETY: any value is a number.
        unsafe { (&raw const (*self.header()).rebuilt).read_volatile() }
    }

    /// The heap, for one stay, to read.
    ///
    /// # Safety
    /// As for [`heap`](Place::heap), but the lock need only be held to read.
    #[inline]
    pub(crate) const unsafe fn here<'v>(self) -> Here<'v> {
        Here {
            header: self.header,
            stay: PhantomData,
        }
    }

    /// Where the root lies, during one stay.
    ///
    /// # Safety
    /// As for [`here`](Place::here), and `R` is the type that [`check`](Place::check) was asked
    /// about.
    #[inline]
    pub(crate) unsafe fn root<'v, R: Root>(self) -> NonNull<R::At<'v>> {
        // SAFETY: where a heap is whole, there is a root.
        unsafe { NonNull::new_unchecked((*self.header()).root.cast()) }
    }

    /// The heap, for one stay, to write.
    ///
    /// # Safety
    /// The stay `'v` is that of the calling thread in the VAS: it ends with it, no other stay has
    /// the same lifetime, the lock is held meanwhile, and [`check`](Place::check) has succeeded.
    #[inline]
    pub(crate) const unsafe fn heap<'v>(self) -> Heap<'v> {
        Heap {
            header: self.header,
            stay: PhantomData,
        }
    }
}

#[cold]
fn why_not(magic: u64, format: u64, shape: u64, changing: u64, expected: u64) -> HeapError {
    if magic != MAGIC {
        HeapError::NoHeap
    } else if format != FORMAT {
        HeapError::OtherFormat
    } else if changing != 0 {
        HeapError::HalfChanged
    } else {
        debug_assert_ne!(shape, expected);
        HeapError::OtherRoot {
            expected,
            found: shape,
        }
    }
}

/// 17 bits of a name, where no address has bits.
fn tag_of(name: &str) -> u64 {
    use core::hash::Hasher;
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(name.as_bytes());
    let hash = hasher.finish();
    (hash ^ hash >> 17 ^ hash >> 34 ^ hash >> 51) << crate::pointer::TAG_SHIFT
}

/// The heap of the VAS that the thread is in, for one stay in it, whether it may be written or
/// not: tells what is in the VAS and what is not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Here<'v> {
    header: NonNull<Header>,
    stay: Stay<'v>,
}

impl fmt::Debug for Here<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Here({:p})", self.header)
    }
}

impl<'v> From<Heap<'v>> for Here<'v> {
    fn from(heap: Heap<'v>) -> Self {
        Here {
            header: heap.header,
            stay: PhantomData,
        }
    }
}

impl Here<'_> {
    /// What the heap has handed out.
    pub fn statistics(self) -> Statistics {
        self.header().statistics
    }

    /// The addresses that what it hands out lies at.
    pub fn addresses(self) -> Range<usize> {
        let base = self.header.as_ptr().addr();
        base..base + self.header().statistics.bytes
    }

    pub(crate) fn tag(self) -> u64 {
        self.header().tag
    }

    fn header(&self) -> &Header {
        // SAFETY: during the stay the segment is attached and locked. No exclusive reference is
        // alive: there is one only in `change`, which does not call back.
        unsafe { self.header.as_ref() }
    }
}

impl<'v> Heap<'v> {
    /// The same heap, to ask what is in the VAS.
    pub fn here(self) -> Here<'v> {
        self.into()
    }

    fn header(&self) -> &Header {
        // SAFETY: as for `Here`.
        unsafe { self.header.as_ref() }
    }

    /// Changes what the allocator knows. Who dies meanwhile leaves the mark.
    #[inline]
    fn change<T>(self, change: impl FnOnce(&mut Header) -> T) -> T {
        let header = self.header.as_ptr();
        // SAFETY: who has a heap is alone in it: the lock keeps other threads out, the heap is
        // not sent to any, and `change` calls nobody who has it too.
        unsafe {
            (&raw mut (*header).changing).write_volatile(1);
            compiler_fence(Ordering::SeqCst);
            let result = change(&mut *header);
            compiler_fence(Ordering::SeqCst);
            (&raw mut (*header).changing).write_volatile(0);
            result
        }
    }

    /// Has the segment grown, at least for such an allocation.
    #[cold]
    fn extend(self, layout: Layout) -> Result<(), AllocError> {
        let bytes = self.header().statistics.bytes;
        // The allocator looks among the blocks that are a class larger, and puts something around.
        let needed = layout
            .size()
            .checked_add(layout.size() / CLASSES)
            .and_then(|needed| needed.checked_add(layout.align()))
            .and_then(|needed| needed.checked_add(4 * rlsf::GRANULARITY))
            .and_then(|needed| needed.checked_add(bytes))
            .ok_or(AllocError)?;
        let base = self.header.addr().get();
        let doubled = needed.max(bytes.saturating_mul(2));
        let now = grow(base, doubled)
            .or_else(|| grow(base, needed))
            .filter(|&now| now >= needed)
            .ok_or(AllocError)?;
        let end = self.header.cast::<u8>().as_ptr().wrapping_add(bytes);
        let more = ptr::slice_from_raw_parts_mut(end, now - bytes);
        self.change(|header| {
            // SAFETY: the new end of the segment, right behind what the allocator has.
            unsafe {
                header
                    .blocks
                    .append_free_block_ptr(NonNull::new_unchecked(more))
            };
            header.statistics.bytes = now;
        });
        Ok(())
    }

    fn allocate_once(self, layout: Layout) -> Option<NonNull<u8>> {
        self.change(|header| {
            let block = header.blocks.allocate(layout)?;
            header.statistics.add(layout.size());
            Some(block)
        })
    }

    /// As [`Allocator::allocate`].
    fn get(self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            let dangling = ptr::without_provenance_mut(layout.align());
            let block = ptr::slice_from_raw_parts_mut(dangling, 0);
            return NonNull::new(block).ok_or(AllocError);
        }
        let block = match self.allocate_once(layout) {
            Some(block) => block,
            None => {
                self.extend(layout)?;
                self.allocate_once(layout).ok_or(AllocError)?
            }
        };
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    /// As [`Allocator::deallocate`].
    ///
    /// # Safety
    /// As for that.
    unsafe fn give_back(self, block: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 {
            return;
        }
        self.change(|header| {
            // SAFETY: the caller got it here, with this layout.
            unsafe { header.blocks.deallocate(block, layout.align()) };
            header.statistics.remove(layout.size());
        });
    }

    /// As [`Allocator::grow`].
    ///
    /// # Safety
    /// As for that.
    unsafe fn enlarge(
        self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.size() != 0 && old.align() == new.align() {
            let moved = self.change(|header| {
                // SAFETY: the caller got it here, with the old layout.
                let moved = unsafe { header.blocks.reallocate(block, new) }?;
                header.statistics.remove(old.size());
                header.statistics.add(new.size());
                Some(moved)
            });
            if let Some(moved) = moved {
                return Ok(NonNull::slice_from_raw_parts(moved, new.size()));
            }
        }
        let larger = self.get(new)?;
        // SAFETY: two different blocks, the first of which is as large as the old layout says,
        // and the second larger.
        unsafe {
            let content = block.cast::<MaybeUninit<u8>>();
            content.copy_to_nonoverlapping(larger.cast(), old.size());
            self.give_back(block, old);
        }
        Ok(larger)
    }
}

impl Statistics {
    fn add(&mut self, bytes: usize) {
        self.allocations += 1;
        self.allocated_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.allocated_bytes);
    }

    fn remove(&mut self, bytes: usize) {
        self.allocations -= 1;
        self.allocated_bytes -= bytes;
    }
}

// SAFETY: blocks stay valid until they are given back, whichever copy of the heap gives them, as
// all copies are the same heap; it does not move. Blocks of no bytes are dangling.
//
// The work is done with a copy of the heap: a collection whose address goes nowhere else can be kept
// in registers.
unsafe impl Allocator for Heap<'_> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.get(layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: passed on.
        unsafe { self.give_back(block, layout) };
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: passed on.
        unsafe { self.enlarge(block, old, new) }
    }
}
