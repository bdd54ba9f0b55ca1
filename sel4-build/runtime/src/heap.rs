// SPDX-License-Identifier: MIT OR Apache-2.0
//! A heap of fixed size.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};

use protocol::address_map::SERVER_HEAP;
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

/// Memory that a heap may use as it likes.
///
/// # Safety
///
/// All calls give the same memory, which nothing else uses and which lasts.
pub unsafe trait Memory {
    /// The memory.
    fn get(&self) -> *mut [u8];
}

/// Memory in the component's own image.
pub struct InImage<const BYTES: usize>(UnsafeCell<[u8; BYTES]>);

// SAFETY: only the heap that has it touches it, under its lock.
unsafe impl<const BYTES: usize> Sync for InImage<BYTES> {}

impl<const BYTES: usize> InImage<BYTES> {
    /// So many bytes, of which the executable holds none.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        InImage(UnsafeCell::new([0; BYTES]))
    }
}

// SAFETY: the memory is private to the value, and a global allocator is never dropped or moved.
unsafe impl<const BYTES: usize> Memory for InImage<BYTES> {
    fn get(&self) -> *mut [u8] {
        ptr::slice_from_raw_parts_mut(self.0.get().cast(), BYTES)
    }
}

/// What `init` mapped for the VAS server, whose need depends on the system description.
pub struct FromInit;

// SAFETY: `init` maps it, writable and for good, before the server starts; nothing else of the
// server lies there.
unsafe impl Memory for FromInit {
    fn get(&self) -> *mut [u8] {
        let bytes = crate::server_start_info().heap_bytes as usize;
        ptr::slice_from_raw_parts_mut(SERVER_HEAP as *mut u8, bytes)
    }
}

/// A heap, as [`heap!`](crate::heap!) or [`server_heap!`](crate::server_heap!) declares it.
pub struct Heap<M> {
    state: SpinMutex<State, Yield>,
    memory: M,
}

// SAFETY: what the allocator knows is only touched under the lock.
unsafe impl<M: Sync> Sync for Heap<M> {}

struct State {
    allocator: Allocator,
    /// Whether the allocator has been given the memory.
    has_memory: bool,
}

impl<M: Memory> Heap<M> {
    /// A heap that is still empty.
    pub const fn new(memory: M) -> Self {
        Heap {
            state: SpinMutex::new(State {
                allocator: Tlsf::new(),
                has_memory: false,
            }),
            memory,
        }
    }

    /// The allocator, which has its memory from the first time on.
    fn lock(&self) -> SpinMutexGuard<'_, State, Yield> {
        let mut state = self.state.lock();
        if !state.has_memory {
            state.has_memory = true;
            if let Some(memory) = NonNull::new(self.memory.get()) {
                // SAFETY: the memory is the heap's alone, and is given away only once.
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
unsafe impl<M: Memory> GlobalAlloc for Heap<M> {
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
        static HEAP: $crate::heap::Heap<$crate::heap::InImage<{ $bytes }>> =
            $crate::heap::Heap::new($crate::heap::InImage::new());
    };
}

/// Declares the VAS server's heap, which `init` made. An allocation that does not fit panics.
#[macro_export]
macro_rules! server_heap {
    () => {
        #[global_allocator]
        static HEAP: $crate::heap::Heap<$crate::heap::FromInit> =
            $crate::heap::Heap::new($crate::heap::FromInit);
    };
}
