// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on segments.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Bound, Range};

use protocol::address_map::{GLOBAL, LOCAL, SLOT_BYTES};
use protocol::message::{
    Base, Command, Departure, SegAlloc, SegAt, SegAttach, SegAttachLocal, SegCopy, SegCtl,
    SegDetachLocal, SegEntry, SegFind, SegGranted, SegGrow, SegList, SegPage, SegStatistics,
};
use protocol::{Access, Error, Kind, Limit, Name, PageSize, Rights, limits};

use super::growth::Growing;
use super::steps::{Making, Place, Work, position_in};
use super::{
    Granted, Handles, LeftSegment, Object, Piece, Segment, Server, next_key, require, table_bytes,
};
use crate::arena::{Arena, Key};
use crate::kernel::{Kernel, Slot};
use crate::policy::New;
use crate::policy::page_tables::tree::Tree;
use crate::policy::page_tables::{Mapping, SegmentMapping};
use crate::policy::placement::Asked;
use crate::resources::{Counted, Side};

impl<K: Kernel> Server<K> {
    pub(super) fn seg_alloc(&mut self, session: Key, request: SegAlloc) -> Granted<SegGranted> {
        let begun = match self.work.take() {
            Some(Work::Alloc(making)) if making.request == request => Some(making),
            other => {
                self.give_up(other);
                None
            }
        };
        let making = match begun {
            Some(making) => making,
            None => self.begin_making(request)?,
        };
        let name = making.request.name.clone();
        if let Err(error) = self.may_make(&name) {
            self.give_up(Some(Work::Alloc(making)));
            return Err(error);
        }
        let principal = &self.session(session)?.principal;
        let key = next_key(&self.segments, Limit::Segments)?;
        let made_by = (session, self.resources.payer());
        let mode = making.request.mode;
        let new = New {
            kind: Kind::Segment,
            user: principal.user,
            mode,
        };
        let mut object = Object::new(Kind::Segment, key, name, mode, principal, made_by);
        object.lifetime = self.policies.lifetime.answer.lifetime(new);
        let making = self.make_segment(key, making)?;
        let rights = Rights::all();
        // The page of a lock goes with the index, which is not known before.
        let lock = match making.request.lockable {
            true => self.make_lock(key).map(Some),
            false => Ok(None),
        };
        let lock = match lock {
            Ok(lock) => lock,
            Err(error) => {
                self.work = Some(Work::Alloc(making));
                return Err(error);
            }
        };
        let handle = match object.handle(&mut self.resources, rights, 0) {
            Ok(handle) => handle,
            Err(error) => {
                if let Some(lock) = lock {
                    self.resources.discard_own_page(lock);
                }
                self.give_up(Some(Work::Alloc(making)));
                return Err(error);
            }
        };
        let name = making.request.name;
        let segment = Segment {
            object,
            pieces: vec![making.piece],
            own_slots: making.request.own_slots,
            tables: making.tables,
            lock,
            vases: 0,
            attached: false,
            growing: None,
        };
        let reply = segment.granted(rights);
        if let Err(segment) = self.segments.insert(segment) {
            self.release_segment(segment);
            return Err(Error::LimitReached(Limit::Segments));
        }
        self.resources.charge(Counted::Segments);
        self.segment_names.insert(name, key);
        Ok((reply, Some(handle)))
    }

    /// Whether there may be one more segment, of this name.
    fn may_make(&self, name: &Name) -> Result<(), Error> {
        if self.segment_names.contains_key(name) {
            return Err(Error::NameExists);
        }
        next_key(&self.segments, Limit::Segments)?;
        self.resources.check(Counted::Segments)
    }

    /// Chooses the place of a segment, and takes slots for its frames.
    fn begin_making(&mut self, request: SegAlloc) -> Result<Box<Making>, Error> {
        let (base, page_size, pages) = self.place(&request)?;
        self.may_make(&request.name)?;
        let piece = self.reserve_piece(base, page_size, pages)?;
        Ok(Box::new(Making {
            request,
            piece,
            tables: None,
        }))
    }

