// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests that take several steps, and ends that nobody waits for.
//!
//! What a request cannot finish is answered [`Error::Again`], and the same request goes on with it.
//! A session has one such [`Work`] at most. Any other answer to any request of the session, but to
//! those about locks, gives it up; what is given up is undone, and what ends without being asked
//! for ends, in a queue that is worked off with each request.

use alloc::boxed::Box;
use alloc::vec::Vec;

use protocol::message::{Departure, SegAlloc, VasClone};
use protocol::{Access, Error, limits};

use super::segment::claim;
use super::{Attachment, Piece, Server, Vas};
use crate::arena::{Arena, Key};
use crate::kernel::Kernel;
use crate::policy::page_tables::PageTables;
use crate::policy::page_tables::tree::Tree;
use crate::resources::units;

/// Where a segment is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a VAS.
    Vas(Key),
    /// In a single attachment.
    Attachment(Key),
}

/// What a session has begun.
pub(super) enum Work {
    /// A segment that nobody can see yet.
    Alloc(Box<Making>),
    /// A segment comes to a place, or leaves it.
    Move(Place, Key),
    /// A segment grows.
    Grow(Key),
    /// An attachment that nobody can use yet. Segments of the VAS before this one are there.
    Attach(Key, Option<Key>),
    /// A VAS that nobody can see yet, as what it was asked for. Its segments before this one are
    /// there.
    Clone(VasClone, Key, Option<Key>),
}

impl Work {
    /// Whether this segment comes to that place or leaves it.
    pub(super) fn moves(&self, place: Place, segment: Key) -> bool {
        matches!(*self, Work::Move(where_to, what) if (where_to, what) == (place, segment))
    }
}

/// A segment that is being made.
pub(super) struct Making {
    pub(super) request: SegAlloc,
    pub(super) piece: Piece,
    /// Tables of its own.
    pub(super) tables: Option<Tree>,
}

impl Making {
    /// The first and the last address that the segment is to have.
    pub(super) fn claim(&self) -> (u64, u64) {
        let mapping = &self.piece.mapping;
        claim(mapping.base, mapping.last(), self.request.own_slots)
    }
}

/// What ends without being asked for, or need not be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A segment leaves a place.
    Move(Place, Key),
    /// A segment is not to grow after all.
    Growth(Key),
    /// A segment dies.
    Segment(Key),
    /// A VAS dies.
    Vas(Key),
    /// What a session that is over had.
    Session(Key),
}

/// A request that lacked something which was just being taken apart. It is tried once more, in as
/// many steps as that takes, when all is free that was deleted before: what its own attempts and
/// others leave behind must not keep it waiting for ever.
#[derive(Clone, Copy)]
pub(super) struct Retry {
    label: u64,
    /// How many endings must be over.
    endings: u64,
    /// When they are: how many things must then be taken apart.
    remains: Option<u64>,
}

/// Whether a request is tried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// For the first time.
    First,
    /// Not yet.
    Wait,
    /// Once more.
    Last,
}

impl<K: Kernel> Server<K> {
    /// Whose turn it is: that of a session, or of init.
    pub(super) fn turn(&mut self, session: Option<Key>, label: u64) -> Turn {
        let (ended, reclaimed) = (self.ended, self.resources.reclaimed());
        let discarded = reclaimed + self.resources.pending() as u64;
        let retry = self.retry_of(session);
        let Some(mut waits) = retry.take().filter(|waits| waits.label == label) else {
            return Turn::First;
        };
        if waits.endings <= ended {
            let remains = *waits.remains.get_or_insert(discarded);
            if remains <= reclaimed {
                return Turn::Last;
            }
        }
        *retry = Some(waits);
        Turn::Wait
    }

    /// Lets a request wait.
    pub(super) fn retry_later(&mut self, session: Option<Key>, label: u64) {
        let endings = self.ended + self.endings.len() as u64;
        *self.retry_of(session) = Some(Retry {
            label,
            endings,
            remains: None,
        });
    }

    /// The last try of a request goes on.
    pub(super) fn retry_goes_on(&mut self, session: Option<Key>, label: u64) {
        *self.retry_of(session) = Some(Retry {
            label,
            endings: 0,
            remains: Some(0),
        });
    }

