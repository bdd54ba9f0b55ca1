// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests to the VAS service and their replies.
//!
//! Label of a request = [`Operation`], body = the request in `postcard`, handles = extra
//! caps in the order the request's documentation gives. Label of a reply = 0 and the
//! reply in the body, or [`Error::number`](crate::Error::number) and the error.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::handle::Rights;
use crate::limits;

/// A request type: which operation it is and what answers it.
pub trait Request: Serialize + for<'de> Deserialize<'de> {
    /// The label it travels under.
    const OPERATION: Operation;
    /// What answers it.
    type Reply: Serialize + for<'de> Deserialize<'de>;
}

/// Something to be done with the type of a request: see [`Operation::visit`].
pub trait Visitor {
    /// What comes of it.
    type Output;

    /// Does it.
    fn visit<R: Request>(self) -> Self::Output;
}

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $number:literal => $reply:ty;)*) => {
        /// The label of a request. Numbers are never reused; 1 to 63 are for sessions, 64
        /// and above for init alone.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u64)]
        pub enum Operation { $($(#[$doc])* $name = $number,)* }

        impl Operation {
            /// Every operation.
            pub const ALL: &[Operation] = &[$(Operation::$name),*];

            /// The operation of a label.
            pub const fn from_label(label: u64) -> Option<Self> {
                match label { $($number => Some(Operation::$name),)* _ => None }
            }

            /// Does something with the type of the request.
            pub fn visit<V: Visitor>(self, visitor: V) -> V::Output {
                match self { $(Operation::$name => visitor.visit::<$name>(),)* }
            }
        }

        $(impl Request for $name {
            const OPERATION: Operation = Operation::$name;
            type Reply = $reply;
        })*
    };
}

operations! {
    /// [`VasCreate`]
    VasCreate = 1 => Granted;
    /// [`VasFind`]
    VasFind = 2 => Granted;
    /// [`VasAttach`]
    VasAttach = 3 => Attached;
    /// [`VasDetach`]
    VasDetach = 4 => ();
    /// [`VasDelete`]
    VasDelete = 5 => ();
    /// [`VasList`]
    VasList = 6 => VasPage;
    /// [`VasStat`]
    VasStat = 7 => VasStatistics;
    /// [`VasCtl`]
    VasCtl = 8 => ();
    /// [`VasClone`]
    VasClone = 9 => Granted;
    /// [`VasSetRoot`]
    VasSetRoot = 10 => ();
    /// [`VasRoot`]
    VasRoot = 11 => Root;
    /// [`VasAttachments`]
    VasAttachments = 12 => AttachmentPage;
    /// [`VasLock`]
    VasLock = 13 => Locked;
    /// [`VasUnlock`]
    VasUnlock = 14 => ();
    /// [`VasSetConsistent`]
    VasSetConsistent = 15 => ();
    /// [`SegAlloc`]
    SegAlloc = 16 => SegGranted;
    /// [`SegFind`]
    SegFind = 17 => SegGranted;
    /// [`SegAttach`]
    SegAttach = 18 => ();
    /// [`SegDetach`]
    SegDetach = 19 => ();
    /// [`SegFree`]
    SegFree = 20 => ();
    /// [`SegList`]
    SegList = 21 => SegPage;
    /// [`SegAttachLocal`]
    SegAttachLocal = 22 => ();
    /// [`SegDetachLocal`]
    SegDetachLocal = 23 => ();
    /// [`SegStat`]
    SegStat = 24 => SegStatistics;
    /// [`SegCtl`]
    SegCtl = 25 => ();
    /// [`SegCopy`]
    SegCopy = 26 => ();
    /// [`SegGrow`]
    SegGrow = 27 => SegGranted;
    /// [`SegAt`]
    SegAt = 28 => SegGranted;
    /// [`ServerStat`]
    ServerStat = 32 => Statistics;
    /// [`Restrict`]
    Restrict = 33 => Restricted;
    /// [`HandleStat`]
    HandleStat = 34 => Described;
    /// [`QuotaStat`]
    QuotaStat = 35 => QuotaStatistics;
    /// [`SessionCreate`]
    SessionCreate = 64 => SessionCreated;
    /// [`SessionEnd`]
    SessionEnd = 65 => ();
    /// [`Explain`]
    Explain = 66 => Explanation;
}

/// A name of a VAS, segment, component or file: 1 to 32 bytes of UTF-8 without control
/// characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "heapless::String<{ limits::NAME_BYTES }>")]
pub struct Name(heapless::String<{ limits::NAME_BYTES }>);

impl Name {
    /// Checks and copies a name.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if it is empty, too long or has control characters.
    pub fn new(text: &str) -> Result<Self, Error> {
        heapless::String::try_from(text)
            .map_err(|_| Error::InvalidName)?
            .try_into()
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<heapless::String<{ limits::NAME_BYTES }>> for Name {
    type Error = Error;

    fn try_from(text: heapless::String<{ limits::NAME_BYTES }>) -> Result<Self, Error> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Error::InvalidName);
        }
        Ok(Name(text))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Read-only or read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Access {
    /// Loads only.
    ReadOnly,
    /// Loads and stores.
    ReadWrite,
}

impl Access {
    /// The handle rights that this access needs.
    pub const fn needs(self) -> Rights {
        match self {
            Access::ReadOnly => Rights::ATTACH.union(Rights::READ),
            Access::ReadWrite => Rights::ATTACH.union(Rights::READ).union(Rights::WRITE),
        }
    }
}

/// Permission bits as of Unix: three bits (read 4, write 2, execute 1) each for owner,
/// group and others. Execute bits mean nothing yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mode(pub u16);

/// How large the pages of a segment are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PageSize {
    /// 4 KiB
    Small,
    /// 2 MiB
    Large,
    /// 1 GiB
    Huge,
}

impl PageSize {
    /// All sizes, smallest first.
    pub const ALL: [PageSize; 3] = [PageSize::Small, PageSize::Large, PageSize::Huge];

    /// Binary logarithm of the size in bytes.
    pub const fn bits(self) -> u8 {
        match self {
            PageSize::Small => 12,
            PageSize::Large => 21,
            PageSize::Huge => 30,
        }
    }

    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.bits()
    }
}

/// Who a process is, for mode bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// Its user.
    pub user: u32,
    /// Its groups; the first is the group of what it creates.
    pub groups: heapless::Vec<u32, { limits::GROUPS }>,
}

