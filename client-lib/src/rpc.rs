// SPDX-License-Identifier: MIT OR Apache-2.0

//! One request and its reply over the session endpoint.

use protocol::Error;
use protocol::message::Request;
use protocol::process::{CNODE_BITS, slot};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};

use crate::slots::Slot;

/// Asks for an operation whose reply carries no cap.
pub fn call<R: Request>(request: &R, handles: &[&Slot]) -> Result<R::Reply, Error> {
    exchange(request, handles)
}

/// Asks for an operation whose reply carries a cap, which arrives in `into`.
pub fn receive<R: Request>(request: &R, handles: &[&Slot], into: &Slot) -> Result<R::Reply, Error> {
    sel4::set_receive_path(slot::CNODE, into.cptr(), u64::BITS.into());
    exchange(request, handles)
}

fn exchange<R: Request>(request: &R, handles: &[&Slot]) -> Result<R::Reply, Error> {
    let mut words = [0; WORDS];
    let length = wire::encode(request, &mut words)?;
    let registers = sel4::write_message(&words[..length]);
    for (position, handle) in handles.iter().enumerate() {
        sel4::set_extra_cap(position, handle.cptr());
    }
    let info = MessageInfo::new(R::OPERATION as u64, 0, handles.len() as u64, length as u64);
    let session = cap::Endpoint::from_bits(slot::SESSION);
    let (info, registers) = sel4::call(session, info, registers);

    let length = (info.length() as usize).min(WORDS);
    sel4::read_message(&mut words[..length], registers);
    match info.label() {
        0 => wire::decode(&words[..length]).map_err(|_| Error::BadReply),
        _ => Err(wire::decode(&words[..length]).unwrap_or(Error::BadReply)),
    }
}

const _: () = assert!(
    CNODE_BITS <= 12,
    "ActiveSpace and slots count on 4096 slots"
);
