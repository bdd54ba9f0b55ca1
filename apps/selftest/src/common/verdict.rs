// SPDX-License-Identifier: MIT OR Apache-2.0

//! How an actor tells the test what became of an operation: by its exit code.

use protocol::process::InitError;
use protocol::{Error, Rights};

/// Everything went as the test wanted.
pub const DONE: i32 = 0;
/// Something else went wrong; the actor has printed what.
pub const CONFUSED: i32 = 1;

/// The exit code for what the VAS service answered: rights (of a handle, or none), or an
/// error with the rights that it names.
pub fn of(answer: Result<Rights, Error>) -> i32 {
    match answer {
        Ok(rights) => 0x100 | i32::from(rights.bits()),
        Err(Error::PermissionDenied { needs }) => 0x200 | i32::from(needs.bits()),
        Err(error) => 0x400 | error.number() as i32,
    }
}

/// The exit code for what init answered.
pub fn of_init<T>(answer: Result<T, InitError>) -> i32 {
    match answer {
        Ok(_) => 0x800,
        Err(error) => 0x1000 | error.number() as i32,
    }
}
