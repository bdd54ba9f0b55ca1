// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why a request was refused.
//!
//! Two tiers: numbers below 32 mean that the caller broke the protocol (a bug in the
//! caller), the others are answers. A refused request has changed nothing.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::handle::{Kind, Rights};
use crate::message::Name;

/// Why a request was refused. Travels as label [`number`](Self::number), with the details
/// in the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Error {
    /// The label names no operation, or one that this kind of session may not ask for.
    UnknownOperation,
    /// The body is not what the operation expects.
    Malformed,
    /// The cap in this position (0 is the first) names nothing: its object was deleted, or
    /// it is no cap of this service, or none was passed.
    StaleHandle {
        /// Position among the caps of the message.
        position: u8,
    },
    /// The cap in this position is a handle of another kind.
    WrongKind {
        /// Position among the caps of the message.
        position: u8,
        /// What the operation needs there.
        expected: Kind,
        /// What was passed.
        found: Kind,
    },
    /// The reply was not understood: client and server disagree about the protocol.
    BadReply,

    /// No VAS, segment or root of that name; or, to init, no such session.
    NotFound,
    /// The name is taken.
    NameExists,
    /// A name must have 1 to 32 bytes and no control characters.
    InvalidName,
    /// The principal's mode bits or the handle's rights do not allow this.
    PermissionDenied {
        /// The rights that would have been needed.
        needs: Rights,
    },
    /// A size of 0.
    ZeroSize,
    /// The base is not a multiple of the page size.
    Unaligned {
        /// The base, in bytes.
        base: u64,
        /// What it must be a multiple of, in bytes.
        alignment: u64,
    },
    /// The range does not lie in the addresses for such segments.
    OutOfRange {
        /// First address of the range asked for.
        base: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// Another segment is in the way.
    Overlap {
        /// Its name.
        with: Name,
        /// Its first address.
        base: u64,
        /// Its size in bytes.
        size: u64,
    },
    /// The process has attached this VAS with this access, or the VAS this segment, already.
    AlreadyAttached,
    /// The segment is not attached to this VAS.
    NotAttached,
    /// Still in use: by this many attachments (of processes to a VAS, or of a segment to
    /// VASes).
    InUse {
        /// How many.
        attachments: u32,
    },
    /// The attachment is none of this session, or no longer.
    StaleAttachment,
    /// The thread is inside this attachment, or the process holds locks of another, so that it
    /// must not wait.
    Inside,
    /// Not enough free memory.
    OutOfMemory,
    /// Not enough capability slots in the server.
    OutOfSlots,
    /// Every address-space identifier is in use.
    OutOfAsids,
    /// The server's placement policy chooses no base, so the segment needs one.
    BaseNeeded,
    /// So many bytes fit nowhere between the segments that there are.
    NoRoom {
        /// The bytes.
        size: u64,
    },
    /// The server's placement policy would have put the clone of a segment elsewhere, where
    /// addresses in its content mean something else.
    Moved {
        /// Where.
        base: u64,
    },
    /// The server's admission policy does not let this user make one more.
    NotAdmitted,
    /// A part of it is done, or what it lacks is being given back: nothing has changed that
    /// others can rely on, and the same request is to be repeated. The client library does that.
    Again,
    /// The process that made the object has ended, so it cannot die with it.
    CreatorEnded,
    /// Others hold a lock of the VAS, or wait for it, and the request does not wait.
    Locked,
    /// One of the [limits](crate::limits) is reached, or what the user's quota has of it, or
    /// what quotas of other users leave of it.
    LimitReached(Limit),
    /// The kernel refused what the server believed possible; a defect worth reporting.
    Internal {
        /// The kernel's error number (seL4 manual, chapter "Error Codes").
        kernel: u8,
    },
}

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// [`limits::SESSIONS`](crate::limits::SESSIONS)
    Sessions,
    /// [`limits::VASES`](crate::limits::VASES)
    Vases,
    /// [`limits::SEGMENTS`](crate::limits::SEGMENTS)
    Segments,
    /// [`limits::ATTACHMENTS`](crate::limits::ATTACHMENTS)
    Attachments,
    /// [`limits::SEGMENTS_PER_VAS`](crate::limits::SEGMENTS_PER_VAS)
    SegmentsPerVas,
    /// [`limits::PRIVATE_EXTENTS`](crate::limits::PRIVATE_EXTENTS)
    PrivateExtents,
    /// [`limits::SEGMENTS_PER_ATTACHMENT`](crate::limits::SEGMENTS_PER_ATTACHMENT)
    SegmentsPerAttachment,
    /// [`limits::ROOTS_PER_VAS`](crate::limits::ROOTS_PER_VAS)
    RootsPerVas,
    /// [`limits::PIECES_PER_SEGMENT`](crate::limits::PIECES_PER_SEGMENT)
    PiecesPerSegment,
    /// [`limits::HANDLES`](crate::limits::HANDLES)
    Handles,
    /// [`limits::REVOCABLE_HANDLES`](crate::limits::REVOCABLE_HANDLES)
    RevocableHandles,
    /// [`limits::LOCKS_PER_VAS`](crate::limits::LOCKS_PER_VAS)
    LocksPerVas,
}

