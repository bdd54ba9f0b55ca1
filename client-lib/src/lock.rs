// SPDX-License-Identifier: MIT OR Apache-2.0

//! Switching where there are locks.
//!
//! Cooperatively, locks are taken after switching in and given back before switching out, because
//! they lie in the VAS; until they are held, nothing of its segments is touched. Who must wait does
//! so outside, and the server has all locks for it when it answers.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use protocol::address_map::{LOCK_SET, LOCKING, LOCKS, PAGE_BYTES};
use protocol::limits::ATTACHMENTS;
use protocol::lock::{Entered, Lock, LockSet};
use protocol::message::{Locked, VasLock, VasSetConsistent, VasUnlock, Wait};
use protocol::process::{Active, ActiveSpace};
use protocol::{AttachmentId, Error, LockMode};

use crate::rpc;
use crate::switch::{Space, switch as switch_only};

/// What was found when the locks were taken that are held.
static INCONSISTENT: AtomicBool = AtomicBool::new(false);

/// Whether data may be inconsistent in the VAS that the calling thread is in, as found when it
/// switched there: a process ended while it held the lock of a segment to write, and nobody has
/// [said since](vas_set_consistent) that the data are in order.
pub fn vas_inconsistent() -> bool {
    INCONSISTENT.load(Ordering::Relaxed)
}

/// Says that the data are in order of all segments of the VAS that the calling thread is in whose
/// lock it holds to write.
///
/// # Errors
/// [`Error::StaleAttachment`], also if it is in none.
pub fn vas_set_consistent() -> Result<(), Error> {
    let active = Space::current().attachment();
    let attachment = active.ok_or(Error::StaleAttachment)?.id;
    rpc::call(&VasSetConsistent { attachment }, &[])?;
    INCONSISTENT.store(false, Ordering::Relaxed);
    Ok(())
}

/// Leaves one space, of which it gives the locks back, and enters another, of which it takes them.
/// (By reference, `wait` takes one register: it is seldom looked at.)
#[inline(never)]
pub(crate) fn switch(before: Space, space: Space, wait: &Wait) -> Result<(), Error> {
    if before == space || !must_lock(before) && !must_lock(space) {
        return switch_only(before, space);
    }
    let left = before.attachment().filter(|_| must_lock(before));
    if let Some(active) = left {
        leave(before, active)?;
    }
    let entered = match space.attachment() {
        Some(active) if active.lock_mode == LockMode::Cooperative => enter(space, active, wait),
        Some(active) if active.lock_mode == LockMode::Enforced => {
            if left.is_some() {
                switch_only(Space::current(), Space::OWN)?;
            }
            enter_enforced(space, active, wait)
        }
        _ => switch_only(Space::current(), space),
    };
    if entered.is_err() && left.is_some() {
        // It must not stay where it has given the locks back.
        switch_only(Space::current(), Space::OWN)?;
    }
    entered
}

/// Whether there are locks to take when a thread enters a space, or to give back when it leaves it.
#[inline]
pub(crate) fn must_lock(space: Space) -> bool {
    match ActiveSpace::lock_mode_of(space.word()) {
        LockMode::None => false,
        LockMode::Cooperative => locking(ActiveSpace::attachment_of(space.word())),
        LockMode::Enforced => true,
    }
}

/// Gives locks back. Where they are enforced the thread must be outside for that; else it leaves
/// right after it.
fn leave(space: Space, active: Active) -> Result<(), Error> {
    INCONSISTENT.store(false, Ordering::Relaxed);
    let attachment = active.id;
    let must_tell = match active.lock_mode {
        LockMode::Cooperative => lock_set().leave(index(active.id), lock),
        _ => {
            switch_only(space, Space::OWN)?;
            true
        }
    };
    if must_tell {
        match rpc::call(&VasUnlock { attachment }, &[]) {
            // The attachment was taken away, and its locks with it.
            Ok(()) | Err(Error::StaleAttachment) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn enter(space: Space, active: Active, wait: &Wait) -> Result<(), Error> {
    switch_only(Space::current(), space)?;
    if !locking(active.id) {
        return Ok(());
    }
    let (attachment, wait) = (active.id, *wait);
    if let Entered::All { inconsistent } = lock_set().enter(index(active.id), active.access, lock) {
        INCONSISTENT.store(inconsistent, Ordering::Relaxed);
        return Ok(());
    }
    switch_only(space, Space::OWN)?;
    // The server also looks whether others can be let in now.
    let Locked { inconsistent } = rpc::call(&VasLock { attachment, wait }, &[])?;
    enter_locked(space, attachment, inconsistent)
}

fn enter_enforced(space: Space, active: Active, wait: &Wait) -> Result<(), Error> {
    let (attachment, wait) = (active.id, *wait);
    let request = VasLock { attachment, wait };
    let Locked { inconsistent } = rpc::receive_at(&request, &[], space.root())?;
    enter_locked(space, attachment, inconsistent)
}

/// The server has taken the locks.
fn enter_locked(space: Space, attachment: AttachmentId, inconsistent: bool) -> Result<(), Error> {
    let entered = switch_only(Space::current(), space);
    match entered {
        Ok(()) => INCONSISTENT.store(inconsistent, Ordering::Relaxed),
        // If the attachment is gone, so are its locks.
        Err(_) => drop(rpc::call(&VasUnlock { attachment }, &[])),
    }
    entered
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