/// An attachment of the session that made it; means nothing in another. At least 1 and
/// below 2^48 (see [`ActiveSpace`](crate::process::ActiveSpace)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttachmentId(pub u64);

/// Makes an empty VAS. The reply carries a handle with all rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasCreate {
    /// Must not be taken.
    pub name: Name,
    /// Who may find it, and what the handle then allows.
    pub mode: Mode,
}

/// Looks a VAS up. The reply carries a handle with all that the mode bits allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasFind {
    /// Its name.
    pub name: Name,
}

/// Attaches the process to a VAS. Caps: the VAS. The reply carries the root cap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasAttach {
    /// The most that any segment may be used for through this attachment.
    pub access: Access,
}

/// Ends an attachment of this session. The root cap becomes empty wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasDetach {
    /// The attachment.
    pub attachment: AttachmentId,
}

/// Deletes a VAS that no process is attached to; its segments live on. Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasDelete;

/// One page of the VASes whose name the principal may look up, in order of name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasList {
    /// The last name already seen.
    pub after: Option<Name>,
}

/// What a VAS is and has. Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasStat;

/// One page of the attachments of processes to a VAS. Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasAttachments {
    /// The last attachment already seen.
    pub after: Option<AttachmentId>,
}

/// When an object is deleted without being asked for. The server's lifetime policy says what
/// it is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Lifetime {
    /// Never.
    Persistent,
    /// When the process that made it ends. Whoever is attached is evicted.
    Creator,
    /// When the last attachment that it has ends: of a process to a VAS, or of a segment to
    /// a VAS or a single attachment.
    LastAttacher,
}

/// How the locks of a VAS's segments are taken (paper section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LockMode {
    /// Not at all.
    None = 0,
    /// By the processes themselves when they switch. Nothing stops one that does not.
    Cooperative = 1,
    /// By the server, which hands the root out with the locks and takes it back with them.
    Enforced = 2,
}

/// A change of a VAS or of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Sets the mode bits. Handles that were found before stay as they are.
    Mode(Mode),
    /// Gives it to another user and group.
    Owner {
        /// The user.
        user: u32,
        /// The group; `None`: its mode bits for the group count for nobody.
        group: Option<u32>,
    },
    /// Sets when it is deleted.
    Lifetime(Lifetime),
    /// Takes all handles away from all who have them, the caller included.
    RevokeHandles,
    /// Takes the handle of this number away from all who have it (see [`Restrict`]).
    RevokeHandle(u8),
    /// Ends all its attachments: of processes to a VAS, or of a segment to VASes and single
    /// attachments.
    Evict,
}

