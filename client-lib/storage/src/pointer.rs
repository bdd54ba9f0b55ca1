// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pointers between values in a VAS: plain addresses of eight bytes, which every process follows
//! as they are.

use core::alloc::Layout;
use core::borrow::{Borrow, BorrowMut};
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, handle_alloc_error};

use crate::heap::Stay;
use crate::{Heap, Here, Root, Shape, Store};

/// A value in the heap of a VAS, and its owner.
///
/// The heap that it is given back to lies in front of the value, so that the box itself is
/// an address and nothing else.
pub struct VasBox<'v, T> {
    value: NonNull<T>,
    stay: Stay<'v>,
    owns: PhantomData<T>,
}

impl<'v, T> VasBox<'v, T> {
    /// Where the value lies in its block, behind the heap.
    const OFFSET: usize = if align_of::<T>() > size_of::<Heap<'static>>() {
        align_of::<T>()
    } else {
        size_of::<Heap<'static>>()
    };

    const LAYOUT: Layout = {
        let align = if align_of::<T>() > align_of::<Heap<'static>>() {
            align_of::<T>()
        } else {
            align_of::<Heap<'static>>()
        };
        match Layout::from_size_align(Self::OFFSET + size_of::<T>(), align) {
            Ok(layout) => layout,
            Err(_) => panic!("a type as large as the address space"),
        }
    };

    /// Moves a value into the heap.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn new_in(value: T, heap: Heap<'v>) -> Self {
        Self::try_new_in(value, heap).unwrap_or_else(|_| handle_alloc_error(Self::LAYOUT))
    }

    /// Moves a value into the heap.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; the value comes back.
    pub fn try_new_in(value: T, heap: Heap<'v>) -> Result<Self, T> {
        let Ok(block) = heap.allocate(Self::LAYOUT) else {
            return Err(value);
        };
        let block = block.cast::<u8>();
        // SAFETY: the block has room for the heap and, at the offset, for the value.
        unsafe {
            block.cast().write(heap);
            let place = block.add(Self::OFFSET).cast();
            place.write(value);
            Ok(VasBox {
                value: place,
                stay: PhantomData,
                owns: PhantomData,
            })
        }
    }

    /// Moves the value out and gives its memory back.
    pub fn into_inner(self) -> T {
        let boxed = core::mem::ManuallyDrop::new(self);
        // SAFETY: the value is read once, and not dropped in the box.
        unsafe {
            let value = boxed.value.read();
            boxed.deallocate();
            value
        }
    }

    /// The address of the value.
    pub fn as_ptr(&self) -> VasPtr<'v, T> {
        VasPtr {
            address: self.value,
            stay: PhantomData,
        }
    }

    /// # Safety
    /// Once, and nothing uses the value afterwards.
    unsafe fn deallocate(&self) {
        // SAFETY: `new_in` has put the heap there, and got the block from it.
        unsafe {
            let block = self.value.cast::<u8>().sub(Self::OFFSET);
            let heap: Heap<'v> = block.cast().read();
            heap.deallocate(block, Self::LAYOUT);
        }
    }
}

impl<T> Drop for VasBox<'_, T> {
    fn drop(&mut self) {
        // SAFETY: the box owns value and block, and is gone now.
        unsafe {
            self.value.drop_in_place();
            self.deallocate();
        }
    }
}

impl<T> Deref for VasBox<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the box owns the value, and exists during the stay only.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for VasBox<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.value.as_mut() }
    }
}

impl<T> Borrow<T> for VasBox<'_, T> {
    fn borrow(&self) -> &T {
        self
    }
}

impl<T> BorrowMut<T> for VasBox<'_, T> {
    fn borrow_mut(&mut self) -> &mut T {
        self
    }
}

impl<T: fmt::Debug> fmt::Debug for VasBox<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl<T: fmt::Display> fmt::Display for VasBox<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(out)
    }
}

impl<T: PartialEq> PartialEq for VasBox<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for VasBox<'_, T> {}

impl<T: PartialOrd> PartialOrd for VasBox<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (**self).partial_cmp(&**other)
    }
}

impl<T: Ord> Ord for VasBox<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl<T: Hash> Hash for VasBox<'_, T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (**self).hash(hasher);
    }
}

// SAFETY: an address in the VAS, of a value that may be stored.
unsafe impl<'v, T: Store<'v>> Store<'v> for VasBox<'v, T> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasBox", T::describe);
    }
}

impl<T: Root> Root for VasBox<'_, T> {
    type At<'v> = VasBox<'v, T::At<'v>>;
}

/// The address of a value in a VAS that something else owns. Any number of values may have it.
///
/// It is known to point into this VAS; that the value is still there nothing says, so following
/// it is unsafe. [`VasBox`] and the collections need no unsafe code.
pub struct VasPtr<'v, T> {
    address: NonNull<T>,
    stay: Stay<'v>,
}

/// An address was to be stored that is not in the VAS: of the common region, as the stack of a
/// process, its private heap and its globals are, or of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfVas {
    /// The address.
    pub address: usize,
}

impl fmt::Display for OutOfVas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:#x} is no address in the heap of the VAS",
            self.address
        )
    }
}

impl core::error::Error for OutOfVas {}

impl<'v, T> VasPtr<'v, T> {
    /// The address of a value that lies in the heap.
    ///
    /// # Errors
    /// [`OutOfVas`]
    pub fn new(value: &T, here: impl Into<Here<'v>>) -> Result<Self, OutOfVas> {
        Self::at(NonNull::from_ref(value), here.into())
    }

