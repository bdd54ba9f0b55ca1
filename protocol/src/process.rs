// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a process finds when it starts, and what it can ask of init.

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::message::{Access, AttachmentId, LockMode, Name, Quota};

/// Slots of a process's own CNode. The first three are those of seL4's root task.
pub mod slot {
    /// The first thread's TCB (see [`tcb`]).
    pub const TCB: u64 = 1;
    /// The CNode itself.
    pub const CNODE: u64 = 2;
    /// The root table (PML4) the process started with.
    pub const VSPACE: u64 = 3;
    /// Endpoint of init, badged with the process.
    pub const INIT: u64 = 4;
    /// Endpoint of init for faults of the first thread (see [`fault`]).
    pub const FAULT: u64 = 5;
    /// Endpoint of the VAS server, badged with the session.
    pub const SESSION: u64 = 6;
    /// I/O ports; only in components that the system description trusts with them.
    pub const IO_PORT: u64 = 7;
    /// The first of the endpoints that the system description gives to the component, in the
    /// order given there; the others follow, at most
    /// [`limits::ENDPOINTS`](crate::limits::ENDPOINTS).
    pub const ENDPOINTS: u64 = 8;
    const NOTIFICATIONS: u64 = ENDPOINTS + crate::limits::ENDPOINTS as u64;
    const TCBS: u64 = NOTIFICATIONS + crate::limits::THREADS as u64;
    const FAULTS: u64 = TCBS + crate::limits::THREADS as u64 - 1;
    /// The first slot the process may use as it likes.
    pub const FREE: u64 = FAULTS + crate::limits::THREADS as u64 - 1;

    /// The TCB of a thread, by its number; that of the first is 0.
    pub const fn tcb(thread: usize) -> u64 {
        match thread {
            0 => TCB,
            thread => TCBS + thread as u64 - 1,
        }
    }

    /// Endpoint of init for the faults of a thread, badged with the process and the thread.
    pub const fn fault(thread: usize) -> u64 {
        match thread {
            0 => FAULT,
            thread => FAULTS + thread as u64 - 1,
        }
    }

    /// The notification that a thread waits with for others of its process. There is none in a
    /// process with one thread.
    pub const fn notification(thread: usize) -> u64 {
        NOTIFICATIONS + thread as u64
    }
}

/// What a thread keeps of its own, in words of the page of its IPC buffer, by their
/// [numbers](../../sel4/fn.thread_word.html). All are 0 when it starts.
pub mod thread_word {
    /// Its number.
    pub const NUMBER: usize = 0;
    /// What the client library knows of the locks that it holds.
    pub const LOCKS: usize = 1;
}

/// Binary logarithm of the number of slots in a process's CNode.
pub const CNODE_BITS: u8 = 11;

/// A file of the image, mapped read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Its name in the system description.
    pub name: Name,
    /// First address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
}

/// What a process was started with. Lies at
/// [`address_map::START_INFO`](crate::address_map::START_INFO) as `postcard` bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartInfo {
    /// The component's name.
    pub component: Name,
    /// The process's number.
    pub process: ProcessId,
    /// Arguments, separated by spaces.
    pub arguments: heapless::String<{ limits::ARGUMENT_BYTES }>,
    /// The files it was given.
    pub files: heapless::Vec<File, { limits::FILES }>,
    /// Threads it may have at one time, with the first.
    pub threads: u8,
    /// Bytes of the stack of each.
    pub stack_bytes: u64,
}

/// What the first bytes of vas-server's start page hold instead: what init gives to the
/// VAS server when it starts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStartInfo {
    /// Binary logarithm of the number of slots of the server's CNode.
    pub cnode_bits: u8,
    /// The first free slot; all above it are free too.
    pub first_free_slot: u64,
    /// The server's endpoint, unbadged.
    pub endpoint: u64,
    /// The cap that makes ASID pools.
    pub asid_control: u64,
    /// The handler of the timer's interrupt, which signals the notification.
    pub timer_interrupt: u64,
    /// The notification, with the badge [`Badge::TIMER`](crate::Badge::TIMER).
    pub timer_notification: u64,
    /// The first untyped cap; the others follow it.
    pub first_untyped: u64,
    /// Binary logarithms of their sizes in bytes, in order of slot.
    pub untyped_bits: heapless::Vec<u8, { limits::UNTYPEDS }>,
    /// Bytes of its heap, which begins at
    /// [`address_map::SERVER_HEAP`](crate::address_map::SERVER_HEAP).
    pub heap_bytes: u64,
    /// The policies that the system description chooses; the server chooses the others.
    pub policies: heapless::Vec<Chosen, { limits::POLICIES }>,
    /// What is promised to users.
    pub quotas: heapless::Vec<Quota, { limits::QUOTAS }>,
}

