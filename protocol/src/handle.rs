// SPDX-License-Identifier: MIT OR Apache-2.0

//! Badges: how the server knows who asks, and with what authority.
//!
//! Every cap a client holds on the service is a cap to the server's one endpoint. Its
//! badge, which the kernel delivers and a client can neither choose nor change, says what
//! it stands for. seL4 5.0.0 keeps 28 bits of a badge:
//!
//! | bits | meaning |
//! | --- | --- |
//! | 27..26 | [`Kind`] |
//! | 25..21 | [`Rights`] |
//! | 20..11 | index of the object |
//! | 10..6 | number of the handle, if it can be revoked by itself |
//! | 5..0 | generation of the index |
//!
//! The server revokes all caps of an object when it dies, so a generation may wrap.

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::limits;

bitflags! {
    /// What a handle allows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    pub struct Rights: u8 {
        /// Attach for reading; look up.
        const READ = 1 << 0;
        /// Attach for writing; for a VAS also: change its set of segments.
        const WRITE = 1 << 1;
        /// Attach at all.
        const ATTACH = 1 << 2;
        /// Delete, free, change permissions.
        const CONTROL = 1 << 3;
        /// Have weaker handles made, to pass on.
        const GRANT = 1 << 4;
    }
}

/// What a badged cap stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Kind {
    /// init, which tells the server of processes that begin and end.
    Control = 0,
    /// One process talking to the server.
    Session = 1,
    /// A VAS (`vid` in the paper).
    Vas = 2,
    /// A segment (`sid` in the paper).
    Segment = 3,
}

/// The 28 bits of an endpoint badge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Badge(u64);

/// A badge taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle {
    /// What it stands for.
    pub kind: Kind,
    /// What it allows. Empty for [`Kind::Control`] and [`Kind::Session`].
    pub rights: Rights,
    /// Which object: below 1024.
    pub index: u16,
    /// Which of the object's handles that can be revoked by themselves: 1 to
    /// [`REVOCABLE_HANDLES`](limits::REVOCABLE_HANDLES); 0 for all others.
    pub number: u8,
    /// Which use of the index: below 64.
    pub generation: u16,
}

const GENERATION_BITS: u32 = 6;
const NUMBER_BITS: u32 = 5;
const INDEX_BITS: u32 = 10;
const RIGHTS_BITS: u32 = 5;
const INDEX_SHIFT: u32 = GENERATION_BITS + NUMBER_BITS;
const RIGHTS_SHIFT: u32 = INDEX_SHIFT + INDEX_BITS;
const KIND_SHIFT: u32 = RIGHTS_SHIFT + RIGHTS_BITS;
/// Bits of a badge that seL4 5.0.0 keeps.
const BADGE_BITS: u32 = KIND_SHIFT + 2;

/// Generations before an index wraps to its first.
pub const GENERATIONS: u16 = 1 << GENERATION_BITS;
/// Objects of one kind that a badge can tell apart.
pub const INDEXES: usize = 1 << INDEX_BITS;
const NUMBERS: u8 = 1 << NUMBER_BITS;

const _: () = assert!(BADGE_BITS == 28);
const _: () = assert!(Rights::all().bits() < 1 << RIGHTS_BITS);
const _: () = assert!(limits::VASES <= INDEXES && limits::SEGMENTS <= INDEXES);
const _: () = assert!(limits::SESSIONS <= INDEXES);
const _: () = assert!(limits::REVOCABLE_HANDLES < NUMBERS);

impl Badge {
    /// The badge of init's cap. It is not zero: seL4 means "no badge" by that.
    pub const CONTROL: Badge = Badge(1);
    /// The badge of the notification by which the server's timer wakes it. No cap to the server's
    /// endpoint has it.
    pub const TIMER: Badge = Badge(2);

    /// A badge as the kernel delivers it.
    pub const fn from_bits(bits: u64) -> Self {
        Badge(bits & ((1 << BADGE_BITS) - 1))
    }

    /// The word to mint a cap with.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Takes the badge apart.
    pub const fn handle(self) -> Handle {
        Handle {
            kind: match self.0 >> KIND_SHIFT {
                0 => Kind::Control,
                1 => Kind::Session,
                2 => Kind::Vas,
                _ => Kind::Segment,
            },
            rights: Rights::from_bits_truncate(
                (self.0 >> RIGHTS_SHIFT) as u8 & ((1 << RIGHTS_BITS) - 1),
            ),
            index: (self.0 >> INDEX_SHIFT) as u16 & (INDEXES as u16 - 1),
            number: (self.0 >> GENERATION_BITS) as u8 & (NUMBERS - 1),
            generation: self.0 as u16 & (GENERATIONS - 1),
        }
    }
}

impl Handle {
    /// Puts the badge together. Numbers beyond their bits are cut.
    pub const fn badge(self) -> Badge {
        Badge(
            (self.kind as u64) << KIND_SHIFT
                | (self.rights.bits() as u64) << RIGHTS_SHIFT
                | (self.index as u64 & (INDEXES as u64 - 1)) << INDEX_SHIFT
                | (self.number as u64 & (NUMBERS as u64 - 1)) << GENERATION_BITS
                | (self.generation as u64 & (GENERATIONS as u64 - 1)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_taken_apart_and_put_together_is_the_same() {
        for bits in (0..1u64 << BADGE_BITS).step_by(4099) {
            let badge = Badge::from_bits(bits);
            assert_eq!(badge.handle().badge(), badge);
        }
    }

    #[test]
    fn the_control_badge_is_of_kind_control_and_not_zero() {
        assert_eq!(Badge::CONTROL.handle().kind, Kind::Control);
        assert_ne!(Badge::CONTROL.bits(), 0);
    }

    #[test]
    fn no_session_or_handle_badge_is_zero() {
        for kind in [Kind::Session, Kind::Vas, Kind::Segment] {
            let handle = Handle {
                kind,
                rights: Rights::empty(),
                index: 0,
                number: 0,
                generation: 0,
            };
            assert_ne!(handle.badge().bits(), 0);
        }
    }
}
