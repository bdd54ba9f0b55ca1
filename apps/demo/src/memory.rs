// SPDX-License-Identifier: MIT OR Apache-2.0

//! Raw memory: the only unsafe code of the demonstration.
//!
//! Pointers that were found in a segment are trusted to mean what the index says, but not to
//! lie in the segment: each is checked before it is followed, so that a damaged index gives an
//! error, not a fault.

#![allow(unsafe_code)]

use core::fmt;
use core::marker::PhantomData;
#[cfg(not(test))]
use core::ptr;

use crate::index::{Entry, Header, Position};

/// Types all of whose bit patterns are values, and that need no drop.
///
/// # Safety
/// Only for such types.
pub unsafe trait Plain: Copy {}

// SAFETY: any bits are a number.
unsafe impl Plain for u8 {}
// SAFETY: any bits are a number.
unsafe impl Plain for u64 {}
// SAFETY: any bits are a raw pointer.
unsafe impl<T> Plain for *mut T {}
// SAFETY: numbers and raw pointers.
unsafe impl Plain for Header {}
// SAFETY: numbers and raw pointers.
unsafe impl Plain for Entry {}
// SAFETY: numbers and raw pointers.
unsafe impl Plain for Position {}

/// Why memory was not accessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The pointer does not point to such a value in this memory.
    Pointer {
        /// Where it points.
        address: usize,
    },
    /// The memory is full.
    Full,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Pointer { address } => write!(out, "a wrong pointer to {address:#x}"),
            Error::Full => write!(out, "the segment is full"),
        }
    }
}

impl core::error::Error for Error {}

/// Memory that can be read and does not change.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    base: *const u8,
    bytes: usize,
    lifetime: PhantomData<&'a [u8]>,
}

impl<'a> Region<'a> {
    /// The `bytes` bytes at `base`.
    ///
    /// # Safety
    /// For `'a` they are mapped and initialised, and nobody writes to them.
    pub unsafe fn new(base: *const u8, bytes: usize) -> Self {
        Region {
            base,
            bytes,
            lifetime: PhantomData,
        }
    }

    /// Its first address, as a pointer to what is stored there.
    pub fn base<T>(self) -> *mut T {
        self.base.cast_mut().cast()
    }

    /// Its size in bytes.
    pub fn bytes(self) -> usize {
        self.bytes
    }

    /// What `at` points to.
    ///
    /// # Errors
    /// [`Error::Pointer`]
    pub fn get<T: Plain>(self, at: *mut T) -> Result<&'a T, Error> {
        let at = self.checked(at, 1)?;
        // SAFETY: checked to lie in the region and to be aligned. The region holds
        // initialised memory that does not change, and any bits are a `T`.
        Ok(unsafe { &*at })
    }

    /// The `count` values at `at`.
    ///
    /// # Errors
    /// [`Error::Pointer`]
    pub fn slice<T: Plain>(self, at: *mut T, count: usize) -> Result<&'a [T], Error> {
        let at = self.checked(at, count)?;
        // SAFETY: as in `get`, for all of the values.
        Ok(unsafe { core::slice::from_raw_parts(at, count) })
    }

    /// The same address, as a pointer that may access this region.
    fn checked<T>(self, at: *mut T, count: usize) -> Result<*const T, Error> {
        let inside = || {
            let offset = at.addr().checked_sub(self.base.addr())?;
            let end = offset.checked_add(count.checked_mul(size_of::<T>())?)?;
            (end <= self.bytes && at.is_aligned()).then(|| self.base.wrapping_add(offset).cast())
        };
        inside().ok_or(Error::Pointer { address: at.addr() })
    }
}

/// Memory that is filled: values from its beginning, bytes from its end.
///
/// Nothing is ever given back; the whole segment is, when it is freed.
#[derive(Debug)]
pub struct Arena<'a> {
    base: *mut u8,
    bytes: usize,
    values_end: usize,
    texts_start: usize,
    lifetime: PhantomData<&'a mut [u8]>,
}