/// A policy that the system description chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The question.
    pub question: Name,
    /// The name of the answer.
    pub answer: Name,
}

/// The space that a thread runs in, as the thread itself says: the word behind the
/// message registers of its IPC buffer (`userData`).
///
/// `init` reads it to explain a fault. A process that writes something else there spoils
/// only its own fault reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ActiveSpace {
    /// Slot of the root cap in the process's CNode.
    pub root: u16,
    /// The attachment it belongs to; `None` for the space that the process started in.
    pub attachment: Option<Active>,
}

/// What a thread must know of an attachment to switch into it and out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Active {
    /// Names it.
    pub id: AttachmentId,
    /// The most that any segment may be used for.
    pub access: Access,
    /// How the locks of the VAS are taken.
    pub lock_mode: LockMode,
}

impl ActiveSpace {
    /// The space that a process starts in.
    pub const OWN: ActiveSpace = ActiveSpace {
        root: slot::VSPACE as u16,
        attachment: None,
    };

    const LOCK_MODE: u64 = 0b11 << CNODE_BITS;
    const WRITES: u64 = 1 << (CNODE_BITS + 2);
    /// In the word of a thread that may leave the space only in the way in which it has come: it
    /// uses references to what is there. Means nothing to others.
    pub const STAY: u64 = 1 << (CNODE_BITS + 3);
    const ROOT: u64 = (1 << CNODE_BITS) - 1;
    const ATTACHMENT_SHIFT: u32 = u16::BITS;

    /// The word for it. That of [`ActiveSpace::OWN`] is 0, as in a fresh IPC buffer.
    pub const fn word(self) -> u64 {
        match self.attachment {
            None => 0,
            Some(active) => {
                let writes = match active.access {
                    Access::ReadOnly => 0,
                    Access::ReadWrite => Self::WRITES,
                };
                active.id.0 << Self::ATTACHMENT_SHIFT
                    | writes
                    | (active.lock_mode as u64) << CNODE_BITS
                    | self.root as u64 & Self::ROOT
            }
        }
    }

    /// The slot of the root cap that a word says.
    pub const fn root_of(word: u64) -> u64 {
        match word {
            0 => slot::VSPACE,
            word => word & Self::ROOT,
        }
    }

    /// The lock mode that a word says.
    #[inline]
    pub const fn lock_mode_of(word: u64) -> LockMode {
        match (word & Self::LOCK_MODE) >> CNODE_BITS {
            0 => LockMode::None,
            1 => LockMode::Cooperative,
            _ => LockMode::Enforced,
        }
    }

    /// The attachment that a word says; 0 if none.
    #[inline]
    pub const fn attachment_of(word: u64) -> AttachmentId {
        AttachmentId(word >> Self::ATTACHMENT_SHIFT)
    }

    /// The access that a word says.
    #[inline]
    pub const fn access_of(word: u64) -> Access {
        match word & Self::WRITES {
            0 => Access::ReadOnly,
            _ => Access::ReadWrite,
        }
    }

    /// What a word says.
    pub const fn from_word(word: u64) -> Self {
        match word >> Self::ATTACHMENT_SHIFT {
            0 => ActiveSpace::OWN,
            id => ActiveSpace {
                root: (word & Self::ROOT) as u16,
                attachment: Some(Active {
                    id: AttachmentId(id),
                    access: Self::access_of(word),
                    lock_mode: Self::lock_mode_of(word),
                }),
            },
        }
    }
}

