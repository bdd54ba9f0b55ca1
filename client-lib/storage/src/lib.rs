// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be stored in a VAS, and how: the rules of safe programming of the paper's section
//! 3.3 as types.
//!
//! - [`Store`] is for types that hold no pointer out of the VAS, which `#[derive(Store)]` checks.
//! - [`VasBox`] and [`VasPtr`] point from value to value, as addresses of eight bytes. Their
//!   lifetime `'v` is one stay in the VAS: what was got in one VAS, or in an earlier stay, is of
//!   another type than what there is now. [`CheckedPtr`] is for what may be kept outside.
//! - [`Heap`] hands out memory of a segment and lies in it itself, so whoever attaches the segment
//!   for writing goes on where others have stopped.
//! - [`VasVec`] and the other collections grow on such heaps.
//!
//! How one gets into a VAS is `client-lib`'s business; nothing here needs seL4, and all of it is
//! tested on the host.

#![no_std]

// The derive macro names this crate.
extern crate self as storage;

mod collections;
mod heap;
mod inside;
mod pointer;
mod shape;
mod store;

pub use allocator_api2::alloc::{AllocError, Allocator};
pub use collections::{
    BTreeMapIter, BTreeMapIterMut, BTreeMapRange, Entry, ListIter, ListIterMut, VasBTreeMap,
    VasHashMap, VasList, VasString, VasVec,
};
pub use heap::{Grow, Heap, HeapError, Here, LEAST_BYTES, Place, Statistics, grow_with};
pub use inside::{Inside, Reading, Writing};
pub use pointer::{CheckedPtr, OutOfVas, VasBox, VasPtr, WrongVas};
pub use shape::Shape;
pub use storage_derive::Store;
pub use store::{Root, Store};
