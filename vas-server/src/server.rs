// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages in, answers out.
//!
//! Every request is checked in this order, and the first thing that is wrong is the answer:
//! the label and who may ask it; the body; the handles, in order of position; what the
//! handles' rights allow; the arguments; names and places that are taken; limits, and who is
//! admitted; and last whether memory, slots and identifiers suffice. Handles beyond those that
//! the operation takes are ignored. A refused request has changed nothing: what was done for
//! it is undone.
//! Where a segment grows, whether anything is in the way comes after whether resources suffice.
//!
//! What takes long is done in steps (`steps`): [`Error::Again`] means that the same request goes
//! on with it.
//!
//! # Heap
//! Clients cannot make the server take more heap than
//! [`server_heap_bytes`](limits::server_heap_bytes) of the slots that it was given: whatever is
//! remembered either counts towards one of the [limits] or stands for a slot in use.

mod clock;
mod fault;
mod growth;
mod handle;
mod lifetime;
mod lock;
mod object;
mod segment;
mod session;
mod steps;
mod vas;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::fmt;
use core::ops::{Range, RangeInclusive};

use protocol::message::{
    Departure, Explain, HandleStat, Operation, Quota, QuotaStat, Request, Restrict, SegAlloc,
    SegAt, SegAttach, SegAttachLocal, SegCopy, SegCtl, SegDetach, SegDetachLocal, SegFind, SegFree,
    SegGrow, SegList, SegStat, ServerStat, SessionCreate, SessionEnd, Statistics, VasAttach,
    VasAttachments, VasClone, VasCreate, VasCtl, VasDelete, VasDetach, VasFind, VasList, VasLock,
    VasRoot, VasSetConsistent, VasSetRoot, VasStat, VasUnlock,
};
use protocol::wire::{self, Words};
use protocol::{Access, AttachmentId, Badge, Error, Handle, Kind, Limit, Name, Rights, limits};

use crate::arena::{Arena, Key};
use crate::kernel::{Kernel, Slot, TABLE_BITS, Timer};
use crate::policy::Policies;
use crate::policy::page_tables::tree::Tree;
use crate::policy::page_tables::{Mapping, PageTables};
use crate::resources::{Frames, OwnPage, Payer, Resources};
use crate::slots::SlotRange;
use clock::Clock;
use growth::Growing;
use lock::{VasLocks, Waiting};
use object::Object;
use steps::{Ending, Retry, Turn, Work};

/// ASID pools that the server makes: seL4 5.0.0 has 8 on x86_64, of which one is init's.
pub const ASID_POOLS: u32 = 7;

/// What init gives to the server.
#[derive(Clone, Debug)]
pub struct Configuration<'a> {
    /// Empty slots that nobody else uses.
    pub slots: Range<u32>,
    /// The server's endpoint, unbadged.
    pub endpoint: Slot,
    /// The server's own root.
    pub vspace: Slot,
    /// The cap that makes ASID pools.
    pub asid_control: Slot,
    /// How many pools to make; [`ASID_POOLS`] are all.
    pub asid_pools: u32,
    /// What wakes the server; see [`Server::tick`].
    pub timer: Timer,
    /// What is promised to users; all is set aside.
    pub quotas: &'a [Quota],
    /// Untyped caps, unused, and the binary logarithms of their sizes in bytes.
    pub untypeds: &'a [(Slot, u8)],
}

/// Why the server cannot start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There are not enough slots to divide the memory.
    Slots(Error),
    /// The pools of address-space identifiers could not be made.
    AsidPools(Error),
    /// There is not enough for what is promised to users.
    Quota {
        /// The first user for whom there is not.
        user: u32,
        /// What is missing.
        error: Error,
    },
    /// The tables of the window through which memory is copied could not be made.
    Window(Error),
    /// What is needed to share locks with clients could not be made.
    Locks(Error),
    /// The policy enters tables in several roots, and the kernel cannot.
    TablesNotShared,
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Slots(error) => write!(out, "the memory cannot be divided: {error}"),
            StartError::AsidPools(error) => {
                write!(out, "no pool of address-space identifiers: {error}")
            }
            StartError::Window(error) => write!(out, "no window to copy memory through: {error}"),
            StartError::Locks(error) => write!(out, "no room for locks: {error}"),
            StartError::Quota { user, error } => {
                write!(out, "the quota of user {user} cannot be kept: {error}")
            }
            StartError::TablesNotShared => out.write_str(
                "the page_tables policy shares page tables, and only the extended kernel can",
            ),
        }
    }
}