const _: () = assert!(CNODE_BITS <= 12, "a word has room for 4096 slots");
const _: () = assert!(ActiveSpace::STAY < 1 << ActiveSpace::ATTACHMENT_SHIFT);

/// Names a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId(pub u32);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It called `exit` with this code, or returned from `main` (0).
    Exited(i32),
    /// It panicked.
    Panicked,
    /// It faulted at this address.
    Faulted {
        /// The address of the access, or of the instruction if it was no page fault.
        address: u64,
    },
    /// It was killed.
    Killed,
}

/// What the parent of a process learns of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// If it faulted, what init has printed about it. Empty otherwise.
    pub report: heapless::String<{ limits::REPORT_BYTES }>,
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        let report = heapless::String::new();
        Ended { status, report }
    }
}

/// Labels of requests to init. Bodies are `postcard`, as for the VAS service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum InitOperation {
    /// Body: the bytes, `length` in the first word. Writes them to the serial console.
    Print = 128,
    /// Body: [`Spawn`]. Reply: [`ProcessId`].
    Spawn = 129,
    /// Body: [`ProcessId`]. Reply: [`Ended`], when it has.
    Wait = 130,
    /// Body: [`ProcessId`]. Ends it.
    Kill = 131,
    /// Body: [`ExitStatus`]. Ends the caller; no reply.
    Exit = 132,
}

impl InitOperation {
    /// The operation of a label.
    pub const fn from_label(label: u64) -> Option<Self> {
        Some(match label {
            128 => InitOperation::Print,
            129 => InitOperation::Spawn,
            130 => InitOperation::Wait,
            131 => InitOperation::Kill,
            132 => InitOperation::Exit,
            _ => return None,
        })
    }
}

/// Starts a component of the system description.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Its name there.
    pub component: Name,
    /// Replace the arguments of the description if not empty.
    pub arguments: heapless::String<{ limits::ARGUMENT_BYTES }>,
}

/// Why init refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InitError {
    /// No such operation, or a malformed body.
    Malformed = 1,
    /// No such component or process, or a process that is not the caller's child.
    NotFound = 2,
    /// The system description does not let this component spawn.
    NotAllowed = 3,
    /// Not enough memory, or too many processes.
    OutOfMemory = 4,
    /// The VAS server refused the new process a session.
    NoSession = 5,
}

impl InitError {
    /// The label it travels under; 0 is success.
    pub const fn number(self) -> u64 {
        self as u64
    }

    /// The error of a label.
    pub const fn from_label(label: u64) -> Option<Self> {
        Some(match label {
            1 => InitError::Malformed,
            2 => InitError::NotFound,
            3 => InitError::NotAllowed,
            4 => InitError::OutOfMemory,
            5 => InitError::NoSession,
            _ => return None,
        })
    }
}

impl core::fmt::Display for InitError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        out.write_str(match self {
            InitError::Malformed => "init did not understand the request",
            InitError::NotFound => "no such component or child process",
            InitError::NotAllowed => "this component may not start others",
            InitError::OutOfMemory => "init has no memory for another process",
            InitError::NoSession => "the VAS server refused the process a session",
        })
    }
}

impl core::error::Error for InitError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_ipc_buffer_says_that_the_thread_is_in_its_own_space() {
        assert_eq!(ActiveSpace::from_word(0), ActiveSpace::OWN);
        assert_eq!(ActiveSpace::OWN.word(), 0);
    }

    #[test]
    fn an_active_space_survives_its_word() {
        for access in [Access::ReadOnly, Access::ReadWrite] {
            for lock_mode in [LockMode::None, LockMode::Cooperative, LockMode::Enforced] {
                let id = AttachmentId((1 << 48) - 1);
                let active = Active {
                    id,
                    access,
                    lock_mode,
                };
                let space = ActiveSpace {
                    root: (1 << CNODE_BITS) - 1,
                    attachment: Some(active),
                };
                assert_eq!(ActiveSpace::from_word(space.word()), space);
                assert_eq!(ActiveSpace::root_of(space.word()), space.root.into());
            }
        }
        let own = ActiveSpace::OWN;
        assert_eq!(ActiveSpace::root_of(own.word()), own.root.into());
    }
}