/// A change of a VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VasCommand {
    /// One that segments know too.
    Object(Command),
    /// Ends one of its attachments (see [`VasAttachments`]).
    EvictAttachment(AttachmentId),
    /// Whether attachments should have tags in the TLB (paper section 4.4). A hint: where
    /// there are none it is only kept.
    TlbTag(bool),
    /// How the locks of its segments are taken. Only while no process is attached.
    LockMode(LockMode),
}

impl From<Command> for VasCommand {
    fn from(command: Command) -> Self {
        VasCommand::Object(command)
    }
}

/// Changes a VAS. Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasCtl {
    /// The change.
    pub command: VasCommand,
}

/// Makes a VAS with the segments and the roots that another has now; what becomes of that
/// one later does not matter to it. Caps: the other VAS. The reply carries a handle with all
/// rights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasClone {
    /// Must not be taken.
    pub name: Name,
    /// Who may find it, and what the handle then allows.
    pub mode: Mode,
    /// The most that the segments may be used for through the new VAS.
    pub access: Access,
}

/// Sets or removes a named root of a VAS, by which other processes find the data in it.
/// Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasSetRoot {
    /// Its name, which means something in this VAS only.
    pub name: Name,
    /// The address that it stands for; the server does not look at it. `None` removes it.
    pub address: Option<u64>,
}

/// Looks a named root up. Caps: the VAS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasRoot {
    /// Its name.
    pub name: Name,
}

/// What a named root stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The address.
    pub address: u64,
}

/// Takes the locks of all lockable segments of the attachment's VAS, in order of the segments'
/// indexes: to write what can be written through the attachment, else to read. What the
/// attachment held before it gives back first. In a VAS whose locks are enforced, the reply
/// carries the root cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasLock {
    /// The attachment.
    pub attachment: AttachmentId,
    /// What to do if one is not free.
    pub wait: Wait,
}

/// What to do about a lock that is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Wait {
    /// [`Error::Locked`] is the answer.
    No,
    /// The answer comes when all are held.
    Forever,
    /// The answer comes when all are held; [`Error::Locked`] is the answer when this time has
    /// passed without. It comes as soon as the server gets to it, never before.
    AtMost {
        /// How long, from when the server gets the request; 0 is as [`No`](Self::No).
        microseconds: u64,
    },
}

/// All locks are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Whether an attachment that wrote to a segment of the VAS has ended while it held the lock,
    /// and nobody has [said](VasSetConsistent) since that the data are in order.
    pub inconsistent: bool,
}

/// Gives back the locks that the attachment still holds, and lets those in who wait. In a VAS
/// whose locks are enforced, the root cap becomes empty wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasUnlock {
    /// The attachment.
    pub attachment: AttachmentId,
}

/// Says that the data of those segments are in order that the attachment holds the lock of to
/// write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasSetConsistent {
    /// The attachment.
    pub attachment: AttachmentId,
}

/// Where a segment is to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Base {
    /// From this address on: a multiple of the page size. Within
    /// [`address_map::GLOBAL`](crate::address_map::GLOBAL) if the segment is for VASes, within
    /// [`address_map::LOCAL`](crate::address_map::LOCAL) if it is for single attachments.
    At(u64),
    /// Wherever the server's placement policy finds room for a segment for VASes.
    ForVases,
    /// Wherever the server's placement policy finds room for a segment for single attachments.
    ForAttachments,
}

impl From<u64> for Base {
    fn from(base: u64) -> Self {
        Base::At(base)
    }
}

/// Makes a segment: memory is reserved and zeroed now. The reply carries a handle with all
/// rights, and tells where the segment lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegAlloc {
    /// Must not be taken.
    pub name: Name,
    /// Where it is to lie. The server's placement policy may put it elsewhere.
    pub base: Base,
    /// Bytes; rounded up to whole pages.
    pub size: u64,
    /// `None`: the server's page-size policy decides.
    pub page_size: Option<PageSize>,
    /// Whether it takes the root-table slots (512 GiB each) that it lies in for itself.
    /// Nothing else fits into them in a VAS that has it; where tables are shared, it keeps its
    /// own, so that to attach it costs one entry a slot (paper section 4.1, cached
    /// translations).
    pub own_slots: bool,
    /// Whether it has a lock, which is taken by switching into a VAS that has it. Only for
    /// segments for VASes.
    pub lockable: bool,
    /// Who may find it, and what the handle then allows.
    pub mode: Mode,
}

