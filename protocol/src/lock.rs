// SPDX-License-Identifier: MIT OR Apache-2.0

//! Locks of segments: what lies in the pages that the VAS server shares with its clients.
//!
//! Every lockable segment has one [`Lock`], held by attachments: by several that only read, or
//! by one that writes. Who finds it free takes it and gives it back with a few instructions
//! ([`Lock::enter`], [`Lock::leave`]). Who does not asks the server, which is the arbiter: as
//! long as anybody waits, the lock is *contended*. Then nobody takes it on the fast way, who
//! gives it back tells the server, and the server lets the waiting in, in order
//! ([`Lock::serve`]). So no one who waits starves.
//!
//! A holder is the index of its attachment. There is one bit for each that reads and one number
//! for who writes, and no counts: when an attachment ends, however far it got, the server
//! knows what to take back ([`Lock::take_back`]).
//!
//! # Why nobody reads while another writes
//! Who reads first says so and then looks at the gate; who writes, or the arbiter, first closes
//! the gate and then looks at who reads. There is a [full fence](Word::fence) between the two
//! steps of either side, so at least one of them sees the other, and yields. The gate is
//! one word that is changed in one step, so it has one writer at most.
//!
//! # Why nobody waits for ever
//! The arbiter marks the gate as contended and then looks for what is in the way; who was in the
//! way goes and then looks at the mark. For the same reason as above, either the arbiter does
//! not see it any longer, or it sees the mark and tells the arbiter, which looks again. Only the
//! arbiter sets and clears the mark, and it leaves the mark only if someone waits.
//!
//! # What is seen of the data
//! Who leaves does so with release, who enters with acquire, of the gate or of the reader's
//! word. Where the arbiter lies between, its own accesses and the message that it sends keep the
//! order.
//!
//! The words are shared with whoever may use the segment, and may hold anything if those do not
//! keep to this. That spoils the exclusion among them and nothing else: there is no
//! value that makes the code here fail.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{ATTACHMENTS, LOCKS_PER_VAS, SEGMENTS};
use crate::message::Access;

/// A word that several may change at once: [`AtomicU64`], or that of a model checker.
pub trait Word {
    /// Loads.
    fn load(&self, order: Ordering) -> u64;
    /// Stores.
    fn store(&self, value: u64, order: Ordering);
    /// Sets bits and gives the word of before.
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64;
    /// Keeps these bits only and gives the word of before.
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64;
    /// Stores `new` if the word is 0, and answers whether it was.
    fn take(&self, new: u64, success: Ordering) -> bool;
    /// Of two threads that each store, fence, and load what the other stores, one at least loads
    /// the new value.
    fn fence();
}