impl core::error::Error for StartError {}

/// An answer to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 0, or the number of the error.
    pub label: u64,
    /// Words of the body.
    pub length: usize,
    /// The cap to transfer. It stays in the server's slot.
    pub cap: Option<Slot>,
}

struct Session {
    principal: protocol::message::Principal,
    /// The account of its user.
    payer: Payer,
    cap: SlotRange,
    /// Where init puts the caps of private memory.
    private_slots: SlotRange,
    /// Where private memory lies; the frames only if the policy asks for them.
    private: Vec<Mapping>,
    /// Its attachments that have ended.
    ended: Departed<EndedAttachment>,
    /// What it has begun and goes on with.
    work: Option<Work>,
    retry: Option<Retry>,
}

struct Vas<K> {
    object: Object,
    /// By key, with the access that the VAS has them with.
    segments: Vec<(Key, Access)>,
    /// Attachments to it, those that are being made too.
    attachments: u32,
    /// Whether anybody was attached since nobody was.
    attached: bool,
    tables: Box<dyn PageTables<K>>,
    /// Kept for those who ask; there are no tags yet.
    tlb_tag: bool,
    /// Named addresses.
    roots: Vec<(Name, u64)>,
    /// Segments that were in it.
    left: Departed<LeftSegment>,
    locks: VasLocks,
}

struct Segment {
    object: Object,
    /// One behind the other, all with pages of the same size.
    pieces: Vec<Piece>,
    /// Whether it takes the root-table slots that it lies in for itself.
    own_slots: bool,
    /// Its tables, if it has them for itself.
    tables: Option<Tree>,
    /// The page of its lock, if it is lockable.
    lock: Option<OwnPage>,
    /// VASes and single attachments that it is in, or comes to.
    vases: u32,
    /// Whether it was in any completely since it was in none.
    attached: bool,
    /// What it is to have more.
    growing: Option<Growing>,
}

/// What a segment was made with, or grown by.
struct Piece {
    /// Where it lies, with full access.
    mapping: Mapping,
    frames: Frames,
}

struct Attachment {
    session: Key,
    /// Whose attachments it counts among.
    payer: Payer,
    vas: Key,
    access: Access,
    /// None as long as it is being made.
    roots: Option<Roots>,
    /// Segments of this attachment alone, by key, with the access that it has them with.
    segments: Vec<(Key, Access)>,
    /// Segments that it had.
    left: Departed<LeftSegment>,
    /// If it waits for locks.
    waiting: Option<Waiting>,
    /// Whether its root was handed out with enforced locks, and not taken back.
    admitted: bool,
}

struct Roots {
    /// The root cap that clients get copies of: with it they can switch, but map nothing. Empty
    /// while locks are enforced and not held.
    shown: SlotRange,
    /// The root cap that it is a copy of.
    original: Slot,
}

/// The last that have gone, to explain faults.
type Departed<T> = heapless::HistoryBuf<T, { limits::DEPARTED }>;

struct EndedAttachment {
    key: Key,
    vas: Name,
    departure: Departure,
}

struct LeftSegment {
    name: Name,
    /// The first and the last address.
    addresses: RangeInclusive<u64>,
    departure: Departure,
}

/// The reply, and the cap that goes with it.
type Granted<T> = Result<(T, Option<Slot>), Error>;

/// The server.
pub struct Server<K: 'static> {
    resources: Resources<K>,
    policies: Policies<K>,
    sessions: Arena<Session>,
    vases: Arena<Vas<K>>,
    segments: Arena<Segment>,
    attachments: Arena<Attachment>,
    vas_names: BTreeMap<Name, Key>,
    segment_names: BTreeMap<Name, Key>,
    /// What the session that asks has begun.
    work: Option<Work>,
    endings: VecDeque<Ending>,
    /// How many endings are over.
    ended: u64,
    /// What init waits for.
    retry: Option<Retry>,
    /// A page of which nobody cares what is in it (see [`VasLocks`]).
    spare_page: Frames,
    /// How many attachments wait for locks.
    waiting: u32,
    next_ticket: u64,
    clock: Clock,
    /// Whether the request that is handled is answered later.
    answers_later: bool,
}