    /// Makes what is missing of a segment. If it is still not complete, it is left to the session.
    fn make_segment(&mut self, key: Key, mut making: Box<Making>) -> Result<Box<Making>, Error> {
        match self.continue_making(key, &mut making) {
            Ok(()) => return Ok(making),
            Err(Error::Again) => self.work = Some(Work::Alloc(making)),
            Err(error) => {
                self.give_up(Some(Work::Alloc(making)));
                return Err(error);
            }
        }
        Err(Error::Again)
    }

    fn continue_making(&mut self, key: Key, making: &mut Making) -> Result<(), Error> {
        let resources = &mut self.resources;
        let mapping = making.piece.mapping;
        resources.make_frames(&mut making.piece.frames)?;
        if !making.request.own_slots || !self.policies.page_tables.answer.shares_tables {
            return Ok(());
        }
        let tables = match &mut making.tables {
            Some(tables) => tables,
            none => none.insert(Tree::new(resources)?),
        };
        tables.map_segment(resources, (key, 0), &mapping, mapping.access)
    }

    /// Slots for a piece.
    fn reserve_piece(
        &mut self,
        base: u64,
        page_size: PageSize,
        pages: u64,
    ) -> Result<Piece, Error> {
        if pages > self.resources.available() >> page_size.bits() {
            return Err(Error::OutOfMemory);
        }
        let pages = u32::try_from(pages).map_err(|_| Error::OutOfSlots)?;
        let frames = self.resources.reserve_frames(page_size, pages)?;
        let mapping = Mapping {
            base,
            pages,
            page_size,
            frames: frames.first(),
            access: Access::ReadWrite,
        };
        Ok(Piece { mapping, frames })
    }

    /// The base, the page size and the number of pages, as the policies have it.
    fn place(&self, request: &SegAlloc) -> Result<(u64, PageSize, u64), Error> {
        let size = request.size;
        if size == 0 {
            return Err(Error::ZeroSize);
        }
        let (base, range) = match request.base {
            Base::At(base) if LOCAL.contains(&base) => (Some(base), LOCAL),
            Base::At(base) => (Some(base), GLOBAL),
            Base::ForVases => (None, GLOBAL),
            Base::ForAttachments => (None, LOCAL),
        };
        // A lock is taken by switching into a VAS, and not with a single attachment.
        if request.lockable && range == LOCAL {
            let base = base.unwrap_or(LOCAL.start);
            return Err(Error::OutOfRange { base, size });
        }
        let page_size = request.page_size.unwrap_or_else(|| {
            // A multiple of every page size stands for a base that is still to be chosen.
            let base = base.unwrap_or(range.start);
            self.policies.page_size.answer.page_size(base, size)
        });
        match base {
            Some(base) => check_base(base, size, page_size, &range)?,
            None if size > range.end - range.start => return Err(Error::NoRoom { size }),
            None => {}
        }
        let pages = size.div_ceil(page_size.bytes());
        let asked = Asked {
            base,
            bytes: pages * page_size.bytes(),
            page_size,
            own_slots: request.own_slots,
            range,
        };
        let making = self
            .sessions
            .iter()
            .filter_map(|(_, session)| match &session.work {
                Some(Work::Alloc(making)) => Some(making.claim()),
                _ => None,
            });
        let taken = self.segments.iter().map(|(_, segment)| segment.claim());
        let mut taken = taken.chain(making);
        let base = self.policies.placement.answer.place(&asked, &mut taken)?;
        check_base(base, size, page_size, &asked.range)?;
        Ok((base, page_size, pages))
    }

    pub(super) fn seg_find(&mut self, session: Key, request: &SegFind) -> Granted<SegGranted> {
        let &key = self
            .segment_names
            .get(&request.name)
            .ok_or(Error::NotFound)?;
        self.segment_found(session, key)
    }

    pub(super) fn seg_at(&mut self, session: Key, request: SegAt) -> Granted<SegGranted> {
        let attachment = self
            .attachment_of(session, request.attachment)
            .and_then(|key| self.attachments.get(key))
            .ok_or(Error::StaleAttachment)?;
        let place = self.segment_at(attachment, request.address);
        let key = place.ok_or(Error::NotFound)?.key;
        self.segment_found(session, key)
    }

    /// A handle with the rights that the mode bits give.
    fn segment_found(&mut self, session: Key, key: Key) -> Granted<SegGranted> {
        let session = self.sessions.get(session).ok_or(Error::UnknownOperation)?;
        let segment = self.segments.get_mut(key).ok_or(Error::NotFound)?;
        let (rights, handle) = segment
            .object
            .find(&mut self.resources, &session.principal)?;
        Ok((segment.granted(rights), Some(handle)))
    }

