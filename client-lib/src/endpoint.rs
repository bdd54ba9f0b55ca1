// SPDX-License-Identifier: MIT OR Apache-2.0

//! Handles passed from one process to another, without the server.
//!
//! What arrives may be anything: the receiver asks the server what it is.

use protocol::message::{Described, HandleStat};
use protocol::process::slot;
use protocol::{Error, Kind, limits};
use sel4::{MessageInfo, cap};

use crate::slots::Slot;
use crate::{Segment, Vas, rpc};

/// An endpoint that the system description gives to this component and to others.
///
/// To use one that it does not give ends the process with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint(cap::Endpoint);

impl Endpoint {
    /// The endpoint in this position among those of the component; `None` if it may not have
    /// so many.
    pub const fn new(position: usize) -> Option<Self> {
        if position < limits::ENDPOINTS {
            let slot = slot::ENDPOINTS + position as u64;
            Some(Endpoint(cap::Endpoint::from_bits(slot)))
        } else {
            None
        }
    }

    /// Passes a copy of a handle to whoever receives next, and waits until someone does.
    pub fn send_vas(self, vas: &Vas) {
        self.send(&vas.slot);
    }

    /// As [`send_vas`](Self::send_vas).
    pub fn send_segment(self, segment: &Segment) {
        self.send(&segment.slot);
    }

    /// Waits for a handle of a VAS.
    ///
    /// # Errors
    /// [`Error::StaleHandle`] and [`Error::WrongKind`] if what was passed is something else;
    /// [`Error::OutOfSlots`].
    pub fn receive_vas(self) -> Result<Vas, Error> {
        match self.receive()? {
            (slot, Described::Vas(granted)) => Ok(Vas {
                slot,
                rights: granted.rights,
            }),
            (_, Described::Segment(_)) => Err(wrong_kind(Kind::Vas, Kind::Segment)),
        }
    }

    /// Waits for a handle of a segment.
    ///
    /// # Errors
    /// As [`receive_vas`](Self::receive_vas).
    pub fn receive_segment(self) -> Result<Segment, Error> {
        match self.receive()? {
            (slot, Described::Segment(granted)) => Ok(Segment::new(slot, granted)),
            (_, Described::Vas(_)) => Err(wrong_kind(Kind::Segment, Kind::Vas)),
        }
    }

    fn send(self, slot: &Slot) {
        sel4::set_extra_cap(0, slot.cptr());
        sel4::send(self.0, MessageInfo::new(0, 0, 1, 0), [0; 4]);
    }

    fn receive(self) -> Result<(Slot, Described), Error> {
        let slot = Slot::new()?;
        sel4::set_receive_path(slot::CNODE, slot.cptr(), u64::BITS.into());
        let _ = sel4::recv(self.0);
        let described = rpc::call(&HandleStat, &[&slot])?;
        Ok((slot, described))
    }
}

const fn wrong_kind(expected: Kind, found: Kind) -> Error {
    Error::WrongKind {
        position: 0,
        expected,
        found,
    }
}