/// Looks a segment up. The reply carries a handle with all that the mode bits allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegFind {
    /// Its name.
    pub name: Name,
}

/// Looks up the segment that an attachment of this process has at an address. The reply carries a
/// handle as that to [`SegFind`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegAt {
    /// The attachment.
    pub attachment: AttachmentId,
    /// Any address in the segment.
    pub address: u64,
}

/// Adds a segment to a VAS; all who are attached see it. Caps: the VAS, the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegAttach {
    /// The most that the segment may be used for through this VAS.
    pub access: Access,
}

/// Takes a segment out of a VAS; no one who is attached sees it any longer. Caps: the VAS,
/// the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegDetach;

/// Adds a segment to one attachment of this session, and to no other (the paper's
/// `seg_attach(vh, ..)`). Caps: the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegAttachLocal {
    /// The attachment.
    pub attachment: AttachmentId,
    /// The most that the segment may be used for there.
    pub access: Access,
}

/// Takes a segment out of one attachment of this session. Caps: the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegDetachLocal {
    /// The attachment.
    pub attachment: AttachmentId,
}

/// Frees a segment that is in no VAS and in no attachment, and its memory. Caps: the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegFree;

/// One page of the segments that the principal may look up, in order of name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegList {
    /// The last name already seen.
    pub after: Option<Name>,
}

/// What a segment is and has. Caps: the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegStat;

/// Changes a segment. Caps: the segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegCtl {
    /// The change.
    pub command: Command,
}

/// Copies a block of [`limits::COPY_BYTES`] from one segment to the same place of another, as
/// far as both have it. Caps: the segment to copy from, the segment to copy to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegCopy {
    /// Bytes from the start of either: a multiple of the size of a block.
    pub offset: u64,
}

/// Makes a segment at least so large, in place: zeroed memory is added behind its end, and all
/// who are attached see it at once. Nothing else may lie there in any VAS or attachment that
/// has it. Caps: the segment. The reply tells what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegGrow {
    /// Bytes; rounded up to whole pages. If it is as large already, nothing changes.
    pub size: u64,
}

/// Makes a handle that allows less, to be passed on. Caps: the handle. The reply carries the
/// new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrict {
    /// What it is to allow.
    pub rights: Rights,
    /// Whether it can be revoked by itself. What is made of one that can be goes with that.
    pub revocable: bool,
}

/// The handle comes as a cap; this says what it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restricted {
    /// Rights of the handle.
    pub rights: Rights,
    /// By which it is revoked ([`Command::RevokeHandle`]); 0 if not by itself.
    pub number: u8,
}

/// What a handle is, as the server sees it: for who was passed one. Caps: the handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleStat;

/// What a handle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Described {
    /// One of a VAS.
    Vas(Granted),
    /// One of a segment.
    Segment(SegGranted),
}

/// What the caller's user has, of what was promised to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStat;

/// What is promised to a user: nobody else can have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// The user.
    pub user: u32,
    /// Bytes of memory, page tables included: a multiple of 4 KiB.
    pub memory: u64,
    /// Capability slots of the server.
    pub slots: u32,
    /// How many objects.
    pub counts: Counts,
}

/// Numbers of objects that a user makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Sessions: its processes.
    pub sessions: u32,
    /// VASes.
    pub vases: u32,
    /// Segments.
    pub segments: u32,
    /// Attachments of its processes to VASes.
    pub attachments: u32,
    /// Handles: the first of each set of rights of an object counts for who asked for it.
    pub handles: u32,
}

/// What a user has, of what it may have. Users without a quota have what quotas leave
/// together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaStatistics {
    /// The user; `None`: all who have no quota.
    pub user: Option<u32>,
    /// Memory, in bytes.
    pub memory_total: u64,
    /// Of that, free.
    pub memory_free: u64,
    /// Capability slots of the server.
    pub slots_total: u32,
    /// Of those, free or spent only on dividing free memory.
    pub slots_free: u32,
    /// How many objects it may have.
    pub most: Counts,
    /// How many it has.
    pub used: Counts,
}

/// What the server has left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStat;

/// The handle comes as a cap; this says what it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Rights of the handle.
    pub rights: Rights,
}

/// The handle comes as a cap; this describes it and the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegGranted {
    /// Rights of the handle.
    pub rights: Rights,
    /// First address.
    pub base: u64,
    /// Bytes: a multiple of the page size.
    pub size: u64,
    /// Its pages.
    pub page_size: PageSize,
}

