// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the service is, without how it is done.

mod memory;
mod object;
mod segments;
mod vases;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

pub use memory::Page;
use protocol::message::{Command, Described, Granted, HandleStat, Restrict, Restricted};
use protocol::{
    Access, AttachmentId, Error, Kind, Lifetime, Limit, LockMode, Mode, Name, PageSize, Rights,
    limits,
};

use crate::{Action, Call, Number, Reply, Request};

/// The reply, or why there is none.
pub type Expected = Result<Reply, Refusal>;

/// An error, any of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal(Vec<Error>);

impl Refusal {
    /// Whether this is one of them.
    pub fn allows(&self, error: &Error) -> bool {
        self.0.contains(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal(vec![error])
    }
}

/// All that there is.
#[derive(Clone, Debug, Default)]
pub struct Specification {
    /// The handles that processes have, also those that became empty.
    pub handles: BTreeMap<Number, Handle>,
    /// The VASes.
    pub vases: BTreeMap<Number, Vas>,
    /// The segments.
    pub segments: BTreeMap<Number, Segment>,
    /// The attachments.
    pub attachments: BTreeMap<Number, Attachment>,
    /// All attachments that were ever made, and in which process.
    past: Vec<(usize, Number)>,
    /// The greatest number in use.
    last: Number,
}

/// A handle in a process.
#[derive(Clone, Debug)]
pub struct Handle {
    process: usize,
    kind: Kind,
    object: Number,
    rights: Rights,
    /// By which it is revoked; 0 if not by itself.
    number: u8,
    /// Whether it is empty, although the object may live.
    revoked: bool,
}

/// What VASes and segments have in common.
#[derive(Clone, Debug)]
pub struct Object {
    name: Name,
    owner: u32,
    group: Option<u32>,
    mode: Mode,
    lifetime: Lifetime,
    /// The process that made it, while that lasts.
    creator: Option<usize>,
    /// By which handles of it can be revoked.
    revocable: BTreeSet<u8>,
}

/// A VAS.
#[derive(Clone, Debug)]
pub struct Vas {
    object: Object,
    /// In the order in which they were attached, with what they may be used for here.
    segments: Vec<(Number, Access)>,
    roots: BTreeMap<Name, u64>,
    tlb_tag: bool,
    lock_mode: LockMode,
}

/// A segment.
#[derive(Clone, Debug)]
pub struct Segment {
    object: Object,
    base: u64,
    size: u64,
    page_size: PageSize,
    /// Whether it has root-table slots for itself.
    pub own_slots: bool,
    /// What it consists of: it was grown so often less once.
    pieces: usize,
    /// The words that are not zero, by their distance from the base.
    words: BTreeMap<u64, u64>,
}

/// A process attached to a VAS.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// The process.
    pub process: usize,
    vas: Number,
    access: Access,
    /// Segments of this attachment alone.
    segments: Vec<(Number, Access)>,
}

impl Specification {
    /// A call, with the next number.
    pub(crate) const fn call(&self, process: usize, action: Action) -> Call {
        Call {
            process,
            action,
            new: self.last + 1,
        }
    }

    /// A call that asks the service.
    pub(crate) fn ask(
        &self,
        process: usize,
        request: impl Into<Request>,
        handles: Vec<Number>,
    ) -> Call {
        self.call(process, Action::Ask(request.into(), handles))
    }

    /// How many VASes and segments there are.
    pub(crate) fn objects(&self) -> usize {
        self.vases.len() + self.segments.len()
    }

    /// Does what a call does. After a refusal this is worthless: nothing must have changed.
    pub fn perform(&mut self, call: &Call) -> Expected {
        self.last = call.new;
        let &Call { process, new, .. } = call;
        match &call.action {
            Action::Ask(request, handles) => {
                let asker = Asker {
                    process,
                    handles,
                    new,
                };
                self.answer(&asker, request)
            }
            &Action::Touch(attachment, touch) => self.touch(process, attachment, touch),
            &Action::Pass(handle, to) => self.pass(handle, to, new),
            Action::Restart => {
                self.end(process);
                Ok(Reply::Restarted)
            }
        }
    }

