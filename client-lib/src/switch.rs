// SPDX-License-Identifier: MIT OR Apache-2.0

//! Switching: the thread's own kernel invocation, without the server.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use protocol::message::Wait;
use protocol::process::{Active, ActiveSpace, slot};
use protocol::{Access, AttachmentId, Error, LockMode};
use sel4::cap;

use crate::slots::Slot;
use crate::{lock, threads};

/// A space that a thread of this process can run in.
///
/// Kept as the word that says so in the IPC buffer, so that switching need not make it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space(u64);

impl Space {
    /// The space that the process started in.
    pub const OWN: Space = Space(ActiveSpace::OWN.word());

    pub(crate) fn attached(root: &Slot, active: Active) -> Self {
        let space = ActiveSpace {
            root: root.cptr() as u16,
            attachment: Some(active),
        };
        space.into()
    }

    /// The space that the calling thread runs in.
    pub fn current() -> Self {
        Space(sel4::user_data())
    }

    /// The attachment that it belongs to.
    pub(crate) fn attachment(self) -> Option<Active> {
        ActiveSpace::from_word(self.0).attachment
    }

    /// Names the attachment; 0 if there is none.
    #[inline]
    pub(crate) fn id(self) -> AttachmentId {
        ActiveSpace::attachment_of(self.0)
    }

    /// Whether who switches there has locks, which keep others out.
    pub(crate) fn has_locks(self) -> bool {
        lock::must_lock(self)
    }

    /// The word for it.
    pub(crate) fn word(self) -> u64 {
        self.0
    }

    /// The space, for one who does not leave it by [`vas_switch`].
    pub(crate) fn for_stay(self) -> Self {
        Space(self.0 | ActiveSpace::STAY)
    }

    /// The access of the attachment.
    #[inline]
    pub(crate) fn access(self) -> Access {
        ActiveSpace::access_of(self.0)
    }

    /// How the locks of its VAS are taken.
    #[inline]
    pub(crate) fn lock_mode(self) -> LockMode {
        ActiveSpace::lock_mode_of(self.0)
    }

    /// The slot of its root cap.
    pub(crate) fn root(self) -> u64 {
        ActiveSpace::root_of(self.0)
    }
}

/// For who keeps the root cap in a slot of its own choice.
impl From<ActiveSpace> for Space {
    fn from(space: ActiveSpace) -> Self {
        Space(space.word())
    }
}

/// Whether the kernel was found to have no invocation `Switch`.
static WITHOUT_SWITCH: AtomicBool = AtomicBool::new(false);

/// Makes the calling thread run in `space` and returns the space that was active before.
///
/// Registers, the stack and all private memory stay as they are; the memory of the VAS that
/// was left cannot be reached any longer. One kernel invocation: `Switch` of the root cap on
/// the extended kernel, `TCB_SetSpace` of the own thread on the stock kernel.
///
/// If there are lockable segments in the VAS that is left, their locks are given back; in the
/// VAS that is entered, all locks are taken: to write what can be written through the attachment,
/// else to read. Waits until they are free; see [`vas_switch_try`] and [`vas_switch_timeout`]. Only who waits, or has
/// others waiting, asks the server, unless the locks of the VAS are
/// [enforced](crate::LockMode::Enforced).
///
/// # Errors
/// [`Error::StaleAttachment`] if the root cap is gone. The thread is where it was, but if it has
/// given locks back or has waited for some, it is in [`Space::OWN`]. [`Error::Inside`] during a stay in
/// a [`DataVas`](crate::DataVas), whose references would mean something else; it goes on.
///
/// # Threads
/// Each thread of the process runs in a space of its own choice. What can be written through an
/// attachment, or is locked by the server ([`LockMode::Enforced`]), one thread locks at a time and
/// the others wait for it; an attachment that only reads they lock together.
#[inline]
pub fn vas_switch(space: Space) -> Result<Space, Error> {
    switch_with(space, &Wait::Forever)
}

/// As [`vas_switch`], but does not wait for locks.
///
/// # Errors
/// Also [`Error::Locked`] if a lock is not free.
pub fn vas_switch_try(space: Space) -> Result<Space, Error> {
    switch_with(space, &Wait::No)
}

/// As [`vas_switch`], but waits for locks for `microseconds` at most (0 to any number), and as much
/// longer as it takes until the VAS server and then this thread run; never less. The time counts
/// from when the server is asked.
///
/// # Errors
/// Also [`Error::Locked`] if not all locks were free in that time.
pub fn vas_switch_timeout(space: Space, microseconds: u64) -> Result<Space, Error> {
    switch_with(space, &Wait::AtMost { microseconds })
}

#[inline]
fn switch_with(space: Space, wait: &Wait) -> Result<Space, Error> {
    let before = Space::current();
    if ActiveSpace::lock_mode_of(before.0 | space.0) == LockMode::None {
        switch(before, space)?;
    } else if before.0 & ActiveSpace::STAY != 0 {
        return Err(Error::Inside);
    } else {
        lock::switch(before, Space(space.0 & !ActiveSpace::STAY), wait)?;
    }
    Ok(before)
}

/// Begins a stay in a space [for one](Space::for_stay), which has locks, or goes back from it.
#[inline]
pub(crate) fn switch_for_stay(space: Space, wait: &Wait) -> Result<Space, Error> {
    let before = Space::current();
    lock::switch(before, space, wait)?;
    Ok(before)
}

/// Switches, whatever locks there are.
#[inline]
pub(crate) fn switch(before: Space, space: Space) -> Result<(), Error> {
    // Either invocation looks the new root up first and changes nothing on an error. The word
    // is written before it so that a fault right after it is explained by the new space.
    sel4::set_user_data(space.0);
    let root = cap::PML4::from_bits(space.root());
    let result = if WITHOUT_SWITCH.load(Relaxed) {
        set_space(root)
    } else {
        root.switch().or_else(|error| other_way(error, root))
    };
    result.map_err(|_| {
        sel4::set_user_data(before.0);
        Error::StaleAttachment
    })
}

#[cold]
fn other_way(error: sel4::Error, root: cap::PML4) -> Result<(), sel4::Error> {
    if error != sel4::Error::IllegalOperation {
        return Err(error);
    }
    WITHOUT_SWITCH.store(true, Relaxed);
    set_space(root)
}

#[inline(never)]
fn set_space(root: cap::PML4) -> Result<(), sel4::Error> {
    let thread = threads::number();
    let tcb = cap::Tcb::from_bits(slot::tcb(thread));
    let cspace = cap::CNode::from_bits(slot::CNODE);
    tcb.set_space(slot::fault(thread), cspace, 0, root, 0)
}
