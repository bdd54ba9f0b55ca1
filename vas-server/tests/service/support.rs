// SPDX-License-Identifier: MIT OR Apache-2.0

//! A machine with a server, and processes that talk to it.

use protocol::address_map::{GLOBAL, IMAGE_BASE, PAGE_BYTES, STACK_TOP};
use protocol::limits::{RECLAIM_UNITS, STEP_UNITS};
use protocol::message::{
    AttachmentEntry, Base, Command, Described, Explain, Granted, HandleStat, Lifetime, Locked,
    Principal, PrivateExtent, PrivateForm, Quota, QuotaStat, QuotaStatistics, Request, Restrict,
    Root, SegAlloc, SegAt, SegAttach, SegCopy, SegCtl, SegDetach, SegEntry, SegFind, SegFree,
    SegGranted, SegGrow, SegList, SegStat, SegStatistics, ServerStat, SessionCreate,
    SessionCreated, SessionEnd, SessionId, Statistics, VasAttach, VasAttachments, VasClone,
    VasCommand, VasCreate, VasCtl, VasDelete, VasDetach, VasEntry, VasFind, VasList, VasLock,
    VasRoot, VasSetRoot, VasStat, VasStatistics, VasUnlock, Wait,
};
use protocol::wire::{self, WORDS};
use protocol::{Access, AttachmentId, Badge, Error, Kind, Mode, Name, PageSize, Rights, limits};
use vas_server::fake::{Fake, Held};
use vas_server::kernel::TIMER_HERTZ;
use vas_server::untyped::slots_to_divide;
use vas_server::{Answers, Configuration, Policies, Server, Slot, StartError};

pub const KIB: u64 = 1 << 10;
pub const MIB: u64 = 1 << 20;
pub const GIB: u64 = 1 << 30;
/// The first address of a segment.
pub const BASE: u64 = GLOBAL.start;
pub const SMALL: Option<PageSize> = Some(PageSize::Small);
pub const LARGE: Option<PageSize> = Some(PageSize::Large);
pub const HUGE: Option<PageSize> = Some(PageSize::Huge);
/// Everything for everyone.
pub const OPEN: Mode = Mode(0o666);
/// Everything for the owner only.
pub const CLOSED: Mode = Mode(0o600);

pub const READ_ONLY: Access = Access::ReadOnly;
pub const READ_WRITE: Access = Access::ReadWrite;

/// Steps of one request, at most.
const MOST_STEPS: u32 = 10_000;
/// What one request makes the kernel do at most, but for pages of 1 GiB; see [`Fake::work`].
const MOST_WORK: u64 = (STEP_UNITS + RECLAIM_UNITS) as u64;

/// The root, with its identifier, that a VAS has itself where tables are shared.
pub const MASTER: u32 = crate::EXTENDED as u32;

/// The kernel of this suite: it is compiled for either.
pub fn fake(slots: u32, untyped_bits: &[u8]) -> Fake {
    let fake = Fake::new(slots, untyped_bits);
    if crate::EXTENDED {
        fake.extended()
    } else {
        fake
    }
}

/// The private memory of the processes here.
pub fn private() -> Vec<PrivateExtent> {
    vec![
        PrivateExtent {
            base: IMAGE_BASE,
            pages: 2,
            access: READ_ONLY,
        },
        PrivateExtent {
            base: STACK_TOP - 3 * PAGE_BYTES,
            pages: 3,
            access: READ_WRITE,
        },
    ]
}

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub fn principal(user: u32, groups: &[u32]) -> Principal {
    Principal {
        user,
        groups: groups.iter().copied().collect(),
    }
}

/// A process that has a session.
#[derive(Clone)]
pub struct Process {
    pub session: SessionId,
    pub cap: Held,
    /// Its private frames, and its tables if the server takes those; init holds the caps.
    pub memory: Vec<Held>,
}

/// An attachment as its process knows it.
#[derive(Clone, Copy, Debug)]
pub struct Attached {
    pub id: AttachmentId,
    /// Not to be used while locks are enforced and not held.
    pub root: Held,
}

pub struct World {
    pub server: Server<Fake>,
    /// Every cap that was ever handed out.
    handed_out: Vec<Held>,
    control: Badge,
    /// What one request makes the kernel do at most.
    most_work: u64,
}

/// What a request is answered, with the cap that came with it.
pub type Answered<T> = Result<(T, Option<Held>), Error>;

