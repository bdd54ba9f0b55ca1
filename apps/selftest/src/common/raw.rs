// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages to the VAS service as the kernel carries them, without the client library: so
//! tests can pass any cap and any words.

use alloc::vec::Vec;

use protocol::Error;
use protocol::message::Request;
use protocol::process::{CNODE_BITS, slot};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};
use serde::{Deserialize, Serialize};

/// Slots of the process's CNode for caps of tests. The client library takes the lowest free
/// ones and stays far below.
pub const SCRATCH: [u64; 4] = [
    (1 << CNODE_BITS) - 4,
    (1 << CNODE_BITS) - 3,
    (1 << CNODE_BITS) - 2,
    (1 << CNODE_BITS) - 1,
];

/// A slot that no test ever fills.
pub const EMPTY: u64 = (1 << CNODE_BITS) - 8;

/// What was answered.
pub struct Reply {
    /// 0 or the number of an error.
    pub label: u64,
    /// The body.
    pub words: Vec<u64>,
    /// Whether a cap came with it.
    pub cap: bool,
}

impl Reply {
    /// One that carries a value.
    ///
    /// # Panics
    /// If it does not fit into a message.
    pub fn of<T: Serialize>(value: &T) -> Self {
        let mut words = [0; WORDS];
        let length = wire::encode(value, &mut words).expect("it fits into a message");
        Reply {
            label: 0,
            words: words[..length].to_vec(),
            cap: false,
        }
    }

    /// The value that it carries.
    ///
    /// # Errors
    /// The error that it carries; [`Error::BadReply`] if it makes no sense.
    pub fn decode<T: for<'de> Deserialize<'de>>(&self) -> Result<T, Error> {
        match self.label {
            0 => wire::decode(&self.words).map_err(|_| Error::BadReply),
            _ => Err(self.error().unwrap_or(Error::BadReply)),
        }
    }

    /// The error, if it is a well-formed one.
    pub fn error(&self) -> Option<Error> {
        let error: Error = wire::decode(&self.words).ok()?;
        (error.number() == self.label).then_some(error)
    }
}

/// Sends a message over the cap in slot `endpoint` and waits for the reply. Caps in `caps`
/// (at most three) go with it; a cap in the reply arrives in slot `receive`.
pub fn call(endpoint: u64, label: u64, body: &[u64], caps: &[u64], receive: u64) -> Reply {
    sel4::set_receive_path(slot::CNODE, receive, u64::BITS.into());
    let registers = sel4::write_message(body);
    for (position, &cap) in caps.iter().enumerate() {
        sel4::set_extra_cap(position, cap);
    }
    let info = MessageInfo::new(label, 0, caps.len() as u64, body.len() as u64);
    let (info, registers) = sel4::call(cap::Endpoint::from_bits(endpoint), info, registers);
    let mut words = [0; WORDS];
    let length = (info.length() as usize).min(WORDS);
    sel4::read_message(&mut words[..length], registers);
    Reply {
        label: info.label(),
        words: words[..length].to_vec(),
        cap: info.extra_caps() > 0,
    }
}

/// Sends a message of the session without waiting for the reply.
pub fn send(label: u64, body: &[u64]) {
    let registers = sel4::write_message(body);
    let info = MessageInfo::new(label, 0, 0, body.len() as u64);
    sel4::send(cap::Endpoint::from_bits(slot::SESSION), info, registers);
}

/// Asks the VAS service for an operation with any caps as handles.
///
/// # Errors
/// What the service answered; [`Error::BadReply`] if that makes no sense.
pub fn request<R: Request>(request: &R, caps: &[u64], receive: u64) -> Result<R::Reply, Error> {
    // What takes long is done in steps, one with each request.
    loop {
        match request_once(request, caps, receive) {
            Err(Error::Again) => {}
            answer => return answer,
        }
    }
}

fn request_once<R: Request>(request: &R, caps: &[u64], receive: u64) -> Result<R::Reply, Error> {
    let mut words = [0; WORDS];
    let length = wire::encode(request, &mut words)?;
    call(
        slot::SESSION,
        R::OPERATION as u64,
        &words[..length],
        caps,
        receive,
    )
    .decode()
}

/// Empties a slot of the process's CNode.
pub fn empty(slot: u64) {
    // Fails only for a slot beyond the CNode.
    let _ = cap::CNode::from_bits(slot::CNODE).delete(slot, u64::BITS as u8);
}