    fn retry_of(&mut self, session: Option<Key>) -> &mut Option<Retry> {
        match session.and_then(|session| self.sessions.get_mut(session)) {
            Some(session) => &mut session.retry,
            None => &mut self.retry,
        }
    }

    /// Answers a request of a session, which may go on with what the session has begun.
    pub(super) fn in_steps<T>(
        &mut self,
        session: Key,
        answer: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let begun = self.sessions.get_mut(session);
        self.work = begun.and_then(|session| session.work.take());
        let result = answer(self);
        let work = self.work.take();
        match self.sessions.get_mut(session) {
            Some(session) if matches!(result, Err(Error::Again)) => session.work = work,
            _ => self.give_up(work),
        }
        result
    }

    /// Undoes what a session has begun.
    pub(super) fn give_up(&mut self, work: Option<Work>) {
        match work {
            None => {}
            Some(Work::Alloc(making)) => {
                if let Some(tables) = making.tables {
                    tables.delete(&mut self.resources);
                }
                self.resources.discard(making.piece.frames);
            }
            Some(Work::Move(place, segment)) => {
                self.endings.push_back(Ending::Move(place, segment));
            }
            Some(Work::Attach(attachment, _)) => {
                self.release_attachment(attachment, Departure::Detached);
            }
            Some(Work::Grow(segment)) => self.endings.push_back(Ending::Growth(segment)),
            Some(Work::Clone(_, vas, _)) => self.endings.push_back(Ending::Vas(vas)),
        }
    }

    /// After a request: goes on with what ends.
    pub(super) fn tidy_up(&mut self) {
        self.resources.allow_reclaiming();
        while let Some(&ending) = self.endings.front() {
            let done = match ending {
                Ending::Move(place, segment) => self.leave(place, segment, Departure::Detached),
                Ending::Growth(key) => self.undo_growth(key),
                Ending::Segment(key) => self.remove_segment(key),
                Ending::Vas(key) => self.remove_vas(key),
                Ending::Session(key) => self.release_all_of(key),
            };
            if done == Err(Error::Again) {
                break;
            }
            self.endings.pop_front();
            self.ended += 1;
        }
        self.resources.reclaim();
    }

    /// Whether an error may be none once everything that ends has ended, and what was discarded
    /// is free.
    pub(super) fn may_pass(error: &Error, ending: bool, pending: bool) -> bool {
        match error {
            Error::OutOfMemory | Error::OutOfSlots | Error::OutOfAsids => ending || pending,
            Error::NameExists
            | Error::InUse { .. }
            | Error::AlreadyAttached
            | Error::Overlap { .. }
            | Error::LimitReached(_) => ending,
            _ => false,
        }
    }

    /// The segments of a place.
    pub(super) fn segments_of(&mut self, place: Place) -> Option<&mut Vec<(Key, Access)>> {
        match place {
            Place::Vas(key) => self.vases.get_mut(key).map(|vas| &mut vas.segments),
            Place::Attachment(key) => self
                .attachments
                .get_mut(key)
                .map(|attachment| &mut attachment.segments),
        }
    }

    /// Makes a segment visible in a place whose list has it.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do. After any other, it is to leave.
    pub(super) fn enter(&mut self, place: Place, key: Key, access: Access) -> Result<(), Error> {
        let segment = self.segments.get(key).ok_or(Error::NotAttached)?;
        let mut pieces = segment.mappings_in(key, access);
        let tables = tables_of(place, &self.attachments, &mut self.vases)?;
        let resources = &mut self.resources;
        pieces.try_for_each(|piece| match place {
            Place::Vas(_) => tables.add_segment(resources, &piece),
            Place::Attachment(key) => tables.add_local_segment(resources, key, &piece),
        })?;
        drop(pieces);
        match place {
            Place::Vas(vas) => self.show_lock(vas, key),
            Place::Attachment(_) => Ok(()),
        }
    }

