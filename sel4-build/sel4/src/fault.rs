// SPDX-License-Identifier: MIT OR Apache-2.0
//! Faults of threads, as their handlers hear of them.

use crate::{MessageInfo, message_register};

/// Why a thread stopped (`seL4_Fault_t`; manual, chapter "Threads and Execution").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault.
    NullFault,
    /// A system call named a capability that is not there.
    CapFault {
        /// Address of the instruction.
        ip: u64,
        /// The capability's address.
        address: u64,
        /// Whether the thread wanted to receive.
        in_receive_phase: bool,
        /// Where the lookup ended.
        lookup_failure: Option<LookupFailure>,
    },
    /// A system call that the kernel does not know.
    UnknownSyscall {
        /// Address of the instruction.
        ip: u64,
        /// Its number.
        number: u64,
    },
    /// An exception of the processor that is not a page fault.
    UserException {
        /// Address of the instruction.
        ip: u64,
        /// The stack pointer.
        sp: u64,
        /// The flags.
        flags: u64,
        /// Number of the exception.
        number: u64,
        /// Its error code.
        code: u64,
    },
    /// A page fault.
    VmFault {
        /// Address of the instruction.
        ip: u64,
        /// The address that it accessed.
        address: u64,
        /// Whether it was to be executed. The kernel does not always say, since processors tell
        /// only where pages can be made non-executable; it is also so if the address is that of
        /// the instruction itself.
        instruction_fetch: bool,
        /// The processor's error code.
        fsr: u64,
    },
}

/// Why a capability was not found (`seL4_LookupFailureType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookupFailure {
    /// The root of the CSpace is no CNode.
    InvalidRoot,
    /// A slot on the way is empty.
    MissingCapability {
        /// Bits of the address still to resolve.
        bits_left: u64,
    },
    /// The address ends inside of a CNode.
    DepthMismatch {
        /// Bits of the address still to resolve.
        bits_left: u64,
        /// Bits that the CNode resolves.
        bits_found: u64,
    },
    /// The guard of a CNode is another.
    GuardMismatch {
        /// Bits of the address still to resolve.
        bits_left: u64,
        /// The guard.
        guard_found: u64,
        /// Its size in bits.
        bits_found: u64,
    },
}

// Error code of a page fault (Intel SDM volume 3, section "Page-Fault Exceptions").
const FSR_PRESENT: u64 = 1 << 0;
const FSR_WRITE: u64 = 1 << 1;

impl Fault {
    /// The fault that a message to a fault endpoint tells of; `None` if the label is none of a
    /// fault. To be called before the next system call, since most of a long message is in the
    /// IPC buffer.
    pub fn from_message(info: MessageInfo, registers: [u64; 4]) -> Option<Self> {
        Self::decode(info.label(), |index| match registers.get(index) {
            Some(&word) => word,
            None => message_register(index),
        })
    }

    fn decode(label: u64, word: impl Fn(usize) -> u64) -> Option<Self> {
        Some(match label {
            0 => Fault::NullFault,
            1 => Fault::CapFault {
                ip: word(0),
                address: word(1),
                in_receive_phase: word(2) != 0,
                lookup_failure: LookupFailure::decode(|index| word(3 + index)),
            },
            2 => Fault::UnknownSyscall {
                ip: word(15),
                number: word(18),
            },
            3 => Fault::UserException {
                ip: word(0),
                sp: word(1),
                flags: word(2),
                number: word(3),
                code: word(4),
            },
            5 => {
                let (ip, address, fsr) = (word(0), word(1), word(3));
                let itself = ip == address && fsr & FSR_WRITE == 0;
                let instruction_fetch = word(2) != 0 || itself;
                Fault::VmFault {
                    ip,
                    address,
                    instruction_fetch,
                    fsr,
                }
            }
            _ => return None,
        })
    }

    /// Address of the instruction that the thread stopped at.
    pub const fn ip(&self) -> u64 {
        match *self {
            Fault::NullFault => 0,
            Fault::CapFault { ip, .. }
            | Fault::UnknownSyscall { ip, .. }
            | Fault::UserException { ip, .. }
            | Fault::VmFault { ip, .. } => ip,
        }
    }

    /// Whether it is a page fault of a write.
    pub const fn is_write(&self) -> bool {
        matches!(*self, Fault::VmFault { fsr, .. } if fsr & FSR_WRITE != 0)
    }

    /// Whether it is a page fault although the page is mapped: the mapping forbids the access.
    pub const fn is_protection(&self) -> bool {
        matches!(*self, Fault::VmFault { fsr, .. } if fsr & FSR_PRESENT != 0)
    }
}

impl LookupFailure {
    fn decode(word: impl Fn(usize) -> u64) -> Option<Self> {
        Some(match word(0) {
            1 => LookupFailure::InvalidRoot,
            2 => LookupFailure::MissingCapability { bits_left: word(1) },
            3 => LookupFailure::DepthMismatch {
                bits_left: word(1),
                bits_found: word(2),
            },
            4 => LookupFailure::GuardMismatch {
                bits_left: word(1),
                guard_found: word(2),
                bits_found: word(3),
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(label: u64, words: &[u64]) -> Option<Fault> {
        Fault::decode(label, |index| words[index])
    }

    #[test]
    fn a_write_to_a_read_only_page_is_a_protection_fault() {
        let fault = decode(5, &[0x40_1000, 0x8000_0000, 0, 0b111]).unwrap();
        let expected = Fault::VmFault {
            ip: 0x40_1000,
            address: 0x8000_0000,
            instruction_fetch: false,
            fsr: 7,
        };
        assert_eq!(fault, expected);
        assert!(fault.is_write() && fault.is_protection());
    }

    #[test]
    fn a_read_of_nothing_is_neither_a_write_nor_a_protection_fault() {
        let fault = decode(5, &[0, 0x1000, 0, 0b100]).unwrap();
        assert!(!fault.is_write() && !fault.is_protection());
    }

    #[test]
    fn a_jump_to_nowhere_is_an_instruction_fetch() {
        let fetch = |fault| {
            matches!(
                fault,
                Some(Fault::VmFault {
                    instruction_fetch: true,
                    ..
                })
            )
        };
        assert!(fetch(decode(5, &[0x1000, 0x1000, 0, 0b100])));
        assert!(fetch(decode(5, &[0x1ffe, 0x2000, 1, 0b100])));
        assert!(!fetch(decode(5, &[0x1000, 0x2000, 0, 0b100])));
    }

    #[test]
    fn a_cap_fault_says_where_the_lookup_ended() {
        let fault = decode(1, &[1, 2, 1, 4, 5, 6, 7]).unwrap();
        let lookup_failure = LookupFailure::GuardMismatch {
            bits_left: 5,
            guard_found: 6,
            bits_found: 7,
        };
        let expected = Fault::CapFault {
            ip: 1,
            address: 2,
            in_receive_phase: true,
            lookup_failure: Some(lookup_failure),
        };
        assert_eq!(fault, expected);
    }

    #[test]
    fn other_labels_are_no_faults() {
        assert_eq!(decode(4, &[]), None);
        assert_eq!(decode(128, &[]), None);
    }
}
