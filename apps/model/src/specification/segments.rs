// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on segments.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use protocol::address_map::{GLOBAL, LOCAL, SLOT_BYTES};
use protocol::message::{
    Base, Command, SegAlloc, SegAt, SegAttach, SegAttachLocal, SegCopy, SegCtl, SegDetachLocal,
    SegEntry, SegFind, SegGranted, SegGrow, SegList, SegPage, SegStatistics,
};
use protocol::{Access, Error, Kind, Limit, Name, PageSize, Rights, limits};

use super::{Asker, Object, Refusal, Segment, Specification, has, require};
use crate::Number;
use crate::play::ALL;

impl Segment {
    pub(super) const fn granted(&self, rights: Rights) -> SegGranted {
        SegGranted {
            rights,
            base: self.base,
            size: self.size,
            page_size: self.page_size,
        }
    }

    /// Which addresses it would have for itself if it were so large.
    fn claim(&self, size: u64) -> Range<u64> {
        let end = self.base + size;
        if self.own_slots {
            let first = self.base / SLOT_BYTES * SLOT_BYTES;
            first..end.next_multiple_of(SLOT_BYTES)
        } else {
            self.base..end
        }
    }

    fn range(&self) -> Range<u64> {
        area(self.base).unwrap_or_default()
    }
}

/// The addresses for segments that this one is among.
fn area(address: u64) -> Option<Range<u64>> {
    [GLOBAL, LOCAL]
        .into_iter()
        .find(|area| area.contains(&address))
}

impl Specification {
    fn segment_named(&self, name: &Name) -> Option<(Number, &Segment)> {
        let mut segments = self.segments.iter();
        let found = segments.find(|(_, segment)| segment.object.name == *name);
        found.map(|(&number, segment)| (number, segment))
    }

    pub(super) fn seg_alloc(
        &mut self,
        asker: &Asker<'_>,
        request: &SegAlloc,
    ) -> Result<SegGranted, Refusal> {
        let size = request.size;
        if size == 0 {
            return Err(Error::ZeroSize.into());
        }
        // The policies of the systems here: a base must be asked for, and pages are small.
        let Base::At(base) = request.base else {
            return Err(Error::BaseNeeded.into());
        };
        let page_size = request.page_size.unwrap_or(PageSize::Small);
        let alignment = page_size.bytes();
        if !base.is_multiple_of(alignment) {
            return Err(Error::Unaligned { base, alignment }.into());
        }
        let pages = size.div_ceil(alignment);
        let end = base.saturating_add(pages.saturating_mul(alignment));
        if area(base).is_none_or(|area| end > area.end) {
            return Err(Error::OutOfRange { base, size }.into());
        }
        if self.segment_named(&request.name).is_some() {
            return Err(Error::NameExists.into());
        }
        let segment = Segment {
            object: Object::new(asker, &request.name, request.mode),
            base,
            size: end - base,
            page_size,
            own_slots: request.own_slots,
            pieces: 1,
            words: BTreeMap::new(),
        };
        let granted = segment.granted(ALL);
        self.segments.insert(asker.new, segment);
        self.grant(asker, Kind::Segment, asker.new, ALL);
        Ok(granted)
    }

    pub(super) fn seg_find(
        &mut self,
        asker: &Asker<'_>,
        request: &SegFind,
    ) -> Result<SegGranted, Refusal> {
        let (number, _) = self.segment_named(&request.name).ok_or(Error::NotFound)?;
        self.segment_found(asker, number)
    }

    pub(super) fn seg_at(
        &mut self,
        asker: &Asker<'_>,
        request: &SegAt,
    ) -> Result<SegGranted, Refusal> {
        let attachment = self.own_attachment(asker, request.attachment)?;
        let mut seen = self.seen_by(&self.attachments[&attachment]);
        let found = seen.find(|(_, segment, _)| {
            let addresses = segment.base..segment.base + segment.size;
            addresses.contains(&request.address)
        });
        let (number, ..) = found.ok_or(Error::NotFound)?;
        drop(seen);
        self.segment_found(asker, number)
    }

