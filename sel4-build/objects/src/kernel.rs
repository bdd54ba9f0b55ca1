// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the server asks of the kernel.
//!
//! Only capability operations of seL4, on the server's own single-level CNode; what they
//! are used for is decided elsewhere. Names are those of libsel4 (seL4 manual, chapter
//! "Capability Spaces" and the API reference).

use core::sync::atomic::AtomicU64;

use protocol::lock::{Lock, LockSet};
use protocol::{Access, Badge, PageSize};

/// A slot of the server's own CNode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// Why the kernel refused: its error number (seL4 manual, chapter "Error Codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelError(pub u8);

impl From<KernelError> for protocol::Error {
    fn from(error: KernelError) -> Self {
        protocol::Error::Internal { kernel: error.0 }
    }
}

/// A page table below the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TableLevel {
    /// Spans 512 GiB.
    Pdpt,
    /// Spans 1 GiB.
    PageDirectory,
    /// Spans 2 MiB.
    PageTable,
}

impl TableLevel {
    /// Binary logarithm of the bytes it spans.
    pub const fn span_bits(self) -> u8 {
        match self {
            TableLevel::Pdpt => 39,
            TableLevel::PageDirectory => 30,
            TableLevel::PageTable => 21,
        }
    }
}

/// Binary logarithm of the bytes of a page table of any level, the root included, and of
/// an ASID pool.
pub const TABLE_BITS: u8 = 12;
/// Objects that one [`Kernel::retype`] makes at most (`CONFIG_RETYPE_FAN_OUT_LIMIT`).
pub const RETYPE_LIMIT: u32 = 256;
/// Address-space identifiers in one ASID pool.
pub const ASIDS_PER_POOL: u32 = 512;

/// What a task needs to be woken after some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The handler of the timer's interrupt, which signals the notification.
    pub interrupt: Slot,
    /// A cap to the notification.
    pub notification: Slot,
}

/// How often the timer counts in a second: channel 0 of the PC's interval timer (Intel 8254), which
/// is fed with a twelfth of 14.31818 MHz.
pub const TIMER_HERTZ: u64 = 1_193_182;

/// A kernel object made from untyped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// Untyped memory of `1 << bits` bytes.
    Untyped {
        /// Binary logarithm of its size in bytes.
        bits: u8,
    },
    /// A root table.
    Pml4,
    /// A page table below it.
    Table(TableLevel),
    /// A frame.
    Frame(PageSize),
}

impl Object {
    /// Binary logarithm of its size in bytes.
    pub const fn size_bits(self) -> u8 {
        match self {
            Object::Untyped { bits } => bits,
            Object::Pml4 | Object::Table(_) => TABLE_BITS,
            Object::Frame(size) => size.bits(),
        }
    }
}

/// The kernel as the server sees it.
///
/// A call that is refused has changed nothing. [`delete`](Self::delete) and
/// [`revoke`](Self::revoke) cannot be refused: seL4 does so only for a slot beyond the
/// CNode, and the server uses none. So whatever was done can always be undone.
pub trait Kernel {
    /// Whether it can enter a PDPT in several roots: whether it is the extended kernel.
    fn shares_tables(&mut self) -> bool;

    /// Makes `count` objects (1 to [`RETYPE_LIMIT`]) from untyped memory, their caps in
    /// consecutive empty slots from `first` on, in order of address. Corresponds to
    /// `seL4_Untyped_Retype`.
    ///
    /// Untyped memory without descendants is used from its start again, and is cleared
    /// before if it was used.
    ///
    /// # Errors
    /// What the kernel answers.
    fn retype(
        &mut self,
        untyped: Slot,
        object: Object,
        first: Slot,
        count: u32,
    ) -> Result<(), KernelError>;

    /// Copies a cap into an empty slot, without the right to write if `access` is
    /// read-only. The copy of a mapped frame is not mapped. On the extended kernel the copy
    /// of a mapped PDPT is an attachment of it, not mapped yet, and a root copied without
    /// the right to write can be switched to and nothing else. Corresponds to
    /// `seL4_CNode_Copy`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn copy(&mut self, from: Slot, to: Slot, access: Access) -> Result<(), KernelError>;

