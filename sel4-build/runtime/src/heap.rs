// SPDX-License-Identifier: MIT OR Apache-2.0
//! A heap of fixed size in the component's own memory.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use rlsf::Tlsf;
use spin::RelaxStrategy;
use spin::mutex::{SpinMutex, SpinMutexGuard};

/// Waits for a lock by letting other threads run: there may be one core only.
#[derive(Debug)]
struct Yield;

impl RelaxStrategy for Yield {
    fn relax() {
        sel4::yield_now();
    }
}

/// Blocks of up to 4 GiB in 32 classes for each power of two.
type Allocator = Tlsf<'static, u32, u32, 27, 32>;

/// A heap of `BYTES` bytes, as [`heap!`](crate::heap) declares it.
pub struct Heap<const BYTES: usize> {
    state: SpinMutex<State, Yield>,
    memory: UnsafeCell<[u8; BYTES]>,
}

struct State {
    allocator: Allocator,
    /// Whether the allocator has been given the memory.
    has_memory: bool,
}

// SAFETY: `memory` and what the allocator knows of it are only touched under the lock.
unsafe impl<const BYTES: usize> Sync for Heap<BYTES> {}

impl<const BYTES: usize> Heap<BYTES> {
    /// A heap that is still empty.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Heap {
            state: SpinMutex::new(State {
                allocator: Tlsf::new(),
                has_memory: false,
            }),
            memory: UnsafeCell::new([0; BYTES]),
        }
    }

    /// The allocator, which has its memory from the first time on.
    fn lock(&self) -> SpinMutexGuard<'_, State, Yield> {
        let mut state = self.state.lock();
        if !state.has_memory {
            state.has_memory = true;
            let memory = ptr::slice_from_raw_parts_mut(self.memory.get().cast::<u8>(), BYTES);
            if let Some(memory) = NonNull::new(memory) {
                // SAFETY: the memory is ours, is given away only once, and lasts as long as
                // the allocator beside it: a global allocator is never dropped or moved.
                unsafe { state.allocator.insert_free_block_ptr(memory) };
            }
        }
        state
    }
}

fn pointer(allocation: Option<NonNull<u8>>) -> *mut u8 {
    allocation.map_or(ptr::null_mut(), NonNull::as_ptr)
}

// SAFETY: the allocator keeps the contract; this only hands it its memory.
unsafe impl<const BYTES: usize> GlobalAlloc for Heap<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        pointer(self.lock().allocator.allocate(layout))
    }

    unsafe fn dealloc(&self, allocation: *mut u8, layout: Layout) {
        if let Some(allocation) = NonNull::new(allocation) {
            // SAFETY: the caller got it from here, with this layout.
            unsafe { self.lock().allocator.deallocate(allocation, layout.align()) };
        }
    }

    unsafe fn realloc(&self, allocation: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let new_layout = Layout::from_size_align(new_size, layout.align());
        let (Some(allocation), Ok(new_layout)) = (NonNull::new(allocation), new_layout) else {
            return ptr::null_mut();
        };
        // SAFETY: the caller got it from here, with this alignment.
        pointer(unsafe { self.lock().allocator.reallocate(allocation, new_layout) })
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
