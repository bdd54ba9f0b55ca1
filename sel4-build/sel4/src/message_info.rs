// SPDX-License-Identifier: MIT OR Apache-2.0
//! The word that describes a message.

use core::fmt;

use crate::layouts;

/// What a message consists of (`seL4_MessageInfo_t`; manual, chapter "Message Passing").
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageInfo(layouts::MessageInfo);

impl MessageInfo {
    /// A message of `length` words and `extra_caps` capabilities.
    ///
    /// # Panics
    ///
    /// If a field has no room for its value: 20 bits of label, 3 of `caps_unwrapped`, 2 of
    /// `extra_caps`, 7 of `length`.
    #[inline]
    pub const fn new(label: u64, caps_unwrapped: u64, extra_caps: u64, length: u64) -> Self {
        MessageInfo(layouts::MessageInfo::new(
            label,
            caps_unwrapped,
            extra_caps,
            length,
        ))
    }

    /// From the word that the kernel uses.
    pub const fn from_bits(bits: u64) -> Self {
        MessageInfo(layouts::MessageInfo::from_words([bits]))
    }

    /// The word that the kernel uses.
    pub const fn bits(self) -> u64 {
        let [bits] = self.0.words();
        bits
    }

    /// What the message is about: the sender's choice, an invocation's label, or an error.
    pub const fn label(self) -> u64 {
        self.0.label()
    }

    /// Bit *i* is set if the *i*-th capability arrived as the [`badge`](crate::badge) it bears.
    pub const fn caps_unwrapped(self) -> u64 {
        self.0.caps_unwrapped()
    }

    /// How many capabilities the message has.
    pub const fn extra_caps(self) -> u64 {
        self.0.extra_caps()
    }

    /// How many words the message has. The kernel delivers at most
    /// [`MAX_MESSAGE_LENGTH`](crate::MAX_MESSAGE_LENGTH).
    pub const fn length(self) -> u64 {
        self.0.length()
    }
}

impl fmt::Debug for MessageInfo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("MessageInfo")
            .field("label", &self.label())
            .field("caps_unwrapped", &self.caps_unwrapped())
            .field("extra_caps", &self.extra_caps())
            .field("length", &self.length())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        let info = MessageInfo::new(0xa_bcde, 0b101, 0b10, 0b100_0001);
        assert_eq!(
            info.bits(),
            0xabcd_e000 | 0b101 << 9 | 0b10 << 7 | 0b100_0001
        );
        assert_eq!(info.label(), 0xa_bcde);
        assert_eq!(info.caps_unwrapped(), 0b101);
        assert_eq!(info.extra_caps(), 0b10);
        assert_eq!(info.length(), 0b100_0001);
    }

    #[test]
    #[should_panic(expected = "label does not fit")]
    fn a_label_too_large_is_refused() {
        MessageInfo::new(1 << 20, 0, 0, 0);
    }
}
