// SPDX-License-Identifier: MIT OR Apache-2.0

//! One stay in a VAS.

use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use crate::heap::{Place, Stay};
use crate::{Heap, Here, Root};

/// A stay for reading: others may read at the same time, nobody writes.
#[derive(Debug)]
pub enum Reading {}

/// A stay for writing: nobody else is there.
#[derive(Debug)]
pub enum Writing {}

/// The right to use what is in a VAS, for who is in it: data are reached through it alone, and
/// references to them end with it.
///
/// `'v` is the stay: nothing that has it can be kept, or be used in another.
pub struct Inside<'v, R: Root, A> {
    place: Place,
    root: NonNull<R::At<'v>>,
    stay: Stay<'v>,
    access: PhantomData<A>,
}

impl<R: Root, A> fmt::Debug for Inside<'_, R, A> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Inside({:p})", self.root)
    }
}

impl Place {
    /// Lets `work` read.
    ///
    /// # Safety
    /// As for [`Place::new`]; [`check`](Place::check) for the shape of `R` has succeeded, and the
    /// lock is held until `work` has returned, whatever it calls. The thread stays in the VAS, and
    /// does not come into it a second time: neither a stay in another VAS nor another stay in this
    /// one is begun. Nobody else is there, or the segment cannot be written: collections know
    /// their heap, and who clones one allocates.
    #[inline]
    pub unsafe fn read<R: Root, T>(
        self,
        work: impl for<'v> FnOnce(Inside<'v, R, Reading>) -> T,
    ) -> T {
        // SAFETY: passed on.
        work(unsafe { Inside::new(self) })
    }

    /// Lets `work` write.
    ///
    /// # Safety
    /// As for [`read`](Place::read), and the lock is held to write.
    #[inline]
    pub unsafe fn write<R: Root, T>(
        self,
        work: impl for<'v> FnOnce(Inside<'v, R, Writing>) -> T,
    ) -> T {
        // SAFETY: passed on.
        work(unsafe { Inside::new(self) })
    }
}

impl<'v, R: Root, A> Inside<'v, R, A> {
    /// # Safety
    /// As for [`Place::read`], and `'v` is a lifetime of its own.
    unsafe fn new(place: Place) -> Self {
        Inside {
            place,
            // SAFETY: passed on.
            root: unsafe { place.root::<R>() },
            stay: PhantomData,
            access: PhantomData,
        }
    }

    /// The root.
    #[inline]
    pub fn root(&self) -> &R::At<'v> {
        // SAFETY: the root is alive during the stay, and nobody writes, or nobody else.
        unsafe { self.root.as_ref() }
    }

    /// What tells what is in this VAS.
    #[inline]
    pub fn here(&self) -> Here<'v> {
        // SAFETY: made for a stay.
        unsafe { self.place.here() }
    }

    /// How often all that was in the VAS was discarded.
    pub fn rebuilt(&self) -> u64 {
        // SAFETY: made for a stay.
        unsafe { self.place.rebuilt() }
    }
}

impl<'v, R: Root> Inside<'v, R, Writing> {
    /// The root, to change it and all that is reached from it.
    #[inline]
    pub fn root_mut(&mut self) -> &mut R::At<'v> {
        // SAFETY: the root is alive during the stay, and nobody else is there.
        unsafe { self.root.as_mut() }
    }

    /// The heap, to allocate from it.
    #[inline]
    pub fn heap(&self) -> Heap<'v> {
        // SAFETY: made for a stay to write.
        unsafe { self.place.heap() }
    }
}