    fn answer(&mut self, asker: &Asker<'_>, request: &Request) -> Expected {
        Ok(match request {
            Request::VasCreate(request) => Reply::VasCreate(self.vas_create(asker, request)?),
            Request::VasFind(request) => Reply::VasFind(self.vas_find(asker, request)?),
            Request::VasAttach(request) => Reply::VasAttach(self.vas_attach(asker, request)?),
            Request::VasDetach(request) => Reply::VasDetach(self.vas_detach(asker, request)?),
            Request::VasDelete(_) => Reply::VasDelete(self.vas_delete(asker)?),
            Request::VasList(request) => Reply::VasList(self.vas_list(asker, request)),
            Request::VasStat(_) => Reply::VasStat(self.vas_stat(asker)?),
            Request::VasCtl(request) => Reply::VasCtl(self.vas_ctl(asker, request)?),
            Request::VasClone(request) => Reply::VasClone(self.vas_clone(asker, request)?),
            Request::VasSetRoot(request) => Reply::VasSetRoot(self.vas_set_root(asker, request)?),
            Request::VasRoot(request) => Reply::VasRoot(self.vas_root(asker, request)?),
            Request::SegAlloc(request) => Reply::SegAlloc(self.seg_alloc(asker, request)?),
            Request::SegFind(request) => Reply::SegFind(self.seg_find(asker, request)?),
            Request::SegAt(request) => Reply::SegAt(self.seg_at(asker, request)?),
            Request::SegAttach(request) => Reply::SegAttach(self.seg_attach(asker, request)?),
            Request::SegDetach(_) => Reply::SegDetach(self.seg_detach(asker)?),
            Request::SegFree(_) => Reply::SegFree(self.seg_free(asker)?),
            Request::SegList(request) => Reply::SegList(self.seg_list(asker, request)),
            Request::SegAttachLocal(request) => {
                Reply::SegAttachLocal(self.seg_attach_local(asker, request)?)
            }
            Request::SegDetachLocal(request) => {
                Reply::SegDetachLocal(self.seg_detach_local(asker, request)?)
            }
            Request::SegStat(_) => Reply::SegStat(self.seg_stat(asker)?),
            Request::SegCtl(request) => Reply::SegCtl(self.seg_ctl(asker, request)?),
            Request::SegCopy(request) => Reply::SegCopy(self.seg_copy(asker, request)?),
            Request::SegGrow(request) => Reply::SegGrow(self.seg_grow(asker, request)?),
            Request::Restrict(request) => Reply::Restrict(self.restrict(asker, request)?),
            Request::HandleStat(HandleStat) => {
                Reply::HandleStat(self.describe(asker.handle(self, 0)?))
            }
        })
    }

    /// What is made of a handle that can be revoked goes with that.
    fn restrict(&mut self, asker: &Asker<'_>, request: &Restrict) -> Result<Restricted, Refusal> {
        let handle = asker.handle(self, 0)?;
        let &Restrict { rights, revocable } = request;
        require(handle.rights, rights | Rights::GRANT)?;
        let (kind, object, mut number) = (handle.kind, handle.object, handle.number);
        if revocable && number == 0 {
            let numbers = &mut self.object_mut(object).revocable;
            let free = (1..=limits::REVOCABLE_HANDLES).find(|number| !numbers.contains(number));
            number = free.ok_or(Error::LimitReached(Limit::RevocableHandles))?;
            numbers.insert(number);
        }
        self.grant(asker, kind, object, rights);
        self.handles
            .entry(asker.new)
            .and_modify(|handle| handle.number = number);
        Ok(Restricted { rights, number })
    }

    fn object_mut(&mut self, number: Number) -> &mut Object {
        let vas = self.vases.get_mut(&number).map(|vas| &mut vas.object);
        let segment = self.segments.get_mut(&number);
        vas.or(segment.map(|segment| &mut segment.object))
            .expect("handles that are valid have objects")
    }

    /// Handles of an object become empty.
    fn revoke_handles(&mut self, object: Number, which: impl Fn(u8) -> bool) {
        self.object_mut(object)
            .revocable
            .retain(|&number| !which(number));
        let handles = self.handles.values_mut();
        for handle in handles.filter(|handle| handle.object == object) {
            handle.revoked |= which(handle.number);
        }
    }

    /// Does what a command does to VASes and segments alike.
    fn change(&mut self, number: Number, command: &Command) -> Result<(), Refusal> {
        let object = self.object_mut(number);
        match *command {
            Command::Mode(mode) => object.mode = mode,
            Command::Owner { user, group } => (object.owner, object.group) = (user, group),
            Command::Lifetime(Lifetime::Creator) if object.creator.is_none() => {
                return Err(Error::CreatorEnded.into());
            }
            Command::Lifetime(lifetime) => object.lifetime = lifetime,
            Command::RevokeHandles => self.revoke_handles(number, |_| true),
            Command::RevokeHandle(revoked) => {
                if !object.revocable.contains(&revoked) {
                    return Err(Error::NotFound.into());
                }
                self.revoke_handles(number, |number| number == revoked);
            }
            Command::Evict => {}
        }
        Ok(())
    }

    /// Whoever has the capability can copy it; GRANT is not asked for.
    fn pass(&mut self, handle: Number, to: usize, new: Number) -> Expected {
        let handle = self.handles[&handle].clone();
        let copy = Handle {
            process: to,
            ..handle
        };
        self.handles.insert(new, copy);
        let asker = Asker {
            process: to,
            handles: &[new],
            new,
        };
        self.answer(&asker, &HandleStat.into())
    }

