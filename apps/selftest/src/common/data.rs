// SPDX-License-Identifier: MIT OR Apache-2.0

//! Data that tests and actors share through a `DataVas`.

use client_lib::{DataError, DataVas, Mode, SegmentOptions};
use storage::{Heap, LEAST_BYTES, Store, VasBox, VasVec};

/// The data.
#[derive(Store)]
pub struct Notes<'v> {
    /// Numbers in the order in which they were noted.
    pub numbers: VasVec<'v, u64>,
    /// The last of a chain of which each points to the one before.
    pub last: Option<VasBox<'v, Link<'v>>>,
}

/// One of a chain.
#[derive(Store)]
pub struct Link<'v> {
    /// Its number.
    pub number: u64,
    /// The one before.
    pub before: Option<VasBox<'v, Link<'v>>>,
}

/// No notes.
pub fn none(heap: Heap<'_>) -> Notes<'_> {
    Notes {
        numbers: VasVec::new_in(heap),
        last: None,
    }
}

impl<'v> Notes<'v> {
    /// Notes a number in both ways.
    pub fn add(&mut self, number: u64, heap: Heap<'v>) {
        self.numbers.push(number);
        let before = self.last.take();
        self.last = Some(VasBox::new_in(Link { number, before }, heap));
    }

    /// The numbers of the chain, from the last on.
    pub fn chain(&self) -> impl Iterator<Item = u64> {
        core::iter::successors(self.last.as_deref(), |link| link.before.as_deref())
            .map(|link| link.number)
    }
}

/// Everyone may find it; as small as can be.
pub const OPTIONS: SegmentOptions = SegmentOptions::new(LEAST_BYTES as u64, Mode(0o666));

/// Makes a VAS with no notes.
///
/// # Errors
/// Those of [`DataVas::create`].
pub fn create(name: &str) -> Result<DataVas<Notes<'static>>, DataError> {
    DataVas::<Notes>::create(name, OPTIONS, none)
}

/// Finds it.
///
/// # Errors
/// Those of [`DataVas::find`].
pub fn find(name: &str) -> Result<DataVas<Notes<'static>>, DataError> {
    DataVas::find(name)
}
