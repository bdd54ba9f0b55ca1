// SPDX-License-Identifier: MIT OR Apache-2.0

//! init's side of the conversation with the VAS server.

use protocol::Error;
use protocol::message::{
    Explain, Explanation, Principal, PrivateExtent, Request, SessionCreate, SessionCreated,
    SessionEnd, SessionId,
};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};

/// The VAS server as init sees it.
pub struct Server {
    /// Its endpoint, badged as init's own.
    pub control: cap::Endpoint,
    /// Its CNode, into which init copies the caps of private frames.
    pub cnode: cap::CNode,
    /// Binary logarithm of the slots of that CNode.
    pub cnode_bits: u8,
    /// The free slot of init's CNode in which session caps arrive.
    pub receive_slot: u64,
    /// The slot of the first of the frames at
    /// [`LOCKING`](protocol::address_map::LOCKING), which every process may read.
    pub locking: u64,
}

impl Server {
    /// Opens a session for a process that begins. Its cap arrives in the receive slot.
    pub fn session_create(
        &self,
        principal: Principal,
        private: &heapless::Vec<PrivateExtent, { protocol::limits::PRIVATE_EXTENTS }>,
    ) -> Result<SessionCreated, Error> {
        self.call(&SessionCreate {
            principal,
            private: private.clone(),
        })
    }

    /// Ends the session of a process that has ended.
    pub fn session_end(&self, session: SessionId) -> Result<(), Error> {
        self.call(&SessionEnd { session })
    }

    /// Asks why an access failed.
    pub fn explain(&self, question: Explain) -> Result<Explanation, Error> {
        self.call(&question)
    }

    fn call<R: Request>(&self, request: &R) -> Result<R::Reply, Error> {
        loop {
            match self.ask(request) {
                Err(Error::Again) => {}
                answer => return answer,
            }
        }
    }

    fn ask<R: Request>(&self, request: &R) -> Result<R::Reply, Error> {
        let mut words = [0; WORDS];
        let length = wire::encode(request, &mut words)?;
        sel4::set_receive_path(sel4::init_slot::CNODE, self.receive_slot, u64::BITS.into());
        let registers = sel4::write_message(&words[..length]);
        let info = MessageInfo::new(R::OPERATION as u64, 0, 0, length as u64);
        let (info, registers) = sel4::call(self.control, info, registers);
        let length = (info.length() as usize).min(WORDS);
        sel4::read_message(&mut words[..length], registers);
        match info.label() {
            0 => wire::decode(&words[..length]).map_err(|_| Error::BadReply),
            _ => Err(wire::decode(&words[..length]).unwrap_or(Error::BadReply)),
        }
    }
}