impl Arena<'_> {
    /// Fills the `bytes` bytes at `base`, which is aligned for any value.
    ///
    /// # Safety
    /// For the arena's lifetime they are mapped and initialised, and nobody else reads or
    /// writes them.
    pub unsafe fn new(base: *mut u8, bytes: usize) -> Self {
        Arena {
            base,
            bytes,
            values_end: 0,
            texts_start: bytes,
            lifetime: PhantomData,
        }
    }

    /// All of the memory, for reading.
    pub fn region(&self) -> Region<'_> {
        // SAFETY: the arena's promise; while the region lives, `self` is borrowed and cannot
        // write.
        unsafe { Region::new(self.base, self.bytes) }
    }

    /// Puts `count` copies of `value` behind what was put before.
    ///
    /// # Errors
    /// [`Error::Full`]
    pub fn put<T: Plain>(&mut self, value: T, count: usize) -> Result<*mut T, Error> {
        let start = self.values_end.next_multiple_of(align_of::<T>());
        let end = count
            .checked_mul(size_of::<T>())
            .and_then(|bytes| start.checked_add(bytes))
            .filter(|&end| end <= self.texts_start)
            .ok_or(Error::Full)?;
        let at: *mut T = self.base.wrapping_add(start).cast();
        for index in 0..count {
            *self.get_mut(at.wrapping_add(index))? = value;
        }
        self.values_end = end;
        Ok(at)
    }

    /// Puts bytes in front of the bytes that were put before.
    ///
    /// # Errors
    /// [`Error::Full`]
    pub fn put_bytes(
        &mut self,
        bytes: impl ExactSizeIterator<Item = u8>,
    ) -> Result<*mut u8, Error> {
        let start = self
            .texts_start
            .checked_sub(bytes.len())
            .filter(|&start| start >= self.values_end)
            .ok_or(Error::Full)?;
        let at = self.base.wrapping_add(start);
        for (place, byte) in (start..self.texts_start).zip(bytes) {
            *self.get_mut(self.base.wrapping_add(place))? = byte;
        }
        self.texts_start = start;
        Ok(at)
    }

    /// What `at` points to.
    ///
    /// # Errors
    /// [`Error::Pointer`]
    pub fn get_mut<T: Plain>(&mut self, at: *mut T) -> Result<&mut T, Error> {
        let address = self.region().checked(at, 1)?.addr();
        let at: *mut T = self.base.with_addr(address).cast();
        // SAFETY: checked to lie in the arena and to be aligned. The arena is the only user
        // of initialised memory, it is borrowed, and any bits are a `T`.
        Ok(unsafe { &mut *at })
    }
}

#[cfg(not(test))]
pub use guest::{overwrite, read, write};

/// Memory as the VAS service and init provide it.
#[cfg(not(test))]
mod guest {
    use core::convert::Infallible;

    use client_lib::{Attachment, Error, Segment, vas_switch};

    use super::{Arena, Region, ptr};

