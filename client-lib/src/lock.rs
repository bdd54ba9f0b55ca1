// SPDX-License-Identifier: MIT OR Apache-2.0

//! Switching where there are locks.
//!
//! Cooperatively, locks are taken after switching in and given back before switching out, because
//! they lie in the VAS; until they are held, nothing of its segments is touched. Who must wait does
//! so outside, and the server has all locks for it when it answers.

use core::sync::atomic::{AtomicU64, Ordering};

use protocol::address_map::{LOCK_SET, LOCKING, LOCKS, PAGE_BYTES};
use protocol::limits::ATTACHMENTS;
use protocol::lock::{Entered, Lock, LockSet};
use protocol::message::{Locked, VasLock, VasSetConsistent, VasUnlock, Wait};
use protocol::process::thread_word;
use protocol::{Access, AttachmentId, Error, LockMode};

use crate::rpc;
use crate::switch::{Space, switch as switch_only};
use crate::threads::Share;

/// What the calling thread holds: the word of its own that says so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    /// No locks.
    Nothing,
    /// Those of the VAS that it is in.
    All {
        /// What was found when they were taken.
        inconsistent: bool,
    },
}

impl Held {
    #[inline]
    fn now() -> Self {
        match sel4::thread_word(thread_word::LOCKS) {
            0 => Held::Nothing,
            word => Held::All {
                inconsistent: word > 1,
            },
        }
    }

    #[inline]
    fn set(self) {
        let word = match self {
            Held::Nothing => 0,
            Held::All { inconsistent } => 1 + u64::from(inconsistent),
        };
        sel4::set_thread_word(thread_word::LOCKS, word);
    }
}

/// Whether data may be inconsistent in the VAS that the calling thread is in, as found when it
/// switched there: a process ended while it held the lock of a segment to write, and nobody has
/// [said since](vas_set_consistent) that the data are in order.
pub fn vas_inconsistent() -> bool {
    Held::now() == Held::All { inconsistent: true }
}

/// Says that the data are in order of all segments of the VAS that the calling thread is in whose
/// lock it holds to write.
///
/// # Errors
/// [`Error::StaleAttachment`], also if it is in none.
pub fn vas_set_consistent() -> Result<(), Error> {
    let attachment = Space::current().id();
    rpc::call(&VasSetConsistent { attachment }, &[])?;
    if vas_inconsistent() {
        let inconsistent = false;
        Held::All { inconsistent }.set();
    }
    Ok(())
}

/// Leaves one space, of which it gives the locks back, and enters another, of which it takes them.
/// (By reference, `wait` takes one register: it is seldom looked at.)
#[inline(never)]
pub(crate) fn switch(before: Space, space: Space, wait: &Wait) -> Result<(), Error> {
    let holds = Held::now() != Held::Nothing;
    if before == space || !holds && !must_lock(space) {
        return switch_only(before, space);
    }
    if holds {
        leave(before)?;
    }
    let entered = if must_lock(space) {
        enter(space, wait)
    } else {
        switch_only(Space::current(), space)
    };
    if entered.is_err() && holds {
        // It must not stay where it has given the locks back.
        switch_only(Space::current(), Space::OWN)?;
    }
    entered
}

/// Whether there are locks to take when a thread enters a space.
#[inline]
pub(crate) fn must_lock(space: Space) -> bool {
    match space.lock_mode() {
        LockMode::None => false,
        LockMode::Cooperative => locking(space.id()),
        LockMode::Enforced => true,
    }
}

/// Whether threads of this process hold the locks of an attachment together. How long others wait
/// already can be seen of cooperative locks only.
#[inline]
fn is_shared(space: Space) -> bool {
    space.access() == Access::ReadOnly && space.lock_mode() == LockMode::Cooperative
}

/// Gives locks back, unless other threads go on with them.
#[inline]
fn leave(space: Space) -> Result<(), Error> {
    Held::Nothing.set();
    let share = Share::of(index(space.id()));
    if is_shared(space) && !share.leave() {
        return Ok(());
    }
    let must_tell = match space.lock_mode() {
        LockMode::Cooperative => lock_set().leave(index(space.id()), lock),
        _ => true,
    };
    let told = if must_tell { tell(space) } else { Ok(()) };
    share.free();
    told
}

/// Tells the server that locks are given back. Where they are enforced the thread must be outside
/// for that; else it leaves right after it.
#[cold]
fn tell(space: Space) -> Result<(), Error> {
    if space.lock_mode() == LockMode::Enforced {
        switch_only(space, Space::OWN)?;
    }
    let attachment = space.id();
    match rpc::call_for_locks(&VasUnlock { attachment }) {
        // The attachment was taken away, and its locks with it.
        Err(Error::StaleAttachment) => Ok(()),
        told => told,
    }
}