/// The root cap comes beside it, but not if locks are enforced: then with [`VasLock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// Names the attachment within the session.
    pub attachment: AttachmentId,
    /// How the locks of the VAS are taken, as long as anybody is attached.
    pub lock_mode: LockMode,
}

/// One VAS of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasEntry {
    /// Its name.
    pub name: Name,
    /// Its owner.
    pub owner: u32,
    /// Its mode bits.
    pub mode: Mode,
    /// Segments in it.
    pub segments: u32,
    /// Attachments of processes to it.
    pub attachments: u32,
}

/// A page of a listing; fewer than [`limits::LIST_PAGE`] entries mean that it is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasPage {
    /// In order of name.
    pub entries: heapless::Vec<VasEntry, { limits::LIST_PAGE }>,
}

/// One attachment of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentEntry {
    /// Names it, to whom it belongs and for [`VasCommand::EvictAttachment`].
    pub attachment: AttachmentId,
    /// The user whose process it is.
    pub user: u32,
    /// The most that any segment may be used for through it.
    pub access: Access,
}

/// A page of a listing; fewer than [`limits::LIST_PAGE`] entries mean that it is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachmentPage {
    /// In an order in which those that stay keep their places.
    pub entries: heapless::Vec<AttachmentEntry, { limits::LIST_PAGE }>,
}

/// One segment of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegEntry {
    /// Its name.
    pub name: Name,
    /// Its owner.
    pub owner: u32,
    /// Its mode bits.
    pub mode: Mode,
    /// First address.
    pub base: u64,
    /// Bytes.
    pub size: u64,
    /// Its pages.
    pub page_size: PageSize,
    /// VASes it is in, and single attachments.
    pub vases: u32,
}

/// A page of a listing; fewer than [`limits::LIST_PAGE`] entries mean that it is the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegPage {
    /// In order of name.
    pub entries: heapless::Vec<SegEntry, { limits::LIST_PAGE }>,
}

/// What VASes and segments have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStatistics {
    /// Its name.
    pub name: Name,
    /// The user that it belongs to.
    pub owner: u32,
    /// The group that it belongs to, if any.
    pub group: Option<u32>,
    /// Its mode bits.
    pub mode: Mode,
    /// When it is deleted without being asked for.
    pub lifetime: Lifetime,
}

/// What a VAS is and has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VasStatistics {
    /// What it has in common with segments.
    pub object: ObjectStatistics,
    /// Segments in it.
    pub segments: u32,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    /// Attachments of processes to it.
    pub attachments: u32,
    /// Page tables that it and its attachments have, roots included, in bytes.
    pub table_bytes: u64,
    /// How its page tables are kept: the policy's name.
    pub page_tables: Name,
    /// Whether its attachments should have tags in the TLB: what the server's policy makes of
    /// the hint of [`VasCommand::TlbTag`]. There are no tags yet.
    pub tlb_tag: bool,
    /// How the locks of its segments are taken.
    pub lock_mode: LockMode,
    /// Named roots.
    pub roots: u32,
}

/// What a segment is and has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegStatistics {
    /// What it has in common with VASes.
    pub object: ObjectStatistics,
    /// First address.
    pub base: u64,
    /// Bytes: a multiple of the page size.
    pub size: u64,
    /// Its pages.
    pub page_size: PageSize,
    /// Whether it takes the root-table slots that it lies in for itself.
    pub own_slots: bool,
    /// Whether it has a lock.
    pub lockable: bool,
    /// VASes it is in, and single attachments.
    pub vases: u32,
    /// Page tables of its own, in bytes.
    pub table_bytes: u64,
}

/// What the server has, how much of it is free, and the policies in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Memory the server was given, in bytes.
    pub memory_total: u64,
    /// Of that, free.
    pub memory_free: u64,
    /// Capability slots the server was given.
    pub slots_total: u64,
    /// Of those, free or spent only on dividing free memory.
    pub slots_free: u64,
    /// Address-space identifiers the server was given.
    pub asids_total: u32,
    /// Of those, free.
    pub asids_free: u32,
    /// Page tables of all levels, roots included.
    pub tables: u32,
    /// Things that were deleted and are still being taken apart, a part with each request: what
    /// they were made of is not free yet.
    pub pending: u32,
    /// Sessions.
    pub sessions: u32,
    /// VASes.
    pub vases: u32,
    /// Segments.
    pub segments: u32,
    /// Attachments of processes to VASes.
    pub attachments: u32,
    /// How page tables are kept: the policy's name.
    pub page_tables: Name,
    /// The page size of segments that do not ask for one: the policy's name.
    pub page_size: Name,
    /// Where segments lie: the policy's name.
    pub placement: Name,
    /// The lock mode of new VASes: the policy's name.
    pub locks: Name,
    /// Which VASes should have tags in the TLB: the policy's name.
    pub tlb_tags: Name,
    /// Who may make one more object: the policy's name.
    pub admission: Name,
    /// The lifetime of new objects: the policy's name.
    pub lifetime: Name,
}

