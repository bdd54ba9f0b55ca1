// SPDX-License-Identifier: MIT OR Apache-2.0

//! The client library's calls in the shapes that tests need.

use alloc::format;

use client_lib::{Access, Attachment, Error, Segment, Vas};
use protocol::address_map::PAGE_BYTES;

use crate::{Failure, Outcome};

/// Attaches for reading and writing.
///
/// # Errors
/// Those of [`client_lib::vas_attach`].
pub fn attach(vas: &Vas) -> Result<Attachment, Error> {
    client_lib::vas_attach(vas, Access::ReadWrite)
}

/// Detaches, and forgets the attachment even if that fails.
///
/// # Errors
/// Those of [`client_lib::vas_detach`].
pub fn detach(attachment: Attachment) -> Result<(), Error> {
    client_lib::vas_detach(attachment).map_err(|(_, error)| error)
}

/// Runs `action` inside an attachment, and goes back to where the thread was.
///
/// # Errors
/// That of `action`, or a failed switch.
#[track_caller]
pub fn inside<T>(
    attachment: &Attachment,
    action: impl FnOnce() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let before = client_lib::vas_switch(attachment.space())?;
    let result = action();
    let left = client_lib::vas_switch(before)?;
    if left == attachment.space() {
        result
    } else {
        Err(Failure::new(format!(
            "the thread was in {left:?} when it should have been inside"
        )))
    }
}

/// Attaches for reading and writing, runs `action` inside, and detaches.
///
/// # Errors
/// Whatever went wrong.
#[track_caller]
pub fn visit(vas: &Vas, action: impl FnOnce() -> Outcome) -> Outcome {
    let attachment = attach(vas)?;
    let result = inside(&attachment, action);
    detach(attachment)?;
    result
}

/// How many page tables a segment takes, as the server tells it: the root and what is below.
/// Adds it to a VAS that has nothing else, and takes it out again.
///
/// # Errors
/// Whatever went wrong.
#[track_caller]
pub fn tables_of(vas: &Vas, segment: &Segment) -> Result<u64, Failure> {
    // Only who is attached has tables in any case.
    let attachment = attach(vas)?;
    let without = client_lib::vas_stat(vas)?.table_bytes;
    client_lib::seg_attach(vas, segment, Access::ReadWrite)?;
    let with = client_lib::vas_stat(vas)?.table_bytes;
    client_lib::seg_detach(vas, segment)?;
    detach(attachment)?;
    Ok(1 + (with - without) / PAGE_BYTES)
}