impl<K: Kernel> Server<K> {
    /// Takes over what init gives.
    ///
    /// # Errors
    /// If it does not suffice to start.
    pub fn start(
        mut kernel: K,
        policies: Policies<K>,
        configuration: &Configuration<'_>,
    ) -> Result<Self, StartError> {
        if policies.page_tables.answer.shares_tables && !kernel.shares_tables() {
            return Err(StartError::TablesNotShared);
        }
        let mut resources = Resources::new(
            kernel,
            configuration.slots.clone(),
            configuration.endpoint,
            configuration.vspace,
            configuration.untypeds,
            policies.admission.answer,
        )
        .map_err(StartError::Slots)?;
        resources
            .make_asid_pools(configuration.asid_control, configuration.asid_pools)
            .map_err(StartError::AsidPools)?;
        resources.open_window().map_err(StartError::Window)?;
        resources.open_locks().map_err(StartError::Locks)?;
        let spare_page = resources.make_page().map_err(StartError::Locks)?;
        for quota in configuration.quotas {
            let user = quota.user;
            resources
                .promise(quota)
                .map_err(|error| StartError::Quota { user, error })?;
        }
        Ok(Server {
            resources,
            policies,
            sessions: Arena::new(limits::SESSIONS as u16),
            vases: Arena::new(limits::VASES as u16),
            segments: Arena::new(limits::SEGMENTS as u16),
            attachments: Arena::new(limits::ATTACHMENTS as u16),
            vas_names: BTreeMap::new(),
            segment_names: BTreeMap::new(),
            work: None,
            endings: VecDeque::new(),
            ended: 0,
            retry: None,
            spare_page,
            waiting: 0,
            next_ticket: 0,
            clock: Clock::new(configuration.timer),
            answers_later: false,
        })
    }

    /// The kernel.
    pub const fn kernel(&self) -> &K {
        self.resources.kernel()
    }

    /// The kernel.
    pub const fn kernel_mut(&mut self) -> &mut K {
        self.resources.kernel_mut()
    }

    /// Answers a message; `None` if it is answered later, through the kernel.
    ///
    /// `badge` is that of the cap it was sent through, `words` its body, and `handles` has
    /// for every further cap of the message its badge if the kernel unwrapped it, that is,
    /// if it is a cap to the server's endpoint. The body of the answer is written to
    /// `reply`.
    pub fn handle(
        &mut self,
        badge: Badge,
        label: u64,
        words: &[u64],
        handles: &[Option<Badge>],
        reply: &mut Words,
    ) -> Option<Answer> {
        let (ending, pending) = (!self.endings.is_empty(), self.resources.pending() > 0);
        let session = self.session_of(badge).ok();
        let turn = self.turn(session, label);
        self.resources.begin_request();
        let answer = match turn {
            Turn::Wait => Err(Error::Again),
            Turn::First | Turn::Last => self.answer(badge, label, words, handles, reply),
        };
        let answer = answer.map_err(|error| {
            if turn == Turn::First && Self::may_pass(&error, ending, pending) {
                self.retry_later(session, label);
                return Error::Again;
            }
            if turn == Turn::Last && error == Error::Again {
                self.retry_goes_on(session, label);
            }
            error
        });
        self.tidy_up();
        let answer = match answer {
            Ok((length, cap)) => Answer {
                label: 0,
                length,
                cap,
            },
            Err(error) => Answer {
                label: error.number(),
                length: wire::encode(&error, reply).unwrap_or(0),
                cap: None,
            },
        };
        (!core::mem::take(&mut self.answers_later)).then_some(answer)
    }

    fn answer(
        &mut self,
        badge: Badge,
        label: u64,
        words: &[u64],
        handles: &[Option<Badge>],
        reply: &mut Words,
    ) -> Result<(usize, Option<Slot>), Error> {
        let operation = Operation::from_label(label).ok_or(Error::UnknownOperation)?;
        let asker = match operation {
            Operation::SessionCreate | Operation::SessionEnd | Operation::Explain => {
                if badge != Badge::CONTROL {
                    return Err(Error::UnknownOperation);
                }
                None
            }
            _ => Some(self.session_of(badge)?),
        };
        let mut message = Message {
            words,
            handles,
            reply,
        };
        let Some(session) = asker else {
            return match operation {
                Operation::SessionCreate => {
                    message.answer(|request: SessionCreate, _| self.session_create(request))
                }
                Operation::SessionEnd => {
                    message.answer(|request: SessionEnd, _| self.session_end(request))
                }
                _ => message.answer(|request: Explain, _| self.explain(request)),
            };
        };
        self.resources.pay_as(self.session(session)?.payer);
        if let Operation::VasLock | Operation::VasUnlock = operation {
            // Other threads of the process go on with what they have begun.
            return self.answer_session(session, operation, message);
        }
        self.in_steps(session, |server| {
            server.answer_session(session, operation, message)
        })
    }

