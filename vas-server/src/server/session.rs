// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes that begin and end.

use alloc::vec::Vec;

use protocol::address_map::{PAGE_BYTES, PRIVATE};
use protocol::message::{
    PageSize, PrivateExtent, PrivateForm, SessionCreate, SessionCreated, SessionEnd, SessionId,
};
use protocol::{Error, Kind, Limit, Rights};

use super::steps::Ending;
use super::{Departed, Granted, Server, Session, badge_of, next_key};
use crate::arena::Key;
use crate::kernel::{Kernel, Slot};
use crate::policy::page_tables::{Mapping, Private};
use crate::resources::Counted;

impl<K: Kernel> Server<K> {
    pub(super) fn session_create(&mut self, request: SessionCreate) -> Granted<SessionCreated> {
        let pages = check_extents(&request.private)?;
        let key = next_key(&self.sessions, Limit::Sessions)?;
        let payer = self.resources.payer_of(request.principal.user);
        self.resources.pay_as(payer);
        self.resources.check(Counted::Sessions)?;
        let private = self.policies.page_tables.answer.private;
        let slots = match private {
            PrivateForm::Frames => u32::try_from(pages).map_err(|_| Error::OutOfSlots)?,
            PrivateForm::Table => u32::from(pages > 0),
        };
        let private_slots = self.resources.allocate_slots(slots)?;
        let badge = badge_of(Kind::Session, Rights::empty(), key, 0);
        let cap = match self.resources.make_badged(badge) {
            Ok(cap) => cap,
            Err(error) => {
                self.resources.delete_slots(private_slots);
                return Err(error);
            }
        };
        let reply = SessionCreated {
            session: SessionId(key.number()),
            private,
            first_slot: private_slots.first().0.into(),
        };
        let slot = cap.first();
        let session = Session {
            payer,
            principal: request.principal,
            private: mappings(&request.private, private_slots.first()),
            cap,
            private_slots,
            ended: Departed::new(),
            work: None,
            retry: None,
        };
        if let Err(session) = self.sessions.insert(session) {
            self.release_session(session);
            return Err(Error::LimitReached(Limit::Sessions));
        }
        self.resources.charge(Counted::Sessions);
        Ok((reply, Some(slot)))
    }

    pub(super) fn session_end(&mut self, request: SessionEnd) -> Granted<()> {
        let key = self.session_named(request.session)?;
        if let Some(mut session) = self.sessions.remove(key) {
            let work = session.work.take();
            self.give_up(work);
            self.resources.refund(session.payer, Counted::Sessions);
            self.release_session(session);
            self.session_leaves_locks(key);
            self.endings.push_back(Ending::Session(key));
        }
        Ok(((), None))
    }

    /// The session that init means.
    pub(super) fn session_named(&self, session: SessionId) -> Result<Key, Error> {
        let key = Key::from_number(session.0.into()).ok_or(Error::NotFound)?;
        self.sessions.get(key).map(|_| key).ok_or(Error::NotFound)
    }

    fn release_session(&mut self, session: Session) {
        self.resources.discard_badged(session.cap);
        self.resources.discard_slots(session.private_slots);
    }
}

impl Session {
    pub(super) fn private_memory(&self, form: PrivateForm) -> Private<'_> {
        match form {
            PrivateForm::Table if !self.private.is_empty() => {
                Private::Table(self.private_slots.first())
            }
            _ => Private::Frames(&self.private),
        }
    }
}

/// How many pages there are, if the extents are as they should be.
fn check_extents(extents: &[PrivateExtent]) -> Result<u64, Error> {
    let mut end = PRIVATE.start;
    let mut pages = 0;
    for extent in extents {
        let base = extent.base;
        let size = u64::from(extent.pages) * PAGE_BYTES;
        if size == 0 {
            return Err(Error::ZeroSize);
        }
        if !base.is_multiple_of(PAGE_BYTES) {
            return Err(Error::Unaligned {
                base,
                alignment: PAGE_BYTES,
            });
        }
        let extent_end = base
            .checked_add(size)
            .filter(|&end| end <= PRIVATE.end)
            .ok_or(Error::OutOfRange { base, size })?;
        if base < end {
            // Not in order of address, as the message must be.
            return Err(Error::Malformed);
        }
        end = extent_end;
        pages += u64::from(extent.pages);
    }
    Ok(pages)
}

/// The frames' caps lie in the slots from `first` on, extent after extent.
fn mappings(extents: &[PrivateExtent], Slot(first): Slot) -> Vec<Mapping> {
    let mut next = first;
    extents
        .iter()
        .map(|extent| {
            let mapping = Mapping {
                base: extent.base,
                pages: extent.pages,
                page_size: PageSize::Small,
                frames: Slot(next),
                access: extent.access,
            };
            next += extent.pages;
            mapping
        })
        .collect()
}