    /// Takes a segment out of a place.
    ///
    /// # Errors
    /// [`Error::NotAttached`], or [`Error::Again`] if there is more to do.
    pub(super) fn leave(
        &mut self,
        place: Place,
        key: Key,
        departure: Departure,
    ) -> Result<(), Error> {
        let list = self.segments_of(place).ok_or(Error::NotAttached)?;
        let position = position_in(list, key).map_err(|_| Error::NotAttached)?;
        let access = access_in(list, key).ok_or(Error::NotAttached)?;
        if let Place::Vas(vas) = place {
            self.hide_lock(vas, key)?;
        }
        if let Some(segment) = self.segments.get(key) {
            let mut pieces = segment.mappings_left_in(key, access);
            let tables = tables_of(place, &self.attachments, &mut self.vases)?;
            let resources = &mut self.resources;
            pieces.try_for_each(|piece| match place {
                Place::Vas(_) => tables.remove_segment(resources, &piece),
                Place::Attachment(key) => tables.remove_local_segment(resources, key, &piece),
            })?;
        }
        let left = self
            .segments
            .get(key)
            .map(|segment| segment.left(departure));
        let remembered = match place {
            Place::Vas(key) => self.vases.get_mut(key).map(|vas| &mut vas.left),
            Place::Attachment(key) => self.attachments.get_mut(key).map(|one| &mut one.left),
        };
        if let (Some(left), Some(remembered)) = (left, remembered) {
            remembered.write(left);
        }
        if let Some(list) = self.segments_of(place) {
            list.remove(position);
        }
        if let Place::Vas(vas) = place {
            self.lock_leaves(vas, key);
        }
        self.leave_segment(key);
        Ok(())
    }

    /// Takes a segment out of all VASes and attachments that have it.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn detach_everywhere(
        &mut self,
        key: Key,
        departure: Departure,
    ) -> Result<(), Error> {
        // Looking through all there is takes long.
        if self
            .segments
            .get(key)
            .is_none_or(|segment| segment.vases == 0)
        {
            return Ok(());
        }
        for (_, place) in self.places_of(key, 0)? {
            self.resources.step(units::OBJECT)?;
            self.leave(place, key, departure)?;
        }
        Ok(())
    }

    /// The places that have a segment, numbered, from this number on.
    ///
    /// # Errors
    /// [`Error::Again`] if there is no time to look for them.
    pub(super) fn places_of(&mut self, key: Key, from: u32) -> Result<Vec<(u32, Place)>, Error> {
        self.resources.step(units::SEARCH)?;
        let has = |list: &[(Key, Access)]| position_in(list, key).is_ok();
        let vases = self.vases.iter().filter(|(_, vas)| has(&vas.segments));
        let vases = vases.map(|(key, _)| (key.index.into(), Place::Vas(key)));
        let attachments = self.attachments.iter();
        let attachments = attachments.filter(|(_, attachment)| has(&attachment.segments));
        let behind = limits::VASES as u32;
        let attachments =
            attachments.map(|(key, _)| (behind + u32::from(key.index), Place::Attachment(key)));
        let places = vases.chain(attachments);
        Ok(places.filter(|&(number, _)| number >= from).collect())
    }
}

/// The tables of the VAS of a place.
pub(super) fn tables_of<'a, K>(
    place: Place,
    attachments: &Arena<Attachment>,
    vases: &'a mut Arena<Vas<K>>,
) -> Result<&'a mut dyn PageTables<K>, Error> {
    let vas = match place {
        Place::Vas(vas) => Some(vas),
        Place::Attachment(key) => attachments.get(key).map(|attachment| attachment.vas),
    };
    let vas = vas.and_then(|vas| vases.get_mut(vas));
    Ok(&mut *vas.ok_or(Error::NotAttached)?.tables)
}

/// Where a segment is in a list, or would be: they are in order.
pub(super) fn position_in(list: &[(Key, Access)], key: Key) -> Result<usize, usize> {
    list.binary_search_by_key(&key, |&(other, _)| other)
}

/// The access that a list has a segment with.
pub(super) fn access_in(list: &[(Key, Access)], key: Key) -> Option<Access> {
    let position = position_in(list, key).ok()?;
    list.get(position).map(|&(_, access)| access)
}
