// SPDX-License-Identifier: MIT OR Apache-2.0

//! Private collections hold references into a VAS, and boxes, as long as the stay lasts.

use std::collections::{BTreeMap, HashSet};

use client_lib::{DataError, Reader, Writer};
use storage::{Store, VasBox, VasVec};

#[derive(Store, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Book {
    pages: u32,
    price: u32,
}

pub fn dearest(reader: &Reader<VasVec<'static, Book>>) -> Result<Option<u32>, DataError> {
    reader.enter(|inside| {
        let books: BTreeMap<u32, &Book> = inside
            .root()
            .iter()
            .map(|book| (book.price, book))
            .collect();
        let different: HashSet<&Book> = books.values().copied().collect();
        let dearest = books.values().last().filter(|_| !different.is_empty());
        dearest.map(|book| book.pages)
    })
}

pub fn sort(writer: &Writer<Books>) -> Result<(), DataError> {
    writer.enter(|mut inside| {
        let mut kept: Vec<VasBox<'_, Book>> = Vec::new();
        kept.extend(inside.root_mut().drain(..));
        kept.sort();
        inside.root_mut().extend(kept);
    })
}

type Books = VasVec<'static, VasBox<'static, Book>>;
