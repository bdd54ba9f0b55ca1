// SPDX-License-Identifier: MIT OR Apache-2.0

//! Switching: the thread's own kernel invocation, without the server.

use protocol::process::{ActiveSpace, slot};
use protocol::{AttachmentId, Error};
use sel4::cap;

use crate::slots::Slot;

/// A space that a thread of this process can run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Space(ActiveSpace);

impl Space {
    /// The space that the process started in.
    pub const OWN: Space = Space(ActiveSpace::OWN);

    pub(crate) fn attached(root: &Slot, attachment: AttachmentId) -> Self {
        Space(ActiveSpace {
            root: root.cptr() as u16,
            attachment: Some(attachment),
        })
    }

    /// The space that the calling thread runs in.
    pub fn current() -> Self {
        Space(ActiveSpace::from_word(sel4::user_data()))
    }
}

/// Makes the calling thread run in `space` and returns the space that was active before.
///
/// Registers, the stack and all private memory stay as they are; the memory of the VAS that
/// was left cannot be reached any longer.
///
/// # Errors
/// [`Error::StaleAttachment`] if the root cap is gone; the thread is where it was.
pub fn vas_switch(space: Space) -> Result<Space, Error> {
    let before = Space::current();
    // SetSpace looks the new root up first and changes nothing on an error. The word is
    // written before the switch so that a fault right after it is explained by the new space.
    sel4::set_user_data(space.0.word());
    let tcb = cap::Tcb::from_bits(slot::TCB);
    let cspace = cap::CNode::from_bits(slot::CNODE);
    let root = cap::PML4::from_bits(space.0.root.into());
    match tcb.set_space(slot::FAULT, cspace, 0, root, 0) {
        Ok(()) => {
            // seL4 5.0.0 loads the new root only when it next schedules the thread.
            sel4::yield_now();
            Ok(before)
        }
        Err(_) => {
            sel4::set_user_data(before.0.word());
            Err(Error::StaleAttachment)
        }
    }
}
