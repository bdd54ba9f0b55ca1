// SPDX-License-Identifier: MIT OR Apache-2.0

//! How many there may be of each thing; exceeding one is [`Error::LimitReached`].
//!
//! The numbers of objects follow from the 28 bits of an endpoint badge
//! (see [`handle`](crate::handle)); the rest bound the server's heap.
//!
//! [`Error::LimitReached`]: crate::Error::LimitReached

/// Longest name of a VAS, segment, component or file, in bytes of UTF-8.
pub const NAME_BYTES: usize = 32;
/// Sessions (processes talking to the server) at one time.
pub const SESSIONS: usize = 256;
/// VASes at one time.
pub const VASES: usize = 1024;
/// Segments at one time.
pub const SEGMENTS: usize = 1024;
/// Attachments of all processes together at one time.
pub const ATTACHMENTS: usize = 1024;
/// Handles that the server keeps: one for each set of rights that was asked for of an object.
pub const HANDLES: usize = 16384;
/// Handles of one object that can be revoked by themselves (see
/// [`Restrict`](crate::message::Restrict)).
pub const REVOCABLE_HANDLES: u8 = 31;
/// Users with quotas of their own.
pub const QUOTAS: usize = 16;
/// Segments in one VAS.
pub const SEGMENTS_PER_VAS: usize = 256;
/// Of those, lockable ones: who switches takes every lock, and the server lets each that waits
/// go through them all.
pub const LOCKS_PER_VAS: usize = 64;
/// Segments of one attachment alone.
pub const SEGMENTS_PER_ATTACHMENT: usize = 64;
/// Named roots of one VAS.
pub const ROOTS_PER_VAS: usize = 16;
/// Pieces of one segment: it can be grown so often less once.
pub const PIECES_PER_SEGMENT: usize = 16;
/// Attachments of a session, and segments of a VAS or of an attachment, that the server
/// remembers for fault reports after they have gone: the last ones.
pub const DEPARTED: usize = 4;
/// Longest report of a fault that the parent of a process is told, in bytes.
pub const REPORT_BYTES: usize = 240;
/// Bytes that one [`SegCopy`](crate::message::SegCopy) copies at most.
pub const COPY_BYTES: u64 = 256 << 10;
/// What the server does for one request at most, in units of about a thousand instructions: 2 MiB
/// of memory are cleared, which is the least that can be (1,024 units), and what else it takes to
/// make a page of it; or some 600 pages are mapped. What takes longer is done in steps, each a
/// request of its own ([`Error::Again`](crate::Error::Again)).
pub const STEP_UNITS: u32 = 1344;
/// What the server does beside that, with each request, to take apart what was deleted: enough
/// for the frames of 2 MiB, or to look for all who have a segment.
pub const RECLAIM_UNITS: u32 = 384;
/// Groups a principal belongs to.
pub const GROUPS: usize = 8;
/// Extents of private memory a process may have (see
/// [`PrivateExtent`](crate::message::PrivateExtent)).
pub const PRIVATE_EXTENTS: usize = 15 + THREADS;
/// Entries in one page of a listing.
pub const LIST_PAGE: usize = 8;
/// Processes at one time.
pub const PROCESSES: usize = 64;
/// Threads of one process.
pub const THREADS: usize = 8;
/// Bytes of a process's argument string.
pub const ARGUMENT_BYTES: usize = 512;
/// Files of the image given to one process.
pub const FILES: usize = 8;
/// Endpoints of the system description given to one process.
pub const ENDPOINTS: usize = 8;
/// Policies that a system description chooses.
pub const POLICIES: usize = 16;
/// Untyped caps that init hands to the server.
pub const UNTYPEDS: usize = 128;
/// Binary logarithm of the slots of the server's CNode, at most.
pub const SERVER_SLOTS_BITS: u8 = 24;
/// Heap of the server for as many objects as may exist, in bytes.
pub const SERVER_HEAP_OF_OBJECTS: u64 = 4 << 20;
/// Heap of the server for every slot of its CNode, in bytes.
pub const SERVER_HEAP_PER_SLOT: u64 = 128;

/// The most heap that clients can make a server with so many slots take, in bytes.
pub const fn server_heap_bytes(slots_bits: u8) -> u64 {
    SERVER_HEAP_OF_OBJECTS + (SERVER_HEAP_PER_SLOT << slots_bits)
}