    fn describe(&self, handle: &Handle) -> Described {
        let rights = handle.rights;
        match self.segments.get(&handle.object) {
            Some(segment) => Described::Segment(segment.granted(rights)),
            None => Described::Vas(Granted { rights }),
        }
    }

    fn grant(&mut self, asker: &Asker<'_>, kind: Kind, object: Number, rights: Rights) {
        let handle = Handle {
            process: asker.process,
            kind,
            object,
            rights,
            number: 0,
            revoked: false,
        };
        self.handles.insert(asker.new, handle);
    }

    /// Whether a handle is not empty.
    pub(crate) fn is_valid(&self, handle: &Handle) -> bool {
        let lives =
            self.vases.contains_key(&handle.object) || self.segments.contains_key(&handle.object);
        lives && !handle.revoked
    }

    /// Whether a handle is a valid one of a segment that begins there.
    pub(crate) fn is_segment_in(&self, handle: &Handle, area: &Range<u64>) -> bool {
        let segment = self.segments.get(&handle.object);
        segment.is_some_and(|segment| area.contains(&segment.base)) && !handle.revoked
    }

    /// Whether a VAS, or a segment, has this name.
    pub(crate) fn is_taken(&self, kind: Kind, name: &Name) -> bool {
        let mut vases = self.vases.values().map(|vas| &vas.object);
        let mut segments = self.segments.values().map(|segment| &segment.object);
        match kind {
            Kind::Vas => vases.any(|object| object.name == *name),
            _ => segments.any(|object| object.name == *name),
        }
    }

    /// The page size of the segment of a handle; small if it is none.
    pub(crate) fn page_size_of(&self, handle: Number) -> PageSize {
        let handle = self.handles.get(&handle);
        let segment = handle.and_then(|handle| self.segments.get(&handle.object));
        segment.map_or(PageSize::Small, |segment| segment.page_size)
    }

    /// A number by which a handle of the same object can be revoked, if there is any.
    pub(crate) fn revocable(&self, handle: Number) -> Option<u8> {
        let object = self.handles.get(&handle)?.object;
        let handles = self.handles.values();
        let mut numbers = handles
            .filter(|other| other.object == object && !other.revoked)
            .map(|other| other.number);
        numbers.find(|&number| number != 0)
    }

    /// The segments of the VAS of a handle, if that is one.
    pub(crate) fn segments_of_vas(&self, handle: Number) -> &[(Number, Access)] {
        let handle = self.handles.get(&handle);
        let vas = handle.and_then(|handle| self.vases.get(&handle.object));
        vas.map_or(&[], |vas| &vas.segments)
    }

    /// The segments of an attachment alone, if it lasts.
    pub(crate) fn segments_of_attachment(
        &self,
        AttachmentId(number): AttachmentId,
    ) -> &[(Number, Access)] {
        let attachment = self.attachments.get(&(number as Number));
        attachment.map_or(&[], |attachment| &attachment.segments)
    }

    /// The handles of a process.
    pub(crate) fn handles_of(&self, process: usize) -> impl Iterator<Item = (Number, &Handle)> {
        let handles = self.handles.iter();
        handles
            .filter(move |(_, handle)| handle.process == process)
            .map(|(&number, handle)| (number, handle))
    }

    /// All attachments that were ever made.
    pub(crate) fn past_attachments(&self) -> &[(usize, Number)] {
        &self.past
    }

    /// The owners and names of all VASes.
    pub(crate) fn vases(&self) -> Vec<(usize, Name)> {
        let vases = self.vases.values();
        vases.map(|vas| vas.object.owner_and_name()).collect()
    }

    /// The owners and names of all segments.
    pub(crate) fn segments(&self) -> Vec<(usize, Name)> {
        let segments = self.segments.values();
        segments
            .map(|segment| segment.object.owner_and_name())
            .collect()
    }

    /// A process ends, and another of the same user begins.
    fn end(&mut self, process: usize) {
        self.handles.retain(|_, handle| handle.process != process);
        let attachments = numbers(&self.attachments, |attachment| {
            attachment.process == process
        });
        for attachment in attachments {
            self.attachment_ends(attachment);
        }
        let dies = |object: &Object| {
            object.creator == Some(process) && object.lifetime == Lifetime::Creator
        };
        for vas in numbers(&self.vases, |vas| dies(&vas.object)) {
            self.vas_dies(vas);
        }
        for segment in numbers(&self.segments, |segment| dies(&segment.object)) {
            self.segment_dies(segment);
        }
        let vases = self.vases.values_mut().map(|vas| &mut vas.object);
        let segments = self.segments.values_mut();
        let objects = vases.chain(segments.map(|segment| &mut segment.object));
        for object in objects {
            object.creator = object.creator.filter(|&creator| creator != process);
        }
    }

