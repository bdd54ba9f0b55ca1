// SPDX-License-Identifier: MIT OR Apache-2.0

//! Which call comes next: chosen at random among those that there is something for.
//!
//! Most make sense where they are made, so that sequences get somewhere; of every kind there are
//! some that do not.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use fastrand::Rng;
use protocol::address_map::{GLOBAL, LOCAL, PAGE_BYTES, SLOT_BYTES};
use protocol::message::{
    Base, Command, HandleStat, Lifetime, Restrict, SegAlloc, SegAt, SegAttach, SegAttachLocal,
    SegCopy, SegCtl, SegDetach, SegDetachLocal, SegFind, SegFree, SegGrow, SegList, SegStat,
    VasAttach, VasClone, VasCommand, VasCreate, VasCtl, VasDelete, VasDetach, VasFind, VasList,
    VasRoot, VasSetRoot, VasStat,
};
use protocol::{Access, AttachmentId, Kind, Mode, Name, PageSize, Rights, limits};

use crate::call::name;
use crate::specification::Page;
use crate::{Action, Call, Number, PRINCIPALS, PROCESSES, Request, Specification, Touch};

/// More than a page of a listing holds.
const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
const MODES: [u16; 6] = [0o600, 0o644, 0o660, 0o666, 0o640, 0o622];
/// Pages of a segment at most when it is made.
const PAGES: u64 = 4;
/// Pages of a segment at most when it is grown.
const GROWN: u64 = 10;
/// Pages around a border between root-table slots where segments begin.
const AROUND: u64 = 10;

/// Chooses for a process, if there is something to choose.
type Choice = fn(&mut Chooser<'_>) -> Option<Action>;

/// What is chosen, and how often.
const CHOICES: [(u32, Choice); 33] = [
    (2, |of| of.vas_create()),
    (4, |of| {
        let name = of.taken_name(Kind::Vas);
        Some(ask(VasFind { name }))
    }),
    (8, |of| of.vas_attach()),
    (2, |of| {
        let attachment = of.attachment()?;
        Some(ask(VasDetach { attachment }))
    }),
    (1, |of| Some(ask_with(VasDelete, [of.vas()?]))),
    (1, |of| Some(ask(VasList { after: of.after() }))),
    (2, |of| Some(ask_with(VasStat, [of.vas()?]))),
    (3, |of| of.vas_ctl()),
    (3, |of| of.vas_clone()),
    (3, |of| of.vas_set_root()),
    (3, |of| {
        let name = of.root_name();
        Some(ask_with(VasRoot { name }, [of.vas()?]))
    }),
    (3, |of| of.seg_alloc()),
    (3, |of| of.seg_alloc_local()),
    (4, |of| {
        let name = of.taken_name(Kind::Segment);
        Some(ask(SegFind { name }))
    }),
    (3, |of| of.seg_at()),
    (14, |of| of.seg_attach()),
    (3, |of| of.seg_detach()),
    (10, |of| of.seg_attach_local()),
    (3, |of| of.seg_detach_local()),
    (1, |of| Some(ask_with(SegFree, [of.segment()?]))),
    (1, |of| Some(ask(SegList { after: of.after() }))),
    (2, |of| Some(ask_with(SegStat, [of.segment()?]))),
    (2, |of| {
        let segment = of.segment()?;
        let command = of.command(segment);
        Some(ask_with(SegCtl { command }, [segment]))
    }),
    (3, |of| of.seg_copy()),
    (5, |of| of.seg_grow()),
    (4, |of| {
        let rights = Rights::from_bits_truncate(of.random.u8(..));
        let revocable = of.random.bool();
        Some(ask_with(Restrict { rights, revocable }, [of.handle()?]))
    }),
    (2, |of| Some(ask_with(HandleStat, [of.handle()?]))),
    (3, |of| of.pass()),
    (24, |of| of.store()),
    (14, |of| of.load()),
    (8, |of| of.scan()),
    (2, |of| of.wild_load()),
    (2, |of| Some(of.end())),
];

impl Specification {
    /// A call that can be made now.
    pub(crate) fn choose(&self, random: &mut Rng) -> Call {
        let process = random.usize(..PROCESSES);
        let mut chooser = self.chooser(process, random);
        let sum: u32 = CHOICES.iter().map(|(weight, _)| weight).sum();
        loop {
            let mut rest = chooser.random.u32(..sum);
            let choice = CHOICES.iter().find(|(weight, _)| {
                let found = rest < *weight;
                rest = rest.saturating_sub(*weight);
                found
            });
            if let Some(action) = choice.and_then(|(_, choose)| choose(&mut chooser)) {
                return self.call(process, action);
            }
        }
    }
}

impl Specification {
    const fn chooser<'a>(&'a self, process: usize, random: &'a mut Rng) -> Chooser<'a> {
        Chooser {
            specification: self,
            process,
            random,
        }
    }

    /// What a process ends with, most often by touching what it may not.
    pub(crate) fn choose_end(&self, process: usize, random: &mut Rng) -> Call {
        let end = self.chooser(process, random).end();
        self.call(process, end)
    }

    /// A scan of all that anybody sees.
    pub(crate) fn scans(&self) -> Vec<Call> {
        let attachments = self.attachments.iter();
        let scans = attachments.flat_map(|(&number, attachment)| {
            let seen = self.seen_by(attachment);
            seen.map(move |(_, segment, _)| {
                self.call(attachment.process, Action::Touch(number, segment.scan()))
            })
        });
        scans.collect()
    }
}

fn ask(request: impl Into<Request>) -> Action {
    Action::Ask(request.into(), vec![])
}

fn ask_with<const HANDLES: usize>(
    request: impl Into<Request>,
    handles: [Number; HANDLES],
) -> Action {
    Action::Ask(request.into(), handles.into())
}

struct Chooser<'a> {
    specification: &'a Specification,
    process: usize,
    random: &'a mut Rng,
}

