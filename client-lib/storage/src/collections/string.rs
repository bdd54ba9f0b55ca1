// SPDX-License-Identifier: MIT OR Apache-2.0

//! Text in a VAS.

use core::alloc::Layout;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::{Deref, DerefMut};

use allocator_api2::alloc::{AllocError, handle_alloc_error};

use crate::{Heap, Root, Shape, Store, VasVec};

/// A text in a VAS, which can grow: `String` of the standard library.
///
/// It is compared, ordered and hashed as the `str` that it holds, so maps with such keys are asked
/// with a `&str`. `write!` to it gives an error if there is no room.
#[derive(Clone)]
pub struct VasString<'v> {
    /// UTF-8.
    bytes: VasVec<'v, u8>,
}

impl<'v> VasString<'v> {
    /// An empty text, which has no memory yet.
    pub const fn new_in(heap: Heap<'v>) -> Self {
        VasString {
            bytes: VasVec::new_in(heap),
        }
    }

    /// A copy of `text`.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn from_str_in(text: &str, heap: Heap<'v>) -> Self {
        Self::try_from_str_in(text, heap).unwrap_or_else(|AllocError| no_room(text.len()))
    }

    /// A copy of `text`.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow.
    pub fn try_from_str_in(text: &str, heap: Heap<'v>) -> Result<Self, AllocError> {
        let mut copy = Self::new_in(heap);
        copy.bytes
            .try_reserve_exact(text.len())
            .map_err(|_| AllocError)?;
        copy.bytes.extend_from_slice(text.as_bytes());
        Ok(copy)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: only whole characters are put in and taken out.
        unsafe { core::str::from_utf8_unchecked(&self.bytes) }
    }

    /// The text, whose characters may be changed as `str` allows.
    pub fn as_mut_str(&mut self) -> &mut str {
        // SAFETY: as above; a `str` stays one.
        unsafe { core::str::from_utf8_unchecked_mut(&mut self.bytes) }
    }

    /// The bytes of the text.
    pub fn into_bytes(self) -> VasVec<'v, u8> {
        self.bytes
    }

    /// Bytes that there is room for, those of the text included.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for so many bytes more.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow.
    pub fn try_reserve(&mut self, additional: usize) -> Result<(), AllocError> {
        self.bytes.try_reserve(additional).map_err(|_| AllocError)
    }

    /// Adds a text.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn push_str(&mut self, text: &str) {
        self.try_push_str(text)
            .unwrap_or_else(|AllocError| no_room(self.len().saturating_add(text.len())));
    }

    /// Adds a text.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; then nothing is added.
    pub fn try_push_str(&mut self, text: &str) -> Result<(), AllocError> {
        self.try_reserve(text.len())?;
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Adds a character.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn push(&mut self, character: char) {
        self.push_str(character.encode_utf8(&mut [0; 4]));
    }

    /// Adds a character.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; then nothing is added.
    pub fn try_push(&mut self, character: char) -> Result<(), AllocError> {
        self.try_push_str(character.encode_utf8(&mut [0; 4]))
    }

    /// Takes the last character.
    pub fn pop(&mut self) -> Option<char> {
        let last = self.chars().next_back()?;
        self.bytes.truncate(self.len() - last.len_utf8());
        Some(last)
    }

    /// Keeps the first `length` bytes only.
    ///
    /// # Panics
    /// If a character would be cut.
    pub fn truncate(&mut self, length: usize) {
        if length < self.len() {
            assert!(self.is_char_boundary(length), "a character would be cut");
            self.bytes.truncate(length);
        }
    }

    /// Takes all characters. The memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }
}

#[cold]
fn no_room(bytes: usize) -> ! {
    handle_alloc_error(Layout::array::<u8>(bytes).unwrap_or(Layout::new::<u8>()))
}

impl Deref for VasString<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl DerefMut for VasString<'_> {
    fn deref_mut(&mut self) -> &mut str {
        self.as_mut_str()
    }
}

impl Borrow<str> for VasString<'_> {
    fn borrow(&self) -> &str {
        self
    }
}

impl AsRef<str> for VasString<'_> {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Write for VasString<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.try_push_str(text).map_err(|AllocError| fmt::Error)
    }
}

impl fmt::Debug for VasString<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

impl fmt::Display for VasString<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_str(), out)
    }
}

impl PartialEq for VasString<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl PartialEq<str> for VasString<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for VasString<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl Eq for VasString<'_> {}

impl PartialOrd for VasString<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for VasString<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl Hash for VasString<'_> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.as_str().hash(hasher);
    }
}

// SAFETY: a vector of bytes.
unsafe impl<'v> Store<'v> for VasString<'v> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasString", VasVec::<u8>::describe);
    }
}

impl Root for VasString<'_> {
    type At<'v> = VasString<'v>;
}