    fn attachment_ends(&mut self, number: Number) {
        let Some(attachment) = self.attachments.remove(&number) else {
            return;
        };
        for (segment, _) in attachment.segments {
            self.segment_left(segment);
        }
        let vas = attachment.vas;
        if self.vases[&vas].object.lifetime == Lifetime::LastAttacher && self.attached_to(vas) == 0
        {
            self.vas_dies(vas);
        }
    }

    /// The processes that are attached to it are evicted, and its segments live on.
    fn vas_dies(&mut self, number: Number) {
        let Some(vas) = self.vases.remove(&number) else {
            return;
        };
        let attachments = numbers(&self.attachments, |attachment| attachment.vas == number);
        let attachments = attachments
            .iter()
            .filter_map(|attachment| self.attachments.remove(attachment));
        let lists: Vec<_> = attachments
            .map(|attachment| attachment.segments)
            .chain([vas.segments])
            .collect();
        for (segment, _) in lists.into_iter().flatten() {
            self.segment_left(segment);
        }
    }

    /// A VAS or an attachment has it no longer.
    fn segment_left(&mut self, number: Number) {
        let dies = self.segments.get(&number).is_some_and(|segment| {
            segment.object.lifetime == Lifetime::LastAttacher && self.places_of(number) == 0
        });
        if dies {
            self.segment_dies(number);
        }
    }

    fn segment_dies(&mut self, number: Number) {
        self.leave_all(number);
        self.segments.remove(&number);
    }

    /// Takes a segment out of all VASes and attachments.
    fn leave_all(&mut self, number: Number) {
        for list in self.lists_mut() {
            list.retain(|&(segment, _)| segment != number);
        }
    }

    /// Processes attached to a VAS.
    fn attached_to(&self, vas: Number) -> u32 {
        let attachments = self.attachments.values();
        attachments
            .filter(|attachment| attachment.vas == vas)
            .count() as u32
    }

    /// VASes and attachments that a segment is in.
    fn places_of(&self, segment: Number) -> u32 {
        self.lists().filter(|list| has(list, segment)).count() as u32
    }

    /// What VASes and attachments have.
    fn lists(&self) -> impl Iterator<Item = &Vec<(Number, Access)>> {
        let vases = self.vases.values().map(|vas| &vas.segments);
        let attachments = self.attachments.values();
        vases.chain(attachments.map(|attachment| &attachment.segments))
    }

    fn lists_mut(&mut self) -> impl Iterator<Item = &mut Vec<(Number, Access)>> {
        let vases = self.vases.values_mut().map(|vas| &mut vas.segments);
        let attachments = self.attachments.values_mut();
        vases.chain(attachments.map(|attachment| &mut attachment.segments))
    }
}

/// Who asks.
struct Asker<'a> {
    process: usize,
    handles: &'a [Number],
    /// The number of what it gets.
    new: Number,
}

impl Asker<'_> {
    /// The handle in this position.
    fn handle<'s>(
        &self,
        specification: &'s Specification,
        position: u8,
    ) -> Result<&'s Handle, Refusal> {
        let number = self.handles.get(usize::from(position));
        let handle = number.and_then(|number| specification.handles.get(number));
        let handle = handle.filter(|handle| specification.is_valid(handle));
        Ok(handle.ok_or(Error::StaleHandle { position })?)
    }

    /// The object of the handle in this position, and the rights.
    fn object(
        &self,
        specification: &Specification,
        position: u8,
        expected: Kind,
    ) -> Result<(Number, Rights), Refusal> {
        let handle = self.handle(specification, position)?;
        let found = handle.kind;
        if found != expected {
            return Err(Error::WrongKind {
                position,
                expected,
                found,
            }
            .into());
        }
        Ok((handle.object, handle.rights))
    }
}

fn require(rights: Rights, needs: Rights) -> Result<(), Refusal> {
    match rights.contains(needs) {
        true => Ok(()),
        false => Err(Error::PermissionDenied { needs }.into()),
    }
}

fn has(list: &[(Number, Access)], segment: Number) -> bool {
    list.iter().any(|&(other, _)| other == segment)
}

fn numbers<T>(all: &BTreeMap<Number, T>, holds: impl Fn(&T) -> bool) -> Vec<Number> {
    let found = all.iter().filter(|(_, value)| holds(value));
    found.map(|(&number, _)| number).collect()
}

impl Handle {
    /// What it is a handle of.
    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is one of this object.
    pub(crate) const fn is_of(&self, object: Number) -> bool {
        self.object == object
    }
}
