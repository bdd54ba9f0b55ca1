// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the server has, and how to see that an operation or a test has changed nothing.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::Debug;

use client_lib::{Error, Name};
use common::failure::{check, check_equal};
pub use common::statistics::difference;
use common::{Failure, Outcome};
use protocol::limits::LIST_PAGE;
use protocol::message::{SegEntry, Statistics, VasEntry};

/// Everything that a client can learn of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct State {
    statistics: Statistics,
    vases: Vec<VasEntry>,
    segments: Vec<SegEntry>,
}

impl State {
    /// As it is once what was deleted is free. That this can be asked also shows that the server lives.
    pub fn now() -> Result<Self, Error> {
        Ok(State {
            statistics: client_lib::settle()?,
            vases: all_vases()?,
            segments: all_segments()?,
        })
    }

    /// Free memory in bytes.
    pub fn memory_free(&self) -> u64 {
        self.statistics.memory_free
    }

    /// Free address-space identifiers.
    pub fn asids_free(&self) -> u32 {
        self.statistics.asids_free
    }
}

/// Every VAS that this process may look up, page by page.
pub fn all_vases() -> Result<Vec<VasEntry>, Error> {
    let mut all: Vec<VasEntry> = Vec::new();
    loop {
        let before = all.len();
        let last = all.last().map(|entry| entry.name.clone());
        all.extend(client_lib::vas_list(last.as_ref().map(Name::as_str))?);
        if all.len() - before < LIST_PAGE {
            return Ok(all);
        }
    }
}

/// Every segment that this process may look up, page by page.
pub fn all_segments() -> Result<Vec<SegEntry>, Error> {
    let mut all: Vec<SegEntry> = Vec::new();
    loop {
        let before = all.len();
        let last = all.last().map(|entry| entry.name.clone());
        all.extend(client_lib::seg_list(last.as_ref().map(Name::as_str))?);
        if all.len() - before < LIST_PAGE {
            return Ok(all);
        }
    }
}

/// Fails unless `operation` is refused with exactly this error and changes nothing.
#[track_caller]
pub fn refused<T: Debug>(expected: Error, operation: impl FnOnce() -> Result<T, Error>) -> Outcome {
    let before = State::now()?;
    let answer = operation();
    let after = State::now()?;
    match answer {
        Err(error) => check_equal("error", error, expected)?,
        Ok(value) => {
            return Err(Failure::new(format!(
                "not refused: {value:?} instead of {expected:?}"
            )));
        }
    }
    unchanged(&before, &after)
}

/// Fails unless both states are the same.
#[track_caller]
pub fn unchanged(before: &State, after: &State) -> Outcome {
    if let Some(difference) = difference(&before.statistics, &after.statistics) {
        return Err(Failure::new(format!(
            "an operation that changes nothing did: {difference}"
        )));
    }
    check(before.vases == after.vases, "the list of VASes has changed")?;
    check(
        before.segments == after.segments,
        "the list of segments has changed",
    )
}

/// Waits until no more processes run than at `before`, and removes all VASes and segments
/// that this process may remove.
pub fn sweep(before: &Statistics) -> Result<(), Error> {
    while client_lib::server_stat()?.sessions > before.sessions {
        sel4::yield_now();
    }
    for entry in all_vases()? {
        if let Ok(vas) = client_lib::vas_find(entry.name.as_str()) {
            // Whatever cannot be removed shows in the next test.
            let _ = client_lib::vas_delete(&vas);
        }
    }
    for entry in all_segments()? {
        if let Ok(segment) = client_lib::seg_find(entry.name.as_str()) {
            let _ = client_lib::seg_free(&segment);
        }
    }
    Ok(())
}