    pub(super) fn seg_attach(&mut self, request: SegAttach, handles: Handles<'_>) -> Granted<()> {
        let (vas_key, vas_rights) = handles.get(0, Kind::Vas, &self.vases)?;
        let (key, rights) = handles.get(1, Kind::Segment, &self.segments)?;
        require(vas_rights, Rights::WRITE)?;
        require(rights, request.access.needs())?;
        let stale = Error::StaleHandle { position: 0 };
        let list = &self.vases.get(vas_key).ok_or(stale)?.segments;
        let place = Place::Vas(vas_key);
        let full = Limit::SegmentsPerVas;
        let new = (key, request.access);
        self.check_attach(new, place, list, &GLOBAL, limits::SEGMENTS_PER_VAS, full)?;
        self.attach_to(place, key, request.access)
    }

    /// Whether a segment may be attached, or is being attached so.
    fn check_attach(
        &self,
        (key, access): (Key, Access),
        place: Place,
        list: &[(Key, Access)],
        range: &Range<u64>,
        most: usize,
        limit: Limit,
    ) -> Result<(), Error> {
        if let Some(&(_, there)) = list.iter().find(|(other, _)| *other == key) {
            let begun = self.work.as_ref();
            let begun = begun.is_some_and(|work| work.moves(place, key));
            return match begun && there == access {
                true => Ok(()),
                false => Err(Error::AlreadyAttached),
            };
        }
        let segment = self.segments.get(key).ok_or(Error::NotAttached)?;
        segment.check_range(range)?;
        segment.check_overlap(key, segment.claim(), list, &self.segments)?;
        if list.len() >= most {
            return Err(Error::LimitReached(limit));
        }
        let has_lock = |key| self.segments.get(key).is_some_and(|one| one.lock.is_some());
        let locks = || list.iter().filter(|&&(other, _)| has_lock(other)).count();
        match has_lock(key) && locks() >= limits::LOCKS_PER_VAS {
            true => Err(Error::LimitReached(Limit::LocksPerVas)),
            false => Ok(()),
        }
    }

    /// Attaches a segment, or goes on attaching it.
    fn attach_to(&mut self, place: Place, key: Key, access: Access) -> Granted<()> {
        let begun = self.work.take();
        if !begun.as_ref().is_some_and(|work| work.moves(place, key)) {
            self.give_up(begun);
        }
        let list = self.segments_of(place).ok_or(Error::NotAttached)?;
        if let Err(position) = position_in(list, key) {
            list.insert(position, (key, access));
            if let Some(segment) = self.segments.get_mut(key) {
                segment.vases += 1;
            }
        }
        self.enter(place, key, access).inspect_err(|_| {
            self.work = Some(Work::Move(place, key));
        })?;
        if let Some(segment) = self.segments.get_mut(key) {
            segment.attached = true;
        }
        Ok(((), None))
    }

    /// Detaches a segment, or goes on detaching it.
    fn detach_from(&mut self, place: Place, key: Key) -> Granted<()> {
        let begun = self.work.take();
        let goes_on = begun.as_ref().is_some_and(|work| work.moves(place, key));
        if !goes_on {
            self.give_up(begun);
        }
        match self.leave(place, key, Departure::Detached) {
            Err(Error::Again) => {
                self.work = Some(Work::Move(place, key));
                Err(Error::Again)
            }
            // Somebody else has taken it out meanwhile.
            Err(Error::NotAttached) if goes_on => Ok(((), None)),
            left => left.map(|()| ((), None)),
        }
    }

    pub(super) fn seg_detach(&mut self, handles: Handles<'_>) -> Granted<()> {
        let (vas_key, vas_rights) = handles.get(0, Kind::Vas, &self.vases)?;
        let (key, _) = handles.get(1, Kind::Segment, &self.segments)?;
        require(vas_rights, Rights::WRITE)?;
        self.detach_from(Place::Vas(vas_key), key)
    }