    fn segment_found(&mut self, asker: &Asker<'_>, number: Number) -> Result<SegGranted, Refusal> {
        let segment = &self.segments[&number];
        let rights = segment.object.find(asker.process)?;
        let granted = segment.granted(rights);
        self.grant(asker, Kind::Segment, number, rights);
        Ok(granted)
    }

    /// Whether a segment can be added to these.
    fn check_place(
        &self,
        number: Number,
        area: &Range<u64>,
        list: &[(Number, Access)],
    ) -> Result<(), Refusal> {
        let segment = &self.segments[&number];
        if has(list, number) {
            return Err(Error::AlreadyAttached.into());
        }
        let (base, size) = (segment.base, segment.size);
        if !area.contains(&base) {
            return Err(Error::OutOfRange { base, size }.into());
        }
        self.check_overlap(number, size, list)
    }

    /// Whether a segment of this size would be alone among these. Any of several in the way may
    /// be named.
    fn check_overlap(
        &self,
        number: Number,
        size: u64,
        list: &[(Number, Access)],
    ) -> Result<(), Refusal> {
        let claim = self.segments[&number].claim(size);
        let others = list.iter().filter(|&&(other, _)| other != number);
        let others = others.map(|(other, _)| &self.segments[other]);
        let ways: Vec<Error> = others
            .filter(|other| {
                let other = other.claim(other.size);
                other.start < claim.end && claim.start < other.end
            })
            .map(|other| Error::Overlap {
                with: other.object.name.clone(),
                base: other.base,
                size: other.size,
            })
            .collect();
        match ways.is_empty() {
            true => Ok(()),
            false => Err(Refusal(ways)),
        }
    }

    pub(super) fn seg_attach(
        &mut self,
        asker: &Asker<'_>,
        request: &SegAttach,
    ) -> Result<(), Refusal> {
        let (vas, vas_rights) = asker.object(self, 0, Kind::Vas)?;
        let (number, rights) = asker.object(self, 1, Kind::Segment)?;
        require(vas_rights, Rights::WRITE)?;
        require(rights, request.access.needs())?;
        self.check_place(number, &GLOBAL, &self.vases[&vas].segments)?;
        self.vases
            .entry(vas)
            .and_modify(|vas| vas.segments.push((number, request.access)));
        Ok(())
    }

    pub(super) fn seg_detach(&mut self, asker: &Asker<'_>) -> Result<(), Refusal> {
        let (vas, vas_rights) = asker.object(self, 0, Kind::Vas)?;
        let (number, _) = asker.object(self, 1, Kind::Segment)?;
        require(vas_rights, Rights::WRITE)?;
        if !has(&self.vases[&vas].segments, number) {
            return Err(Error::NotAttached.into());
        }
        self.vases.entry(vas).and_modify(|vas| {
            vas.segments.retain(|&(segment, _)| segment != number);
        });
        self.segment_left(number);
        Ok(())
    }

