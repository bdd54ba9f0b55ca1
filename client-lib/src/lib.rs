// SPDX-License-Identifier: MIT OR Apache-2.0

//! Virtual address spaces (VASes) for applications: the paper's interface (SpaceJMP, ASPLOS'16,
//! section 3.2), and a safe way to program with it.
//!
//! A process finds or creates a VAS, attaches to it, and switches into it; while it is inside, the
//! segments of the VAS are its memory at their fixed addresses, beside its own code and stack. A
//! VAS lives on when its processes have ended, and pointers in it mean the same to all.
//!
//! | to | use |
//! | --- | --- |
//! | share data of known types, checked by the compiler | [`DataVas`], and the crate `storage` for what may lie in it |
//! | call the service itself: segments, rights, quotas, locks | the functions of this crate ([`vas_create`], [`vas_attach`], [`vas_switch`], [`seg_alloc`], ...) |
//! | type in a program as the paper prints it | [`raw`] |
//!
//! Handles are capabilities in the process's own CNode; dropping one gives its slot back, but
//! leaves the object as it is. Sizes and addresses are in bytes. Errors are those of the service
//! ([`Error`]); a refused call has changed nothing.
//!
#![doc = include_str!("../../docs/first-program.md")]
//!
//! # The calls themselves
//!
//! What the safe way does beneath, with raw memory:
//!
//! ```no_run
//! use client_lib::{Access, Mode, Space};
//!
//! # fn main() -> Result<(), client_lib::Error> {
//! let base = 1 << 39;
//! let vas = client_lib::vas_create("v0", Mode(0o660))?;
//! let segment = client_lib::seg_alloc_lockable("s0", base, 1 << 21, None, Mode(0o660))?;
//! client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
//!
//! let attachment = client_lib::vas_attach(&vas, Access::ReadWrite)?;
//! client_lib::vas_switch(attachment.space())?;
//! // Memory at `base` is the segment's now, and nobody else's until its lock is given back.
//! client_lib::vas_switch(Space::OWN)?;
//! # Ok(())
//! # }
//! ```

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

mod data_vas;
mod endpoint;
mod lock;
mod malloc;
pub mod raw;
pub mod rpc;
mod slots;
mod switch;
mod threads;

use protocol::limits;
use protocol::message::{
    AttachmentEntry, QuotaStat, QuotaStatistics, Restrict, SegAlloc, SegAt, SegAttach,
    SegAttachLocal, SegCopy, SegCtl, SegDetach, SegDetachLocal, SegEntry, SegFind, SegFree,
    SegGrow, SegList, SegStat, SegStatistics, ServerStat, Statistics, VasAttach, VasAttachments,
    VasClone, VasCreate, VasCtl, VasDelete, VasDetach, VasEntry, VasFind, VasList, VasRoot,
    VasSetRoot, VasStat, VasStatistics,
};
pub use protocol::message::{Base, Command, Lifetime, VasCommand};
pub use protocol::{Access, AttachmentId, Error, LockMode, Mode, Name, PageSize, Rights};

pub use data_vas::{DataError, DataVas, Reader, SegmentOptions, Writer};
pub use endpoint::Endpoint;
pub use lock::{vas_inconsistent, vas_set_consistent};
use protocol::process::Active;
use slots::Slot;
pub use switch::{Space, vas_switch, vas_switch_timeout, vas_switch_try};

/// A handle of a VAS (the paper's `vid`).
#[derive(Debug)]
pub struct Vas {
    slot: Slot,
    rights: Rights,
}

/// A handle of a segment (the paper's `sid`).
#[derive(Debug)]
pub struct Segment {
    slot: Slot,
    rights: Rights,
    base: u64,
    size: u64,
    page_size: PageSize,
}

/// This process attached to a VAS (the paper's `vh`).
///
/// Dropping it without [`vas_detach`] leaves the process attached until it ends.
#[derive(Debug)]
pub struct Attachment {
    root: Slot,
    active: Active,
}

impl Vas {
    /// The slot of this process's CNode that the handle is in.
    pub fn cptr(&self) -> u64 {
        self.slot.cptr()
    }

    /// What the handle allows.
    pub fn rights(&self) -> Rights {
        self.rights
    }
}

impl Segment {
    /// The slot of this process's CNode that the handle is in.
    pub fn cptr(&self) -> u64 {
        self.slot.cptr()
    }

    /// What the handle allows.
    pub fn rights(&self) -> Rights {
        self.rights
    }

    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Bytes: a multiple of the page size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Its pages.
    pub fn page_size(&self) -> PageSize {
        self.page_size
    }
}

