// SPDX-License-Identifier: MIT OR Apache-2.0
//! Why the kernel refused.

use core::fmt;

/// Why the kernel refused an invocation (`seL4_Error`; manual, chapter "Error Codes").
///
/// Details of some errors are in the first message registers, until the next system call:
/// [`message_register`](crate::message_register).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Error {
    /// An argument is wrong. Message register 0: its position.
    InvalidArgument = 1,
    /// A capability is missing or of the wrong kind. Message register 0: its position; 0 is
    /// the one invoked.
    InvalidCapability = 2,
    /// The operation is not one of this object, or not in its state.
    IllegalOperation = 3,
    /// An argument is out of range. Message registers 0 and 1: the least and the greatest value.
    RangeError = 4,
    /// An address is not aligned.
    AlignmentError = 5,
    /// A slot or a page table is not there. Message register 0: whether the source was looked
    /// up; then the [`LookupFailure`](crate::LookupFailure).
    FailedLookup = 6,
    /// Message or capabilities are missing.
    TruncatedMessage = 7,
    /// The destination is not empty.
    DeleteFirst = 8,
    /// The object has descendants or other capabilities.
    RevokeFirst = 9,
    /// Not enough untyped memory left. Message register 0: how many bytes there are.
    NotEnoughMemory = 10,
    /// The answer is not one of the kernel's: the invoked capability was an endpoint.
    NotTheKernel = 255,
}

impl Error {
    const ALL: [Error; 10] = [
        Error::InvalidArgument,
        Error::InvalidCapability,
        Error::IllegalOperation,
        Error::RangeError,
        Error::AlignmentError,
        Error::FailedLookup,
        Error::TruncatedMessage,
        Error::DeleteFirst,
        Error::RevokeFirst,
        Error::NotEnoughMemory,
    ];

    /// The error that the label of the kernel's answer names; the label is not 0.
    pub(crate) fn from_label(label: u64) -> Error {
        label
            .checked_sub(1)
            .and_then(|index| Self::ALL.get(index as usize).copied())
            .unwrap_or(Error::NotTheKernel)
    }

    /// The kernel's number for it.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

const _: () = {
    let mut index = 0;
    while index < Error::ALL.len() {
        assert!(Error::ALL[index].number() as usize == index + 1);
        index += 1;
    }
};

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Error::InvalidArgument => "invalid argument",
            Error::InvalidCapability => "capability missing or of the wrong kind",
            Error::IllegalOperation => "operation not possible on this object",
            Error::RangeError => "argument out of range",
            Error::AlignmentError => "address not aligned",
            Error::FailedLookup => "slot or page table not there",
            Error::TruncatedMessage => "arguments missing",
            Error::DeleteFirst => "destination not empty",
            Error::RevokeFirst => "object still in use",
            Error::NotEnoughMemory => "not enough untyped memory",
            Error::NotTheKernel => "answered by something that is not the kernel",
        })
    }
}

impl core::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_found_by_its_number_and_others_are_not_the_kernels() {
        for error in Error::ALL {
            assert_eq!(Error::from_label(error.number().into()), error);
        }
        for label in [0, 11, 128, 1 << 19] {
            assert_eq!(Error::from_label(label), Error::NotTheKernel);
        }
    }
}
