// SPDX-License-Identifier: MIT OR Apache-2.0

//! Why an access failed.

use protocol::message::{Explain, Explanation, FaultReason, SegmentPlace};
use protocol::{Access, Error};

use super::{Attachment, Granted, Segment, Server, Vas};
use crate::arena::Key;
use crate::kernel::Kernel;

impl<K: Kernel> Server<K> {
    pub(super) fn explain(&self, request: Explain) -> Granted<Explanation> {
        let session = self.session_named(request.session)?;
        let private = &self.session(session)?.private;
        let (active, detached) = match request.active {
            None => (None, false),
            Some(id) => {
                let key = self.attachment_of(session, id);
                let attachment = key.and_then(|key| self.attachments.get(key));
                (attachment, attachment.is_none())
            }
        };
        let here = active.and_then(|active| self.segment_at(active, request.address));
        let elsewhere = || {
            self.attachments
                .iter()
                .filter(|(_, attachment)| attachment.session == session)
                .find_map(|(_, attachment)| self.segment_at(attachment, request.address))
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
                private
                    .iter()
                    .find(|extent| (extent.base..=extent.last()).contains(&request.address))
                    .map(|extent| extent.access)
            });
        let reason = match access {
            _ if detached => FaultReason::Detached,
            Some(Access::ReadOnly) if request.write => FaultReason::ReadOnly,
            Some(_) => FaultReason::Unexplained,
            None if found.is_some() => FaultReason::OtherVas,
            None => FaultReason::NoSegment,
        };
        let explanation = Explanation {
            vas: active
                .and_then(|active| self.vases.get(active.vas))
                .map(|vas| vas.object.name.clone()),
            segment: found.map(|place| SegmentPlace {
                segment: place.segment.object.name.clone(),
                vas: place.vas.object.name.clone(),
            }),
            reason,
        };
        Ok((explanation, None))
    }

    /// The segment at an address of the VAS of an attachment.
    fn segment_at(&self, attachment: &Attachment, address: u64) -> Option<Place<'_, K>> {
        let vas = self.vases.get(attachment.vas)?;
        let mut segments = vas.segments.iter().chain(&attachment.segments);
        segments.find_map(|&(key, access)| {
            let segment = self.segments.get(key)?;
            segment.contains(address).then_some(Place {
                segment,
                vas,
                access,
            })
        })
    }

    /// The session of a key that was checked.
    pub(super) fn session(&self, key: Key) -> Result<&super::Session, Error> {
        self.sessions.get(key).ok_or(Error::UnknownOperation)
    }
}

struct Place<'a, K> {
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
