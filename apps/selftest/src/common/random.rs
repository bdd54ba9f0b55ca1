// SPDX-License-Identifier: MIT OR Apache-2.0

//! Numbers that only look random (xorshift64*), so that a failure can be repeated.

use alloc::vec::Vec;

use protocol::wire::WORDS;

/// Where they come from: any number but 0 to begin with.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// One below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound
    }

    /// One of these.
    pub fn choose<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The body of a message: noise, or something valid with a few changes.
    pub fn body(&mut self, valid: &[u64]) -> Vec<u64> {
        let mut body: Vec<u64> = match self.below(4) {
            0 => (0..self.below(WORDS + 1)).map(|_| self.next()).collect(),
            1 => (0..self.below(8)).map(|_| self.next() & 0xff).collect(),
            _ => valid.to_vec(),
        };
        for _ in 0..self.below(3) {
            if !body.is_empty() {
                let word = self.below(body.len());
                body[word] ^= 1 << self.below(64);
            }
        }
        body
    }
}