impl Chooser<'_> {
    /// Happens once in so many times.
    fn seldom(&mut self, times: u32) -> bool {
        self.random.u32(..times) == 0
    }

    /// One that no VAS, or no segment, has, if there is any; seldom another.
    fn free_name(&mut self, kind: Kind) -> Name {
        self.name_where(|specification, name| !specification.is_taken(kind, name))
    }

    /// One that a VAS, or a segment, has, if there is any; seldom another.
    fn taken_name(&mut self, kind: Kind) -> Name {
        self.name_where(|specification, name| specification.is_taken(kind, name))
    }

    fn name_where(&mut self, fits: impl Fn(&Specification, &Name) -> bool) -> Name {
        let any = self.seldom(8);
        let names: Vec<Name> = NAMES.map(name).into();
        let fitting = names.iter().filter(|name| fits(self.specification, name));
        let fitting: Vec<Name> = fitting.cloned().collect();
        let names = match any || fitting.is_empty() {
            true => names,
            false => fitting,
        };
        names[self.random.usize(..names.len())].clone()
    }

    /// One of few, so that it is found again.
    fn root_name(&mut self) -> Name {
        name(one_of(self.random, &NAMES[..2]))
    }

    fn after(&mut self) -> Option<Name> {
        self.random
            .bool()
            .then(|| name(one_of(self.random, &NAMES)))
    }

    fn mode(&mut self) -> Mode {
        Mode(one_of(self.random, &MODES))
    }

    fn access(&mut self) -> Access {
        one_of(
            self.random,
            &[Access::ReadOnly, Access::ReadWrite, Access::ReadWrite],
        )
    }

    /// A handle of this process; seldom an empty one, if there are others.
    fn handle_where(&mut self, fits: impl Fn(Kind) -> bool) -> Option<Number> {
        let any = self.seldom(12);
        let handles = self.specification.handles_of(self.process);
        let handles: Vec<_> = handles.filter(|(_, handle)| fits(handle.kind())).collect();
        let valid = handles
            .iter()
            .filter(|(_, handle)| any || self.specification.is_valid(handle));
        let valid: Vec<Number> = valid.map(|&(number, _)| number).collect();
        self.random.choice(valid)
    }

    fn handle(&mut self) -> Option<Number> {
        self.handle_where(|_| true)
    }

    fn handle_of(&mut self, kind: Kind) -> Option<Number> {
        let any = self.seldom(40);
        self.handle_where(|found| any || found == kind)
    }

    fn vas(&mut self) -> Option<Number> {
        self.handle_of(Kind::Vas)
    }

    fn segment(&mut self) -> Option<Number> {
        self.handle_of(Kind::Segment)
    }

    /// A handle of a VAS that has segments, seldom of any.
    fn vas_in_use(&mut self) -> Option<Number> {
        if self.seldom(6) {
            return self.vas();
        }
        let specification = self.specification;
        let handles = specification.handles_of(self.process);
        let handles: Vec<Number> = handles
            .filter(|&(number, _)| !specification.segments_of_vas(number).is_empty())
            .map(|(number, _)| number)
            .collect();
        self.random.choice(handles)
    }

    /// An attachment that this process made, seldom one that has ended or that another made.
    fn attachment(&mut self) -> Option<AttachmentId> {
        let number = match self.seldom(8) {
            true => self
                .random
                .choice(self.specification.past_attachments())
                .map(|&(_, number)| number),
            false => self.random.choice(self.own_attachments()),
        };
        number.map(|number| AttachmentId(number.into()))
    }

    /// The attachments that this process has.
    fn own_attachments(&self) -> Vec<Number> {
        let attachments = self.specification.attachments.iter();
        attachments
            .filter(|(_, attachment)| attachment.process == self.process)
            .map(|(&number, _)| number)
            .collect()
    }

    fn lifetime(&mut self) -> Lifetime {
        one_of(
            self.random,
            &[
                Lifetime::Persistent,
                Lifetime::Creator,
                Lifetime::LastAttacher,
            ],
        )
    }

    /// A change of the object of a handle.
    fn command(&mut self, handle: Number) -> Command {
        match self.random.u8(..10) {
            0..=1 => Command::Mode(self.mode()),
            2 => {
                let (user, groups) = one_of(self.random, &PRINCIPALS);
                let group = self.random.bool().then_some(groups[0]);
                Command::Owner { user, group }
            }
            3..=5 => Command::Lifetime(self.lifetime()),
            6 => Command::RevokeHandles,
            7 => {
                let number = self.specification.revocable(handle);
                Command::RevokeHandle(number.unwrap_or(0))
            }
            _ => Command::Evict,
        }
    }

    fn vas_create(&mut self) -> Option<Action> {
        let (name, mode) = (self.free_name(Kind::Vas), self.mode());
        Some(ask(VasCreate { name, mode }))
    }

    fn vas_attach(&mut self) -> Option<Action> {
        let access = self.access();
        Some(ask_with(VasAttach { access }, [self.vas_in_use()?]))
    }

    fn vas_clone(&mut self) -> Option<Action> {
        let name = self.free_name(Kind::Vas);
        let (mode, access) = (self.mode(), self.access());
        let request = VasClone { name, mode, access };
        Some(ask_with(request, [self.vas_in_use()?]))
    }

    fn vas_ctl(&mut self) -> Option<Action> {
        let vas = self.vas()?;
        let command = match self.random.u8(..8) {
            0 => VasCommand::TlbTag(self.random.bool()),
            1 => {
                let any = self.random.choice(self.specification.past_attachments())?;
                VasCommand::EvictAttachment(AttachmentId(any.1.into()))
            }
            _ => self.command(vas).into(),
        };
        Some(ask_with(VasCtl { command }, [vas]))
    }

    fn vas_set_root(&mut self) -> Option<Action> {
        let address = self.random.u8(..4);
        let address = (address > 0).then(|| self.random.u64(..));
        let name = self.root_name();
        Some(ask_with(VasSetRoot { name, address }, [self.vas()?]))
    }

    /// Around borders of root-table slots, so that segments are in each other's way, and share
    /// page tables or not.
    fn seg_alloc(&mut self) -> Option<Action> {
        let border = GLOBAL.start + SLOT_BYTES * self.random.u64(1..3);
        self.segment_around(border)
    }

    fn seg_alloc_local(&mut self) -> Option<Action> {
        self.segment_around(LOCAL.start + SLOT_BYTES)
    }

    fn segment_around(&mut self, border: u64) -> Option<Action> {
        let small = Some(PageSize::Small);
        let page_size = one_of(
            self.random,
            &[small, small, small, None, Some(PageSize::Large)],
        );
        let page = page_size.map_or(PAGE_BYTES, PageSize::bytes);
        let base = border - page * (AROUND / 2) + page * self.random.u64(..AROUND);
        let mut request = SegAlloc {
            name: self.free_name(Kind::Segment),
            base: Base::At(base),
            size: page * self.random.u64(1..=PAGES) - self.random.u64(..page),
            page_size,
            own_slots: self.seldom(8),
            lockable: false,
            mode: self.mode(),
        };
        match self.random.u8(..32) {
            0 => request.size = 0,
            1 => request.base = Base::At(base + self.random.u64(1..page)),
            2 => request.base = Base::At(self.random.u64(..) / page * page),
            3 => (request.base, request.size) = (Base::At(GLOBAL.end - page), 2 * page),
            4 => request.base = one_of(self.random, &[Base::ForVases, Base::ForAttachments]),
            _ => {}
        }
        Some(ask(request))
    }

    fn seg_attach(&mut self) -> Option<Action> {
        let access = self.access();
        let handles = [self.vas()?, self.segment_in(&GLOBAL)?];
        Some(ask_with(SegAttach { access }, handles))
    }

    fn seg_detach(&mut self) -> Option<Action> {
        let vas = self.vas()?;
        let there = self.specification.segments_of_vas(vas);
        Some(ask_with(SegDetach, [vas, self.segment_among(there)?]))
    }

    fn seg_detach_local(&mut self) -> Option<Action> {
        let attachment = self.attachment()?;
        let there = self.specification.segments_of_attachment(attachment);
        let segment = self.segment_among(there)?;
        Some(ask_with(SegDetachLocal { attachment }, [segment]))
    }

    /// A handle of one of these segments, seldom of any.
    fn segment_among(&mut self, there: &[(Number, Access)]) -> Option<Number> {
        if self.seldom(4) {
            return self.segment();
        }
        let handles = self.specification.handles_of(self.process);
        let handles: Vec<Number> = handles
            .filter(|(_, handle)| there.iter().any(|&(segment, _)| handle.is_of(segment)))
            .map(|(number, _)| number)
            .collect();
        self.random.choice(handles)
    }

    fn seg_attach_local(&mut self) -> Option<Action> {
        let (attachment, access) = (self.attachment()?, self.access());
        let request = SegAttachLocal { attachment, access };
        Some(ask_with(request, [self.segment_in(&LOCAL)?]))
    }

    /// A handle of a segment that lies there, seldom of any.
    fn segment_in(&mut self, area: &Range<u64>) -> Option<Number> {
        if self.seldom(10) {
            return self.segment();
        }
        let specification = self.specification;
        let handles = specification.handles_of(self.process);
        let handles: Vec<Number> = handles
            .filter(|(_, handle)| specification.is_segment_in(handle, area))
            .map(|(number, _)| number)
            .collect();
        self.random.choice(handles)
    }

    fn seg_copy(&mut self) -> Option<Action> {
        let offset = match self.random.u8(..8) {
            0 => self.random.u64(..16) * PAGE_BYTES,
            1..=3 => self.random.u64(..16) * limits::COPY_BYTES,
            _ => 0,
        };
        Some(ask_with(
            SegCopy { offset },
            [self.segment()?, self.segment()?],
        ))
    }

    fn seg_grow(&mut self) -> Option<Action> {
        let segment = self.segment()?;
        let page = self.specification.page_size_of(segment).bytes();
        let size = match self.seldom(16) {
            true => LOCAL.end + self.random.u64(..LOCAL.end),
            false => page * self.random.u64(..=GROWN) + self.random.u64(..2),
        };
        Some(ask_with(SegGrow { size }, [segment]))
    }

    fn pass(&mut self) -> Option<Action> {
        let to = self.process + self.random.usize(1..PROCESSES);
        Some(Action::Pass(self.handle()?, to % PROCESSES))
    }

    /// An attachment that this process has, and a page that it may use so there.
    fn page(&mut self, access: Access) -> Option<(Number, Page)> {
        let specification = self.specification;
        let attachments = self.own_attachments().into_iter();
        let pages = attachments
            .flat_map(|number| specification.pages(number).map(move |page| (number, page)));
        let pages: Vec<_> = pages.filter(|(_, page)| page.access == access).collect();
        self.random.choice(pages)
    }

    /// A word in a page: the first, the last or any.
    fn word_in(&mut self, page: Page) -> u64 {
        let bytes = page.size.bytes();
        page.address
            + match self.random.u8(..4) {
                0 => 8 * self.random.u64(..bytes / 8),
                1 => bytes - 8,
                _ => 0,
            }
    }

    fn store(&mut self) -> Option<Action> {
        self.store_where(Access::ReadWrite)
    }

    fn store_where(&mut self, access: Access) -> Option<Action> {
        let (attachment, page) = self.page(access)?;
        let touch = Touch::Store(self.word_in(page), self.random.u64(..));
        Some(Action::Touch(attachment, touch))
    }

    fn load(&mut self) -> Option<Action> {
        let access = self.access();
        let (attachment, page) = self.page(access)?;
        Some(Action::Touch(attachment, Touch::Load(self.word_in(page))))
    }

    /// Any segment, in any attachment that the process made, whether it still has it or not.
    fn wild_load(&mut self) -> Option<Action> {
        let past = self.specification.past_attachments().iter();
        let past = past.filter(|(process, _)| *process == self.process);
        let attachments: Vec<Number> = past.map(|&(_, number)| number).collect();
        let attachment = self.random.choice(attachments)?;
        let segment = self.random.choice(self.specification.segments.values())?;
        let pages: Vec<u64> = segment.pages().collect();
        let address = self.random.choice(pages)?;
        Some(Action::Touch(attachment, Touch::Load(address)))
    }

    /// What is at an address of a segment, most often one that the attachment sees.
    fn seg_at(&mut self) -> Option<Action> {
        let attachment = self.attachment()?;
        let segment = self.random.choice(self.specification.segments.values())?;
        let pages: Vec<u64> = segment.pages().collect();
        let mut address = self.random.choice(pages)?;
        if !self.seldom(4) {
            let access = self.access();
            if let Some((_, page)) = self.page(access) {
                address = page.address;
            }
        }
        Some(ask(SegAt {
            attachment,
            address,
        }))
    }

    fn scan(&mut self) -> Option<Action> {
        let access = self.access();
        let (attachment, page) = self.page(access)?;
        let segment = self.specification.segments.get(&page.segment)?;
        Some(Action::Touch(attachment, segment.scan()))
    }

    /// What a process ends with, most often by touching what it may not.
    fn end(&mut self) -> Action {
        let action = match self.random.u8(..4) {
            0..=1 => self.store_where(Access::ReadOnly),
            2 => self.wild_load(),
            _ => None,
        };
        action.unwrap_or(Action::Restart)
    }
}

fn one_of<T: Copy>(random: &mut Rng, all: &[T]) -> T {
    all[random.usize(..all.len())]
}
