// SPDX-License-Identifier: MIT OR Apache-2.0

//! The calls of the paper's Figure 3 with its names and its order of arguments, on plain ids.
//!
//! This is for programs as the paper prints them. Figure 4 reads so:
//!
//! ```no_run
//! use client_lib::raw::*;
//!
//! # fn main() -> Result<(), client_lib::Error> {
//! // Example use of segment API.
//! let (va, sz) = (0xC0_DE00_0000, 1 << 25);
//! let vid = vas_create("v0", 0o660)?;
//! let sid = seg_alloc("s0", va, sz, 0o660)?;
//! seg_attach(vid, sid)?;
//!
//! // Example use of VAS API.
//! let vid = vas_find("v0")?;
//! let vh = vas_attach(vid)?;
//! vas_switch(vh)?;
//! let t: *mut u64 = malloc(8).cast();
//! unsafe { *t = 42 };
//! # Ok(())
//! # }
//! ```
//!
//! | paper | here |
//! | --- | --- |
//! | `vasid_t vid` | [`VasId`] |
//! | `segid_t sid` | [`SegId`] |
//! | `vhandle_t vh` | [`VasHandle`]; [`VasHandle::OWN`] is the space that the process started in |
//! | perms | mode bits as of Unix, so the printed `660` is `0o660` |
//! | `cmd[,arg]` of `vas_ctl`, `seg_ctl` | one [`VasCommand`] or [`Command`], which has its argument in it |
//! | `seg_attach`, `seg_detach` by `vid` or `vh` | one function each, for both ([`Holder`]) |
//! | `vas_clone(vid)`, `seg_clone(sid)` | the name of the clone is given too: each object has one of its own |
//! | a failed call | `Err` with the reason |
//!
//! What the paper leaves implicit is chosen by what the id allows: what may be written is attached
//! for writing, all else for reading. Page sizes are the server's to choose, and segments for VASes
//! have locks. Who wants it otherwise uses the functions of the [crate] itself, which these call.
//!
//! An id is a value without an owner, as in C. It can be copied, and nothing happens when it is
//! forgotten; its place in the process's CNode, which has room for some 2000, is given back by
//! [`vas_detach`], [`vas_delete`] or [`seg_free`] alone. An id that was so given back names
//! nothing, and is refused ([`Error::StaleHandle`], [`Error::StaleAttachment`]), until its place is
//! used again. Then it may name what is there now: a wrong object of this process, but never
//! memory that it was not given. A program that has no ids, but [`Vas`], [`Segment`] and
//! [`Attachment`] alone, which have owners, is safe from that.

#![forbid(unsafe_code)]

use core::mem::{self, ManuallyDrop};

use protocol::address_map::GLOBAL;
use protocol::message::SegGranted;
use protocol::{Access, Error, Mode, Rights};

pub use crate::malloc::{NotHere, free, malloc};
use crate::slots::Slot;
use crate::{Attachment, Command, Segment, Space, Vas, VasCommand, malloc};

/// A VAS (the paper's `vasid_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VasId {
    slot: u64,
    rights: Rights,
}

/// A segment (the paper's `segid_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegId {
    slot: u64,
    granted: SegGranted,
}

/// This process attached to a VAS (the paper's `vhandle_t`), or its own space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VasHandle(Space);

impl VasId {
    fn new(vas: Vas) -> Self {
        VasId {
            slot: vas.slot.leak(),
            rights: vas.rights,
        }
    }

    fn get(self) -> ManuallyDrop<Vas> {
        ManuallyDrop::new(Vas {
            slot: Slot::leaked(self.slot),
            rights: self.rights,
        })
    }
}

impl SegId {
    fn new(segment: Segment) -> Self {
        let granted = SegGranted {
            rights: segment.rights,
            base: segment.base,
            size: segment.size,
            page_size: segment.page_size,
        };
        let slot = segment.slot.leak();
        SegId { slot, granted }
    }

    fn get(self) -> ManuallyDrop<Segment> {
        ManuallyDrop::new(Segment::new(Slot::leaked(self.slot), self.granted))
    }

    /// First address. The server's placement policy may have chosen another than was asked for.
    pub fn base(self) -> u64 {
        self.granted.base
    }
}

impl VasHandle {
    /// The space that the process started in: `vas_switch(VasHandle::OWN)` goes back there.
    pub const OWN: VasHandle = VasHandle(Space::OWN);