    /// Switches into an attachment, lets `work` read a segment of its VAS, and switches back.
    ///
    /// # Errors
    /// Those of [`vas_switch`].
    pub fn read<T>(
        attachment: &Attachment,
        segment: &Segment,
        work: impl for<'a> FnOnce(Region<'a>) -> T,
    ) -> Result<T, Error> {
        let before = vas_switch(attachment.space())?;
        let base = ptr::with_exposed_provenance(segment.base() as usize);
        // SAFETY: inside the attachment the segment is mapped, and the service has zeroed it.
        // Its only writer, the indexer, has ended. `work` cannot keep the region.
        let result = work(unsafe { Region::new(base, segment.size() as usize) });
        vas_switch(before)?;
        Ok(result)
    }

    /// Switches into an attachment, lets `work` fill a segment of its VAS, and switches back.
    ///
    /// # Errors
    /// Those of [`vas_switch`].
    pub fn write<T>(
        attachment: &Attachment,
        segment: &Segment,
        work: impl for<'a> FnOnce(Arena<'a>) -> T,
    ) -> Result<T, Error> {
        let before = vas_switch(attachment.space())?;
        let base = ptr::with_exposed_provenance_mut(segment.base() as usize);
        // SAFETY: inside the attachment the segment is mapped, and the service has zeroed it.
        // Its other users are started when this program has ended. `work` cannot keep the
        // arena.
        let result = work(unsafe { Arena::new(base, segment.size() as usize) });
        vas_switch(before)?;
        Ok(result)
    }

    /// Writes to a region that is mapped read-only, which is meant to fault. If it does not,
    /// the process ends with `code`.
    ///
    /// # Errors
    /// [`super::Error::Pointer`]
    pub fn overwrite(
        region: Region<'_>,
        at: *mut u64,
        code: i32,
    ) -> Result<Infallible, super::Error> {
        let at = region.checked(at, 1)?.cast_mut();
        // SAFETY: checked to lie in the region, where the store faults, and the process ends.
        // Otherwise the process ends all the same, before any code of it can see that memory
        // has changed which should not.
        unsafe { at.write_volatile(u64::MAX) };
        runtime::exit(code)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An arena of `bytes` zero bytes.
    pub fn with_arena<T>(bytes: usize, work: impl FnOnce(&mut Arena<'_>) -> T) -> T {
        let mut memory = vec![0u64; bytes.div_ceil(size_of::<u64>())];
        // SAFETY: the vector has at least as many bytes, all zero, and is used by nothing else
        // until the arena is gone.
        let mut arena = unsafe { Arena::new(memory.as_mut_ptr().cast(), bytes) };
        work(&mut arena)
    }

    #[test]
    fn values_and_bytes_share_an_arena_until_it_is_full() {
        with_arena(20, |arena| {
            let pointers = arena.put(core::ptr::null_mut::<u8>(), 2).unwrap();
            let text = arena.put_bytes(b"abc".iter().copied()).unwrap();
            assert_eq!(arena.put_bytes(b"de".iter().copied()), Err(Error::Full));
            assert_eq!(arena.put(0u8, 2), Err(Error::Full));
            let last = arena.put_bytes(b"f".iter().copied()).unwrap();
            assert_eq!(last.wrapping_add(1), text);
            assert_eq!(arena.region().slice(last, 4), Ok(&b"fabc"[..]));
            assert_eq!(
                arena.region().slice(pointers, 2),
                Ok(&[core::ptr::null_mut(); 2][..])
            );
        });
    }

    #[test]
    fn more_values_than_there_are_addresses_are_refused() {
        with_arena(64, |arena| {
            let null = core::ptr::null_mut::<u8>();
            assert_eq!(arena.put(null, usize::MAX), Err(Error::Full));
            assert_eq!(arena.put(null, usize::MAX / 8), Err(Error::Full));
        });
    }

    #[test]
    fn pointers_out_of_the_region_or_not_aligned_are_refused() {
        with_arena(64, |arena| {
            let base: *mut *mut u8 = arena.region().base();
            let region = arena.region();
            assert!(region.get(base.wrapping_add(7)).is_ok());
            for wrong in [
                core::ptr::null_mut(),
                base.wrapping_sub(1),
                base.wrapping_byte_add(1),
                base.wrapping_add(8),
                base.wrapping_byte_add(60),
                base.with_addr(usize::MAX - 7),
            ] {
                let address = wrong.addr();
                assert_eq!(region.get(wrong), Err(Error::Pointer { address }));
            }
            for count in [9, usize::MAX, usize::MAX / 8 + 2] {
                assert!(region.slice(base, count).is_err());
            }
            assert!(region.slice(base, 8).is_ok());
        });
    }
}