    pub(super) fn seg_attach_local(
        &mut self,
        session: Key,
        request: SegAttachLocal,
        handles: Handles<'_>,
    ) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, request.access.needs())?;
        let stale = Error::StaleAttachment;
        let attachment = self.attachment_of(session, request.attachment);
        let attachment = attachment.ok_or(stale.clone())?;
        let list = &self.attachments.get(attachment).ok_or(stale)?.segments;
        let place = Place::Attachment(attachment);
        let full = Limit::SegmentsPerAttachment;
        let (new, most) = ((key, request.access), limits::SEGMENTS_PER_ATTACHMENT);
        self.check_attach(new, place, list, &LOCAL, most, full)?;
        self.attach_to(place, key, request.access)
    }

    pub(super) fn seg_detach_local(
        &mut self,
        session: Key,
        request: SegDetachLocal,
        handles: Handles<'_>,
    ) -> Granted<()> {
        let (key, _) = handles.get(0, Kind::Segment, &self.segments)?;
        let attachment = self.attachment_of(session, request.attachment);
        let attachment = attachment.ok_or(Error::StaleAttachment)?;
        self.detach_from(Place::Attachment(attachment), key)
    }

    pub(super) fn seg_free(&mut self, handles: Handles<'_>) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::CONTROL)?;
        let attachments = self.segments.get(key).map_or(0, |segment| segment.vases);
        if attachments > 0 {
            return Err(Error::InUse { attachments });
        }
        self.remove_segment(key)?;
        Ok(((), None))
    }

    pub(super) fn seg_list(&self, session: Key, request: SegList) -> Granted<SegPage> {
        let principal = &self.session(session)?.principal;
        let after = request.after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self
            .segment_names
            .range((after, Bound::Unbounded))
            .filter_map(|(_, &key)| self.segments.get(key))
            .filter(|segment| !segment.object.allowed(principal).is_empty())
            .map(|segment| SegEntry {
                name: segment.object.name.clone(),
                owner: segment.object.owner,
                mode: segment.object.mode,
                base: segment.base(),
                size: segment.size(),
                page_size: segment.page_size(),
                vases: segment.vases,
            })
            .take(limits::LIST_PAGE)
            .collect();
        Ok((SegPage { entries }, None))
    }

    pub(super) fn seg_stat(&self, handles: Handles<'_>) -> Granted<SegStatistics> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::READ)?;
        let segment = self
            .segments
            .get(key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        let statistics = SegStatistics {
            object: segment.object.statistics(),
            base: segment.base(),
            size: segment.size(),
            page_size: segment.page_size(),
            own_slots: segment.own_slots,
            lockable: segment.lock.is_some(),
            vases: segment.vases,
            table_bytes: table_bytes(segment.tables.as_ref().map_or(0, Tree::tables)),
        };
        Ok((statistics, None))
    }

    pub(super) fn seg_ctl(&mut self, request: SegCtl, handles: Handles<'_>) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::CONTROL)?;
        let stale = Error::StaleHandle { position: 0 };
        let segment = self.segments.get_mut(key).ok_or(stale)?;
        match request.command {
            Command::Evict => self.detach_everywhere(key, Departure::Evicted)?,
            command => segment.object.change(&mut self.resources, command)?,
        }
        Ok(((), None))
    }

    pub(super) fn seg_copy(&mut self, request: &SegCopy, handles: Handles<'_>) -> Granted<()> {
        let (from, from_rights) = handles.get(0, Kind::Segment, &self.segments)?;
        let (to, to_rights) = handles.get(1, Kind::Segment, &self.segments)?;
        require(from_rights, Rights::READ)?;
        require(to_rights, Rights::WRITE)?;
        let from = self
            .segments
            .get(from)
            .ok_or(Error::StaleHandle { position: 0 })?;
        let to = self
            .segments
            .get(to)
            .ok_or(Error::StaleHandle { position: 1 })?;
        let (base, alignment) = (request.offset, limits::COPY_BYTES);
        if !base.is_multiple_of(alignment) {
            return Err(Error::Unaligned { base, alignment });
        }
        let rest = from.size().min(to.size()).saturating_sub(base);
        if rest == 0 {
            let size = alignment;
            return Err(Error::OutOfRange { base, size });
        }
        let bytes = rest.min(alignment);
        let (source, from_address) = from.in_window(Side::Source, base, bytes);
        let (target, to_address) = to.in_window(Side::Target, base, bytes);
        self.resources
            .copy_memory((&source, from_address), (&target, to_address), bytes)?;
        Ok(((), None))
    }

    /// Makes a segment larger, or goes on with making it larger, whoever began that.
    pub(super) fn seg_grow(
        &mut self,
        request: &SegGrow,
        handles: Handles<'_>,
    ) -> Granted<SegGranted> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::WRITE)?;
        let stale = Error::StaleHandle { position: 0 };
        let segment = self.segments.get(key).ok_or(stale.clone())?;
        if request.size <= segment.size() {
            return Ok((segment.granted(rights), None));
        }
        match self.work.take() {
            Some(Work::Grow(begun)) if begun == key => {}
            other => self.give_up(other),
        }
        if segment_of(&self.segments, key)?.growing.is_none() {
            self.begin_growing(key, request.size)?;
        }
        self.grow_on(key).inspect_err(|_| {
            self.work = Some(Work::Grow(key));
        })?;
        let segment = self.segments.get(key).ok_or(stale)?;
        match request.size <= segment.size() {
            true => Ok((segment.granted(rights), None)),
            // It was somebody else's growth.
            false => Err(Error::Again),
        }
    }

    /// Claims the addresses behind a segment.
    fn begin_growing(&mut self, key: Key, size: u64) -> Result<(), Error> {
        let segment = segment_of(&self.segments, key)?;
        let (base, old, page_size) = (segment.base(), segment.size(), segment.page_size());
        let pages = (size - old).div_ceil(page_size.bytes());
        let range = if GLOBAL.contains(&base) {
            GLOBAL
        } else {
            LOCAL
        };
        pages
            .checked_mul(page_size.bytes())
            .and_then(|bytes| segment.last().checked_add(bytes))
            .filter(|last| range.contains(last))
            .ok_or(Error::OutOfRange { base, size })?;
        if segment.pieces.len() >= limits::PIECES_PER_SEGMENT {
            return Err(Error::LimitReached(Limit::PiecesPerSegment));
        }
        let piece = self.reserve_piece(base + old, page_size, pages)?;
        if let Some(segment) = self.segments.get_mut(key) {
            segment.growing = Some(Growing::new(piece));
        }
        Ok(())
    }

    pub(super) fn release_segment(&mut self, segment: Segment) {
        if let Some(tables) = segment.tables {
            tables.delete(&mut self.resources);
        }
        if let Some(lock) = segment.lock {
            self.resources.discard_own_page(lock);
        }
        let growing = segment.growing.map(|growing| growing.piece);
        for piece in segment.pieces.into_iter().chain(growing) {
            self.resources.discard(piece.frames);
        }
        segment.object.delete(&mut self.resources);
    }
}