impl Word for AtomicU64 {
    #[inline]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline]
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_or(bits, order)
    }

    #[inline]
    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        self.fetch_and(bits, order)
    }

    #[inline]
    fn take(&self, new: u64, success: Ordering) -> bool {
        self.compare_exchange(0, new, success, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    fn fence() {
        core::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Words with a bit for each attachment.
const READER_WORDS: usize = ATTACHMENTS.div_ceil(u64::BITS as usize);
/// Of the gate: who writes, as its index plus 1.
const WRITER: u64 = u16::MAX as u64;
/// Of the gate: somebody waits.
const CONTENDED: u64 = 1 << 63;

const _: () = assert!(ATTACHMENTS < WRITER as usize);

/// The lock of a segment. All zeros: free. Only a model checker has fewer words for readers.
#[derive(Debug)]
#[repr(C)]
pub struct Lock<W = AtomicU64, const READERS: usize = READER_WORDS> {
    gate: W,
    /// Whether a holder that wrote ended, and nobody has put the data in order since.
    inconsistent: W,
    readers: [W; READERS],
}

impl<W: Word + Default, const READERS: usize> Default for Lock<W, READERS> {
    fn default() -> Self {
        Lock {
            gate: W::default(),
            inconsistent: W::default(),
            readers: core::array::from_fn(|_| W::default()),
        }
    }
}

impl<W: Word, const READERS: usize> Lock<W, READERS> {
    /// Takes the lock if it is free for this access and nobody waits. If not, the holder may
    /// look as if it held it until it [leaves](Self::leave).
    #[inline]
    pub fn enter(&self, holder: u16, access: Access) -> bool {
        match access {
            Access::ReadOnly => {
                let (word, bit) = self.reader(holder);
                word.fetch_or(bit, Ordering::Relaxed);
                W::fence();
                self.gate.load(Ordering::Acquire) == 0
            }
            Access::ReadWrite => {
                self.gate.take(writer(holder), Ordering::Acquire) && {
                    W::fence();
                    self.nobody_reads()
                }
            }
        }
    }

    /// Gives back whatever the holder has of it. Answers whether the arbiter must be told.
    #[inline]
    pub fn leave(&self, holder: u16) -> bool {
        let mut contended = false;
        let (word, bit) = self.reader(holder);
        if word.load(Ordering::Relaxed) & bit != 0 {
            word.fetch_and(!bit, Ordering::Release);
            W::fence();
            contended |= self.gate.load(Ordering::Relaxed) & CONTENDED != 0;
        }
        if self.gate.load(Ordering::Relaxed) & WRITER == writer(holder) {
            contended |= self.gate.fetch_and(!WRITER, Ordering::Release) & CONTENDED != 0;
        }
        contended
    }

    /// Whether anybody waits for it.
    pub fn is_contended(&self) -> bool {
        self.gate.load(Ordering::Relaxed) & CONTENDED != 0
    }

    /// Whether the holder has it for at least this access.
    pub fn is_held(&self, holder: u16, access: Access) -> bool {
        let (word, bit) = self.reader(holder);
        let reads = word.load(Ordering::Relaxed) & bit != 0;
        let writes = self.gate.load(Ordering::Relaxed) & WRITER == writer(holder);
        writes || reads && access == Access::ReadOnly
    }

    /// Whether a holder that wrote ended, and nobody has said since that the data are in order.
    #[inline]
    pub fn is_inconsistent(&self) -> bool {
        self.inconsistent.load(Ordering::Relaxed) != 0
    }

    /// The data are in order again. For who holds it to write.
    pub fn set_consistent(&self) {
        self.inconsistent.store(0, Ordering::Relaxed);
    }

    /// For the arbiter: lets as many of those that wait in as can be, from the first on, and
    /// answers how many.
    pub fn serve(&self, waiting: &[(u16, Access)]) -> usize {
        let mut granted = 0;
        if !waiting.is_empty() {
            self.gate.fetch_or(CONTENDED, Ordering::AcqRel);
            W::fence();
            let grant = |&&(holder, access): &&(u16, Access)| self.grant(holder, access);
            granted = waiting.iter().take_while(grant).count();
        }
        if granted == waiting.len() {
            self.gate.fetch_and(!CONTENDED, Ordering::AcqRel);
        }
        granted
    }

    /// Nobody enters meanwhile: the lock is contended.
    fn grant(&self, holder: u16, access: Access) -> bool {
        if self.gate.load(Ordering::Acquire) & WRITER != 0 {
            return false;
        }
        match access {
            Access::ReadOnly => {
                let (word, bit) = self.reader(holder);
                word.fetch_or(bit, Ordering::Relaxed);
                true
            }
            Access::ReadWrite => {
                let free = self.nobody_reads();
                if free {
                    self.gate.fetch_or(writer(holder), Ordering::AcqRel);
                }
                free
            }
        }
    }

    /// For the arbiter: takes the lock from a holder that has ended. If it wrote, the data may be
    /// inconsistent; answers whether it did.
    pub fn take_back(&self, holder: u16) -> bool {
        let (word, bit) = self.reader(holder);
        word.fetch_and(!bit, Ordering::AcqRel);
        let wrote = self.gate.load(Ordering::Acquire) & WRITER == writer(holder);
        if wrote {
            // Before the gate opens, so that whoever enters sees it.
            self.inconsistent.store(1, Ordering::Relaxed);
            self.gate.fetch_and(!WRITER, Ordering::AcqRel);
        }
        wrote
    }

    /// For the arbiter: who has it, or looks as if it had. Who writes and reads comes twice.
    pub fn holders(&self) -> impl Iterator<Item = u16> {
        let readers = (0..).zip(&self.readers).flat_map(|(number, word)| {
            let bits = word.load(Ordering::Acquire);
            let set = (0..u64::BITS as u16).filter(move |bit| bits >> bit & 1 != 0);
            set.take(bits.count_ones() as usize)
                .map(move |bit| number * u64::BITS as u16 + bit)
        });
        let writer = self.gate.load(Ordering::Acquire) & WRITER;
        let writer = writer.checked_sub(1).map(|holder| holder as u16);
        readers.chain(writer)
    }

    #[inline]
    fn nobody_reads(&self) -> bool {
        let mut readers = self.readers.iter();
        readers.all(|word| word.load(Ordering::Acquire) == 0)
    }

    #[inline]
    fn reader(&self, holder: u16) -> (&W, u64) {
        let (word, bit) = (holder / u64::BITS as u16, holder % u64::BITS as u16);
        (&self.readers[usize::from(word) % READERS], 1 << bit)
    }
}

const fn writer(holder: u16) -> u64 {
    holder as u64 + 1
}

/// Whether a thread has all locks of a VAS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entered {
    /// It has.
    All {
        /// Whether any of the segments may be inconsistent.
        inconsistent: bool,
    },
    /// It has none: one was not free. The arbiter must be told, because it may have seen the
    /// thread where it is no longer.
    Not,
}

/// The locks of a VAS in the order of its segments' indexes, in which everybody takes them. The
/// server changes it, clients only read it.
#[derive(Debug)]
#[repr(C)]
pub struct LockSet<W = AtomicU64> {
    /// Odd while the set is being changed, and another after each change.
    sequence: W,
    count: W,
    /// A segment's index, and in the lowest bit whether the VAS has it for writing.
    entries: [W; LOCKS_PER_VAS],
}

impl<W: Word + Default> Default for LockSet<W> {
    fn default() -> Self {
        LockSet {
            sequence: W::default(),
            count: W::default(),
            entries: core::array::from_fn(|_| W::default()),
        }
    }
}

impl<W: Word> LockSet<W> {
    /// For the server: changes the set to these segments, in order of index.
    pub fn set(&self, segments: impl Iterator<Item = (u16, Access)>) {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        W::fence();
        let mut count = 0;
        for (entry, (segment, access)) in self.entries.iter().zip(segments) {
            let writes = u64::from(access == Access::ReadWrite);
            entry.store(u64::from(segment) << 1 | writes, Ordering::Relaxed);
            count += 1;
        }
        self.count.store(count, Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
    }

    /// Takes every lock: to write if the VAS has the segment for writing and `most` allows it,
    /// else to read. `lock` has the locks by segment index.
    #[inline]
    pub fn enter<'a>(&self, holder: u16, most: Access, lock: impl Fn(u16) -> &'a Lock<W>) -> Entered
    where
        W: 'a,
    {
        let mut contended = false;
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            let mut inconsistent = false;
            let all = self.segments().all(|(segment, access)| {
                let lock = lock(segment);
                let entered = lock.enter(holder, access.min(most));
                inconsistent |= lock.is_inconsistent();
                entered
            });
            let unchanged = self.is_unchanged(sequence);
            if all && unchanged {
                return Entered::All { inconsistent };
            }
            contended |= self.leave(holder, &lock);
            if unchanged || contended {
                return Entered::Not;
            }
        }
    }

    /// Gives back every lock that the holder has. Answers whether the arbiter must be told. Of
    /// segments that have gone from the set, the server takes them back itself.
    #[inline]
    pub fn leave<'a>(&self, holder: u16, lock: impl Fn(u16) -> &'a Lock<W>) -> bool
    where
        W: 'a,
    {
        let mut contended = false;
        loop {
            let sequence = self.sequence.load(Ordering::Acquire);
            for (segment, _) in self.segments() {
                contended |= lock(segment).leave(holder);
            }
            if self.is_unchanged(sequence) {
                return contended;
            }
        }
    }

    /// Whether anybody waits for any of the locks.
    pub fn is_contended<'a>(&self, lock: impl Fn(u16) -> &'a Lock<W>) -> bool
    where
        W: 'a,
    {
        self.segments()
            .any(|(segment, _)| lock(segment).is_contended())
    }

    /// Whether what was read since `sequence` was, is the set of that moment.
    #[inline]
    fn is_unchanged(&self, sequence: u64) -> bool {
        // The entries were loaded with acquire, so this load comes after them.
        sequence.is_multiple_of(2) && self.sequence.load(Ordering::Relaxed) == sequence
    }

    #[inline]
    fn segments(&self) -> impl Iterator<Item = (u16, Access)> {
        let count = self.count.load(Ordering::Acquire) as usize;
        self.entries.iter().take(count).map(|entry| {
            let entry = entry.load(Ordering::Acquire);
            let access = match entry & 1 {
                0 => Access::ReadOnly,
                _ => Access::ReadWrite,
            };
            ((entry >> 1) as u16 % SEGMENTS as u16, access)
        })
    }
}