impl Attachment {
    /// The space to switch to.
    pub fn space(&self) -> Space {
        Space::attached(&self.root, self.active)
    }

    /// Names the attachment in fault reports and to the server.
    pub fn id(&self) -> AttachmentId {
        self.active.id
    }
}

/// Makes an empty VAS.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::NameExists`], [`Error::LimitReached`], [`Error::OutOfSlots`].
pub fn vas_create(name: &str, mode: Mode) -> Result<Vas, Error> {
    let slot = Slot::new()?;
    let granted = rpc::receive(
        &VasCreate {
            name: Name::new(name)?,
            mode,
        },
        &[],
        &slot,
    )?;
    Ok(Vas {
        slot,
        rights: granted.rights,
    })
}

/// Looks a VAS up by name. The handle has all rights that its mode bits give this process.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::NotFound`], [`Error::PermissionDenied`],
/// [`Error::OutOfSlots`].
pub fn vas_find(name: &str) -> Result<Vas, Error> {
    let slot = Slot::new()?;
    let granted = rpc::receive(
        &VasFind {
            name: Name::new(name)?,
        },
        &[],
        &slot,
    )?;
    Ok(Vas {
        slot,
        rights: granted.rights,
    })
}

/// Attaches this process to a VAS.
///
/// Through a [`Access::ReadOnly`] attachment nothing in the VAS can be written; through the
/// other each segment has the access that it was attached to the VAS with.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::AlreadyAttached`] with the
/// same access, [`Error::OutOfMemory`], [`Error::OutOfSlots`], [`Error::OutOfAsids`],
/// [`Error::LimitReached`].
pub fn vas_attach(vas: &Vas, access: Access) -> Result<Attachment, Error> {
    let root = Slot::new()?;
    let attached = rpc::receive(&VasAttach { access }, &[&vas.slot], &root)?;
    let active = Active {
        id: attached.attachment,
        access,
        lock_mode: attached.lock_mode,
    };
    Ok(Attachment { root, active })
}

/// Detaches this process. Another of its threads that is inside faults, which ends the process.
///
/// # Errors
/// [`Error::Inside`] if the calling thread is inside, and [`Error::StaleAttachment`]; the
/// attachment comes back with them.
pub fn vas_detach(attachment: Attachment) -> Result<(), (Attachment, Error)> {
    if Space::current() == attachment.space() {
        return Err((attachment, Error::Inside));
    }
    rpc::call(
        &VasDetach {
            attachment: attachment.id(),
        },
        &[],
    )
    .map_err(|error| (attachment, error))
}

/// Deletes a VAS. Its segments live on.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::InUse`] while any process is
/// attached.
pub fn vas_delete(vas: &Vas) -> Result<(), Error> {
    rpc::call(&VasDelete, &[&vas.slot])
}

/// Makes a segment of `size` bytes (rounded up to whole pages) at `base`: an address, or
/// [`Base::ForVases`] or [`Base::ForAttachments`] where the server's placement policy chooses
/// one. Its memory is reserved and zeroed now. A base in
/// [`GLOBAL`](protocol::address_map::GLOBAL) makes a segment for VASes, one in
/// [`LOCAL`](protocol::address_map::LOCAL) a segment for single attachments. The policy may move
/// it: [`Segment::base`] is where it lies.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::NameExists`], [`Error::ZeroSize`], [`Error::Unaligned`],
/// [`Error::OutOfRange`], [`Error::BaseNeeded`], [`Error::NoRoom`], [`Error::OutOfMemory`],
/// [`Error::OutOfSlots`], [`Error::LimitReached`], [`Error::NotAdmitted`].
pub fn seg_alloc(
    name: &str,
    base: impl Into<Base>,
    size: u64,
    page_size: Option<PageSize>,
    mode: Mode,
) -> Result<Segment, Error> {
    seg_alloc_with(name, base, size, page_size, mode, false, false)
}

/// Makes a segment as [`seg_alloc`] does, for VASes, that has a lock: who switches into a VAS that
/// has it takes the lock (see [`vas_switch`]).
///
/// # Errors
/// As [`seg_alloc`].
pub fn seg_alloc_lockable(
    name: &str,
    base: impl Into<Base>,
    size: u64,
    page_size: Option<PageSize>,
    mode: Mode,
) -> Result<Segment, Error> {
    seg_alloc_with(name, base, size, page_size, mode, false, true)
}

