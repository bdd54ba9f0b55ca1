// SPDX-License-Identifier: MIT OR Apache-2.0

//! A segment beside the data, and in a VAS of its own: it needs no lock, and what is in it stays
//! true when a process dies in the data.
//!
//! All operations of one stay count as done once [`commit`] has stored one word. Who rebuilds the
//! data goes by that word, and so no two processes disagree about what was done.

use client_lib::{Access, Attachment, Error, Mode, PageSize, Segment, Vas};
use common::segment_memory::{fetch_add, load, store};
use protocol::address_map::SLOT_BYTES;

/// The name of the VAS and of the segment.
pub const NAME: &str = "board";
const BASE: u64 = 100 * SLOT_BYTES;
const SIZE: u64 = 4096;

const COMMITTED: u64 = BASE;
const END: u64 = BASE + 8;
const REBUILT: u64 = BASE + 16;
const GO: u64 = BASE + 24;
const ASKING: u64 = BASE + 32;
const WRITTEN: u64 = BASE + 40;
const STATES: u64 = BASE + 64;

/// Where a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// On the way in or out, or waiting to be let in.
    Between = 0,
    /// Among the data, to write.
    Inside = 1,
    /// Elsewhere: it holds no lock and waits for none.
    Outside = 2,
}

/// Makes the VAS and its segment, which only this user may write.
///
/// # Errors
/// Those of the service.
pub fn make() -> Result<(Vas, Segment), Error> {
    let mode = Mode(0o644);
    let vas = client_lib::vas_create(NAME, mode)?;
    let segment = client_lib::seg_alloc(NAME, BASE, SIZE, Some(PageSize::Small), mode)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    Ok((vas, segment))
}

/// Attaches to the VAS.
///
/// # Errors
/// Those of the service.
pub fn attach() -> Result<Attachment, Error> {
    client_lib::vas_attach(&client_lib::vas_find(NAME)?, Access::ReadWrite)
}

/// How many operations are done.
pub fn committed() -> u64 {
    load(COMMITTED)
}

/// So many operations are done.
pub fn commit(done: u64) {
    store(COMMITTED, done);
}

/// How many operations there are to do.
pub fn end() -> u64 {
    load(END)
}

/// Says how many operations there are to do.
pub fn set_end(end: u64) {
    store(END, end);
}

/// How often the data were rebuilt.
pub fn rebuilt() -> u64 {
    load(REBUILT)
}

/// The data are rebuilt once more.
pub fn rebuild() {
    fetch_add(REBUILT, 1);
}

/// Says where a worker is.
pub fn enter(worker: u64, state: State) {
    store(STATES + 8 * worker, state as u64);
}

/// Where a worker said last that it is.
pub fn state(worker: u64) -> State {
    match load(STATES + 8 * worker) {
        1 => State::Inside,
        2 => State::Outside,
        _ => State::Between,
    }
}

/// Whether who reads may leave.
pub fn may_leave() -> bool {
    load(GO) != 0
}

/// Who reads may leave.
pub fn let_leave() {
    store(GO, 1);
}

/// Who wants to write says that it asks now.
pub fn ask() {
    store(ASKING, 1);
}

/// Whether somebody has asked to write.
pub fn has_asked() -> bool {
    load(ASKING) != 0
}

/// Who was let in to write says so.
pub fn write() {
    store(WRITTEN, 1);
}

/// Whether somebody was let in to write.
pub fn has_written() -> bool {
    load(WRITTEN) != 0
}

/// Nobody has asked to write or was let in, from here on.
pub fn unwrite() {
    store(ASKING, 0);
    store(WRITTEN, 0);
}
