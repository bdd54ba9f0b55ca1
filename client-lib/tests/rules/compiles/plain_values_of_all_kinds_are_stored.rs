// SPDX-License-Identifier: MIT OR Apache-2.0

//! Structs, enums, options, results, arrays, tuples, also as roots.

use core::num::NonZeroU32;
use core::time::Duration;

use client_lib::{DataError, Reader, Writer};
use storage::{CheckedPtr, Store, VasBox, VasVec};

#[derive(Store, Clone, Copy, PartialEq)]
pub enum State {
    New,
    Lent { to: u32, until: Duration },
    Lost(NonZeroU32),
}

#[derive(Store)]
pub struct Unit;

#[derive(Store)]
pub struct All<'v> {
    state: State,
    unit: Unit,
    history: [Option<State>; 4],
    answer: Result<(u8, char), [f64; 2]>,
    deep: VasBox<'v, VasVec<'v, VasBox<'v, State>>>,
    elsewhere: CheckedPtr<All<'static>>,
}

pub fn lost(reader: &Reader<All>) -> Result<bool, DataError> {
    reader.enter(|inside| {
        let All { state, deep, .. } = inside.root();
        matches!(state, State::Lost(_)) || deep.iter().any(|state| **state == State::New)
    })
}

pub fn first(writer: &Writer<(u32, [Option<State>; 2])>) -> Result<(), DataError> {
    writer.enter(|mut inside| {
        let (count, states) = inside.root_mut();
        *count += 1;
        states[0] = Some(State::New);
    })
}