/// All that anybody can see.
#[derive(Debug, PartialEq)]
pub struct Picture {
    statistics: Statistics,
    vases: Vec<VasEntry>,
    segments: Vec<SegEntry>,
    vas_statistics: Vec<Result<VasStatistics, Error>>,
    segment_statistics: Vec<Result<SegStatistics, Error>>,
    caps: Vec<bool>,
    pages: Vec<Vec<(u64, u64, PageSize, Access)>>,
    caps_of_objects: usize,
}

impl World {
    /// A machine with plenty of everything.
    pub fn new() -> Self {
        Self::with(20_000, &[33, 22, 16])
    }

    /// A machine with so many slots, and untyped memory of these sizes.
    pub fn with(slots: u32, untyped_bits: &[u8]) -> Self {
        Self::start(slots, untyped_bits, "small", 1)
    }

    pub fn start(slots: u32, untyped_bits: &[u8], page_size: &str, asid_pools: u32) -> Self {
        let chosen = [("page_size", page_size)];
        Self::try_start(slots, untyped_bits, &chosen, asid_pools, &[]).unwrap()
    }

    /// A machine with plenty of everything, on which these policies are chosen.
    pub fn choosing(chosen: &[(&str, &str)]) -> Self {
        Self::try_start(20_000, &[33, 22, 16], chosen, 1, &[]).unwrap()
    }

    /// A machine on which so much is promised to users.
    pub fn promising(untyped_bits: &[u8], quotas: &[Quota]) -> Result<Self, StartError> {
        Self::promising_and_choosing(untyped_bits, quotas, &[])
    }

    /// The same with these policies.
    pub fn promising_and_choosing(
        untyped_bits: &[u8],
        quotas: &[Quota],
        chosen: &[(&str, &str)],
    ) -> Result<Self, StartError> {
        Self::try_start(20_000, untyped_bits, chosen, 2, quotas)
    }

    fn try_start(
        slots: u32,
        untyped_bits: &[u8],
        chosen: &[(&str, &str)],
        asid_pools: u32,
        quotas: &[Quota],
    ) -> Result<Self, StartError> {
        // What the server makes for itself comes on top: the tables of the window and of locks,
        // the spare page, and what divides the memory.
        let own = [12; 2 + 5 + 1];
        let divide = slots_to_divide(untyped_bits.iter().copied());
        let slots = slots + own.len() as u32 + divide;
        let mut fake = fake(slots, &[untyped_bits, &own].concat());
        let policies = Answers::new(&mut fake).choose(chosen).unwrap();
        Self::of(fake, policies, asid_pools, quotas)
    }

    /// A machine with this kernel and these policies.
    pub fn of(
        fake: Fake,
        policies: Policies<Fake>,
        asid_pools: u32,
        quotas: &[Quota],
    ) -> Result<Self, StartError> {
        let untypeds = fake.untypeds().to_vec();
        let configuration = Configuration {
            slots: fake.free_slots(),
            endpoint: Fake::ENDPOINT,
            vspace: Fake::VSPACE,
            asid_control: Fake::ASID_CONTROL,
            asid_pools,
            timer: Fake::TIMER,
            quotas,
            untypeds: &untypeds,
        };
        Ok(World {
            server: Server::start(fake, policies, &configuration)?,
            handed_out: Vec::new(),
            control: Badge::CONTROL,
            most_work: MOST_WORK,
        })
    }

    pub fn fake(&mut self) -> &mut Fake {
        self.server.kernel_mut()
    }

    /// Sends a request as often as it takes, and reads the answer.
    pub fn send<R: Request>(
        &mut self,
        badge: Badge,
        request: &R,
        caps: &[Option<Badge>],
    ) -> Result<(R::Reply, Option<Held>), Error> {
        for _ in 0..MOST_STEPS {
            match self.send_once(badge, request, caps) {
                Err(Error::Again) => {}
                answer => return answer,
            }
        }
        panic!("no end after {MOST_STEPS} steps");
    }

    /// Sends a request, checks what must hold after every step, and reads the answer.
    pub fn send_once<R: Request>(
        &mut self,
        badge: Badge,
        request: &R,
        caps: &[Option<Badge>],
    ) -> Result<(R::Reply, Option<Held>), Error> {
        let before = self.fake().work();
        let answer = self.ask(badge, request, caps);
        let work = self.fake().work() - before;
        assert!(work <= self.most_work, "{:?}: {work} units", R::OPERATION);
        self.fake().check();
        answer
    }

