// SPDX-License-Identifier: MIT OR Apache-2.0
//! Small values that invocations take in one word.

use core::fmt;

use crate::layouts;

/// What may be done through a capability (`seL4_CapRights_t`; manual, chapter "Capability
/// Spaces").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CapRights(layouts::CapRights);

impl CapRights {
    /// Nothing.
    pub const NONE: Self = Self::new(false, false, false);
    /// Reading and receiving.
    pub const READ: Self = Self::new(false, true, false);
    /// Writing and sending.
    pub const WRITE: Self = Self::new(false, false, true);
    /// Sending capabilities along with messages.
    pub const GRANT: Self = Self::new(true, false, false);
    /// Reading and writing.
    pub const READ_WRITE: Self = Self::new(false, true, true);
    /// Everything.
    pub const ALL: Self = Self::new(true, true, true);

    /// These rights.
    pub const fn new(grant: bool, read: bool, write: bool) -> Self {
        CapRights(layouts::CapRights::new(
            grant as u64,
            read as u64,
            write as u64,
        ))
    }

    /// The word that the kernel takes.
    pub const fn bits(self) -> u64 {
        let [bits] = self.0.words();
        bits
    }
}

impl fmt::Debug for CapRights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = |has: u64, letter| if has != 0 { letter } else { '-' };
        let read = letter(self.0.cap_allow_read(), 'r');
        let write = letter(self.0.cap_allow_write(), 'w');
        let grant = letter(self.0.cap_allow_grant(), 'g');
        write!(out, "CapRights({read}{write}{grant})")
    }
}

/// How a mapping is cached (`seL4_X86_VMAttributes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct VmAttributes(u8);

impl VmAttributes {
    /// Write-back: for ordinary memory.
    pub const DEFAULT: Self = VmAttributes(0);
    /// Write-through.
    pub const WRITE_THROUGH: Self = VmAttributes(1);
    /// Not cached, unless the processor's memory types say otherwise.
    pub const CACHE_DISABLED: Self = VmAttributes(2);
    /// Not cached: for devices.
    pub const UNCACHEABLE: Self = VmAttributes(3);
    /// Writes are combined: for frame buffers.
    pub const WRITE_COMBINING: Self = VmAttributes(4);

    /// The word that the kernel takes.
    pub const fn bits(self) -> u64 {
        self.0 as u64
    }
}

/// A thread's priority and the highest that it may give (`seL4_PrioProps_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PrioProps {
    /// The highest priority that it may give, to itself or to others.
    pub maximum: u8,
    /// Its own.
    pub priority: u8,
}

impl PrioProps {
    /// The word that the kernel takes.
    pub const fn bits(self) -> u64 {
        let [bits] = layouts::PrioProps::new(self.maximum as u64, self.priority as u64).words();
        bits
    }
}

/// Bits of a badge.
pub const BADGE_BITS: u8 = 28;

/// The word that gives a CNode cap its guard, for [`CNode::mint`](crate::Cap#method.mint) and
/// the like (`seL4_CapData_Guard_new`). A CSpace of one CNode of 2^n slots has a guard of
/// 64 - n bits that are 0.
///
/// # Panics
///
/// If the guard does not fit: it has 18 bits, its size is less than 64.
pub const fn cnode_guard(guard: u64, size: u8) -> u64 {
    let [bits] = layouts::Guard::new(guard, size as u64).words();
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_told_from_a_badge_by_bit_31() {
        assert_eq!(cnode_guard(0, 52), 1 << 31 | 52 << 2);
        assert_eq!(cnode_guard(0x3_ffff, 1), 1 << 31 | 0x3_ffff << 8 | 1 << 2);
        assert_eq!(
            layouts::Badge::new((1 << BADGE_BITS) - 1).words(),
            [(1 << 28) - 1]
        );
    }

    #[test]
    fn rights_are_bits_of_grant_read_and_write() {
        assert_eq!(CapRights::ALL.bits(), 0b111);
        assert_eq!(CapRights::GRANT.bits(), 0b100);
        assert_eq!(CapRights::READ.bits(), 0b010);
        assert_eq!(CapRights::WRITE.bits(), 0b001);
    }

    #[test]
    fn the_priority_lies_below_its_maximum() {
        assert_eq!(
            PrioProps {
                maximum: 0x12,
                priority: 0x34
            }
            .bits(),
            0x1234
        );
    }
}
