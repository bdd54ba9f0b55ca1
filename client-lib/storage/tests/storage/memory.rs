// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory that stands for a segment.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use storage::{Heap, HeapError, Inside, Place, Reading, Root, Shape, Writing};

const PAGE: usize = 4096;

/// A segment, with room behind it to grow into.
pub struct Segment {
    base: NonNull<u8>,
    bytes: usize,
    room: usize,
}

impl Segment {
    /// Zeros.
    pub fn new(bytes: usize) -> Self {
        Self::with_room(bytes, bytes)
    }

    /// Zeros, which can become more.
    pub fn with_room(bytes: usize, room: usize) -> Self {
        let layout = Layout::from_size_align(room, PAGE).unwrap();
        // SAFETY: of a size that is not 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        Segment { base, bytes, room }
    }

    fn place(&self) -> Place {
        // SAFETY: zeros, and then what heaps of these tests leave; one thread has it.
        unsafe { Place::new(self.base) }
    }

    pub fn base(&self) -> usize {
        self.base.as_ptr().expose_provenance()
    }

    pub fn room(&self) -> usize {
        self.room
    }

    pub fn build<R: Root>(
        &self,
        name: &str,
        root: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    ) -> Result<(), HeapError> {
        // SAFETY: nobody else has the memory.
        unsafe { self.place().build::<R>(self.bytes, name, root) }
    }

    pub fn read<R: Root, T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T,
    ) -> Result<T, HeapError> {
        // SAFETY: nobody else has the memory.
        unsafe {
            self.place().check(Shape::of::<R>())?;
            Ok(self.place().read(work))
        }
    }

    pub fn write<R: Root, T>(
        &self,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> Result<T, HeapError> {
        // SAFETY: nobody else has the memory.
        unsafe {
            self.place().check(Shape::of::<R>())?;
            Ok(self.place().write(work))
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let layout = Layout::from_size_align(self.room, PAGE).unwrap();
        // SAFETY: from `with_room`.
        unsafe { dealloc(self.base.as_ptr(), layout) };
    }
}