    fn get(self) -> Result<ManuallyDrop<Attachment>, Error> {
        let active = self.0.attachment().ok_or(Error::StaleAttachment)?;
        let root = Slot::leaked(self.0.root());
        Ok(ManuallyDrop::new(Attachment { root, active }))
    }
}

/// What a segment can be attached to: a VAS, for all who are attached to it ([`VasId`]), or one
/// attachment of this process ([`VasHandle`]).
pub trait Holder {
    /// Adds a segment.
    ///
    /// # Errors
    /// See [`seg_attach`].
    fn attach(self, sid: SegId) -> Result<(), Error>;

    /// Takes a segment out.
    ///
    /// # Errors
    /// See [`seg_detach`].
    fn detach(self, sid: SegId) -> Result<(), Error>;
}

impl Holder for VasId {
    fn attach(self, sid: SegId) -> Result<(), Error> {
        let (vas, segment) = (self.get(), sid.get());
        let access = most(sid.granted.rights);
        crate::seg_attach(&vas, &segment, access)?;
        if access == Access::ReadWrite {
            malloc::offer(&vas, &segment);
        }
        Ok(())
    }

    fn detach(self, sid: SegId) -> Result<(), Error> {
        crate::seg_detach(&self.get(), &sid.get())
    }
}

impl Holder for VasHandle {
    fn attach(self, sid: SegId) -> Result<(), Error> {
        crate::seg_attach_local(&*self.get()?, &sid.get(), most(sid.granted.rights))
    }

    fn detach(self, sid: SegId) -> Result<(), Error> {
        crate::seg_detach_local(&*self.get()?, &sid.get())
    }
}

/// The most that rights allow.
fn most(rights: Rights) -> Access {
    match rights.contains(Rights::WRITE) {
        true => Access::ReadWrite,
        false => Access::ReadOnly,
    }
}

/// Makes an empty VAS.
///
/// # Errors
/// Those of [`vas_create`](crate::vas_create()).
pub fn vas_create(name: &str, perms: u16) -> Result<VasId, Error> {
    crate::vas_create(name, Mode(perms)).map(VasId::new)
}

/// Looks a VAS up by name. Each call takes another place in the CNode.
///
/// # Errors
/// Those of [`vas_find`](crate::vas_find()).
pub fn vas_find(name: &str) -> Result<VasId, Error> {
    crate::vas_find(name).map(VasId::new)
}

/// Makes a VAS that has the segments that another has now, with the same permissions, which
/// [`vas_ctl`] changes.
///
/// # Errors
/// Those of [`vas_clone`](crate::vas_clone()).
pub fn vas_clone(vid: VasId, name: &str) -> Result<VasId, Error> {
    let vas = vid.get();
    let mode = crate::vas_stat(&vas)?.object.mode;
    crate::vas_clone(&vas, name, mode, most(vid.rights)).map(VasId::new)
}

/// Attaches this process to a VAS.
///
/// # Errors
/// Those of [`vas_attach`](crate::vas_attach()).
pub fn vas_attach(vid: VasId) -> Result<VasHandle, Error> {
    let vas = vid.get();
    let attachment = crate::vas_attach(&vas, most(vid.rights))?;
    malloc::remember(&vas, &attachment);
    let handle = VasHandle(attachment.space());
    attachment.root.leak();
    Ok(handle)
}

/// Detaches this process, and gives the handle back.
///
/// # Errors
/// [`Error::Inside`] if the calling thread is inside, and [`Error::StaleAttachment`]; so for
/// [`VasHandle::OWN`].
pub fn vas_detach(vh: VasHandle) -> Result<(), Error> {
    let attachment = ManuallyDrop::into_inner(vh.get()?);
    crate::vas_detach(attachment).map_err(|(attachment, error)| {
        mem::forget(attachment);
        error
    })?;
    malloc::forget(vh.0);
    Ok(())
}

/// Switches the calling thread into a VAS, or to its [own space](VasHandle::OWN), and returns the
/// space that was active before.
///
/// # Errors
/// Those of [`vas_switch`](crate::vas_switch()).
pub fn vas_switch(vh: VasHandle) -> Result<VasHandle, Error> {
    crate::vas_switch(vh.0).map(VasHandle)
}

