// SPDX-License-Identifier: MIT OR Apache-2.0

//! Code for any root and any access.

use client_lib::{DataError, DataVas, Reader, Writer};
use storage::{Inside, Root, Statistics, Store};

pub fn statistics<R: Root>(data: &DataVas<R>) -> Result<Statistics, DataError> {
    data.reader()?.enter(|inside| inside.here().statistics())
}

pub fn size<R: Root, A>(inside: &Inside<'_, R, A>) -> usize {
    size_of_val(inside.root())
}

pub fn replace<R>(writer: &Writer<R>, value: R) -> Result<R, DataError>
where
    R: for<'v> Root<At<'v> = R>,
{
    writer.enter(|mut inside| core::mem::replace(inside.root_mut(), value))
}

#[derive(Store)]
pub struct Pair<T> {
    one: T,
    other: T,
}

#[derive(Store)]
pub struct Pairs<'v> {
    numbers: Pair<u64>,
    names: Pair<[u8; 8]>,
    rest: Pair<Option<storage::VasBox<'v, Pairs<'v>>>>,
}

pub fn both(reader: &Reader<Pairs>) -> Result<(u64, bool, bool), DataError> {
    let read = |inside: Inside<'_, Pairs, _>| {
        let root = inside.root();
        let Pair { one, other } = root.numbers;
        let rest = root.rest.one.is_some() || root.rest.other.is_some();
        (one + other, root.names.one == root.names.other, rest)
    };
    reader.enter(read)
}
