// SPDX-License-Identifier: MIT OR Apache-2.0

//! How a segment grows: a piece is added behind its end, and comes to every place that has it.

use protocol::Error;
use protocol::address_map::SLOT_BYTES;

use super::steps::{Place, access_in, tables_of};
use super::{Piece, Server};
use crate::arena::Key;
use crate::kernel::Kernel;
use crate::policy::page_tables::{Mapping, PageTables, SegmentMapping};
use crate::resources::{Resources, units};

/// A piece that a segment does not have completely.
pub(super) struct Growing {
    pub(super) piece: Piece,
    stage: Stage,
    /// Places before this one are done.
    next_place: u32,
}

/// What is done with it. From the first on, nobody else may have its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing may lie there in any place that has the segment.
    Check,
    /// Its frames are made.
    Make,
    /// It comes to all places that have the segment.
    Enter,
    /// It leaves them again.
    Undo,
}

impl Growing {
    pub(super) const fn new(piece: Piece) -> Self {
        Growing {
            piece,
            stage: Stage::Check,
            next_place: 0,
        }
    }

    /// Whether it comes to all places that the segment comes to.
    pub(super) fn enters(&self) -> bool {
        self.stage == Stage::Enter
    }

    /// Whether places that have the segment may have it.
    pub(super) fn is_visible(&self) -> bool {
        matches!(self.stage, Stage::Enter | Stage::Undo)
    }
}

impl<K: Kernel> Server<K> {
    /// Goes on with the growth of a segment.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do. After any other, it is to be undone.
    pub(super) fn grow_on(&mut self, key: Key) -> Result<(), Error> {
        while let Some(segment) = self.segments.get_mut(key)
            && let Some(growing) = &mut segment.growing
        {
            let frames = &mut growing.piece.frames;
            match growing.stage {
                Stage::Check => self.check_places(key)?,
                Stage::Make => self.resources.make_frames(frames)?,
                Stage::Enter => self.enter_places(key)?,
                Stage::Undo => return Err(Error::Again),
            }
            self.next_stage(key);
        }
        Ok(())
    }

    fn next_stage(&mut self, key: Key) {
        let Some(segment) = self.segments.get_mut(key) else {
            return;
        };
        let Some(growing) = &mut segment.growing else {
            return;
        };
        growing.next_place = 0;
        match growing.stage {
            Stage::Check => growing.stage = Stage::Make,
            Stage::Make => growing.stage = Stage::Enter,
            Stage::Enter | Stage::Undo => {
                let grown = segment.growing.take();
                segment.pieces.extend(grown.map(|growing| growing.piece));
            }
        }
    }

    fn check_places(&mut self, key: Key) -> Result<(), Error> {
        for (number, place) in self.places_of(key, self.next_place(key))? {
            let list = self.segments_of(place).map_or(0, |list| list.len());
            self.resources.step(1 + list as u32 / units::LISTED)?;
            let list = match place {
                Place::Vas(key) => self.vases.get(key).map(|vas| &vas.segments),
                Place::Attachment(key) => self.attachments.get(key).map(|one| &one.segments),
            };
            if let (Some(list), Some(segment)) = (list, self.segments.get(key)) {
                segment.check_overlap(key, segment.claim(), list, &self.segments)?;
            }
            self.place_is_done(key, number);
        }
        Ok(())
    }

    fn enter_places(&mut self, key: Key) -> Result<(), Error> {
        let Some(segment) = self.segments.get_mut(key) else {
            return Ok(());
        };
        let number = segment.pieces.len() as u16;
        if let (Some(tables), Some(growing)) = (&mut segment.tables, &segment.growing) {
            let mapping = &growing.piece.mapping;
            let piece = (key, number);
            tables.map_segment(&mut self.resources, piece, mapping, mapping.access)?;
        }
        self.each_new_piece(key, |tables, resources, place, piece| match place {
            Place::Vas(_) => tables.add_segment(resources, piece),
            Place::Attachment(key) => tables.add_local_segment(resources, key, piece),
        })
    }

    /// Takes away what a segment was to have more.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn undo_growth(&mut self, key: Key) -> Result<(), Error> {
        let Some(segment) = self.segments.get_mut(key) else {
            return Ok(());
        };
        let Some(growing) = &mut segment.growing else {
            return Ok(());
        };
        match growing.stage {
            // It is nowhere yet; others may be where it was to be.
            Stage::Check | Stage::Make => {
                if let Some(growing) = segment.growing.take() {
                    self.resources.discard(growing.piece.frames);
                }
                return Ok(());
            }
            Stage::Enter => {
                growing.stage = Stage::Undo;
                growing.next_place = 0;
            }
            Stage::Undo => {}
        }
        let last_slot = segment.last() / SLOT_BYTES;
        self.each_new_piece(key, |tables, resources, place, piece| {
            // Who has the tables of the segment keeps the slots that are not new.
            let Some(mapping) = (match piece.own_tables {
                Some(_) => piece.mapping.beyond_slot(last_slot),
                None => Some(piece.mapping),
            }) else {
                return Ok(());
            };
            let piece = SegmentMapping { mapping, ..*piece };
            match place {
                Place::Vas(_) => tables.remove_segment(resources, &piece),
                Place::Attachment(key) => tables.remove_local_segment(resources, key, &piece),
            }
        })?;
        let Some(segment) = self.segments.get_mut(key) else {
            return Ok(());
        };
        let number = segment.pieces.len() as u16;
        if let (Some(tables), Some(growing)) = (&mut segment.tables, &segment.growing) {
            let mapping = &growing.piece.mapping;
            tables.unmap_segment(&mut self.resources, (key, number), mapping)?;
        }
        if let Some(growing) = segment.growing.take() {
            self.resources.discard(growing.piece.frames);
        }
        Ok(())
    }

    /// What a segment grows by, in each place that has it and is not done.
    fn each_new_piece(
        &mut self,
        key: Key,
        mut visit: impl FnMut(
            &mut dyn PageTables<K>,
            &mut Resources<K>,
            Place,
            &SegmentMapping<'_>,
        ) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (number, place) in self.places_of(key, self.next_place(key))? {
            self.resources.step(1)?;
            let list = self.segments_of(place);
            let Some(access) = list.and_then(|list| access_in(list, key)) else {
                continue;
            };
            let segment = self.segments.get(key).ok_or(Error::NotAttached)?;
            let Some(growing) = &segment.growing else {
                continue;
            };
            let piece = SegmentMapping {
                piece: (key, segment.pieces.len() as u16),
                mapping: Mapping {
                    access,
                    ..growing.piece.mapping
                },
                own_tables: segment.tables.as_ref(),
            };
            let tables = tables_of(place, &self.attachments, &mut self.vases)?;
            visit(tables, &mut self.resources, place, &piece)?;
            self.place_is_done(key, number);
        }
        Ok(())
    }

    fn next_place(&self, key: Key) -> u32 {
        let growing = self.segments.get(key).and_then(|one| one.growing.as_ref());
        growing.map_or(0, |growing| growing.next_place)
    }

    fn place_is_done(&mut self, key: Key, number: u32) {
        if let Some(segment) = self.segments.get_mut(key)
            && let Some(growing) = &mut segment.growing
        {
            growing.next_place = number + 1;
        }
    }
}
