// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a test failed, and where.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Debug, Display};
use core::panic::Location;

/// A reason on one line, with the line of source that found it.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    place: &'static Location<'static>,
}

/// What a test ends with.
pub type Outcome = Result<(), Failure>;

impl Failure {
    /// A failure found by the caller.
    #[track_caller]
    pub fn new(reason: impl Into<String>) -> Self {
        Failure {
            reason: reason.into(),
            place: Location::caller(),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{} ({}:{})",
            self.reason,
            self.place.file(),
            self.place.line()
        )
    }
}

/// An error where none was expected.
impl<E: core::error::Error> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        Failure::new(format!("unexpected error: {error}"))
    }
}

/// Fails with `what` unless `condition` holds.
///
/// # Errors
/// The failure.
#[track_caller]
pub fn check(condition: bool, what: &str) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(what))
    }
}

/// Fails unless both are equal.
///
/// # Errors
/// The failure, with both values.
#[track_caller]
pub fn check_equal<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{what}: found {found:x?}, expected {expected:x?}"
    )))
}
