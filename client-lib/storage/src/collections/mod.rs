// SPDX-License-Identifier: MIT OR Apache-2.0

//! Collections whose values lie in a heap of a VAS.
//!
//! Each of them holds addresses of its heap alone, in all states that it can come to, and is read
//! with loads alone. Where what the user has written panics, such as an order or a hash, what is
//! left can be used.

mod btree_map;
mod hash_map;
mod list;
mod string;

pub use btree_map::{
    Iter as BTreeMapIter, IterMut as BTreeMapIterMut, Range as BTreeMapRange, VasBTreeMap,
};
pub use hash_map::{Entry, VasHashMap};
pub use list::{Iter as ListIter, IterMut as ListIterMut, VasList};
pub use string::VasString;

/// A vector in a VAS.
pub type VasVec<'v, T> = allocator_api2::vec::Vec<T, crate::Heap<'v>>;
