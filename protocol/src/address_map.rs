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

/// Addresses of private memory.
pub const PRIVATE: Range<u64> = 0..SLOT_BYTES;
/// Addresses of segments attached to a VAS.
pub const GLOBAL: Range<u64> = GLOBAL_SLOTS.start * SLOT_BYTES..GLOBAL_SLOTS.end * SLOT_BYTES;
/// Addresses of segments attached to one attachment only.
pub const LOCAL: Range<u64> = LOCAL_SLOTS.start * SLOT_BYTES..LOCAL_SLOTS.end * SLOT_BYTES;

/// Where component images are linked. Addresses below are never mapped.
pub const IMAGE_BASE: u64 = 0x40_0000;
/// First address above the first thread's stack. The page below the stack is a guard page.
pub const STACK_TOP: u64 = 0x7fff_0000;
/// The first thread's IPC buffer: one page.
pub const IPC_BUFFER: u64 = 0x8000_0000;
/// The page that tells a process what it was started with
/// ([`StartInfo`](crate::process::StartInfo)), read-only.
pub const START_INFO: u64 = 0x8000_2000;
/// Where the VAS server's heap begins: a multiple of 2 MiB.
pub const SERVER_HEAP: u64 = 0x10_0000_0000;
/// Where the VAS server maps frames for a moment, to copy between them. Nothing else lies there.
pub const SERVER_WINDOW: Range<u64> = 0x20_0000_0000..0x21_0000_0000;
/// Where the files of the image given to a process begin, read-only, each at a multiple
/// of 4 KiB.
pub const FILES: u64 = 0x1_0000_0000;

const _: () = assert!(
    SERVER_HEAP + limits::server_heap_bytes(limits::SERVER_SLOTS_BITS) <= SERVER_WINDOW.start
);