    fn at(address: NonNull<T>, here: Here<'v>) -> Result<Self, OutOfVas> {
        let first = address.addr().get();
        let addresses = here.addresses();
        let inside = first
            .checked_add(size_of::<T>())
            .is_some_and(|end| addresses.start <= first && end <= addresses.end);
        if !inside || !address.is_aligned() {
            return Err(OutOfVas { address: first });
        }
        Ok(VasPtr {
            address,
            stay: PhantomData,
        })
    }

    /// The override of all rules (the paper's `vcast`, section 4.3): takes a plain address as
    /// one of a value of this type in this VAS.
    ///
    /// # Errors
    /// [`OutOfVas`]
    ///
    /// # Safety
    /// There is a value of the type, or will be when the pointer is followed.
    pub unsafe fn vcast(address: usize, here: impl Into<Here<'v>>) -> Result<Self, OutOfVas> {
        let pointer = core::ptr::with_exposed_provenance_mut(address);
        let pointer = NonNull::new(pointer).ok_or(OutOfVas { address })?;
        Self::at(pointer, here.into())
    }

    /// The address itself.
    pub fn address(self) -> usize {
        self.address.addr().get()
    }

    /// Follows the pointer.
    ///
    /// # Safety
    /// The value is alive and nobody changes it as long as the reference is used.
    pub unsafe fn as_ref<'r>(self) -> &'r T
    where
        'v: 'r,
    {
        // SAFETY: passed on.
        unsafe { self.address.as_ref() }
    }

    /// Follows the pointer.
    ///
    /// # Safety
    /// The value is alive, nobody else uses it as long as the reference is used, and the VAS is
    /// attached for writing.
    pub unsafe fn as_mut<'r>(mut self) -> &'r mut T
    where
        'v: 'r,
    {
        // SAFETY: passed on.
        unsafe { self.address.as_mut() }
    }
}

impl<T> Clone for VasPtr<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for VasPtr<'_, T> {}

impl<T> PartialEq for VasPtr<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.address == other.address
    }
}

impl<T> Eq for VasPtr<'_, T> {}

impl<T> Hash for VasPtr<'_, T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.address.hash(hasher);
    }
}

impl<T> fmt::Debug for VasPtr<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Pointer::fmt(&self.address, out)
    }
}

// SAFETY: an address in the VAS, of a value that may be stored.
unsafe impl<'v, T: Store<'v>> Store<'v> for VasPtr<'v, T> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasPtr", T::describe);
    }
}

/// The first bit of the tag: bits 47 to 63 of a user address are 0.
pub(crate) const TAG_SHIFT: u32 = 47;

/// An address of a value of type `R` in some VAS, which says in which: for what types cannot show
/// (paper section 4.3), such as a process's own tables of values in many VASes.
///
/// The bits that no address has hold a tag of the VAS's heap. Whoever wants to use the address must
/// be in that VAS, else the check fails.
pub struct CheckedPtr<R> {
    tagged: u64,
    value: PhantomData<fn() -> R>,
}

/// A pointer was to be used in another VAS than the one it points into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongVas {
    /// The address.
    pub address: usize,
    /// The tag of the VAS that it points into.
    pub expected: u64,
    /// That of the active VAS.
    pub found: u64,
}

impl fmt::Display for WrongVas {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WrongVas {
            address,
            expected,
            found,
        } = self;
        write!(
            out,
            "{address:#x} is an address of the VAS with tag {expected:#x}, \
             but the active one has tag {found:#x}"
        )
    }
}

impl core::error::Error for WrongVas {}

impl<R: Root> CheckedPtr<R> {
    /// The pointer with the tag of its VAS.
    pub fn new<'v>(pointer: VasPtr<'v, R::At<'v>>, here: impl Into<Here<'v>>) -> Self {
        CheckedPtr {
            tagged: here.into().tag() | pointer.address() as u64,
            value: PhantomData,
        }
    }

    /// The pointer, if the heap is that of the VAS that it points into.
    ///
    /// # Errors
    /// [`WrongVas`]
    #[inline]
    pub fn check<'v>(self, here: impl Into<Here<'v>>) -> Result<VasPtr<'v, R::At<'v>>, WrongVas> {
        let tag = here.into().tag();
        // If it is the same tag, the address remains.
        let address = self.tagged ^ tag;
        let pointer = core::ptr::with_exposed_provenance_mut(address as usize);
        match NonNull::new(pointer) {
            Some(address_of_value) if address >> TAG_SHIFT == 0 => Ok(VasPtr {
                address: address_of_value,
                stay: PhantomData,
            }),
            _ => Err(self.wrong(tag)),
        }
    }

    #[cold]
    fn wrong(self, tag: u64) -> WrongVas {
        WrongVas {
            address: (self.tagged & ((1 << TAG_SHIFT) - 1)) as usize,
            expected: self.tagged >> TAG_SHIFT,
            found: tag >> TAG_SHIFT,
        }
    }
}

impl<R> Clone for CheckedPtr<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for CheckedPtr<R> {}

impl<R> PartialEq for CheckedPtr<R> {
    fn eq(&self, other: &Self) -> bool {
        self.tagged == other.tagged
    }
}

impl<R> Eq for CheckedPtr<R> {}

impl<R> Hash for CheckedPtr<R> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.tagged.hash(hasher);
    }
}

impl<R> fmt::Debug for CheckedPtr<R> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "CheckedPtr({:#x})", self.tagged)
    }
}

// SAFETY: a number, which is checked before it is taken as an address.
unsafe impl<R: Root> Store<'_> for CheckedPtr<R> {
    fn describe(shape: &mut Shape) {
        // Which lifetime is chosen makes no difference.
        shape.composite::<Self>("CheckedPtr", R::At::<'static>::describe);
    }
}

impl<R: Root> Root for CheckedPtr<R> {
    type At<'v> = CheckedPtr<R>;
}