/// Makes a segment as [`seg_alloc`] does, which takes the root-table slots (512 GiB each) that
/// it lies in for itself: in a VAS that has it, no other segment can lie there. In return its
/// page tables are made once, and attaching it to a VAS costs one entry a slot, whatever its
/// size (the paper's cached translations, section 4.1).
///
/// # Errors
/// As [`seg_alloc`], and [`Error::OutOfAsids`].
pub fn seg_alloc_own_slots(
    name: &str,
    base: impl Into<Base>,
    size: u64,
    page_size: Option<PageSize>,
    mode: Mode,
) -> Result<Segment, Error> {
    seg_alloc_with(name, base, size, page_size, mode, true, false)
}

fn seg_alloc_with(
    name: &str,
    base: impl Into<Base>,
    size: u64,
    page_size: Option<PageSize>,
    mode: Mode,
    own_slots: bool,
    lockable: bool,
) -> Result<Segment, Error> {
    let slot = Slot::new()?;
    let name = Name::new(name)?;
    let granted = rpc::receive(
        &SegAlloc {
            name,
            base: base.into(),
            size,
            page_size,
            own_slots,
            lockable,
            mode,
        },
        &[],
        &slot,
    )?;
    Ok(Segment::new(slot, granted))
}

/// Looks a segment up by name. The handle has all rights that its mode bits give this
/// process.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::NotFound`], [`Error::PermissionDenied`],
/// [`Error::OutOfSlots`].
pub fn seg_find(name: &str) -> Result<Segment, Error> {
    let slot = Slot::new()?;
    let granted = rpc::receive(
        &SegFind {
            name: Name::new(name)?,
        },
        &[],
        &slot,
    )?;
    Ok(Segment::new(slot, granted))
}

/// Looks up the segment that this process has at an address through an attachment. The handle has
/// all rights that the segment's mode bits give this process.
///
/// # Errors
/// [`Error::StaleAttachment`], [`Error::NotFound`], [`Error::PermissionDenied`],
/// [`Error::OutOfSlots`].
pub fn seg_at(attachment: &Attachment, address: u64) -> Result<Segment, Error> {
    seg_at_id(attachment.id(), address)
}

fn seg_at_id(attachment: AttachmentId, address: u64) -> Result<Segment, Error> {
    let slot = Slot::new()?;
    let request = SegAt {
        attachment,
        address,
    };
    let granted = rpc::receive(&request, &[], &slot)?;
    Ok(Segment::new(slot, granted))
}

impl Segment {
    fn narrowed(&self, slot: Slot, rights: Rights) -> Segment {
        Segment {
            slot,
            rights,
            ..*self
        }
    }

    fn new(slot: Slot, granted: protocol::message::SegGranted) -> Self {
        let protocol::message::SegGranted {
            rights,
            base,
            size,
            page_size,
        } = granted;
        Segment {
            slot,
            rights,
            base,
            size,
            page_size,
        }
    }
}

/// Adds a segment to a VAS. All processes attached to the VAS see it at once.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::AlreadyAttached`],
/// [`Error::OutOfRange`] for a segment for single attachments, [`Error::Overlap`],
/// [`Error::OutOfMemory`], [`Error::OutOfSlots`], [`Error::LimitReached`].
pub fn seg_attach(vas: &Vas, segment: &Segment, access: Access) -> Result<(), Error> {
    rpc::call(&SegAttach { access }, &[&vas.slot, &segment.slot])
}

/// Takes a segment out of a VAS, for all processes attached to it.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::NotAttached`].
pub fn seg_detach(vas: &Vas, segment: &Segment) -> Result<(), Error> {
    rpc::call(&SegDetach, &[&vas.slot, &segment.slot])
}

/// Adds a segment to one attachment of this process; nobody else sees it (the paper's
/// `seg_attach(vh, ..)`). Its addresses are in [`LOCAL`](protocol::address_map::LOCAL). What
/// the attachment may not write, it may not write there either.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::StaleAttachment`],
/// [`Error::AlreadyAttached`], [`Error::OutOfRange`] for a segment for VASes,
/// [`Error::Overlap`], [`Error::OutOfMemory`], [`Error::OutOfSlots`],
/// [`Error::LimitReached`].
pub fn seg_attach_local(
    attachment: &Attachment,
    segment: &Segment,
    access: Access,
) -> Result<(), Error> {
    let attachment = attachment.id();
    rpc::call(&SegAttachLocal { attachment, access }, &[&segment.slot])
}

/// Takes a segment out of one attachment of this process.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::StaleAttachment`], [`Error::NotAttached`].
pub fn seg_detach_local(attachment: &Attachment, segment: &Segment) -> Result<(), Error> {
    let attachment = attachment.id();
    rpc::call(&SegDetachLocal { attachment }, &[&segment.slot])
}