    fn ask<R: Request>(
        &mut self,
        badge: Badge,
        request: &R,
        caps: &[Option<Badge>],
    ) -> Result<(R::Reply, Option<Held>), Error> {
        let answer = self.ask_patiently(badge, request, caps);
        answer.expect("answered at once")
    }

    /// `None` if the answer comes later.
    fn ask_patiently<R: Request>(
        &mut self,
        badge: Badge,
        request: &R,
        caps: &[Option<Badge>],
    ) -> Option<Answered<R::Reply>> {
        let mut words = [0; WORDS];
        let length = wire::encode(request, &mut words).unwrap();
        let mut reply = [0; WORDS];
        let label = R::OPERATION as u64;
        let answer = self
            .server
            .handle(badge, label, &words[..length], caps, &mut reply)?;
        let body = &reply[..answer.length];
        let cap = answer.cap.map(|slot| self.fake().transfer(slot).unwrap());
        Some(self.read::<R>(answer.label, body, cap))
    }

    fn read<R: Request>(
        &mut self,
        label: u64,
        body: &[u64],
        cap: Option<Held>,
    ) -> Result<(R::Reply, Option<Held>), Error> {
        if label != 0 {
            let error: Error = wire::decode(body).unwrap();
            assert_eq!(error.number(), label);
            assert_eq!(cap, None);
            return Err(error);
        }
        self.handed_out.extend(cap);
        Ok((wire::decode(body).unwrap(), cap))
    }

    /// How many caps were handed out.
    pub fn handed_out(&self) -> usize {
        self.handed_out.len()
    }

    /// What was handed out from then on never arrived.
    pub fn lose(&mut self, first: usize) {
        for cap in self.handed_out.split_off(first) {
            self.fake().drop_cap(cap);
        }
    }

    /// A process asks for the locks of an attachment. `Err` with a number: it waits, and the
    /// answer comes [later](Self::locked_later).
    pub fn lock(
        &mut self,
        process: &Process,
        attached: Attached,
        wait: Wait,
    ) -> Result<Answered<Locked>, u32> {
        let badge = self.fake().badge(process.cap).unwrap();
        let attachment = attached.id;
        let request = VasLock { attachment, wait };
        let answer = self.ask_patiently(badge, &request, &[]);
        self.fake().check();
        answer.ok_or(self.fake().saved())
    }

    /// The later answer, if it was given.
    pub fn locked_later(&mut self, number: u32) -> Option<Answered<Locked>> {
        let reply = self.fake().later_reply(number)?.clone();
        Some(self.read::<VasLock>(reply.label, &reply.words, reply.cap))
    }

    /// So much time passes, and the server is woken whenever it wants to be. The time is cut to
    /// whole ticks.
    pub fn pass(&mut self, microseconds: u64) {
        let mut left = microseconds * TIMER_HERTZ / 1_000_000;
        while left > 0 {
            let wakes_in = self.fake().wakes_in().map_or(left, u64::from);
            let step = left.min(wakes_in);
            left -= step;
            if self.fake().pass(step) {
                self.wake();
            }
        }
    }

    /// The server is woken.
    pub fn wake(&mut self) {
        let before = self.fake().work();
        self.server.tick();
        let work = self.fake().work() - before;
        assert!(work <= self.most_work, "{work} units");
        self.fake().check();
    }

    /// A process gives back the locks of an attachment.
    pub fn unlock(&mut self, process: &Process, attached: Attached) -> Result<(), Error> {
        let attachment = attached.id;
        self.call(process, &VasUnlock { attachment }, &[])
            .map(|_| ())
    }

    /// A process sends a request with some caps.
    pub fn call<R: Request>(
        &mut self,
        process: &Process,
        request: &R,
        caps: &[Held],
    ) -> Result<(R::Reply, Option<Held>), Error> {
        let badge = self.fake().badge(process.cap).expect("the session is over");
        let badges: Vec<_> = caps.iter().map(|&cap| self.fake().badge(cap)).collect();
        self.send(badge, request, &badges)
    }

    /// Init sends a request.
    pub fn control<R: Request>(&mut self, request: &R) -> Result<(R::Reply, Option<Held>), Error> {
        self.send(self.control, request, &[])
    }

