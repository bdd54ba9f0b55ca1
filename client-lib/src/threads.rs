// SPDX-License-Identifier: MIT OR Apache-2.0

//! Several threads of this process: whose turn it is to ask the server, and who is inside with
//! which locks.
//!
//! The server knows processes and their attachments, not threads. So threads that use one
//! attachment settle among themselves which of them takes its locks and which gives them back.

use core::sync::atomic::{AtomicU8, Ordering};

use protocol::limits::{ATTACHMENTS, THREADS};
use protocol::process::{slot, thread_word};
use sel4::cap;
use spin::RelaxStrategy;
use spin::mutex::SpinMutex;

/// Lets other threads run: there may be one core only.
pub(crate) struct Yield;

impl RelaxStrategy for Yield {
    fn relax() {
        sel4::yield_now();
    }
}

/// Held from the first step of a request to the last. The server, which is of higher priority, is
/// all that its holder waits for.
pub(crate) static TURN: SpinMutex<(), Yield> = SpinMutex::new(());

/// The number of the calling thread.
#[inline]
pub(crate) fn number() -> usize {
    sel4::thread_word(thread_word::NUMBER) as usize
}

/// How the threads of this process have the locks of an attachment: 0, so many together, or
/// [`BUSY`].
pub(crate) struct Share(AtomicU8);

/// One thread has them alone, or takes them or gives them back.
const BUSY: u8 = 0x80;
/// What was found when those were taken that threads have together.
const INCONSISTENT: u8 = 0x40;

const _: () = assert!(THREADS < INCONSISTENT as usize && THREADS <= u8::BITS as usize);

/// By the index of the attachment.
static SHARES: [Share; ATTACHMENTS] = [const { Share(AtomicU8::new(0)) }; ATTACHMENTS];

/// Threads that wait for a change, one bit each.
static WAITING: AtomicU8 = AtomicU8::new(0);

impl Share {
    /// That of an attachment, by index.
    #[inline]
    pub(crate) fn of(index: u16) -> &'static Share {
        &SHARES[usize::from(index) % ATTACHMENTS]
    }

    /// Whether nobody has the locks. Then the calling thread must take them, and
    /// [open](Self::open) or [free](Self::free) them.
    #[inline]
    pub(crate) fn take(&self) -> bool {
        self.change(0, BUSY)
    }

    /// If threads have the locks together, joins them, and answers whether they found
    /// inconsistent data.
    pub(crate) fn join(&self) -> Option<bool> {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let join = |state: u8| (state != 0 && state < BUSY).then(|| state + 1);
        let joined = self.0.fetch_update(success, failure, join);
        joined.ok().map(|state| state & INCONSISTENT != 0)
    }

    /// Lets others join the calling thread, which has taken the locks.
    pub(crate) fn open(&self, inconsistent: bool) {
        let inconsistent = if inconsistent { INCONSISTENT } else { 0 };
        self.set(1 | inconsistent);
    }

    /// One of those that have the locks together leaves. Answers whether it is the last, who must
    /// give them back and then [free](Self::free) them.
    pub(crate) fn leave(&self) -> bool {
        loop {
            let before = self.0.load(Ordering::Relaxed);
            let last = before & !INCONSISTENT == 1;
            if self.change(before, if last { BUSY } else { before - 1 }) {
                return last;
            }
        }
    }

    /// Nobody has the locks.
    #[inline]
    pub(crate) fn free(&self) {
        self.set(0);
    }

    /// Waits until the calling thread, which has found the locks busy, may find them otherwise.
    pub(crate) fn wait(&self, joins: bool) {
        let own = number();
        WAITING.fetch_or(1 << own, Ordering::SeqCst);
        // Either it sees the change here, or who makes it sees that it waits.
        let now = self.0.load(Ordering::SeqCst);
        if now != 0 && !(joins && now < BUSY) {
            sel4::wait(cap::Notification::from_bits(slot::notification(own)));
        }
    }

    fn change(&self, before: u8, after: u8) -> bool {
        let (success, failure) = (Ordering::AcqRel, Ordering::Relaxed);
        let changed = self.0.compare_exchange(before, after, success, failure);
        changed.is_ok()
    }

    #[inline]
    fn set(&self, state: u8) {
        self.0.swap(state, Ordering::SeqCst);
        if WAITING.load(Ordering::SeqCst) != 0 {
            wake();
        }
    }
}

/// Lets all look again that wait.
#[cold]
fn wake() {
    let waiting = WAITING.swap(0, Ordering::SeqCst);
    for thread in (0..THREADS).filter(|thread| waiting & 1 << thread != 0) {
        sel4::signal(cap::Notification::from_bits(slot::notification(thread)));
    }
}
