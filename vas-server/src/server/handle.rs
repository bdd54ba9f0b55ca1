// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on handles of either kind.

use protocol::message::{Described, Granted as GrantedReply, Restrict, Restricted};
use protocol::{Error, Kind, Rights};

use super::{Granted, Handles, Server, require};
use crate::kernel::Kernel;

impl<K: Kernel> Server<K> {
    pub(super) fn restrict(
        &mut self,
        request: &Restrict,
        handles: Handles<'_>,
    ) -> Granted<Restricted> {
        let Restrict { rights, revocable } = *request;
        let needs = rights | Rights::GRANT;
        let stale = Error::StaleHandle { position: 0 };
        let object = if handles.any(0)?.kind == Kind::Segment {
            let (key, held) = handles.get(0, Kind::Segment, &self.segments)?;
            require(held, needs)?;
            &mut self.segments.get_mut(key).ok_or(stale)?.object
        } else {
            let (key, held) = handles.get(0, Kind::Vas, &self.vases)?;
            require(held, needs)?;
            &mut self.vases.get_mut(key).ok_or(stale)?.object
        };
        // What is made of a handle goes with it.
        let number = match (handles.any(0)?.number, revocable) {
            (0, true) => object.free_number()?,
            (number, _) => number,
        };
        let handle = object.handle(&mut self.resources, rights, number)?;
        Ok((Restricted { rights, number }, Some(handle)))
    }

    pub(super) fn handle_stat(&self, handles: Handles<'_>) -> Granted<Described> {
        let described = if handles.any(0)?.kind == Kind::Segment {
            let (key, rights) = handles.get(0, Kind::Segment, &self.segments)?;
            let segment = self.segments.get(key);
            let segment = segment.ok_or(Error::StaleHandle { position: 0 })?;
            Described::Segment(segment.granted(rights))
        } else {
            let (_, rights) = handles.get(0, Kind::Vas, &self.vases)?;
            Described::Vas(GrantedReply { rights })
        };
        Ok((described, None))
    }
}