    fn answer_session(
        &mut self,
        session: Key,
        operation: Operation,
        mut message: Message<'_>,
    ) -> Result<(usize, Option<Slot>), Error> {
        match operation {
            Operation::VasCreate => {
                message.answer(|request: VasCreate, _| self.vas_create(session, request))
            }
            Operation::VasFind => {
                message.answer(|request: VasFind, _| self.vas_find(session, &request))
            }
            Operation::VasAttach => message
                .answer(|request: VasAttach, handles| self.vas_attach(session, request, handles)),
            Operation::VasDetach => {
                message.answer(|request: VasDetach, _| self.vas_detach(session, request))
            }
            Operation::VasDelete => {
                message.answer(|_: VasDelete, handles| self.vas_delete(handles))
            }
            Operation::VasList => {
                message.answer(|request: VasList, _| self.vas_list(session, request))
            }
            Operation::VasStat => message.answer(|_: VasStat, handles| self.vas_stat(handles)),
            Operation::VasCtl => {
                message.answer(|request: VasCtl, handles| self.vas_ctl(request, handles))
            }
            Operation::VasClone => message
                .answer(|request: VasClone, handles| self.vas_clone(session, request, handles)),
            Operation::VasSetRoot => {
                message.answer(|request: VasSetRoot, handles| self.vas_set_root(request, handles))
            }
            Operation::VasRoot => {
                message.answer(|request: VasRoot, handles| self.vas_root(&request, handles))
            }
            Operation::VasAttachments => message
                .answer(|request: VasAttachments, handles| self.vas_attachments(&request, handles)),
            Operation::VasLock => {
                message.answer(|request: VasLock, _| self.vas_lock(session, request))
            }
            Operation::VasUnlock => {
                message.answer(|request: VasUnlock, _| self.vas_unlock(session, request))
            }
            Operation::VasSetConsistent => message
                .answer(|request: VasSetConsistent, _| self.vas_set_consistent(session, request)),
            Operation::SegAlloc => {
                message.answer(|request: SegAlloc, _| self.seg_alloc(session, request))
            }
            Operation::SegFind => {
                message.answer(|request: SegFind, _| self.seg_find(session, &request))
            }
            Operation::SegAt => message.answer(|request: SegAt, _| self.seg_at(session, request)),
            Operation::SegAttach => {
                message.answer(|request: SegAttach, handles| self.seg_attach(request, handles))
            }
            Operation::SegDetach => {
                message.answer(|_: SegDetach, handles| self.seg_detach(handles))
            }
            Operation::SegAttachLocal => message.answer(|request: SegAttachLocal, handles| {
                self.seg_attach_local(session, request, handles)
            }),
            Operation::SegDetachLocal => message.answer(|request: SegDetachLocal, handles| {
                self.seg_detach_local(session, request, handles)
            }),
            Operation::SegFree => message.answer(|_: SegFree, handles| self.seg_free(handles)),
            Operation::SegList => {
                message.answer(|request: SegList, _| self.seg_list(session, request))
            }
            Operation::SegStat => message.answer(|_: SegStat, handles| self.seg_stat(handles)),
            Operation::SegCtl => {
                message.answer(|request: SegCtl, handles| self.seg_ctl(request, handles))
            }
            Operation::SegCopy => {
                message.answer(|request: SegCopy, handles| self.seg_copy(&request, handles))
            }
            Operation::SegGrow => {
                message.answer(|request: SegGrow, handles| self.seg_grow(&request, handles))
            }
            Operation::Restrict => {
                message.answer(|request: Restrict, handles| self.restrict(&request, handles))
            }
            Operation::HandleStat => {
                message.answer(|_: HandleStat, handles| self.handle_stat(handles))
            }
            Operation::QuotaStat => message.answer(|_: QuotaStat, _| {
                Ok((self.resources.account(self.resources.payer())?, None))
            }),
            Operation::ServerStat => {
                message.answer(|_: ServerStat, _| Ok((self.statistics(), None)))
            }
            Operation::SessionCreate | Operation::SessionEnd | Operation::Explain => {
                Err(Error::UnknownOperation)
            }
        }
    }

