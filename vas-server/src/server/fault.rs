// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why an access failed.

use protocol::message::{Explain, Explanation, FaultReason, SegmentPlace};
use protocol::{Access, AttachmentId, Error, Name};

use super::{Attachment, Granted, Segment, Server, Session, Vas, attachment_id};
use crate::arena::Key;
use crate::kernel::Kernel;

/// Segments of other VASes that are looked at to explain one fault. Who has more may not be told
/// that the address is in one of those.
const LOOKED_AT: usize = 1 << 14;

impl<K: Kernel> Server<K> {
    pub(super) fn explain(&self, request: Explain) -> Granted<Explanation> {
        let key = self.session_named(request.session)?;
        let session = self.session(key)?;
        let active = match request.active {
            None => None,
            Some(id) => match self.attachment_of(key, id) {
                Some(attachment) => self.attachments.get(attachment),
                None => return Ok((session.explain_ended(id), None)),
            },
        };
        let here = active.and_then(|active| self.segment_at(active, request.address));
        let elsewhere = || {
            let others = self.attachments.iter().map(|(_, attachment)| attachment);
            let others = others.filter(|one| one.session == key && one.roots.is_some());
            let mut segments = others.flat_map(|one| self.segments_in(one)).take(LOOKED_AT);
            segments.find(|place| place.segment.contains(request.address))
        };
        let found = here.or_else(elsewhere);

        // What the address may be used for in the address space that was active.
        let access = here
            .map(|place| {
                place
                    .access
                    .min(active.map_or(place.access, |active| active.access))
            })
            .or_else(|| {
                session
                    .private
                    .iter()
                    .find(|extent| (extent.base..=extent.last()).contains(&request.address))
                    .map(|extent| extent.access)
            });
        let vas = active.and_then(|active| self.vases.get(active.vas));
        let left = match found {
            Some(_) => None,
            None => active.zip(vas).and_then(|(active, vas)| {
                let mut left = active
                    .left
                    .oldest_ordered()
                    .chain(vas.left.oldest_ordered());
                left.rfind(|segment| segment.addresses.contains(&request.address))
            }),
        };
        let reason = match (access, left) {
            (Some(Access::ReadOnly), _) if request.write => FaultReason::ReadOnly,
            (Some(_), _) => FaultReason::Unexplained,
            (None, Some(left)) => FaultReason::SegmentLeft(left.departure),
            (None, None) if found.is_some() => FaultReason::OtherVas,
            (None, None) => FaultReason::NoSegment,
        };
        let place = |segment: &Name, vas: &Vas<K>| SegmentPlace {
            segment: segment.clone(),
            vas: vas.object.name.clone(),
        };
        let found = found.map(|found| place(&found.segment.object.name, found.vas));
        let left = left.zip(vas).map(|(left, vas)| place(&left.name, vas));
        let explanation = Explanation {
            vas: vas.map(|vas| vas.object.name.clone()),
            segment: found.or(left),
            reason,
        };
        Ok((explanation, None))
    }

    /// The segment at an address of the VAS of an attachment.
    pub(super) fn segment_at<'a>(
        &'a self,
        attachment: &'a Attachment,
        address: u64,
    ) -> Option<Place<'a, K>> {
        let mut segments = self.segments_in(attachment);
        segments.find(|place| place.segment.contains(address))
    }

    /// What an attachment shows.
    fn segments_in<'a>(&'a self, attachment: &'a Attachment) -> impl Iterator<Item = Place<'a, K>> {
        let vas = self.vases.get(attachment.vas).into_iter();
        vas.flat_map(move |vas| {
            let segments = vas.segments.iter().chain(&attachment.segments);
            segments.filter_map(move |&(key, access)| {
                let segment = self.segments.get(key)?;
                Some(Place {
                    key,
                    segment,
                    vas,
                    access,
                })
            })
        })
    }

    /// The session of a key that was checked.
    pub(super) fn session(&self, key: Key) -> Result<&super::Session, Error> {
        self.sessions.get(key).ok_or(Error::UnknownOperation)
    }
}

impl Session {
    /// What became of an attachment that is there no longer.
    fn explain_ended(&self, id: AttachmentId) -> Explanation {
        let mut ended = self.ended.oldest_ordered();
        let ended = ended.find(|ended| attachment_id(ended.key) == id);
        Explanation {
            vas: ended.map(|ended| ended.vas.clone()),
            segment: None,
            reason: ended.map_or(FaultReason::NoAttachment, |ended| {
                FaultReason::AttachmentEnded(ended.departure)
            }),
        }
    }
}

/// A segment where it is attached.
pub(super) struct Place<'a, K> {
    pub(super) key: Key,
    segment: &'a Segment,
    vas: &'a Vas<K>,
    access: Access,
}

impl<K> Clone for Place<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Place<'_, K> {}