impl Error {
    /// The fixed number of the error; 0 is success and never an error.
    pub const fn number(&self) -> u64 {
        match self {
            Error::UnknownOperation => 1,
            Error::Malformed => 2,
            Error::StaleHandle { .. } => 3,
            Error::WrongKind { .. } => 4,
            Error::BadReply => 5,
            Error::NotFound => 32,
            Error::NameExists => 33,
            Error::InvalidName => 34,
            Error::PermissionDenied { .. } => 35,
            Error::ZeroSize => 36,
            Error::Unaligned { .. } => 37,
            Error::OutOfRange { .. } => 38,
            Error::Overlap { .. } => 39,
            Error::AlreadyAttached => 40,
            Error::NotAttached => 41,
            Error::InUse { .. } => 42,
            Error::StaleAttachment => 43,
            Error::Inside => 44,
            Error::OutOfMemory => 45,
            Error::OutOfSlots => 46,
            Error::OutOfAsids => 47,
            Error::LimitReached(_) => 48,
            Error::Internal { .. } => 49,
            Error::CreatorEnded => 50,
            Error::Locked => 51,
            Error::BaseNeeded => 60,
            Error::NoRoom { .. } => 61,
            Error::Moved { .. } => 62,
            Error::NotAdmitted => 63,
            Error::Again => 64,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownOperation => write!(out, "no such operation for this session"),
            Error::Malformed => write!(out, "the message body is malformed"),
            Error::StaleHandle { position } => {
                write!(
                    out,
                    "handle {position} names nothing (deleted, or not a handle)"
                )
            }
            Error::WrongKind {
                position,
                expected,
                found,
            } => {
                write!(out, "handle {position} is a {found:?}, not a {expected:?}")
            }
            Error::BadReply => write!(out, "the reply was not understood"),
            Error::NotFound => write!(out, "no such name"),
            Error::NameExists => write!(out, "the name is taken"),
            Error::InvalidName => {
                write!(out, "a name has 1 to 32 bytes and no control characters")
            }
            Error::PermissionDenied { needs } => {
                write!(out, "permission denied: needs {}", Names(*needs))
            }
            Error::ZeroSize => write!(out, "the size is 0"),
            Error::Unaligned { base, alignment } => {
                write!(out, "{base:#x} is not a multiple of {alignment:#x}")
            }
            Error::OutOfRange { base, size } => {
                write!(
                    out,
                    "{size:#x} bytes at {base:#x} are outside the addresses for segments"
                )
            }
            Error::Overlap { with, base, size } => {
                write!(
                    out,
                    "segment {with} is in the way ({size:#x} bytes at {base:#x})"
                )
            }
            Error::AlreadyAttached => write!(out, "already attached"),
            Error::NotAttached => write!(out, "not attached"),
            Error::InUse { attachments } => write!(out, "in use by {attachments} attachments"),
            Error::StaleAttachment => write!(out, "no such attachment of this process"),
            Error::Inside => write!(out, "the thread is inside this attachment"),
            Error::OutOfMemory => write!(out, "not enough free memory"),
            Error::OutOfSlots => write!(out, "not enough free capability slots"),
            Error::Again => write!(out, "not done yet: the request is to be repeated"),
            Error::OutOfAsids => write!(out, "no free address-space identifier"),
            Error::BaseNeeded => {
                write!(out, "the server chooses no base: the segment needs one")
            }
            Error::NoRoom { size } => {
                write!(out, "{size:#x} bytes fit nowhere between the segments")
            }
            Error::Moved { base } => {
                write!(out, "the server would have put the clone at {base:#x}")
            }
            Error::NotAdmitted => {
                write!(out, "the server does not let this user make one more")
            }
            Error::CreatorEnded => {
                write!(
                    out,
                    "the process that made it has ended, so it cannot die with it"
                )
            }
            Error::Locked => write!(out, "locked by others"),
            Error::LimitReached(limit) => write!(out, "limit reached: {limit:?}"),
            Error::Internal { kernel } => write!(out, "the kernel refused (error {kernel})"),
        }
    }
}

impl core::error::Error for Error {}

struct Names(Rights);

impl fmt::Display for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (name, _)) in self.0.iter_names().enumerate() {
            if position > 0 {
                write!(out, "+")?;
            }
            for letter in name.chars() {
                write!(out, "{}", letter.to_ascii_lowercase())?;
            }
        }
        Ok(())
    }
}
