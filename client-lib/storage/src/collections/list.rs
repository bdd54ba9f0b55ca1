// SPDX-License-Identifier: MIT OR Apache-2.0

//! A list in a VAS.

use core::alloc::Layout;
use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::iter::FusedIterator;
use core::marker::PhantomData;
use core::ptr::NonNull;

use allocator_api2::alloc::{Allocator, handle_alloc_error};

use crate::{Heap, Root, Shape, Store};

type Link<T> = Option<NonNull<Node<T>>>;

struct Node<T> {
    previous: Link<T>,
    next: Link<T>,
    value: T,
}

/// A list in a VAS whose values never move: `LinkedList` of the standard library.
///
/// Both ends and whole lists are reached in constant time.
pub struct VasList<'v, T> {
    front: Link<T>,
    back: Link<T>,
    length: usize,
    heap: Heap<'v>,
    owns: PhantomData<Node<T>>,
}

impl<'v, T> VasList<'v, T> {
    /// An empty list, which has no memory yet.
    pub const fn new_in(heap: Heap<'v>) -> Self {
        VasList {
            front: None,
            back: None,
            length: 0,
            heap,
            owns: PhantomData,
        }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first value.
    pub fn front(&self) -> Option<&T> {
        self.iter().next()
    }

    /// The last value.
    pub fn back(&self) -> Option<&T> {
        self.iter().next_back()
    }

    /// The first value, to change it.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.iter_mut().next()
    }

    /// The last value, to change it.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.iter_mut().next_back()
    }

    /// Puts a value in front of all.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn push_front(&mut self, value: T) {
        self.try_push_front(value)
            .unwrap_or_else(|_| no_room::<T>());
    }

    /// Puts a value behind all.
    ///
    /// # Panics
    /// If there is no room and the heap cannot grow.
    pub fn push_back(&mut self, value: T) {
        self.try_push_back(value).unwrap_or_else(|_| no_room::<T>());
    }

    /// Puts a value in front of all.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; the value comes back.
    pub fn try_push_front(&mut self, value: T) -> Result<(), T> {
        self.insert(None, self.front, value)
    }

    /// Puts a value behind all.
    ///
    /// # Errors
    /// If there is no room and the heap cannot grow; the value comes back.
    pub fn try_push_back(&mut self, value: T) -> Result<(), T> {
        self.insert(self.back, None, value)
    }

    /// Takes the first value.
    pub fn pop_front(&mut self) -> Option<T> {
        // SAFETY: of this list.
        self.front.map(|node| unsafe { self.remove(node) })
    }

    /// Takes the last value.
    pub fn pop_back(&mut self) -> Option<T> {
        // SAFETY: of this list.
        self.back.map(|node| unsafe { self.remove(node) })
    }

    /// Moves all values of `other` behind those of this list.
    pub fn append(&mut self, other: &mut Self) {
        if other.is_empty() {
            return;
        }
        // Both are of the heap of the same stay, which gets the nodes back in the end.
        self.link(self.back, other.front);
        self.back = other.back;
        self.length += other.length;
        (other.front, other.back, other.length) = (None, None, 0);
    }

    /// Drops all values and gives their memory back.
    pub fn clear(&mut self) {
        while self.pop_front().is_some() {}
    }

    /// Keeps those values only for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut current = self.front;
        while let Some(mut node) = current {
            // SAFETY: a node of this list, which is alone in use. The next one is there whatever
            // becomes of this.
            unsafe {
                current = node.as_ref().next;
                if !keep(&mut node.as_mut().value) {
                    self.remove(node);
                }
            }
        }
    }

    /// All values, first to last.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            front: self.front,
            back: self.back,
            remaining: self.length,
            list: PhantomData,
        }
    }

    /// All values, first to last, to change them.
    pub fn iter_mut(&mut self) -> IterMut<'_, T> {
        IterMut {
            front: self.front,
            back: self.back,
            remaining: self.length,
            list: PhantomData,
        }
    }

    /// Makes two neighbours of two nodes; nothing stands for the end.
    fn link(&mut self, previous: Link<T>, next: Link<T>) {
        // SAFETY: nodes of this list, or of one that becomes part of it.
        unsafe {
            match previous {
                Some(mut node) => node.as_mut().next = next,
                None => self.front = next,
            }
            match next {
                Some(mut node) => node.as_mut().previous = previous,
                None => self.back = previous,
            }
        }
    }

    /// Puts a value between two neighbours.
    fn insert(&mut self, previous: Link<T>, next: Link<T>, value: T) -> Result<(), T> {
        let Ok(node) = self.heap.allocate(Layout::new::<Node<T>>()) else {
            return Err(value);
        };
        let node = node.cast::<Node<T>>();
        // SAFETY: allocated for a node just now.
        unsafe {
            node.write(Node {
                previous,
                next,
                value,
            });
        }
        self.link(previous, Some(node));
        self.link(Some(node), next);
        self.length += 1;
        Ok(())
    }

    /// # Safety
    /// A node of this list. It is gone then.
    unsafe fn remove(&mut self, node: NonNull<Node<T>>) -> T {
        // SAFETY: read once; the heap gets back what it has given.
        unsafe {
            let Node {
                previous,
                next,
                value,
            } = node.read();
            self.link(previous, next);
            self.length -= 1;
            self.heap.deallocate(node.cast(), Layout::new::<Node<T>>());
            value
        }
    }
}

