// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on segments.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Bound, Range};

use protocol::address_map::{GLOBAL, LOCAL, SLOT_BYTES};
use protocol::message::{
    Base, Command, Departure, SegAlloc, SegAttach, SegAttachLocal, SegCopy, SegCtl, SegDetachLocal,
    SegEntry, SegFind, SegGranted, SegGrow, SegList, SegPage, SegStatistics,
};
use protocol::{Access, Error, Kind, Limit, PageSize, Rights, limits};

use super::lifetime::take;
use super::{
    Granted, Handles, LeftSegment, Object, Piece, Segment, Server, next_key, require, table_bytes,
};
use crate::arena::{Arena, Key};
use crate::kernel::{self, Kernel, Slot};
use crate::policy::New;
use crate::policy::page_tables::tree::Tree;
use crate::policy::page_tables::{Mapping, SegmentMapping};
use crate::policy::placement::Asked;
use crate::resources::{Counted, Side};

impl<K: Kernel> Server<K> {
    pub(super) fn seg_alloc(&mut self, session: Key, request: SegAlloc) -> Granted<SegGranted> {
        let principal = &self.session(session)?.principal;
        let (base, page_size, pages) = self.place(&request)?;
        if self.segment_names.contains_key(&request.name) {
            return Err(Error::NameExists);
        }
        let key = next_key(&self.segments, Limit::Segments)?;
        self.resources.check(Counted::Segments)?;
        let made_by = (session, self.resources.payer());
        if pages > self.resources.available() >> page_size.bits() {
            return Err(Error::OutOfMemory);
        }
        let pages = u32::try_from(pages).map_err(|_| Error::OutOfSlots)?;
        let name = request.name.clone();
        let SegAlloc {
            name: text, mode, ..
        } = request;
        let new = New {
            kind: Kind::Segment,
            user: principal.user,
            mode,
        };
        let mut object = Object::new(Kind::Segment, key, text, mode, principal, made_by);
        object.lifetime = self.policies.lifetime.answer.lifetime(new);
        let rights = Rights::all();
        let handle = object.handle(&mut self.resources, rights, 0)?;
        let piece = match self.make_piece(base, page_size, pages) {
            Ok(piece) => piece,
            Err(error) => {
                object.delete(&mut self.resources);
                return Err(error);
            }
        };
        let own_slots = request.own_slots;
        let tables = match own_slots && self.policies.page_tables.answer.shares_tables {
            true => Tree::mapping(&mut self.resources, (key, 0), &piece.mapping).map(Some),
            false => Ok(None),
        };
        let tables = match tables {
            Ok(tables) => tables,
            Err(error) => {
                self.resources.delete_frames(piece.frames);
                object.delete(&mut self.resources);
                return Err(error);
            }
        };
        let segment = Segment {
            object,
            pieces: vec![piece],
            own_slots,
            tables,
            vases: 0,
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

    /// Memory for a piece.
    fn make_piece(&mut self, base: u64, page_size: PageSize, pages: u32) -> Result<Piece, Error> {
        let frame = kernel::Object::Frame(page_size);
        let frames = self.resources.make_frames(frame, pages)?;
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
        let mut taken = self.segments.iter().map(|(_, segment)| segment.claim());
        let base = self.policies.placement.answer.place(&asked, &mut taken)?;
        check_base(base, size, page_size, &asked.range)?;
        Ok((base, page_size, pages))
    }

    pub(super) fn seg_find(&mut self, session: Key, request: &SegFind) -> Granted<SegGranted> {
        let &key = self
            .segment_names
            .get(&request.name)
            .ok_or(Error::NotFound)?;
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
        let vas = self
            .vases
            .get_mut(vas_key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        if vas.segments.iter().any(|&(other, _)| other == key) {
            return Err(Error::AlreadyAttached);
        }
        let segment = self
            .segments
            .get(key)
            .ok_or(Error::StaleHandle { position: 1 })?;
        segment.check_range(&GLOBAL)?;
        segment.check_overlap(key, segment.claim(), &vas.segments, &self.segments)?;
        if vas.segments.len() >= limits::SEGMENTS_PER_VAS {
            return Err(Error::LimitReached(Limit::SegmentsPerVas));
        }
        let resources = &mut self.resources;
        let added = segment
            .mappings_in(key, request.access)
            .try_for_each(|piece| vas.tables.add_segment(resources, &piece));
        if let Err(error) = added {
            for piece in segment.mappings_in(key, request.access) {
                vas.tables.remove_segment(resources, &piece);
            }
            return Err(error);
        }
        vas.segments.push((key, request.access));
        if let Some(segment) = self.segments.get_mut(key) {
            segment.vases += 1;
        }
        Ok(((), None))
    }

    pub(super) fn seg_detach(&mut self, handles: Handles<'_>) -> Granted<()> {
        let (vas_key, vas_rights) = handles.get(0, Kind::Vas, &self.vases)?;
        let (key, _) = handles.get(1, Kind::Segment, &self.segments)?;
        require(vas_rights, Rights::WRITE)?;
        let vas = self
            .vases
            .get_mut(vas_key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        let segment = self
            .segments
            .get(key)
            .ok_or(Error::StaleHandle { position: 1 })?;
        let access = take(&mut vas.segments, key).ok_or(Error::NotAttached)?;
        vas.left.write(segment.left(Departure::Detached));
        for piece in segment.mappings_in(key, access) {
            vas.tables.remove_segment(&mut self.resources, &piece);
        }
        self.leave_segment(key);
        Ok(((), None))
    }

    pub(super) fn seg_attach_local(
        &mut self,
        session: Key,
        request: SegAttachLocal,
        handles: Handles<'_>,
    ) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, request.access.needs())?;
        let attachment_key = self
            .attachment_of(session, request.attachment)
            .ok_or(Error::StaleAttachment)?;
        let attachment = self
            .attachments
            .get_mut(attachment_key)
            .ok_or(Error::StaleAttachment)?;
        if attachment.segments.iter().any(|&(other, _)| other == key) {
            return Err(Error::AlreadyAttached);
        }
        let segment = self
            .segments
            .get(key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        segment.check_range(&LOCAL)?;
        segment.check_overlap(key, segment.claim(), &attachment.segments, &self.segments)?;
        if attachment.segments.len() >= limits::SEGMENTS_PER_ATTACHMENT {
            return Err(Error::LimitReached(Limit::SegmentsPerAttachment));
        }
        let vas = self
            .vases
            .get_mut(attachment.vas)
            .ok_or(Error::StaleAttachment)?;
        let (resources, tables) = (&mut self.resources, &mut vas.tables);
        let added = segment
            .mappings_in(key, request.access)
            .try_for_each(|piece| tables.add_local_segment(resources, attachment_key, &piece));
        if let Err(error) = added {
            for piece in segment.mappings_in(key, request.access) {
                tables.remove_local_segment(resources, attachment_key, &piece);
            }
            return Err(error);
        }
        attachment.segments.push((key, request.access));
        if let Some(segment) = self.segments.get_mut(key) {
            segment.vases += 1;
        }
        Ok(((), None))
    }

    pub(super) fn seg_detach_local(
        &mut self,
        session: Key,
        request: SegDetachLocal,
        handles: Handles<'_>,
    ) -> Granted<()> {
        let (key, _) = handles.get(0, Kind::Segment, &self.segments)?;
        let attachment_key = self
            .attachment_of(session, request.attachment)
            .ok_or(Error::StaleAttachment)?;
        let attachment = self
            .attachments
            .get_mut(attachment_key)
            .ok_or(Error::StaleAttachment)?;
        let vas = self
            .vases
            .get_mut(attachment.vas)
            .ok_or(Error::StaleAttachment)?;
        let segment = self
            .segments
            .get(key)
            .ok_or(Error::StaleHandle { position: 0 })?;
        let access = take(&mut attachment.segments, key).ok_or(Error::NotAttached)?;
        attachment.left.write(segment.left(Departure::Detached));
        for piece in segment.mappings_in(key, access) {
            vas.tables
                .remove_local_segment(&mut self.resources, attachment_key, &piece);
        }
        self.leave_segment(key);
        Ok(((), None))
    }

    pub(super) fn seg_free(&mut self, handles: Handles<'_>) -> Granted<()> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::CONTROL)?;
        let attachments = self.segments.get(key).map_or(0, |segment| segment.vases);
        if attachments > 0 {
            return Err(Error::InUse { attachments });
        }
        self.remove_segment(key);
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
            Command::Evict => self.evict_from_segment(key),
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

    pub(super) fn seg_grow(
        &mut self,
        request: &SegGrow,
        handles: Handles<'_>,
    ) -> Granted<SegGranted> {
        let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
        require(rights, Rights::WRITE)?;
        let stale = Error::StaleHandle { position: 0 };
        let segment = self.segments.get(key).ok_or(stale.clone())?;
        let (base, old, page_size) = (segment.base(), segment.size(), segment.page_size());
        let size = request.size;
        if size <= old {
            return Ok((segment.granted(rights), None));
        }
        let pages = (size - old).div_ceil(page_size.bytes());
        let range = if GLOBAL.contains(&base) {
            GLOBAL
        } else {
            LOCAL
        };
        let last = pages
            .checked_mul(page_size.bytes())
            .and_then(|bytes| segment.last().checked_add(bytes))
            .filter(|last| range.contains(last))
            .ok_or(Error::OutOfRange { base, size })?;
        let claim = segment.claim_up_to(last);
        let lists = self.attachments.iter().map(|(_, one)| &one.segments);
        let lists = lists.chain(self.vases.iter().map(|(_, vas)| &vas.segments));
        for list in lists.filter(|list| list.iter().any(|&(other, _)| other == key)) {
            segment.check_overlap(key, claim, list, &self.segments)?;
        }
        if segment.pieces.len() >= limits::PIECES_PER_SEGMENT {
            return Err(Error::LimitReached(Limit::PiecesPerSegment));
        }
        if pages > self.resources.available() >> page_size.bits() {
            return Err(Error::OutOfMemory);
        }
        let pages = u32::try_from(pages).map_err(|_| Error::OutOfSlots)?;
        let piece = self.make_piece(base + old, page_size, pages)?;
        if let Err(error) = self.enter_piece(key, &piece.mapping) {
            self.resources.delete_frames(piece.frames);
            return Err(error);
        }
        let segment = self.segments.get_mut(key).ok_or(stale)?;
        segment.pieces.push(piece);
        Ok((segment.granted(rights), None))
    }

    /// Makes a new piece of a segment visible to all who have it.
    fn enter_piece(&mut self, key: Key, mapping: &Mapping) -> Result<(), Error> {
        let stale = Error::StaleHandle { position: 0 };
        let segment = self.segments.get_mut(key).ok_or(stale)?;
        let piece = (key, segment.pieces.len() as u16);
        let last_slot = segment.last() / SLOT_BYTES;
        // Who has the tables of a segment needs an entry for each slot that is new.
        let mut visible = Some(*mapping);
        if let Some(tables) = &mut segment.tables {
            tables.map_segment(&mut self.resources, piece, mapping, mapping.access)?;
            visible = mapping.beyond_slot(last_slot);
        }
        let Some(visible) = visible else {
            return Ok(());
        };
        let own_tables = segment.tables.as_ref();
        let new = |access| SegmentMapping {
            piece,
            mapping: Mapping { access, ..visible },
            own_tables,
        };
        let having = |segments: &[(Key, Access)]| {
            let mut segments = segments.iter();
            segments
                .find(|(other, _)| *other == key)
                .map(|&(_, access)| access)
        };
        let resources = &mut self.resources;
        let mut entered = Ok(());
        for (_, vas) in self.vases.iter_mut() {
            if let (Some(access), Ok(())) = (having(&vas.segments), &entered) {
                entered = vas.tables.add_segment(resources, &new(access));
            }
        }
        for (attachment_key, attachment) in self.attachments.iter() {
            if let (Some(access), Ok(())) = (having(&attachment.segments), &entered)
                && let Some(vas) = self.vases.get_mut(attachment.vas)
            {
                let tables = &mut vas.tables;
                entered = tables.add_local_segment(resources, attachment_key, &new(access));
            }
        }
        if entered.is_err() {
            for (_, vas) in self.vases.iter_mut() {
                if let Some(access) = having(&vas.segments) {
                    vas.tables.remove_segment(resources, &new(access));
                }
            }
            for (attachment_key, attachment) in self.attachments.iter() {
                if let Some(access) = having(&attachment.segments)
                    && let Some(vas) = self.vases.get_mut(attachment.vas)
                {
                    let tables = &mut vas.tables;
                    tables.remove_local_segment(resources, attachment_key, &new(access));
                }
            }
            if let Some(tables) = &mut segment.tables {
                tables.unmap_segment(resources, piece, mapping);
            }
        }
        entered
    }

    pub(super) fn release_segment(&mut self, segment: Segment) {
        if let Some(tables) = segment.tables {
            tables.delete(&mut self.resources);
        }
        for piece in segment.pieces {
            self.resources.delete_frames(piece.frames);
        }
        segment.object.delete(&mut self.resources);
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

    fn last(&self) -> u64 {
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
    fn claim(&self) -> (u64, u64) {
        self.claim_up_to(self.last())
    }

    /// The same if it ended there.
    fn claim_up_to(&self, last: u64) -> (u64, u64) {
        let first = self.base();
        if self.own_slots {
            (first & !(SLOT_BYTES - 1), last | (SLOT_BYTES - 1))
        } else {
            (first, last)
        }
    }

    fn check_range(&self, range: &Range<u64>) -> Result<(), Error> {
        let (base, size) = (self.base(), self.size());
        match range.contains(&base) {
            true => Ok(()),
            false => Err(Error::OutOfRange { base, size }),
        }
    }

    /// Whether it would have this for itself in a VAS or attachment that has these others.
    fn check_overlap(
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

    /// Its pieces as a VAS or an attachment has them.
    pub(super) fn mappings_in(
        &self,
        segment: Key,
        access: Access,
    ) -> impl Iterator<Item = SegmentMapping<'_>> {
        let mappings = self.pieces.iter().map(|piece| piece.mapping);
        (0..)
            .zip(mappings)
            .map(move |(number, mapping)| SegmentMapping {
                piece: (segment, number),
                mapping: Mapping { access, ..mapping },
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