/// Takes locks, or goes on with those that other threads have, and enters.
#[inline]
fn enter(space: Space, wait: &Wait) -> Result<(), Error> {
    let share = Share::of(index(space.id()));
    if !share.take() && enter_after_others(space, wait, share)? {
        return Ok(());
    }
    let taken = match space.lock_mode() {
        LockMode::Enforced => take_enforced(space, wait),
        _ => take(space, wait),
    };
    match taken {
        Ok(Held::All { inconsistent }) if is_shared(space) => share.open(inconsistent),
        Ok(Held::All { .. }) => {}
        Ok(Held::Nothing) | Err(_) => share.free(),
    }
    taken.map(Held::set)
}

/// Enters together with other threads, or waits until it can take the locks. Answers whether it
/// is inside.
#[cold]
fn enter_after_others(space: Space, wait: &Wait, share: &Share) -> Result<bool, Error> {
    let mut joins = is_shared(space);
    while !share.take() {
        if joins && let Some(inconsistent) = share.join() {
            if let Err(error) = switch_only(Space::current(), space) {
                if share.leave() {
                    share.free();
                }
                return Err(error);
            }
            if !lock_set().is_contended(lock) {
                Held::All { inconsistent }.set();
                return Ok(true);
            }
            // Somebody waits for those that are inside: it must not become ever more.
            leave(space)?;
            switch_only(space, Space::OWN)?;
            joins = false;
        } else if *wait != Wait::Forever {
            // There is no clock here: not to wait is not to wait for too long.
            return Err(Error::Locked);
        } else {
            switch_only(Space::current(), Space::OWN)?;
            share.wait(joins);
        }
    }
    Ok(false)
}

#[inline]
fn take(space: Space, wait: &Wait) -> Result<Held, Error> {
    switch_only(Space::current(), space)?;
    let attachment = space.id();
    if !locking(attachment) {
        return Ok(Held::Nothing);
    }
    let entered = lock_set().enter(index(attachment), space.access(), lock);
    if let Entered::All { inconsistent } = entered {
        return Ok(Held::All { inconsistent });
    }
    switch_only(space, Space::OWN)?;
    // The server also looks whether others can be let in now.
    take_by_server(space, wait)
}

#[cold]
fn take_enforced(space: Space, wait: &Wait) -> Result<Held, Error> {
    switch_only(Space::current(), Space::OWN)?;
    rpc::receive_in(space.root());
    take_by_server(space, wait)
}

/// Has the server take the locks, and enters with them.
#[cold]
fn take_by_server(space: Space, wait: &Wait) -> Result<Held, Error> {
    let (attachment, wait) = (space.id(), *wait);
    let Locked { inconsistent } = rpc::call_for_locks(&VasLock { attachment, wait })?;
    match switch_only(Space::current(), space) {
        Ok(()) => Ok(Held::All { inconsistent }),
        Err(error) => {
            // If the attachment is gone, so are its locks.
            let _ = rpc::call_for_locks(&VasUnlock { attachment });
            Err(error)
        }
    }
}

/// The index of an attachment: the low half of the key that its number is made of.
fn index(AttachmentId(id): AttachmentId) -> u16 {
    (id.wrapping_sub(1) % ATTACHMENTS as u64) as u16
}

/// Whether there are locks to take.
#[inline]
fn locking(id: AttachmentId) -> bool {
    let word: &AtomicU64 = shared(LOCKING + u64::from(index(id)) * size_of::<u64>() as u64);
    word.load(Ordering::Acquire) == id.0
}

fn lock_set() -> &'static LockSet {
    shared(LOCK_SET)
}

fn lock(segment: u16) -> &'static Lock {
    shared(LOCKS + u64::from(segment) * PAGE_BYTES)
}

/// Types of which all is atomic words.
trait AtomicWords: Sized + 'static {}
impl AtomicWords for Lock {}
impl AtomicWords for LockSet {}
impl AtomicWords for AtomicU64 {}

/// What lies at an address of the address map.
#[allow(unsafe_code)]
fn shared<T: AtomicWords>(address: u64) -> &'static T {
    // SAFETY: the callers pass addresses at which nothing but this type lies, aligned as it asks
    // for. Any content is valid for atomic words, which others may change. Where nothing is
    // mapped, the access faults.
    unsafe { &*(address as *const T) }
}