/// Pages of private memory that follow one another and have the same rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateExtent {
    /// First address: a multiple of 4 KiB within
    /// [`address_map::PRIVATE`](crate::address_map::PRIVATE).
    pub base: u64,
    /// How many pages of 4 KiB.
    pub pages: u32,
    /// Whether the process may write to them.
    pub access: Access,
}

/// What the server needs of the private memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrivateForm {
    /// The caps of its frames, in order of address.
    Frames,
    /// A copy of the cap of the PDPT that maps it.
    Table,
}

/// A process begins (init only). The reply carries the session cap. If the process has
/// private memory, init afterwards puts caps into the server's CNode, from
/// [`SessionCreated::first_slot`] on, in the form that the reply asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreate {
    /// Who the process is.
    pub principal: Principal,
    /// Its private memory, in order of address.
    pub private: heapless::Vec<PrivateExtent, { limits::PRIVATE_EXTENTS }>,
}

/// See [`SessionCreate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCreated {
    /// Names the session between init and the server.
    pub session: SessionId,
    /// What the server needs of the private memory.
    pub private: PrivateForm,
    /// Slot of the server's CNode for the first cap of it.
    pub first_slot: u64,
}

/// Names a session between init and the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId(pub u32);

/// A process has ended (init only): everything it held is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionEnd {
    /// Its session.
    pub session: SessionId,
}

/// Why an access failed (init only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explain {
    /// The process's session.
    pub session: SessionId,
    /// The attachment that was active, as far as the process says.
    pub active: Option<AttachmentId>,
    /// The address.
    pub address: u64,
    /// Whether it was a store.
    pub write: bool,
}

/// What the server knows about a failed access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The VAS that was active, or that the attachment was of.
    pub vas: Option<Name>,
    /// The segment that holds, held or would have held the address.
    pub segment: Option<SegmentPlace>,
    /// Why it failed.
    pub reason: FaultReason,
}

/// How something that a process used to reach came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Departure {
    /// [`VasDetach`], [`SegDetach`] or [`SegDetachLocal`].
    Detached,
    /// [`Command::Evict`].
    Evicted,
    /// It was deleted, or its lifetime ended.
    Deleted,
}

impl fmt::Display for Departure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Departure::Detached => "detached",
            Departure::Evicted => "evicted",
            Departure::Deleted => "deleted",
        })
    }
}

/// A segment and a VAS that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlace {
    /// The segment.
    pub segment: Name,
    /// A VAS it is in; the active one if it is in that.
    pub vas: Name,
}

/// Why an access failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultReason {
    /// No segment that this process is attached to has the address.
    NoSegment,
    /// A segment has it, but in a VAS that is not the active one.
    OtherVas,
    /// A store to memory that is read-only here.
    ReadOnly,
    /// There is no such attachment, or it ended long ago.
    NoAttachment,
    /// The attachment is no longer there: it was detached, or its VAS was cleared or deleted.
    AttachmentEnded(Departure),
    /// The segment that had the address is in the VAS no longer.
    SegmentLeft(Departure),
    /// The access should have succeeded: it was changed meanwhile, or it is a defect.
    Unexplained,
}

impl fmt::Display for FaultReason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            FaultReason::AttachmentEnded(Departure::Detached) => "the attachment was detached",
            FaultReason::AttachmentEnded(Departure::Evicted) => "it was evicted from the VAS",
            FaultReason::AttachmentEnded(Departure::Deleted) => "the VAS was deleted",
            FaultReason::SegmentLeft(departure) => {
                return write!(out, "the segment was {departure}");
            }
            FaultReason::NoSegment => "no segment here",
            FaultReason::OtherVas => "the segment is in another VAS",
            FaultReason::ReadOnly => "read-only",
            FaultReason::NoAttachment => "no such attachment",
            FaultReason::Unexplained => "unexplained",
        })
    }
}