/// What a segment with these addresses claims.
pub(super) const fn claim(first: u64, last: u64, own_slots: bool) -> (u64, u64) {
    match own_slots {
        true => (first & !(SLOT_BYTES - 1), last | (SLOT_BYTES - 1)),
        false => (first, last),
    }
}

/// Whether a segment may lie there.
fn check_base(base: u64, size: u64, page_size: PageSize, range: &Range<u64>) -> Result<(), Error> {
    let alignment = page_size.bytes();
    if !base.is_multiple_of(alignment) {
        return Err(Error::Unaligned { base, alignment });
    }
    let end = size
        .checked_next_multiple_of(alignment)
        .and_then(|bytes| base.checked_add(bytes));
    match range.contains(&base) && end.is_some_and(|end| end <= range.end) {
        true => Ok(()),
        false => Err(Error::OutOfRange { base, size }),
    }
}

/// A segment that there must be.
fn segment_of(segments: &Arena<Segment>, key: Key) -> Result<&Segment, Error> {
    segments.get(key).ok_or(Error::StaleHandle { position: 0 })
}

impl Segment {
    /// What is remembered of it where it was.
    pub(super) fn left(&self, departure: Departure) -> LeftSegment {
        LeftSegment {
            name: self.object.name.clone(),
            addresses: self.base()..=self.last(),
            departure,
        }
    }

    fn first(&self) -> Option<&Mapping> {
        self.pieces.first().map(|piece| &piece.mapping)
    }

    pub(super) fn base(&self) -> u64 {
        self.first().map_or(0, |mapping| mapping.base)
    }