    pub(super) fn seg_attach_local(
        &mut self,
        asker: &Asker<'_>,
        request: &SegAttachLocal,
    ) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Segment)?;
        require(rights, request.access.needs())?;
        let attachment = self.own_attachment(asker, request.attachment)?;
        self.check_place(number, &LOCAL, &self.attachments[&attachment].segments)?;
        self.attachments
            .entry(attachment)
            .and_modify(|attachment| attachment.segments.push((number, request.access)));
        Ok(())
    }

    pub(super) fn seg_detach_local(
        &mut self,
        asker: &Asker<'_>,
        request: &SegDetachLocal,
    ) -> Result<(), Refusal> {
        let (number, _) = asker.object(self, 0, Kind::Segment)?;
        let attachment = self.own_attachment(asker, request.attachment)?;
        if !has(&self.attachments[&attachment].segments, number) {
            return Err(Error::NotAttached.into());
        }
        self.attachments.entry(attachment).and_modify(|attachment| {
            attachment
                .segments
                .retain(|&(segment, _)| segment != number);
        });
        self.segment_left(number);
        Ok(())
    }

    pub(super) fn seg_free(&mut self, asker: &Asker<'_>) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Segment)?;
        require(rights, Rights::CONTROL)?;
        let attachments = self.places_of(number);
        if attachments > 0 {
            return Err(Error::InUse { attachments }.into());
        }
        self.segment_dies(number);
        Ok(())
    }

    pub(super) fn seg_list(&self, asker: &Asker<'_>, request: &SegList) -> SegPage {
        let seen = self.segments.iter().filter(|(_, segment)| {
            let after = request.after.as_ref();
            !segment.object.allowed(asker.process).is_empty()
                && after.is_none_or(|after| segment.object.name > *after)
        });
        let seen: BTreeMap<&Name, SegEntry> = seen
            .map(|(&number, segment)| {
                let entry = SegEntry {
                    name: segment.object.name.clone(),
                    owner: segment.object.owner,
                    mode: segment.object.mode,
                    base: segment.base,
                    size: segment.size,
                    page_size: segment.page_size,
                    vases: self.places_of(number),
                };
                (&segment.object.name, entry)
            })
            .collect();
        let entries = seen.into_values().take(limits::LIST_PAGE).collect();
        SegPage { entries }
    }

    pub(super) fn seg_stat(&self, asker: &Asker<'_>) -> Result<SegStatistics, Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Segment)?;
        require(rights, Rights::READ)?;
        let segment = &self.segments[&number];
        Ok(SegStatistics {
            object: segment.object.statistics(),
            base: segment.base,
            size: segment.size,
            page_size: segment.page_size,
            own_slots: segment.own_slots,
            lockable: false,
            vases: self.places_of(number),
            table_bytes: 0,
        })
    }

    pub(super) fn seg_ctl(&mut self, asker: &Asker<'_>, request: &SegCtl) -> Result<(), Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Segment)?;
        require(rights, Rights::CONTROL)?;
        if request.command != Command::Evict {
            return self.change(number, &request.command);
        }
        let used = self.places_of(number) > 0;
        self.leave_all(number);
        if used {
            self.segment_left(number);
        }
        Ok(())
    }

    pub(super) fn seg_grow(
        &mut self,
        asker: &Asker<'_>,
        request: &SegGrow,
    ) -> Result<SegGranted, Refusal> {
        let (number, rights) = asker.object(self, 0, Kind::Segment)?;
        require(rights, Rights::WRITE)?;
        let segment = &self.segments[&number];
        let mut grown = segment.clone();
        if request.size > segment.size {
            let pages = request.size.div_ceil(segment.page_size.bytes());
            let size = pages.saturating_mul(segment.page_size.bytes());
            let end = segment.base.saturating_add(size);
            if end > segment.range().end {
                let (base, size) = (segment.base, request.size);
                return Err(Error::OutOfRange { base, size }.into());
            }
            let lists = self.lists().filter(|list| has(list, number));
            let ways: Vec<Error> = lists
                .filter_map(|list| self.check_overlap(number, size, list).err())
                .flat_map(|Refusal(ways)| ways)
                .collect();
            if !ways.is_empty() {
                return Err(Refusal(ways));
            }
            if segment.pieces == limits::PIECES_PER_SEGMENT {
                return Err(Error::LimitReached(Limit::PiecesPerSegment).into());
            }
            grown.size = size;
            grown.pieces += 1;
        }
        let granted = grown.granted(rights);
        self.segments.insert(number, grown);
        Ok(granted)
    }

    pub(super) fn seg_copy(&mut self, asker: &Asker<'_>, request: &SegCopy) -> Result<(), Refusal> {
        let (from, from_rights) = asker.object(self, 0, Kind::Segment)?;
        let (to, to_rights) = asker.object(self, 1, Kind::Segment)?;
        require(from_rights, Rights::READ)?;
        require(to_rights, Rights::WRITE)?;
        let (base, alignment) = (request.offset, limits::COPY_BYTES);
        if !base.is_multiple_of(alignment) {
            return Err(Error::Unaligned { base, alignment }.into());
        }
        let both = self.segments[&from].size.min(self.segments[&to].size);
        if base >= both {
            let size = alignment;
            return Err(Error::OutOfRange { base, size }.into());
        }
        let block = base..both.min(base + alignment);
        let copied: Vec<(u64, u64)> = self.segments[&from]
            .words
            .range(block.clone())
            .map(|(&offset, &word)| (offset, word))
            .collect();
        self.segments.entry(to).and_modify(|to| {
            to.words.retain(|offset, _| !block.contains(offset));
            to.words.extend(copied);
        });
        Ok(())
    }
}
