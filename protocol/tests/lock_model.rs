// SPDX-License-Identifier: MIT OR Apache-2.0

//! The lock under every order of its threads' steps, and of what they see of each other.
//!
//! `loom` runs the code of [`protocol::lock`] itself, with words of its own. Some threads read
//! and write under the lock, the server's part is done by whoever asks it, under a mutex, and
//! threads die after every number of steps. `loom` finds accesses to the data that
//! are not ordered, and threads that wait for ever. That it does is shown with words that leave
//! out the fence.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use protocol::Access::{self, ReadOnly, ReadWrite};
use protocol::lock::{Lock, Word};

loom::thread_local! {
    /// Steps that the thread still takes before it dies.
    static LEFT: Cell<u32> = Cell::new(u32::MAX);
}

/// Whether the thread is alive to take one more step.
fn steps() -> bool {
    LEFT.with(|left| {
        let steps = left.get();
        left.set(if steps == u32::MAX {
            steps
        } else {
            steps.saturating_sub(1)
        });
        steps > 0
    })
}

/// A word of the model's. Steps of a thread that is dead have no effect.
#[derive(Debug, Default)]
struct Modelled<const FENCED: bool>(AtomicU64);

impl<const FENCED: bool> Word for Modelled<FENCED> {
    fn load(&self, order: Ordering) -> u64 {
        if steps() { self.0.load(order) } else { 0 }
    }

    fn store(&self, value: u64, order: Ordering) {
        if steps() {
            self.0.store(value, order);
        }
    }

    fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
        if steps() {
            self.0.fetch_or(bits, order)
        } else {
            0
        }
    }

    fn fetch_and(&self, bits: u64, order: Ordering) -> u64 {
        if steps() {
            self.0.fetch_and(bits, order)
        } else {
            0
        }
    }

    fn take(&self, new: u64, success: Ordering) -> bool {
        steps()
            && self
                .0
                .compare_exchange(0, new, success, Ordering::Relaxed)
                .is_ok()
    }

    fn fence() {
        if FENCED && steps() {
            fence(Ordering::SeqCst);
        }
    }
}

/// What the server remembers: who waits, in order, and who was let in and does not know yet.
#[derive(Default)]
struct Arbiter {
    waiting: Vec<(u16, Access)>,
    admitted: Vec<u16>,
}

struct World<const FENCED: bool> {
    lock: Lock<Modelled<FENCED>, 1>,
    arbiter: Mutex<Arbiter>,
    answered: Condvar,
    data: UnsafeCell<u64>,
}

impl<const FENCED: bool> World<FENCED> {
    fn new() -> Arc<Self> {
        Arc::new(World {
            lock: Lock::default(),
            arbiter: Mutex::new(Arbiter::default()),
            answered: Condvar::new(),
            data: UnsafeCell::new(0),
        })
    }

    fn serve(&self, arbiter: &mut Arbiter) {
        let granted = self.lock.serve(&arbiter.waiting);
        let admitted = arbiter.waiting.drain(..granted).map(|(holder, _)| holder);
        arbiter.admitted.extend(admitted);
        self.answered.notify_all();
    }

    /// As the client library and the server do it.
    fn enter(&self, holder: u16, access: Access) {
        if self.lock.enter(holder, access) {
            return;
        }
        self.lock.leave(holder);
        let mut arbiter = self.arbiter.lock().unwrap();
        arbiter.waiting.push((holder, access));
        self.serve(&mut arbiter);
        while !arbiter.admitted.contains(&holder) {
            arbiter = self.answered.wait(arbiter).unwrap();
        }
        arbiter.admitted.retain(|&other| other != holder);
    }

    fn leave(&self, holder: u16) {
        if self.lock.leave(holder) {
            self.serve(&mut self.arbiter.lock().unwrap());
        }
    }

    fn work(&self, holder: u16, access: Access) {
        self.enter(holder, access);
        match access {
            // SAFETY: the model checks that nobody writes meanwhile.
            ReadOnly => self.data.with(|data| assert!(unsafe { *data } < 9)),
            // SAFETY: nor that anybody else accesses them.
            ReadWrite => self.data.with_mut(|data| unsafe { *data += 1 }),
        }
        self.leave(holder);
    }

    /// Enters and leaves on the fast way only, and dies after so many steps.
    fn die(&self, holder: u16, access: Access, steps: u32) {
        LEFT.with(|left| left.set(steps));
        self.lock.enter(holder, access);
        self.lock.leave(holder);
        LEFT.with(|left| left.set(u32::MAX));
        // The kernel stops it, and the server hears of that.
        let mut arbiter = self.arbiter.lock().unwrap();
        self.lock.take_back(holder);
        self.serve(&mut arbiter);
    }

    /// All are gone: the lock is free, so also not contended.
    fn check_free(&self) {
        for access in [ReadWrite, ReadOnly] {
            assert!(self.lock.enter(7, access), "the lock is not free");
            assert!(!self.lock.leave(7), "the lock is still contended");
        }
    }
}

/// Every order in which threads are interrupted so often.
fn model(interrupted: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(interrupted);
    builder.check(body);
}

fn workers<const FENCED: bool>(accesses: &'static [Access]) {
    let interrupted = if accesses.len() == 2 { 4 } else { 2 };
    model(interrupted, move || {
        let world = World::<FENCED>::new();
        let work = |(holder, &access): (u16, &Access)| {
            let world = world.clone();
            thread::spawn(move || world.work(holder, access))
        };
        let threads: Vec<_> = (1..).zip(&accesses[1..]).map(work).collect();
        world.work(0, accesses[0]);
        for thread in threads {
            thread.join().unwrap();
        }
        world.check_free();
        let writers = accesses.iter().filter(|&&access| access == ReadWrite);
        // SAFETY: all others are done.
        let written = world.data.with(|data| unsafe { *data });
        assert_eq!(written, writers.count() as u64);
    });
}

fn deaths(dying: Access, other: Access) {
    // The fast ways take fewer steps than that, so the last ones are of threads that live.
    for steps in 0..=MOST_STEPS {
        model(4, move || {
            let world = World::<true>::new();
            let dead = world.clone();
            let dead = thread::spawn(move || dead.die(1, dying, steps));
            world.work(0, other);
            dead.join().unwrap();
            world.check_free();
        });
    }
}

/// Steps of entering and leaving to write: the gate, a fence, the readers, the own reader, and
/// the gate twice.
const MOST_STEPS: u32 = 1 + 1 + 1 + 1 + 2;

#[test]
fn a_writer_excludes_a_writer() {
    workers::<true>(&[ReadWrite, ReadWrite]);
}

#[test]
fn a_writer_excludes_a_reader() {
    workers::<true>(&[ReadWrite, ReadOnly]);
}

#[test]
fn two_writers_and_a_reader_exclude_each_other() {
    workers::<true>(&[ReadWrite, ReadOnly, ReadWrite]);
}

#[test]
fn a_writer_and_two_readers_exclude_each_other() {
    workers::<true>(&[ReadWrite, ReadOnly, ReadOnly]);
}

#[test]
fn whoever_dies_at_any_step_stops_nobody() {
    for dying in [ReadOnly, ReadWrite] {
        for other in [ReadOnly, ReadWrite] {
            deaths(dying, other);
        }
    }
}

#[test]
fn without_its_fence_the_lock_is_found_to_be_wrong() {
    let accesses: &[Access] = &[ReadWrite, ReadOnly];
    let checked = catch_unwind(AssertUnwindSafe(|| workers::<false>(accesses)));
    assert!(checked.is_err(), "the model checker finds nothing");
}
