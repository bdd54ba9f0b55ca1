// SPDX-License-Identifier: MIT OR Apache-2.0

//! `malloc` and `free`, which choose the heap of the active space (paper section 4.1).

#![allow(unsafe_code)]

extern crate alloc;

use alloc::alloc::{alloc, dealloc};
use core::alloc::Layout;
use core::fmt;
use core::ptr::{self, NonNull};

use heapless::linear_map::LinearMap;
use protocol::address_map::PRIVATE;
use protocol::{Access, Error};
use spin::mutex::SpinMutex;
use storage::{Allocator, Heap, Place};

use crate::data_vas::{self, grow_heaps};
use crate::threads::Yield;
use crate::{Attachment, Segment, Space, Vas, vas_root, vas_set_root};

/// The named root by which the heap of a VAS is found.
pub(crate) const HEAP: &str = "heap";
/// The named root that says where the segment of the heap ends, for who makes the heap.
const END: &str = "heap end";

/// Attachments of a process that can have a heap for [`malloc`].
const HEAPS: usize = 64;

/// What lies in front of each block, and how blocks are aligned: as C aligns them.
const FRONT: usize = 16;

/// Where the heaps lie of the spaces that this process may write, by [`Space::word`].
static BY_SPACE: SpinMutex<LinearMap<u64, (u64, u64), HEAPS>, Yield> =
    SpinMutex::new(LinearMap::new());

/// Says that a segment has the heap of a VAS, unless another has it already.
pub(crate) fn offer(vas: &Vas, segment: &Segment) {
    if vas_root(vas, HEAP) == Err(Error::NotFound) {
        // Who may not set roots has no heap to offer.
        let end = Some(segment.base() + segment.size());
        let _ = vas_set_root(vas, END, end)
            .and_then(|()| vas_set_root(vas, HEAP, Some(segment.base())));
    }
}

/// Remembers where the heap of a VAS is, for who may write there.
pub(crate) fn remember(vas: &Vas, attachment: &Attachment) {
    if attachment.active.access == Access::ReadOnly {
        return;
    }
    let Ok(base) = vas_root(vas, HEAP) else {
        return;
    };
    grow_heaps();
    // A heap that was made with the VAS needs no end.
    let end = vas_root(vas, END).unwrap_or(base);
    // Without room for it, there is no memory in that space.
    let _ = BY_SPACE
        .lock()
        .insert(attachment.space().word(), (base, end));
}

/// Forgets a space.
pub(crate) fn forget(space: Space) {
    BY_SPACE.lock().remove(&space.word());
}

/// Calls `work` with the heap of the active space, or with `None` if the process's own memory stands
/// in for it: in the space that it started in, and where nothing may be written.
fn with_active<T>(work: impl FnOnce(Option<Heap<'_>>) -> T) -> Option<T> {
    let space = Space::current();
    let writes = |active: protocol::process::Active| active.access == Access::ReadWrite;
    if !space.attachment().is_some_and(writes) {
        return Some(work(None));
    }
    let (base, end) = *BY_SPACE.lock().get(&space.word())?;
    // Roots of a VAS are whatever who may write there has set.
    let bytes = end.checked_sub(base)? as usize;
    let base = data_vas::base(base).ok()?;
    // SAFETY: the roots of the VAS say that the segment of its heap is there, which the thread is
    // in and may write; its lock keeps others out. As with `malloc` in C, that what is there was
    // made by this library is up to who uses the VAS.
    unsafe {
        let place = Place::new(base);
        place.malloc(bytes, |heap| work(Some(heap))).ok()
    }
}

fn layout(size: usize) -> Option<Layout> {
    let size = size.checked_add(FRONT)?;
    Layout::from_size_align(size, FRONT).ok()
}

/// Memory of `size` bytes, aligned to 16; null if there is none.
///
/// In a VAS that was attached to by [`vas_attach`](crate::raw::vas_attach) and may be written it comes
/// from the heap of that VAS, which is in the first writable segment that was [attached](crate::raw::seg_attach) to it, or what
/// [`DataVas`](crate::DataVas) has made. Elsewhere it is the process's own: in the space that it
/// started in, and as scratch memory in a VAS that may only be read (paper section 5.3). In a VAS
/// [without locks](crate::LockMode::None), who allocates must see to being alone.
pub fn malloc(size: usize) -> *mut u8 {
    let allocate = || {
        let layout = layout(size)?;
        let block = with_active(|heap| match heap {
            Some(heap) => heap.allocate(layout).ok().map(NonNull::cast::<u8>),
            // SAFETY: of a size that is not 0.
            None => NonNull::new(unsafe { alloc(layout) }),
        })??;
        // SAFETY: the block has room for its size in front.
        unsafe {
            block.cast::<usize>().write(size);
            Some(block.add(FRONT).as_ptr())
        }
    };
    allocate().unwrap_or(ptr::null_mut())
}

/// Memory was to be freed that the active space does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHere {
    /// Its address.
    pub address: usize,
}

impl fmt::Display for NotHere {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:#x} is not in the heap of the active space",
            self.address
        )
    }
}

impl core::error::Error for NotHere {}

/// Frees memory. Its own memory a process can free wherever it is, that of a VAS only where the
/// VAS may be written (paper section 4.1).
///
/// # Errors
/// [`NotHere`]; the memory stays allocated.
///
/// # Safety
/// The memory is from [`malloc`], and is not used any longer.
pub unsafe fn free(memory: *mut u8) -> Result<(), NotHere> {
    let Some(block) = NonNull::new(memory.wrapping_sub(FRONT)).filter(|_| !memory.is_null()) else {
        return Ok(());
    };
    let not_here = NotHere {
        address: memory.addr(),
    };
    // SAFETY: `malloc` has put the size there. Asked only where the block is known to be mapped.
    let layout = || layout(unsafe { block.cast::<usize>().read() }).ok_or(not_here);
    if PRIVATE.contains(&(memory.addr() as u64)) {
        // SAFETY: from `malloc`, which has got it from there.
        unsafe { dealloc(block.as_ptr(), layout()?) };
        return Ok(());
    }
    let freed = with_active(|heap| {
        let heap = heap.filter(|heap| heap.here().addresses().contains(&memory.addr()))?;
        let layout = layout().ok()?;
        // SAFETY: from `malloc`, which has got it from there.
        unsafe { heap.deallocate(block, layout) };
        Some(())
    });
    freed.flatten().ok_or(not_here)
}
