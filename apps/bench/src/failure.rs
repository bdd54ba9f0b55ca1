// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a benchmark ends early.

use core::fmt;

use client_lib::{DataError, Error};
use protocol::process::InitError;

use crate::count::NotInstructions;

/// Why the benchmark ends early.
#[derive(Debug)]
pub enum Failure {
    /// Time is not counted in instructions.
    Counter(NotInstructions),
    /// The VAS service refused.
    Service(Error),
    /// Data of a VAS cannot be used.
    Data(DataError),
    /// init refused.
    Init(InitError),
    /// The kernel refused.
    Kernel(sel4::Error),
    /// The kernel refused to switch.
    Refused,
    /// A process could not attach.
    Attacher,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Counter(error) => error.fmt(out),
            Failure::Service(error) => write!(out, "the VAS service: {error}"),
            Failure::Data(error) => error.fmt(out),
            Failure::Init(error) => write!(out, "init: {error}"),
            Failure::Kernel(error) => write!(out, "the kernel: {error}"),
            Failure::Refused => out.write_str("the kernel refused to switch"),
            Failure::Attacher => out.write_str("a process could not attach"),
        }
    }
}

impl From<NotInstructions> for Failure {
    fn from(error: NotInstructions) -> Self {
        Failure::Counter(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Service(error)
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Failure::Data(error)
    }
}

impl From<InitError> for Failure {
    fn from(error: InitError) -> Self {
        Failure::Init(error)
    }
}

impl From<sel4::Error> for Failure {
    fn from(error: sel4::Error) -> Self {
        Failure::Kernel(error)
    }
}