    /// What the server says it has, once all is free that was deleted.
    pub fn statistics(&mut self) -> Statistics {
        self.settle();
        self.server.statistics()
    }

    /// Sends requests that ask for nothing until all is free that was deleted.
    pub fn settle(&mut self) {
        let nothing = Explain {
            session: SessionId(u32::MAX),
            active: None,
            address: 0,
            write: false,
        };
        for _ in 0..MOST_STEPS {
            if self.server.statistics().pending == 0 {
                return;
            }
            let answer = self.send_once(self.control, &nothing, &[]);
            assert_eq!(answer, Err(Error::NotFound));
        }
        panic!("still not free after {MOST_STEPS} requests");
    }

    // Processes.

    /// A process with private memory.
    pub fn process(&mut self, user: u32, groups: &[u32]) -> Process {
        self.try_process(user, groups, &private()).unwrap()
    }

    /// A process without private memory.
    pub fn bare_process(&mut self, user: u32) -> Process {
        self.try_process(user, &[], &[]).unwrap()
    }

    pub fn try_process(
        &mut self,
        user: u32,
        groups: &[u32],
        extents: &[PrivateExtent],
    ) -> Result<Process, Error> {
        let request = SessionCreate {
            principal: principal(user, groups),
            private: extents.iter().copied().collect(),
        };
        let (reply, cap) = self.control(&request)?;
        let SessionCreated {
            session,
            private,
            first_slot,
        } = reply;
        let pages: Vec<(u64, Access)> = extents
            .iter()
            .flat_map(|extent| {
                let pages = u64::from(extent.pages);
                (0..pages).map(|page| (extent.base + page * PAGE_BYTES, extent.access))
            })
            .collect();
        let first_slot = first_slot as u32;
        let memory = match private {
            PrivateForm::Frames => (first_slot..)
                .take(pages.len())
                .map(|slot| {
                    let frame = self.fake().private_frame();
                    self.fake().deliver(frame, Slot(slot)).unwrap();
                    frame
                })
                .collect(),
            PrivateForm::Table if pages.is_empty() => Vec::new(),
            PrivateForm::Table => {
                let (root, pdpt, mut memory) = self.fake().private_table(&pages);
                self.fake().deliver(pdpt, Slot(first_slot)).unwrap();
                memory.extend([pdpt, root]);
                memory
            }
        };
        Ok(Process {
            session,
            cap: cap.unwrap(),
            memory,
        })
    }

    /// The process ends.
    pub fn end(&mut self, process: &Process) {
        let session = process.session;
        self.control(&SessionEnd { session }).unwrap();
    }

    /// What the process's user may have, and has, once all is free that was deleted.
    pub fn quota(&mut self, process: &Process) -> QuotaStatistics {
        self.settle();
        self.call(process, &QuotaStat, &[]).unwrap().0
    }

    // VASes.

    pub fn try_vas(&mut self, process: &Process, text: &str, mode: Mode) -> Result<Held, Error> {
        let name = name(text);
        self.call(process, &VasCreate { name, mode }, &[])
            .map(|(_, cap)| cap.unwrap())
    }

    pub fn vas(&mut self, process: &Process, text: &str) -> Held {
        self.try_vas(process, text, OPEN).unwrap()
    }

    pub fn find_vas(&mut self, process: &Process, text: &str) -> Result<(Granted, Held), Error> {
        let name = name(text);
        self.call(process, &VasFind { name }, &[])
            .map(|(granted, cap)| (granted, cap.unwrap()))
    }

    pub fn attach(
        &mut self,
        process: &Process,
        vas: Held,
        access: Access,
    ) -> Result<Attached, Error> {
        self.call(process, &VasAttach { access }, &[vas])
            .map(|(reply, root)| Attached {
                id: reply.attachment,
                root: root.unwrap_or(Held::NONE),
            })
    }

    pub fn detach(&mut self, process: &Process, attached: Attached) -> Result<(), Error> {
        let attachment = attached.id;
        self.call(process, &VasDetach { attachment }, &[])
            .map(|_| ())
    }

    pub fn delete_vas(&mut self, process: &Process, vas: Held) -> Result<(), Error> {
        self.call(process, &VasDelete, &[vas]).map(|_| ())
    }

