// SPDX-License-Identifier: MIT OR Apache-2.0

//! What workers write into the segments of the pool: records that say of themselves whether
//! they are whole, where they were written and by whom.
//!
//! A record is eight words: a stamp, six words that follow from the stamp and the address, and
//! the stamp again. It is written from the first word to the last. So at any moment a record is
//! that of its first stamp up to some word and that of its last stamp from there on. A stamp is
//! the life that writes, and a number. Words that nobody has written are 0, and so is all that
//! follows from the stamp 0. Each record has one worker that writes it.

use common::segment_memory::{load, store};

use crate::{WORKERS, board};

/// Bytes of a record.
pub const BYTES: u64 = 64;
const WORDS: u64 = BYTES / 8;
/// How often a record is read before it is believed to be none.
const PATIENCE: usize = 100;

/// Who wrote a record, and which of its records it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The stamp of the `number`th record of a life.
    pub fn new(life: u64, number: u64) -> Self {
        Stamp(life << 32 | number)
    }

    fn life(self) -> u64 {
        self.0 >> 32
    }

    fn number(self) -> u64 {
        self.0 & u64::from(u32::MAX)
    }

    /// The word of the record at `address`.
    fn word(self, address: u64, word: u64) -> u64 {
        match (self.0, word) {
            (0, _) => 0,
            (stamp, 0 | 7) => stamp,
            (stamp, _) => fastrand::Rng::with_seed(stamp ^ address << 4 ^ word).u64(..),
        }
    }
}

/// A record as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub address: u64,
    /// The stamp of its first words.
    pub first: Stamp,
    /// The stamp of its last words: another if it is torn.
    pub last: Stamp,
    /// Whether the words in between are those of either, as they must be.
    sound: bool,
}

/// Whether the record at `address` is that worker's to write.
pub fn is_of(address: u64, worker: u64) -> bool {
    address / BYTES % WORKERS == worker
}

/// Reads the record at an address. The writer may go on meanwhile.
pub fn read(address: u64) -> Found {
    // A writer that went on for more than one record while this was read spoils it.
    for _ in 0..PATIENCE {
        let found = read_once(address);
        if found.sound {
            return found;
        }
        sel4::yield_now();
    }
    read_once(address)
}

fn read_once(address: u64) -> Found {
    // Backwards, as a writer that goes on is then found ahead of what was read already.
    let mut words = [0; WORDS as usize];
    for word in (0..WORDS).rev() {
        words[word as usize] = load(address + word * 8);
    }
    let (first, last) = (Stamp(words[0]), Stamp(words[7]));
    let of_first = (0..WORDS)
        .take_while(|&word| words[word as usize] == first.word(address, word))
        .count() as u64;
    let sound = (of_first..WORDS).all(|word| words[word as usize] == last.word(address, word));
    Found {
        address,
        first,
        last,
        sound,
    }
}

/// Writes a record, after what is left of one that was torn. `between` is done in the middle.
pub fn write(address: u64, stamp: Stamp, between: impl Fn(u64)) {
    let Found { first, .. } = read(address);
    for stamp in [first, stamp] {
        for word in 0..WORDS {
            store(address + word * 8, stamp.word(address, word));
            between(word);
        }
    }
}

impl Found {
    /// What is wrong with it, if anything is; to be asked on the board.
    pub fn fault(&self) -> Option<&'static str> {
        if !self.sound {
            return Some("it is no record");
        }
        for stamp in [self.first, self.last] {
            let (state, worker) = board::state(stamp.life());
            if stamp.0 == 0 {
                continue;
            }
            if state == board::State::Never {
                return Some("it is of a life that there never was");
            }
            if !is_of(self.address, worker) {
                return Some("it is another worker's");
            }
            if stamp.number() > board::announced(stamp.life()) {
                return Some("it is of the future");
            }
        }
        None
    }

    /// As [`fault`](Self::fault), once no writer lives: then only those that were cut leave torn
    /// records, and copies, which may be of any moment.
    pub fn fault_at_last(&self, copied: bool) -> Option<&'static str> {
        let torn = self.first != self.last;
        let (state, _) = board::state(self.first.life());
        match state {
            board::State::Lives => Some("its writer lives"),
            board::State::Exited if torn && !copied => Some("it is torn, and its writer was not"),
            _ => self.fault(),
        }
    }

    /// Whether its words are those of its stamps.
    pub fn is_sound(&self) -> bool {
        self.sound
    }

    /// Whether nothing was ever written there.
    pub fn is_empty(&self) -> bool {
        self.sound && self.first.0 == 0 && self.last.0 == 0
    }

    /// Whether it is torn.
    pub fn is_torn(&self) -> bool {
        self.first != self.last
    }
}
