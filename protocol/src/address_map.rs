// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may use which addresses.
//!
//! The user half of an x86-64 address space has 256 root-table (PML4) slots of 512 GiB.
//! Private memory of a process and segments of a VAS lie in disjoint slots, so an
//! attachment never collides with the code or the stack of the process that attaches
//! (paper section 4.1).

use core::ops::Range;

use crate::limits;

/// Bytes that one root-table (PML4) slot spans: 512 GiB.
pub const SLOT_BYTES: u64 = 1 << 39;
/// Bytes of the smallest page.
pub const PAGE_BYTES: u64 = 4096;

/// Root-table slot of a process's private memory: code, stacks, globals, private heap,
/// IPC buffers.
pub const PRIVATE_SLOT: u64 = 0;
/// Root-table slots of segments attached to a VAS, seen by all its attachers.
pub const GLOBAL_SLOTS: Range<u64> = 1..192;
/// Root-table slots of segments attached to one attachment only.
pub const LOCAL_SLOTS: Range<u64> = 192..254;

/// Root-table slot of the locks of a VAS, seen by all its attachers.
pub const LOCK_SLOT: u64 = 254;

/// Addresses of private memory.
pub const PRIVATE: Range<u64> = 0..SLOT_BYTES;
/// Addresses of segments attached to a VAS.
pub const GLOBAL: Range<u64> = GLOBAL_SLOTS.start * SLOT_BYTES..GLOBAL_SLOTS.end * SLOT_BYTES;
/// Addresses of segments attached to one attachment only.
pub const LOCAL: Range<u64> = LOCAL_SLOTS.start * SLOT_BYTES..LOCAL_SLOTS.end * SLOT_BYTES;

/// Where the locks of a VAS's segments lie within the VAS: one page each, by segment index.
pub const LOCKS: u64 = LOCK_SLOT * SLOT_BYTES;
/// Where the set of a VAS's locks lies within the VAS: one page, read-only.
pub const LOCK_SET: u64 = LOCKS + limits::SEGMENTS as u64 * PAGE_BYTES;

/// Where component images are linked. Addresses below are never mapped.
pub const IMAGE_BASE: u64 = 0x40_0000;
/// First address above the first thread's stack (see [`stack_top`]).
pub const STACK_TOP: u64 = 0x7fff_0000;
/// The first thread's IPC buffer, one page; those of the other threads lie behind it (see
/// [`ipc_buffer`]).
pub const IPC_BUFFER: u64 = 0x8000_0000;
/// The page that tells a process what it was started with
/// ([`StartInfo`](crate::process::StartInfo)), read-only.
pub const START_INFO: u64 = 0x8001_0000;
/// Read-only in every process: which attachments must take locks, one word for each, by index.
/// The word is the [`AttachmentId`](crate::AttachmentId) of one that must, and else 0. The VAS
/// server writes it.
pub const LOCKING: u64 = 0x8001_2000;
/// Pages at [`LOCKING`].
pub const LOCKING_PAGES: u64 = (limits::ATTACHMENTS as u64 * 8).div_ceil(PAGE_BYTES);
/// Where the VAS server's heap begins: a multiple of 2 MiB.
pub const SERVER_HEAP: u64 = 0x10_0000_0000;
/// Where the VAS server maps frames for a moment, to copy between them. Nothing else lies there.
pub const SERVER_WINDOW: Range<u64> = 0x20_0000_0000..0x21_0000_0000;
/// Where the VAS server sees the locks of all segments, one page each, by segment index.
pub const SERVER_LOCKS: u64 = 0x22_0000_0000;
/// Where the VAS server sees the lock sets of all VASes, one page each, by VAS index.
pub const SERVER_LOCK_SETS: u64 = SERVER_LOCKS + limits::SEGMENTS as u64 * PAGE_BYTES;
/// The end of both.
pub const SERVER_LOCKS_END: u64 = SERVER_LOCK_SETS + limits::VASES as u64 * PAGE_BYTES;
/// Where the files of the image given to a process begin, read-only, each at a multiple
/// of 4 KiB.
pub const FILES: u64 = 0x1_0000_0000;

/// First address above the stack of a thread of a process whose stacks have so many bytes. The
/// first thread has the number 0 and the highest stack. The page below each stack is a guard page.
pub const fn stack_top(thread: usize, stack_bytes: u64) -> u64 {
    STACK_TOP - thread as u64 * (stack_bytes + PAGE_BYTES)
}

/// The IPC buffer of a thread: one page.
pub const fn ipc_buffer(thread: usize) -> u64 {
    IPC_BUFFER + thread as u64 * PAGE_BYTES
}

// The page behind the last is not mapped.
const _: () = assert!(ipc_buffer(limits::THREADS + 1) <= START_INFO);
const _: () = assert!(
    SERVER_HEAP + limits::server_heap_bytes(limits::SERVER_SLOTS_BITS) <= SERVER_WINDOW.start
);