/// Changes a VAS: `vas_ctl(Command::Mode(Mode(0o600)), vid)`.
///
/// # Errors
/// Those of [`vas_ctl`](crate::vas_ctl()).
pub fn vas_ctl(cmd: impl Into<VasCommand>, vid: VasId) -> Result<(), Error> {
    crate::vas_ctl(&vid.get(), cmd)
}

/// Sets a named root of a VAS, by which others find what lies at an address in it; 0 removes it.
///
/// # Errors
/// Those of [`vas_set_root`](crate::vas_set_root()).
pub fn vas_set_root(vid: VasId, name: &str, address: u64) -> Result<(), Error> {
    let address = Some(address).filter(|&address| address != 0);
    crate::vas_set_root(&vid.get(), name, address)
}

/// The address that a named root of a VAS stands for.
///
/// # Errors
/// Those of [`vas_root`](crate::vas_root()).
pub fn vas_root(vid: VasId, name: &str) -> Result<u64, Error> {
    crate::vas_root(&vid.get(), name)
}

/// Deletes a VAS, and gives the id back. Its segments live on.
///
/// # Errors
/// Those of [`vas_delete`](crate::vas_delete()).
pub fn vas_delete(vid: VasId) -> Result<(), Error> {
    let vas = vid.get();
    crate::vas_delete(&vas)?;
    drop(ManuallyDrop::into_inner(vas));
    Ok(())
}

/// Makes a segment of `size` bytes (rounded up to whole pages) at `base`. One for VASes has a lock
/// (paper section 3.1): who switches into a VAS that has it waits until it is free.
///
/// # Errors
/// Those of [`seg_alloc`](crate::seg_alloc()); [`Error::Unaligned`] if no page begins at `base`.
pub fn seg_alloc(name: &str, base: u64, size: u64, perms: u16) -> Result<SegId, Error> {
    let mode = Mode(perms);
    let segment = if GLOBAL.contains(&base) {
        crate::seg_alloc_lockable(name, base, size, None, mode)
    } else {
        crate::seg_alloc(name, base, size, None, mode)
    };
    segment.map(SegId::new)
}

/// Looks a segment up by name. Each call takes another place in the CNode.
///
/// # Errors
/// Those of [`seg_find`](crate::seg_find()).
pub fn seg_find(name: &str) -> Result<SegId, Error> {
    crate::seg_find(name).map(SegId::new)
}

/// Makes a segment like another, with a copy of its content and the same permissions, which
/// [`seg_ctl`] changes.
///
/// # Errors
/// Those of [`seg_clone`](crate::seg_clone()).
pub fn seg_clone(sid: SegId, name: &str) -> Result<SegId, Error> {
    let segment = sid.get();
    let mode = crate::seg_stat(&segment)?.object.mode;
    crate::seg_clone(&segment, name, mode).map(SegId::new)
}

/// Adds a segment to a VAS (`seg_attach(vid, sid)`), for all who are attached to it, or to one
/// attachment of this process alone (`seg_attach(vh, sid)`).
///
/// # Errors
/// Those of [`seg_attach`](crate::seg_attach()) or [`seg_attach_local`](crate::seg_attach_local()).
pub fn seg_attach(to: impl Holder, sid: SegId) -> Result<(), Error> {
    to.attach(sid)
}

/// Takes a segment out of a VAS (`seg_detach(vid, sid)`) or out of one attachment of this process
/// (`seg_detach(vh, sid)`).
///
/// # Errors
/// Those of [`seg_detach`](crate::seg_detach()) or [`seg_detach_local`](crate::seg_detach_local()).
pub fn seg_detach(from: impl Holder, sid: SegId) -> Result<(), Error> {
    from.detach(sid)
}

/// Changes a segment.
///
/// # Errors
/// Those of [`seg_ctl`](crate::seg_ctl()).
pub fn seg_ctl(sid: SegId, cmd: Command) -> Result<(), Error> {
    crate::seg_ctl(&sid.get(), cmd)
}

/// Frees a segment and its memory, and gives the id back.
///
/// # Errors
/// Those of [`seg_free`](crate::seg_free()).
pub fn seg_free(sid: SegId) -> Result<(), Error> {
    let segment = sid.get();
    crate::seg_free(&segment)?;
    drop(ManuallyDrop::into_inner(segment));
    Ok(())
}
