// SPDX-License-Identifier: MIT OR Apache-2.0

//! What many tests need: a VAS with a segment in it, and actors.

use alloc::format;

use client_lib::{Access, Error, Mode, PageSize, Rights, Segment, Vas};
use common::failure::{check, check_equal};
use common::{Failure, Outcome, verdict};
use protocol::address_map::SLOT_BYTES;
use protocol::process::{ExitStatus, ProcessId};
use runtime::process;

/// All may read and write.
pub const EVERYONE: Mode = Mode(0o666);
/// Only the owner may read and write.
pub const OWNER: Mode = Mode(0o600);

/// Where segments of tests begin unless it matters: the first address for them.
pub const BASE: u64 = SLOT_BYTES;
/// The size of their segments unless it matters.
pub const SIZE: u64 = 4 * 4096;

/// Actors, by whom they run as. This program runs as user 1000 of group 100.
pub mod actor {
    /// The same user and group.
    pub const OWNER: &str = "actor-owner";
    /// User 1001 of the same group.
    pub const GROUP: &str = "actor-group";
    /// User 2000 of group 200.
    pub const OTHER: &str = "actor-other";
    /// The same, with as many threads as there may be.
    pub const THREADS: &str = "actor-threads";
    /// User 3000, who has a quota.
    pub const PROMISED: &str = "actor-promised";
}

/// A VAS with one segment of the same name in it, to be read and written by everyone.
pub struct Place {
    /// The VAS.
    pub vas: Vas,
    /// The segment.
    pub segment: Segment,
}

impl Place {
    /// Makes one with a small segment at [`BASE`].
    pub fn new(name: &str) -> Result<Self, Error> {
        Place::with(name, BASE, SIZE, PageSize::Small)
    }

    /// Makes one with a segment as asked for.
    pub fn with(name: &str, base: u64, size: u64, page_size: PageSize) -> Result<Self, Error> {
        let vas = client_lib::vas_create(name, EVERYONE)?;
        let segment = client_lib::seg_alloc(name, base, size, Some(page_size), EVERYONE)?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        Ok(Place { vas, segment })
    }

    /// Deletes the VAS and frees the segment.
    pub fn remove(self) -> Result<(), Error> {
        client_lib::vas_delete(&self.vas)?;
        client_lib::seg_free(&self.segment)
    }
}

/// Makes a small segment for all.
pub fn segment(name: &str, base: u64) -> Result<Segment, Error> {
    client_lib::seg_alloc(name, base, SIZE, Some(PageSize::Small), EVERYONE)
}

/// Starts an actor.
#[track_caller]
pub fn start(actor: &str, arguments: &str) -> Result<ProcessId, Failure> {
    Ok(process::spawn(actor, arguments)?)
}

/// Runs an actor to its end.
#[track_caller]
pub fn run(actor: &str, arguments: &str) -> Result<ExitStatus, Failure> {
    let id = process::spawn(actor, arguments)?;
    Ok(process::wait(id)?)
}

/// Fails unless the process ends like this.
#[track_caller]
pub fn ends_with(id: ProcessId, expected: ExitStatus) -> Outcome {
    check_equal("end of the process", process::wait(id)?, expected)
}

/// Fails unless the process faults and is told this reason.
#[track_caller]
pub fn faults_with(id: ProcessId, reason: &str) -> Outcome {
    let ended = process::wait_for_report(id)?;
    let faulted = matches!(ended.status, ExitStatus::Faulted { .. });
    check(faulted, "the process did not fault")?;
    let (_, told) = ended.report.split_once(": ").unwrap_or_default();
    check_equal("reason of the fault", told, reason)
}

/// Runs an actor; fails unless it ends like this.
#[track_caller]
pub fn expect(actor: &str, arguments: &str, expected: ExitStatus) -> Outcome {
    check_equal(
        &format!("end of {actor} {arguments}"),
        run(actor, arguments)?,
        expected,
    )
}

/// Runs an actor; fails unless all was as it expected.
#[track_caller]
pub fn succeeds(actor: &str, arguments: &str) -> Outcome {
    expect(actor, arguments, ExitStatus::Exited(verdict::DONE))
}

/// Runs an actor; fails unless the VAS service gave it this answer.
#[track_caller]
pub fn answered(actor: &str, arguments: &str, expected: Result<Rights, Error>) -> Outcome {
    expect(actor, arguments, ExitStatus::Exited(verdict::of(expected)))
}