/// Frees a segment and its memory.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::InUse`] while it is in any
/// VAS or attachment.
pub fn seg_free(segment: &Segment) -> Result<(), Error> {
    rpc::call(&SegFree, &[&segment.slot])
}

/// The VASes that this process may look up, in order of name; pass the last name of a page
/// to get the next one. Fewer than [`protocol::limits::LIST_PAGE`] entries end the listing.
///
/// # Errors
/// [`Error::InvalidName`].
pub fn vas_list(after: Option<&str>) -> Result<impl Iterator<Item = VasEntry>, Error> {
    let after = after.map(Name::new).transpose()?;
    Ok(rpc::call(&VasList { after }, &[])?.entries.into_iter())
}

/// The attachments of processes to a VAS; pass the last of a page to get the next one, as with
/// [`vas_list`]. [`VasCommand::EvictAttachment`] ends one.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`].
pub fn vas_attachments(
    vas: &Vas,
    after: Option<AttachmentId>,
) -> Result<impl Iterator<Item = AttachmentEntry> + use<>, Error> {
    let page = rpc::call(&VasAttachments { after }, &[&vas.slot])?;
    Ok(page.entries.into_iter())
}

/// The segments that this process may look up, in order of name; paged like [`vas_list`].
///
/// # Errors
/// [`Error::InvalidName`].
pub fn seg_list(after: Option<&str>) -> Result<impl Iterator<Item = SegEntry>, Error> {
    let after = after.map(Name::new).transpose()?;
    Ok(rpc::call(&SegList { after }, &[])?.entries.into_iter())
}

/// Changes a VAS: `client_lib::vas_ctl(&vas, Command::Mode(Mode(0o600)))`.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::CreatorEnded`],
/// [`Error::NotFound`] if no handle has the number, [`Error::StaleAttachment`].
pub fn vas_ctl(vas: &Vas, command: impl Into<VasCommand>) -> Result<(), Error> {
    let command = command.into();
    rpc::call(&VasCtl { command }, &[&vas.slot])
}

/// Changes a segment.
///
/// # Errors
/// As [`vas_ctl`].
pub fn seg_ctl(segment: &Segment, command: Command) -> Result<(), Error> {
    rpc::call(&SegCtl { command }, &[&segment.slot])
}

/// Makes a VAS that has the segments and the roots that another has now, for at most this
/// access; what becomes of that one later does not matter to it.
///
/// # Errors
/// Those of [`vas_create`], and [`Error::StaleHandle`], [`Error::PermissionDenied`],
/// [`Error::OutOfMemory`].
pub fn vas_clone(vas: &Vas, name: &str, mode: Mode, access: Access) -> Result<Vas, Error> {
    let slot = Slot::new()?;
    let name = Name::new(name)?;
    let request = VasClone { name, mode, access };
    let rights = rpc::receive(&request, &[&vas.slot], &slot)?.rights;
    Ok(Vas { slot, rights })
}

/// Makes a segment like another, with a copy of its content: every page is copied now, in
/// requests of [`limits::COPY_BYTES`] each, so that others are served in between. Who must
/// not see a mixture keeps writers away meanwhile. Until all is copied nobody can attach the
/// new segment by its name, and it dies with this process.
///
/// # Errors
/// Those of [`seg_alloc`], and [`Error::StaleHandle`], [`Error::PermissionDenied`];
/// [`Error::Moved`] if the server's placement policy does not put it where the other lies.
pub fn seg_clone(segment: &Segment, name: &str, mode: Mode) -> Result<Segment, Error> {
    let from = seg_stat(segment)?;
    let page_size = Some(from.page_size);
    let clone = seg_alloc_with(
        name,
        from.base,
        from.size,
        page_size,
        Mode(0),
        from.own_slots,
        from.lockable,
    )?;
    let copied = (|| {
        if clone.base != from.base {
            return Err(Error::Moved { base: clone.base });
        }
        let lifetime = seg_stat(&clone)?.object.lifetime;
        seg_ctl(&clone, Command::Lifetime(Lifetime::Creator))?;
        for offset in (0..from.size).step_by(limits::COPY_BYTES as usize) {
            rpc::call(&SegCopy { offset }, &[&segment.slot, &clone.slot])?;
        }
        seg_ctl(&clone, Command::Lifetime(lifetime))?;
        seg_ctl(&clone, Command::Mode(mode))
    })();
    match copied {
        Ok(()) => Ok(clone),
        Err(error) => {
            // Refused only if someone else had a hand in it; then it dies with this process.
            let _ = seg_free(&clone);
            Err(error)
        }
    }
}

