// SPDX-License-Identifier: MIT OR Apache-2.0

//! What workers and driver tell each other: words of a segment that all of them have, in a VAS
//! of its own. Whoever calls these functions is in that VAS.
//!
//! A life is one process of a worker, numbered by the driver; a worker has one after the other.

use common::segment_memory::{fetch_add, load, store};
use protocol::address_map::SLOT_BYTES;

use crate::operation::Operation;

/// The name of the VAS and of the segment.
pub const NAME: &str = "board";
/// First address of the segment.
pub const BASE: u64 = 100 * SLOT_BYTES;
/// Its size in bytes.
pub const SIZE: u64 = 96 << 10;
/// Lives that it has room for.
pub const LIVES: u64 = 4096;

const ROUNDS: u64 = BASE;
const TARGET: u64 = BASE + 8;
const COUNTS: u64 = BASE + 0x100;
const OF_VASES: u64 = BASE + 0x800;
const OF_SEGMENTS: u64 = BASE + 0xc00;
const OF_WORKERS: u64 = BASE + 0x1000;
const OF_LIVES: u64 = BASE + 0x4000;

/// A VAS or a segment by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A VAS.
    Vas(usize),
    /// A segment.
    Segment(usize),
}

impl Target {
    fn word(self, which: u64) -> u64 {
        match self {
            Target::Vas(vas) => OF_VASES + vas as u64 * 16 + which * 8,
            Target::Segment(segment) => OF_SEGMENTS + segment as u64 * 16 + which * 8,
        }
    }

    /// How often somebody was about to take this from others.
    pub fn takings(self) -> u64 {
        load(self.word(0))
    }

    /// Somebody is about to take this from others.
    pub fn take(self) {
        fetch_add(self.word(0), 1);
    }

    /// The life that this dies with, 0 for none.
    pub fn mortal(self) -> u64 {
        load(self.word(1))
    }

    /// This dies with the life.
    pub fn dies_with(self, life: u64) {
        store(self.word(1), life);
    }

    /// All VASes and segments of the pool.
    pub fn all() -> impl Iterator<Item = Target> {
        let vases = (0..crate::pool::VASES).map(Target::Vas);
        vases.chain((0..crate::pool::SEGMENTS).map(Target::Segment))
    }
}

/// Rounds so far, of all workers.
pub fn rounds() -> u64 {
    load(ROUNDS)
}

/// Rounds after which workers end.
pub fn target() -> u64 {
    load(TARGET)
}

/// Sets it.
pub fn set_target(rounds: u64) {
    store(TARGET, rounds);
}

fn count_of(operation: Operation, refused: bool) -> u64 {
    COUNTS + (operation as u64 * 2 + u64::from(refused)) * 8
}

/// Counts a round.
pub fn count(operation: Operation, refused: bool) {
    fetch_add(ROUNDS, 1);
    fetch_add(count_of(operation, refused), 1);
}

/// How often an operation was done, and how often refused.
pub fn counts(operation: Operation) -> [u64; 2] {
    [false, true].map(|refused| load(count_of(operation, refused)))
}

/// What a worker says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The VAS that it goes into.
    pub vas: usize,
    /// The segment that it reads and writes there.
    pub segment: usize,
    /// [`Target::takings`] of both, before it made sure that the segment is there.
    pub takings: [u64; 2],
}

fn of_worker(worker: u64, word: u64) -> u64 {
    OF_WORKERS + worker * 64 + word * 8
}

/// A worker has done something.
pub fn beat(worker: u64) {
    fetch_add(of_worker(worker, 0), 1);
}

/// How often it has.
pub fn beats(worker: u64) -> u64 {
    load(of_worker(worker, 0))
}

/// The worker goes into a VAS, or is back.
pub fn set_visit(worker: u64, visit: Option<Visit>) {
    // The first word says whether the others hold.
    store(of_worker(worker, 1), 0);
    if let Some(Visit {
        vas,
        segment,
        takings: [of_vas, of_segment],
    }) = visit
    {
        store(of_worker(worker, 2), vas as u64);
        store(of_worker(worker, 3), segment as u64);
        store(of_worker(worker, 4), of_vas);
        store(of_worker(worker, 5), of_segment);
        store(of_worker(worker, 1), 1);
    }
}

/// Where the worker is.
pub fn visit(worker: u64) -> Option<Visit> {
    let word = |word| load(of_worker(worker, word));
    (word(1) == 1).then(|| Visit {
        vas: word(2) as usize,
        segment: word(3) as usize,
        takings: [word(4), word(5)],
    })
}

/// How a life ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum State {
    /// It was never begun.
    Never = 0,
    /// It has not.
    Lives = 1,
    /// The process exited by itself.
    Exited = 2,
    /// It was killed or faulted, perhaps in the middle of writing.
    Cut = 3,
}

/// The driver says how it stands with a life of a worker.
pub fn set_state(life: u64, worker: u64, state: State) {
    store(OF_LIVES + life * 16, worker << 8 | state as u64);
}

/// How it stands with a life, and whose it is.
pub fn state(life: u64) -> (State, u64) {
    let word = match life {
        0..LIVES => load(OF_LIVES + life * 16),
        _ => 0,
    };
    let state = match word & 0xff {
        1 => State::Lives,
        2 => State::Exited,
        3 => State::Cut,
        _ => State::Never,
    };
    (state, word >> 8)
}

/// The worker will write records up to this number.
pub fn announce(life: u64, number: u64) {
    store(OF_LIVES + life * 16 + 8, number);
}

/// The number of the last record that this life may have written.
pub fn announced(life: u64) -> u64 {
    load(OF_LIVES + life * 16 + 8)
}

const _: () = assert!(OF_LIVES + LIVES * 16 <= BASE + SIZE);
const _: () = assert!(COUNTS + Operation::ALL.len() as u64 * 16 <= OF_VASES);
const _: () = assert!(OF_VASES + crate::pool::VASES as u64 * 16 <= OF_SEGMENTS);
const _: () = assert!(OF_SEGMENTS + crate::pool::SEGMENTS as u64 * 16 <= OF_WORKERS);
