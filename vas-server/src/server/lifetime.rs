// SPDX-License-Identifier: MIT OR Apache-2.0

//! How VASes, segments and attachments end, asked for or by their lifetime.
//!
//! Whoever is attached to what ends is evicted first, so no frame is freed that a root still
//! maps.

use alloc::vec::Vec;

use protocol::Error;
use protocol::message::{Departure, Lifetime};

use super::steps::Ending;
use super::{Attachment, EndedAttachment, Object, Server, Vas};
use crate::arena::{Arena, Key};
use crate::kernel::Kernel;
use crate::resources::{Counted, units};

impl<K: Kernel> Server<K> {
    /// Deletes a VAS.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn remove_vas(&mut self, key: Key) -> Result<(), Error> {
        // Looking through all there is takes long.
        if self.vases.get(key).is_some_and(|vas| vas.attachments > 0) {
            for attachment in self.attachments_where(|attachment| attachment.vas == key) {
                self.resources.step(units::ATTACHMENT)?;
                self.end_attachment(attachment, Departure::Deleted);
            }
        }
        if let Some(vas) = self.vases.remove(key) {
            // One that is not complete has no name yet.
            if self.vas_names.get(&vas.object.name) == Some(&key) {
                self.vas_names.remove(&vas.object.name);
            }
            self.resources.refund(vas.object.payer, Counted::Vases);
            self.release_vas(vas);
        }
        Ok(())
    }

    /// Nobody can find the VAS or is attached to it.
    pub(super) fn release_vas(&mut self, vas: Vas<K>) {
        vas.tables.delete(&mut self.resources);
        self.delete_locks(vas.locks);
        vas.object.delete(&mut self.resources);
        for (segment, _) in vas.segments {
            self.leave_segment(segment);
        }
    }

    /// Ends all attachments of processes to a VAS.
    ///
    /// # Errors
    /// [`Error::Again`] if there are more.
    pub(super) fn evict_from_vas(&mut self, key: Key) -> Result<(), Error> {
        for attachment in self.attachments_where(|attachment| attachment.vas == key) {
            self.resources.step(units::ATTACHMENT)?;
            self.release_attachment(attachment, Departure::Evicted);
        }
        Ok(())
    }

    /// Frees a segment.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn remove_segment(&mut self, key: Key) -> Result<(), Error> {
        self.detach_everywhere(key, Departure::Deleted)?;
        if let Some(segment) = self.segments.remove(key) {
            self.segment_names.remove(&segment.object.name);
            self.resources
                .refund(segment.object.payer, Counted::Segments);
            self.release_segment(segment);
        }
        Ok(())
    }

    /// A VAS or an attachment has a segment no longer. It dies if it was the last of one that
    /// dies so.
    pub(super) fn leave_segment(&mut self, key: Key) {
        if let Some(segment) = self.segments.get_mut(key) {
            segment.vases -= 1;
            let last = segment.vases == 0 && core::mem::take(&mut segment.attached);
            if last && segment.object.lifetime == Lifetime::LastAttacher {
                self.endings.push_back(Ending::Segment(key));
            }
        }
    }

    /// Ends an attachment, complete or not. Its VAS dies if it was the last of one that dies so.
    pub(super) fn release_attachment(&mut self, key: Key, departure: Departure) {
        let vas_key = self.end_attachment(key, departure);
        if let Some(vas_key) = vas_key
            && let Some(vas) = self.vases.get_mut(vas_key)
        {
            let last = vas.attachments == 0 && core::mem::take(&mut vas.attached);
            if last && vas.object.lifetime == Lifetime::LastAttacher {
                self.endings.push_back(Ending::Vas(vas_key));
            }
        }
    }

    /// Takes the root away and forgets the attachment. Answers which VAS it was of.
    fn end_attachment(&mut self, key: Key, departure: Departure) -> Option<Key> {
        let mut attachment = self.attachments.remove(key)?;
        if let Some(vas) = self.vases.get_mut(attachment.vas) {
            vas.tables.detach(&mut self.resources, key);
            vas.attachments -= 1;
            let session = self.sessions.get_mut(attachment.session);
            if let (Some(session), Some(_)) = (session, &attachment.roots) {
                let vas = vas.object.name.clone();
                session.ended.write(EndedAttachment {
                    key,
                    vas,
                    departure,
                });
            }
        }
        self.attachment_leaves_locks(key, &mut attachment);
        if let Some(roots) = attachment.roots {
            self.resources.delete_slots(roots.shown);
        }
        self.resources
            .refund(attachment.payer, Counted::Attachments);
        for (segment, _) in attachment.segments {
            self.leave_segment(segment);
        }
        Some(attachment.vas)
    }

    /// A session has ended: its attachments end, and what dies with its creator.
    ///
    /// # Errors
    /// [`Error::Again`] if there is more to do.
    pub(super) fn release_all_of(&mut self, session: Key) -> Result<(), Error> {
        for attachment in self.attachments_where(|attachment| attachment.session == session) {
            self.resources.step(units::ATTACHMENT)?;
            self.release_attachment(attachment, Departure::Detached);
        }
        for key in made_by(&mut self.vases, session, |vas| &mut vas.object) {
            self.resources.step(units::OBJECT)?;
            self.remove_vas(key)?;
        }
        for key in made_by(&mut self.segments, session, |segment| &mut segment.object) {
            self.resources.step(units::OBJECT)?;
            self.remove_segment(key)?;
        }
        Ok(())
    }

    fn attachments_where(&self, holds: impl Fn(&Attachment) -> bool) -> Vec<Key> {
        keys_where(&self.attachments, holds)
    }
}

pub(super) fn keys_where<T>(arena: &Arena<T>, holds: impl Fn(&T) -> bool) -> Vec<Key> {
    let found = arena.iter().filter(|(_, value)| holds(value));
    found.map(|(key, _)| key).collect()
}

/// Forgets that this session made its objects; answers which die with it.
fn made_by<T>(
    arena: &mut Arena<T>,
    session: Key,
    object: impl Fn(&mut T) -> &mut Object,
) -> Vec<Key> {
    let mut dying = Vec::new();
    for (key, value) in arena.iter_mut() {
        let object = object(value);
        if object.creator == Some(session) {
            match object.lifetime {
                Lifetime::Creator => dying.push(key),
                _ => object.creator = None,
            }
        }
    }
    dying
}
