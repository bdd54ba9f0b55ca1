// SPDX-License-Identifier: MIT OR Apache-2.0
//! A heap of fixed size in the component's own memory.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use spin::RelaxStrategy;
use spin::mutex::SpinMutex;
use talc::TalcLock;
use talc::source::Manual;

/// Waits for a lock by letting other threads run: there may be one core only.
#[derive(Debug)]
struct Yield;

impl RelaxStrategy for Yield {
    fn relax() {
        sel4::yield_now();
    }
}

/// A heap of `BYTES` bytes, as [`heap!`](crate::heap) declares it.
pub struct Heap<const BYTES: usize> {
    allocator: TalcLock<SpinMutex<(), Yield>, Manual>,
    memory: UnsafeCell<[u8; BYTES]>,
    claimed: AtomicBool,
}

// SAFETY: `memory` is only touched by the allocator, which has a lock.
unsafe impl<const BYTES: usize> Sync for Heap<BYTES> {}

impl<const BYTES: usize> Heap<BYTES> {
    /// A heap that is still empty.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Heap {
            allocator: TalcLock::new(Manual),
            memory: UnsafeCell::new([0; BYTES]),
            claimed: AtomicBool::new(false),
        }
    }

    /// Gives the memory to the allocator, the first time.
    fn claim(&self) -> bool {
        if self.claimed.swap(true, Ordering::Relaxed) {
            return false;
        }
        // SAFETY: the memory is ours, is given away only once, and lasts as long as the
        // allocator beside it: a global allocator is never dropped or moved.
        unsafe { self.allocator.lock().claim(self.memory.get().cast(), BYTES) }.is_some()
    }
}

// SAFETY: the allocator keeps the contract; this only hands it its memory.
unsafe impl<const BYTES: usize> GlobalAlloc for Heap<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let allocation = unsafe { self.allocator.alloc(layout) };
        if allocation.is_null() && self.claim() {
            // SAFETY: as above.
            return unsafe { self.allocator.alloc(layout) };
        }
        allocation
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.allocator.dealloc(allocation, layout) }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.allocator.realloc(allocation, layout, new_size) }
    }
}

/// Declares the component's heap, of so many bytes. They lie in the component's image but take
/// no room in its file. An allocation that does not fit panics.
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        #[global_allocator]
        static HEAP: $crate::Heap<{ $bytes }> = $crate::Heap::new();
    };
}