    pub(super) fn last(&self) -> u64 {
        self.pieces.last().map_or(0, |piece| piece.mapping.last())
    }

    pub(super) fn size(&self) -> u64 {
        self.last() - self.base() + 1
    }

    fn page_size(&self) -> PageSize {
        self.first()
            .map_or(PageSize::Small, |mapping| mapping.page_size)
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        (self.base()..=self.last()).contains(&address)
    }

    /// The cap of a page by its number.
    fn frame(&self, page: u64) -> Option<Slot> {
        let address = self.base() + page * self.page_size().bytes();
        let mut mappings = self.pieces.iter().map(|piece| &piece.mapping);
        let mapping = mappings.find(|mapping| address <= mapping.last())?;
        let Slot(first) = mapping.frames;
        let page = (address - mapping.base) >> mapping.page_size.bits();
        Some(Slot(first + page as u32))
    }

    /// The first and the last address that nothing else may have in a VAS that has it.
    pub(super) fn claim(&self) -> (u64, u64) {
        let growing = self.growing.as_ref();
        let last = growing.map_or(self.last(), |growing| growing.piece.mapping.last());
        claim(self.base(), last, self.own_slots)
    }

    fn check_range(&self, range: &Range<u64>) -> Result<(), Error> {
        let (base, size) = (self.base(), self.size());
        match range.contains(&base) {
            true => Ok(()),
            false => Err(Error::OutOfRange { base, size }),
        }
    }

    /// Whether it would have this for itself in a VAS or attachment that has these others.
    pub(super) fn check_overlap(
        &self,
        key: Key,
        (first, last): (u64, u64),
        others: &[(Key, Access)],
        segments: &Arena<Segment>,
    ) -> Result<(), Error> {
        let others = others.iter().filter(|(other, _)| *other != key);
        let mut others = others.filter_map(|&(key, _)| segments.get(key));
        match others.find(|other| {
            let (other_first, other_last) = other.claim();
            first <= other_last && other_first <= last
        }) {
            None => Ok(()),
            Some(other) => Err(Error::Overlap {
                with: other.object.name.clone(),
                base: other.base(),
                size: other.size(),
            }),
        }
    }

    /// The frames of a part of it and where in the window to map each; and where there the
    /// part begins.
    fn in_window(&self, side: Side, offset: u64, bytes: u64) -> (Vec<(Slot, u64)>, u64) {
        let page_size = self.page_size();
        let window = side.address(page_size);
        let pages = offset >> page_size.bits()..=(offset + bytes - 1) >> page_size.bits();
        let frames = pages.zip((window..).step_by(page_size.bytes() as usize));
        let frames = frames.filter_map(|(page, address)| Some((self.frame(page)?, address)));
        (frames.collect(), window + offset % page_size.bytes())
    }

    /// Its pieces as they come to a VAS or an attachment.
    pub(super) fn mappings_in(
        &self,
        segment: Key,
        access: Access,
    ) -> impl Iterator<Item = SegmentMapping<'_>> {
        self.mappings(segment, access, Growing::enters)
    }

    /// Its pieces as a VAS or an attachment may have them.
    pub(super) fn mappings_left_in(
        &self,
        segment: Key,
        access: Access,
    ) -> impl Iterator<Item = SegmentMapping<'_>> {
        self.mappings(segment, access, Growing::is_visible)
    }

    /// Its pieces, and what it grows by if that is so.
    fn mappings(
        &self,
        segment: Key,
        access: Access,
        grown: fn(&Growing) -> bool,
    ) -> impl Iterator<Item = SegmentMapping<'_>> {
        let growing = self.growing.iter().filter(move |growing| grown(growing));
        let pieces = self.pieces.iter();
        let pieces = pieces.chain(growing.map(|growing| &growing.piece));
        (0..)
            .zip(pieces)
            .map(move |(number, piece)| SegmentMapping {
                piece: (segment, number),
                mapping: Mapping {
                    access,
                    ..piece.mapping
                },
                own_tables: self.tables.as_ref(),
            })
    }

    pub(super) fn granted(&self, rights: Rights) -> SegGranted {
        SegGranted {
            rights,
            base: self.base(),
            size: self.size(),
            page_size: self.page_size(),
        }
    }
}