    pub fn list_vases(&mut self, process: &Process) -> Vec<VasEntry> {
        let mut all: Vec<VasEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.name.clone());
            let (page, _) = self.call(process, &VasList { after }, &[]).unwrap();
            let last = page.entries.len() < protocol::limits::LIST_PAGE;
            all.extend(page.entries);
            if last {
                return all;
            }
        }
    }

    pub fn stat_vas(&mut self, process: &Process, vas: Held) -> Result<VasStatistics, Error> {
        self.call(process, &VasStat, &[vas]).map(|(reply, _)| reply)
    }

    /// All attachments of processes to a VAS.
    pub fn attachments(
        &mut self,
        process: &Process,
        vas: Held,
    ) -> Result<Vec<AttachmentEntry>, Error> {
        let mut all: Vec<AttachmentEntry> = Vec::new();
        loop {
            let after = all.last().map(|last| last.attachment);
            let (page, _) = self.call(process, &VasAttachments { after }, &[vas])?;
            all.extend_from_slice(&page.entries);
            if page.entries.len() < limits::LIST_PAGE {
                return Ok(all);
            }
        }
    }

    pub fn control_vas(
        &mut self,
        process: &Process,
        vas: Held,
        command: impl Into<VasCommand>,
    ) -> Result<(), Error> {
        let command = command.into();
        self.call(process, &VasCtl { command }, &[vas]).map(|_| ())
    }

    pub fn set_root(
        &mut self,
        process: &Process,
        vas: Held,
        text: &str,
        address: Option<u64>,
    ) -> Result<(), Error> {
        let name = name(text);
        let request = VasSetRoot { name, address };
        self.call(process, &request, &[vas]).map(|_| ())
    }

    pub fn root(&mut self, process: &Process, vas: Held, text: &str) -> Result<u64, Error> {
        let name = name(text);
        let answer = self.call(process, &VasRoot { name }, &[vas]);
        answer.map(|(Root { address }, _)| address)
    }

    pub fn clone_vas(
        &mut self,
        process: &Process,
        vas: Held,
        text: &str,
        mode: Mode,
        access: Access,
    ) -> Result<Held, Error> {
        let name = name(text);
        let request = VasClone { name, mode, access };
        self.call(process, &request, &[vas])
            .map(|(_, cap)| cap.unwrap())
    }

    // Handles.

    pub fn restrict(
        &mut self,
        process: &Process,
        handle: Held,
        rights: Rights,
    ) -> Result<Held, Error> {
        let revocable = false;
        let answer = self.call(process, &Restrict { rights, revocable }, &[handle]);
        answer.map(|(restricted, cap)| {
            assert_eq!(restricted.rights, rights);
            cap.unwrap()
        })
    }

    /// A handle that can be revoked by itself, and its number.
    pub fn restrict_revocable(
        &mut self,
        process: &Process,
        handle: Held,
        rights: Rights,
    ) -> Result<(Held, u8), Error> {
        let revocable = true;
        let answer = self.call(process, &Restrict { rights, revocable }, &[handle]);
        answer.map(|(restricted, cap)| (cap.unwrap(), restricted.number))
    }

    pub fn describe(&mut self, process: &Process, handle: Held) -> Result<Described, Error> {
        let answer = self.call(process, &HandleStat, &[handle]);
        answer.map(|(described, _)| described)
    }

    // Segments.

    pub fn try_segment(
        &mut self,
        process: &Process,
        request: &SegAlloc,
    ) -> Result<(SegGranted, Held), Error> {
        // The kernel clears such a page in one go, and also what it is divided into later.
        if request.page_size != SMALL && request.page_size != LARGE {
            self.most_work = u64::MAX;
        }
        self.call(process, request, &[])
            .map(|(granted, cap)| (granted, cap.unwrap()))
    }

    pub fn segment(&mut self, process: &Process, text: &str, base: u64, size: u64) -> Held {
        let request = alloc(text, base, size, SMALL);
        self.try_segment(process, &request).unwrap().1
    }

    pub fn find_segment(
        &mut self,
        process: &Process,
        text: &str,
    ) -> Result<(SegGranted, Held), Error> {
        let name = name(text);
        self.call(process, &SegFind { name }, &[])
            .map(|(granted, cap)| (granted, cap.unwrap()))
    }

    pub fn segment_at(
        &mut self,
        process: &Process,
        attachment: AttachmentId,
        address: u64,
    ) -> Result<(SegGranted, Held), Error> {
        let request = SegAt {
            attachment,
            address,
        };
        self.call(process, &request, &[])
            .map(|(granted, cap)| (granted, cap.unwrap()))
    }

    pub fn add(
        &mut self,
        process: &Process,
        vas: Held,
        segment: Held,
        access: Access,
    ) -> Result<(), Error> {
        self.call(process, &SegAttach { access }, &[vas, segment])
            .map(|_| ())
    }

    pub fn remove(&mut self, process: &Process, vas: Held, segment: Held) -> Result<(), Error> {
        self.call(process, &SegDetach, &[vas, segment]).map(|_| ())
    }

    pub fn free(&mut self, process: &Process, segment: Held) -> Result<(), Error> {
        self.call(process, &SegFree, &[segment]).map(|_| ())
    }

    pub fn list_segments(&mut self, process: &Process) -> Vec<SegEntry> {
        let mut all: Vec<SegEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.name.clone());
            let (page, _) = self.call(process, &SegList { after }, &[]).unwrap();
            let last = page.entries.len() < protocol::limits::LIST_PAGE;
            all.extend(page.entries);
            if last {
                return all;
            }
        }
    }

    pub fn stat_segment(
        &mut self,
        process: &Process,
        segment: Held,
    ) -> Result<SegStatistics, Error> {
        self.call(process, &SegStat, &[segment])
            .map(|(reply, _)| reply)
    }

    /// Answers the new size.
    pub fn grow(&mut self, process: &Process, segment: Held, size: u64) -> Result<u64, Error> {
        let answer = self.call(process, &SegGrow { size }, &[segment]);
        answer.map(|(granted, _)| granted.size)
    }

    pub fn copy(
        &mut self,
        process: &Process,
        from: Held,
        to: Held,
        offset: u64,
    ) -> Result<(), Error> {
        self.call(process, &SegCopy { offset }, &[from, to])
            .map(|_| ())
    }

    pub fn control_segment(
        &mut self,
        process: &Process,
        segment: Held,
        command: Command,
    ) -> Result<(), Error> {
        self.call(process, &SegCtl { command }, &[segment])
            .map(|_| ())
    }

    /// What an operation answers for each handle of this kind that was handed out.
    fn ask_of_all<R: Request>(
        &mut self,
        witness: &Process,
        kind: Kind,
        request: &R,
    ) -> Vec<Result<R::Reply, Error>> {
        let session = self.fake().badge(witness.cap).unwrap();
        let mut answers = Vec::new();
        for cap in self.handed_out.clone() {
            let badge = self.fake().badge(cap);
            if badge.is_some_and(|badge| badge.handle().kind == kind) {
                let answer = self.ask(session, request, &[badge]);
                answers.push(answer.map(|(reply, _)| reply));
            }
        }
        answers
    }

    /// What all can see, as seen by a process that may look everything up.
    pub fn picture(&mut self, witness: &Process) -> Picture {
        self.settle();
        let vases = self.list_vases(witness);
        let segments = self.list_segments(witness);
        let (statistics, _) = self.call(witness, &ServerStat, &[]).unwrap();
        let vas_statistics = self.ask_of_all(witness, Kind::Vas, &VasStat);
        let segment_statistics = self.ask_of_all(witness, Kind::Segment, &SegStat);
        let handed_out = self.handed_out.clone();
        let fake = self.fake();
        Picture {
            statistics,
            vases,
            segments,
            vas_statistics,
            segment_statistics,
            caps: handed_out.iter().map(|&cap| fake.exists(cap)).collect(),
            pages: handed_out.iter().map(|&cap| fake.pages(cap)).collect(),
            caps_of_objects: fake.caps_of_objects(),
        }
    }
}

/// The request that makes a segment with a lock.
pub fn alloc_lockable(text: &str, base: u64, size: u64) -> SegAlloc {
    let lockable = true;
    SegAlloc {
        lockable,
        ..alloc(text, base, size, SMALL)
    }
}

/// The command that sets a lifetime.
pub const fn lives(lifetime: Lifetime) -> Command {
    Command::Lifetime(lifetime)
}

/// A request for a segment that all may use.
pub fn alloc(
    text: &str,
    base: impl Into<Base>,
    size: u64,
    page_size: Option<PageSize>,
) -> SegAlloc {
    SegAlloc {
        name: name(text),
        base: base.into(),
        size,
        page_size,
        own_slots: false,
        lockable: false,
        mode: OPEN,
    }
}