    /// What the server has, how much of it is free, and the policies in force.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            memory_total: self.resources.memory_total(),
            memory_free: self.resources.memory_free(),
            slots_total: self.resources.slots_total().into(),
            slots_free: self.resources.slots_free().into(),
            asids_total: self.resources.asids_total(),
            asids_free: self.resources.asids_free(),
            tables: self.resources.tables(),
            pending: (self.resources.pending() + self.endings.len()) as u32,
            sessions: self.sessions.len() as u32,
            vases: self.vases.len() as u32,
            segments: self.segments.len() as u32,
            attachments: self.attachments.len() as u32,
            page_tables: self.policies.page_tables.name.clone(),
            page_size: self.policies.page_size.name.clone(),
            placement: self.policies.placement.name.clone(),
            locks: self.policies.locks.name.clone(),
            tlb_tags: self.policies.tlb_tags.name.clone(),
            admission: self.policies.admission.name.clone(),
            lifetime: self.policies.lifetime.name.clone(),
        }
    }

    /// A handle whose session has ended may ask for nothing.
    fn session_of(&self, badge: Badge) -> Result<Key, Error> {
        let handle = badge.handle();
        let key = key_of(handle);
        let known = handle.kind == Kind::Session && self.sessions.get(key).is_some();
        known.then_some(key).ok_or(Error::UnknownOperation)
    }
}

/// A request, and where its reply goes.
struct Message<'a> {
    words: &'a [u64],
    handles: &'a [Option<Badge>],
    reply: &'a mut Words,
}

impl Message<'_> {
    fn answer<R: Request>(
        &mut self,
        operation: impl FnOnce(R, Handles<'_>) -> Granted<R::Reply>,
    ) -> Result<(usize, Option<Slot>), Error> {
        let request = wire::decode(self.words)?;
        let (value, cap) = operation(request, Handles(self.handles))?;
        Ok((wire::encode(&value, self.reply)?, cap))
    }
}

/// The handles of a message.
#[derive(Clone, Copy)]
struct Handles<'a>(&'a [Option<Badge>]);

impl Handles<'_> {
    /// The object and the rights of the handle in this position, if it is of this kind and
    /// the object exists.
    fn get<T>(
        self,
        position: u8,
        expected: Kind,
        arena: &Arena<T>,
    ) -> Result<(Key, Rights), Error> {
        let stale = Error::StaleHandle { position };
        let handle = self.any(position)?;
        if handle.kind != expected {
            return Err(Error::WrongKind {
                position,
                expected,
                found: handle.kind,
            });
        }
        let key = key_of(handle);
        arena.get(key).ok_or(stale)?;
        Ok((key, handle.rights))
    }

    /// What the badge in this position says.
    fn any(self, position: u8) -> Result<Handle, Error> {
        let badge = self.0.get(usize::from(position)).copied().flatten();
        let stale = Error::StaleHandle { position };
        badge.map(Badge::handle).ok_or(stale)
    }
}

const fn key_of(handle: Handle) -> Key {
    Key {
        index: handle.index,
        generation: handle.generation,
    }
}

const fn badge_of(kind: Kind, rights: Rights, key: Key, number: u8) -> Badge {
    Handle {
        kind,
        rights,
        index: key.index,
        number,
        generation: key.generation,
    }
    .badge()
}

fn require(rights: Rights, needs: Rights) -> Result<(), Error> {
    if rights.contains(needs) {
        Ok(())
    } else {
        Err(Error::PermissionDenied { needs })
    }
}

/// The memory of so many page tables.
fn table_bytes(tables: u32) -> u64 {
    u64::from(tables) << TABLE_BITS
}

/// How a session names an attachment; 0 is none.
fn attachment_id(key: Key) -> AttachmentId {
    AttachmentId(u64::from(key.number()) + 1)
}

/// The attachment of this name.
fn attachment_key(AttachmentId(id): AttachmentId) -> Option<Key> {
    Key::from_number(id.checked_sub(1)?)
}

/// The key that a new object will get.
fn next_key<T>(arena: &Arena<T>, limit: Limit) -> Result<Key, Error> {
    arena.next_key().ok_or(Error::LimitReached(limit))
}