    /// Copies an endpoint cap into an empty slot and gives the copy a badge. Corresponds
    /// to `seL4_CNode_Mint`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn mint(&mut self, from: Slot, to: Slot, badge: Badge) -> Result<(), KernelError>;

    /// Empties a slot; one that is empty stays so. A frame mapped by this cap is unmapped,
    /// a page table unmapped and an address-space identifier freed with the last cap.
    /// Corresponds to `seL4_CNode_Delete`.
    fn delete(&mut self, slot: Slot);

    /// Deletes everything derived from a cap, but not the cap itself. Corresponds to
    /// `seL4_CNode_Revoke`.
    fn revoke(&mut self, slot: Slot);

    /// Makes an ASID pool from untyped memory of [`TABLE_BITS`] in an empty slot.
    /// Corresponds to `seL4_X86_ASIDControl_MakePool`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn make_asid_pool(
        &mut self,
        control: Slot,
        untyped: Slot,
        pool: Slot,
    ) -> Result<(), KernelError>;

    /// Gives a root table an address-space identifier. Corresponds to
    /// `seL4_X86_ASIDPool_Assign`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn assign_asid(&mut self, pool: Slot, root: Slot) -> Result<(), KernelError>;

    /// Enters a page table in a root table, at an address that is a multiple of its span; an
    /// attachment of a PDPT, at the address of its home.
    /// Corresponds to `seL4_X86_PDPT_Map`, `seL4_X86_PageDirectory_Map` and
    /// `seL4_X86_PageTable_Map`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn map_table(
        &mut self,
        table: Slot,
        level: TableLevel,
        root: Slot,
        address: u64,
    ) -> Result<(), KernelError>;

    /// Maps a frame whose cap is not mapped yet. Corresponds to `seL4_X86_Page_Map`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn map_frame(
        &mut self,
        frame: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<(), KernelError>;

    /// Copies memory within the [`SERVER_WINDOW`](protocol::address_map::SERVER_WINDOW) of the
    /// own root; `bytes` is a multiple of 8, and both places are mapped. No invocation.
    fn copy_memory(&mut self, from: u64, to: u64, bytes: u64);

    /// Keeps the right to answer the message that was received last, in an empty slot. Corresponds
    /// to `seL4_CNode_SaveCaller`.
    ///
    /// # Errors
    /// What the kernel answers.
    fn save_caller(&mut self, slot: Slot) -> Result<(), KernelError>;

    /// Answers whoever the right in this slot is about, and empties the slot; if it is empty,
    /// because who asked is gone, nothing happens. Corresponds to `seL4_Send`.
    fn reply(&mut self, slot: Slot, label: u64, words: &[u64], cap: Option<Slot>);

    /// The lock of the segment of this index, whose page is mapped in the own root at its place
    /// from [`SERVER_LOCKS`](protocol::address_map::SERVER_LOCKS) on. No invocation.
    fn lock(&self, segment: u16) -> &Lock;

    /// The lock set of the VAS of this index, whose page is mapped in the own root at its place
    /// from [`SERVER_LOCK_SETS`](protocol::address_map::SERVER_LOCK_SETS) on. No invocation.
    fn lock_set(&self, vas: u16) -> &LockSet;

    /// The word of the attachment of this index at
    /// [`LOCKING`](protocol::address_map::LOCKING). No invocation.
    fn locking(&self, attachment: u16) -> &AtomicU64;

    /// Has the timer count from `ticks`, at least 1, down to 0, once, and its notification received
    /// like a message then. From any earlier start a notification may still come. `None` stops it:
    /// none comes any longer. Corresponds to `seL4_TCB_BindNotification`, `seL4_IRQHandler_Ack` and
    /// `seL4_X86_IOPort_Out8`.
    ///
    /// It cannot be refused, as [`delete`](Self::delete) cannot.
    fn set_timer(&mut self, timer: Timer, ticks: Option<u16>);

    /// What the timer has come to. It counts [`TIMER_HERTZ`] times a second, and below 0 goes on
    /// from 65,535. Corresponds to `seL4_X86_IOPort_In8`.
    fn timer_count(&mut self) -> u16;
}