#[cold]
fn no_room<T>() -> ! {
    handle_alloc_error(Layout::new::<Node<T>>())
}

impl<T> Drop for VasList<'_, T> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The values of a [`VasList`].
pub struct Iter<'l, T> {
    front: Link<T>,
    back: Link<T>,
    remaining: usize,
    list: PhantomData<&'l Node<T>>,
}

/// The values of a [`VasList`], to change them.
pub struct IterMut<'l, T> {
    front: Link<T>,
    back: Link<T>,
    remaining: usize,
    list: PhantomData<&'l mut Node<T>>,
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter { ..*self }
    }
}

macro_rules! iterator {
    ($name:ident $(, $mutable:tt)?) => {
        impl<'l, T> Iterator for $name<'l, T> {
            type Item = &'l $($mutable)? T;

            fn next(&mut self) -> Option<Self::Item> {
                let node = self.front.filter(|_| self.remaining != 0)?.as_ptr();
                self.remaining -= 1;
                // SAFETY: the list is borrowed as long as the values are, and each of its nodes
                // is met once.
                unsafe {
                    self.front = (*node).next;
                    Some(&$($mutable)? (*node).value)
                }
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.remaining, Some(self.remaining))
            }
        }

        impl<T> DoubleEndedIterator for $name<'_, T> {
            fn next_back(&mut self) -> Option<Self::Item> {
                let node = self.back.filter(|_| self.remaining != 0)?.as_ptr();
                self.remaining -= 1;
                // SAFETY: as for `next`.
                unsafe {
                    self.back = (*node).previous;
                    Some(&$($mutable)? (*node).value)
                }
            }
        }

        impl<T> ExactSizeIterator for $name<'_, T> {}

        impl<T> FusedIterator for $name<'_, T> {}

        impl<T> fmt::Debug for $name<'_, T> {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.remaining)
            }
        }
    };
}

iterator!(Iter);
iterator!(IterMut, mut);

impl<'l, T> IntoIterator for &'l VasList<'_, T> {
    type Item = &'l T;
    type IntoIter = Iter<'l, T>;

    fn into_iter(self) -> Iter<'l, T> {
        self.iter()
    }
}

impl<'l, T> IntoIterator for &'l mut VasList<'_, T> {
    type Item = &'l mut T;
    type IntoIter = IterMut<'l, T>;

    fn into_iter(self) -> IterMut<'l, T> {
        self.iter_mut()
    }
}

impl<T: fmt::Debug> fmt::Debug for VasList<'_, T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_list().entries(self).finish()
    }
}

impl<T: PartialEq> PartialEq for VasList<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other)
    }
}

impl<T: Eq> Eq for VasList<'_, T> {}

impl<T: PartialOrd> PartialOrd for VasList<'_, T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.iter().partial_cmp(other)
    }
}

impl<T: Ord> Ord for VasList<'_, T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other)
    }
}

impl<T: Hash> Hash for VasList<'_, T> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.len().hash(hasher);
        self.iter().for_each(|value| value.hash(hasher));
    }
}

// SAFETY: its memory is the heap's, and what it holds may be stored.
unsafe impl<'v, T: Store<'v>> Store<'v> for VasList<'v, T> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("VasList", T::describe);
    }
}

impl<T: Root> Root for VasList<'_, T> {
    type At<'v> = VasList<'v, T::At<'v>>;
}
