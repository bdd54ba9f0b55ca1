// SPDX-License-Identifier: MIT OR Apache-2.0

//! How VASes, segments and attachments end, asked for or by their lifetime.
//!
//! Whoever is attached to what ends is evicted first, so no frame is freed that a root still
//! maps.

use alloc::vec::Vec;

use protocol::Lifetime;
use protocol::message::Departure;

use super::{Attachment, EndedAttachment, Object, Server, Vas};
use crate::arena::{Arena, Key};
use crate::kernel::Kernel;
use crate::resources::Counted;

impl<K: Kernel> Server<K> {
    /// Deletes a VAS.
    pub(super) fn remove_vas(&mut self, key: Key) {
        for attachment in self.attachments_where(|attachment| attachment.vas == key) {
            self.end_attachment(attachment, Departure::Deleted);
        }
        if let Some(vas) = self.vases.remove(key) {
            self.vas_names.remove(&vas.object.name);
            vas.tables.delete(&mut self.resources);
            self.resources.refund(vas.object.payer, Counted::Vases);
            vas.object.delete(&mut self.resources);
            for (segment, _) in vas.segments {
                self.leave_segment(segment);
            }
        }
    }

    /// Ends all attachments of processes to a VAS.
    pub(super) fn evict_from_vas(&mut self, key: Key) {
        for attachment in self.attachments_where(|attachment| attachment.vas == key) {
            self.release_attachment(attachment, Departure::Evicted);
        }
    }

    /// Frees a segment.
    pub(super) fn remove_segment(&mut self, key: Key) {
        self.detach_everywhere(key, Departure::Deleted);
        if let Some(segment) = self.segments.remove(key) {
            self.segment_names.remove(&segment.object.name);
            self.resources
                .refund(segment.object.payer, Counted::Segments);
            self.release_segment(segment);
        }
    }

    /// Takes a segment out of all VASes and attachments that have it.
    pub(super) fn evict_from_segment(&mut self, key: Key) {
        let used = self
            .segments
            .get(key)
            .is_some_and(|segment| segment.vases > 0);
        self.detach_everywhere(key, Departure::Evicted);
        if used {
            self.end_if_left_alone(key);
        }
    }

    fn detach_everywhere(&mut self, key: Key, departure: Departure) {
        let Some(segment) = self.segments.get_mut(key) else {
            return;
        };
        // Looking through all there is takes long.
        if segment.vases == 0 {
            return;
        }
        let local =
            |attachment: &Attachment| attachment.segments.iter().any(|&(other, _)| other == key);
        let attachments: Vec<Key> = keys_where(&self.attachments, local);
        let vases = keys_where(&self.vases, |vas: &Vas<K>| {
            vas.segments.iter().any(|&(other, _)| other == key)
        });
        for vas in vases {
            if let Some(vas) = self.vases.get_mut(vas)
                && let Some(access) = take(&mut vas.segments, key)
            {
                vas.left.write(segment.left(departure));
                for piece in segment.mappings_in(key, access) {
                    vas.tables.remove_segment(&mut self.resources, &piece);
                }
            }
        }
        for attachment_key in attachments {
            if let Some(attachment) = self.attachments.get_mut(attachment_key)
                && let Some(vas) = self.vases.get_mut(attachment.vas)
                && let Some(access) = take(&mut attachment.segments, key)
            {
                attachment.left.write(segment.left(departure));
                let tables = &mut vas.tables;
                for piece in segment.mappings_in(key, access) {
                    tables.remove_local_segment(&mut self.resources, attachment_key, &piece);
                }
            }
        }
        segment.vases = 0;
    }

    /// A VAS or an attachment has a segment no longer.
    pub(super) fn leave_segment(&mut self, key: Key) {
        if let Some(segment) = self.segments.get_mut(key) {
            segment.vases -= 1;
        }
        self.end_if_left_alone(key);
    }

    fn end_if_left_alone(&mut self, key: Key) {
        let dies = self.segments.get(key).is_some_and(|segment| {
            segment.vases == 0 && segment.object.lifetime == Lifetime::LastAttacher
        });
        if dies {
            self.remove_segment(key);
        }
    }

    /// Ends an attachment, and its VAS if it was the last of one that dies so.
    pub(super) fn release_attachment(&mut self, key: Key, departure: Departure) {
        let Some(vas_key) = self.end_attachment(key, departure) else {
            return;
        };
        let dies = self.vases.get(vas_key).is_some_and(|vas| {
            vas.attachments == 0 && vas.object.lifetime == Lifetime::LastAttacher
        });
        if dies {
            self.remove_vas(vas_key);
        }
    }

    /// Takes the root away and forgets the attachment. Answers which VAS it was of.
    fn end_attachment(&mut self, key: Key, departure: Departure) -> Option<Key> {
        let attachment = self.attachments.remove(key)?;
        if let Some(vas) = self.vases.get_mut(attachment.vas) {
            vas.tables.detach(&mut self.resources, key);
            vas.attachments -= 1;
            if let Some(session) = self.sessions.get_mut(attachment.session) {
                let vas = vas.object.name.clone();
                session.ended.write(EndedAttachment {
                    key,
                    vas,
                    departure,
                });
            }
        }
        self.resources.delete_slots(attachment.root);
        self.resources
            .refund(attachment.payer, Counted::Attachments);
        for (segment, _) in attachment.segments {
            self.leave_segment(segment);
        }
        Some(attachment.vas)
    }

    /// A session ends: its attachments, and what dies with its creator.
    pub(super) fn release_all_of(&mut self, session: Key) {
        for attachment in self.attachments_where(|attachment| attachment.session == session) {
            self.release_attachment(attachment, Departure::Detached);
        }
        for key in made_by(&mut self.vases, session, |vas| &mut vas.object) {
            self.remove_vas(key);
        }
        for key in made_by(&mut self.segments, session, |segment| &mut segment.object) {
            self.remove_segment(key);
        }
    }

    fn attachments_where(&self, holds: impl Fn(&Attachment) -> bool) -> Vec<Key> {
        keys_where(&self.attachments, holds)
    }
}

fn keys_where<T>(arena: &Arena<T>, holds: impl Fn(&T) -> bool) -> Vec<Key> {
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
            object.creator = None;
            if object.lifetime == Lifetime::Creator {
                dying.push(key);
            }
        }
    }
    dying
}

/// Takes a segment out of a list.
pub(super) fn take<T>(segments: &mut Vec<(Key, T)>, key: Key) -> Option<T> {
    let position = segments.iter().position(|&(other, _)| other == key)?;
    Some(segments.remove(position).1)
}