/// Makes a segment at least so large, in place: zeroed memory is added behind its end, and all
/// who are attached see it at once. If it is as large already, nothing changes.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`], [`Error::OutOfRange`],
/// [`Error::Overlap`] with what any VAS or attachment has there, [`Error::OutOfMemory`],
/// [`Error::OutOfSlots`], [`Error::LimitReached`].
pub fn seg_grow(segment: &mut Segment, size: u64) -> Result<(), Error> {
    segment.size = rpc::call(&SegGrow { size }, &[&segment.slot])?.size;
    Ok(())
}

/// Makes a handle that allows less, to be passed on (see [`Endpoint`]).
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`] if the handle does not allow that
/// much, or not to be passed on; [`Error::OutOfSlots`].
pub fn vas_restrict(vas: &Vas, rights: Rights) -> Result<Vas, Error> {
    restrict(&vas.slot, rights, false).map(|(slot, _)| Vas { slot, rights })
}

/// As [`vas_restrict`].
///
/// # Errors
/// As [`vas_restrict`].
pub fn seg_restrict(segment: &Segment, rights: Rights) -> Result<Segment, Error> {
    restrict(&segment.slot, rights, false).map(|(slot, _)| segment.narrowed(slot, rights))
}

/// Makes a handle that allows less, to be passed on, and that can be taken away again from all
/// who then have it: by `vas_ctl(vas, Command::RevokeHandle(number))`.
///
/// # Errors
/// As [`vas_restrict`], and [`Error::LimitReached`].
pub fn vas_restrict_revocable(vas: &Vas, rights: Rights) -> Result<(Vas, u8), Error> {
    restrict(&vas.slot, rights, true).map(|(slot, number)| (Vas { slot, rights }, number))
}

/// As [`vas_restrict_revocable`]; it is taken away by [`seg_ctl`].
///
/// # Errors
/// As [`vas_restrict_revocable`].
pub fn seg_restrict_revocable(segment: &Segment, rights: Rights) -> Result<(Segment, u8), Error> {
    restrict(&segment.slot, rights, true)
        .map(|(slot, number)| (segment.narrowed(slot, rights), number))
}

fn restrict(handle: &Slot, rights: Rights, revocable: bool) -> Result<(Slot, u8), Error> {
    let slot = Slot::new()?;
    let request = Restrict { rights, revocable };
    let number = rpc::receive(&request, &[handle], &slot)?.number;
    Ok((slot, number))
}

/// Sets a named root of a VAS: the address by which other processes find the data in it.
/// `None` removes it.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::StaleHandle`], [`Error::PermissionDenied`],
/// [`Error::LimitReached`].
pub fn vas_set_root(vas: &Vas, name: &str, address: Option<u64>) -> Result<(), Error> {
    let name = Name::new(name)?;
    rpc::call(&VasSetRoot { name, address }, &[&vas.slot])
}

/// The address that a named root of a VAS stands for.
///
/// # Errors
/// [`Error::InvalidName`], [`Error::StaleHandle`], [`Error::PermissionDenied`],
/// [`Error::NotFound`].
pub fn vas_root(vas: &Vas, name: &str) -> Result<u64, Error> {
    let name = Name::new(name)?;
    Ok(rpc::call(&VasRoot { name }, &[&vas.slot])?.address)
}

/// What a VAS is and has.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`].
pub fn vas_stat(vas: &Vas) -> Result<VasStatistics, Error> {
    rpc::call(&VasStat, &[&vas.slot])
}

/// What a segment is and has.
///
/// # Errors
/// [`Error::StaleHandle`], [`Error::PermissionDenied`].
pub fn seg_stat(segment: &Segment) -> Result<SegStatistics, Error> {
    rpc::call(&SegStat, &[&segment.slot])
}

/// What this process's user has, of what it may have. Users without a quota have what quotas
/// leave together.
///
/// # Errors
/// None of its own.
pub fn quota_stat() -> Result<QuotaStatistics, Error> {
    rpc::call(&QuotaStat, &[])
}

/// What the server has, how much of it is free, and the policies in force.
///
/// # Errors
/// None of its own.
pub fn server_stat() -> Result<Statistics, Error> {
    rpc::call(&ServerStat, &[])
}

/// What the server has once everything that was deleted is free again. It takes what was deleted
/// apart bit by bit, with each request that anybody sends: this sends some.
///
/// # Errors
/// None of its own.
pub fn settle() -> Result<Statistics, Error> {
    loop {
        let statistics = server_stat()?;
        if statistics.pending == 0 {
            return Ok(statistics);
        }
    }
}
