// SPDX-License-Identifier: MIT OR Apache-2.0

//! Requests and their replies over the session endpoint.

use protocol::Error;
use protocol::message::Request;
use protocol::process::{CNODE_BITS, slot};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};

use crate::slots::Slot;
use crate::threads::TURN;

/// Asks for an operation whose reply carries no cap.
pub(crate) fn call<R: Request>(request: &R, handles: &[&Slot]) -> Result<R::Reply, Error> {
    // What takes long is done in steps, one with each request. A request of another thread in
    // between would give it up.
    let _turn = TURN.lock();
    repeat(request, handles)
}

/// Asks for something about locks, which gives up nothing that another thread has begun. It may
/// wait.
pub(crate) fn call_for_locks<R: Request>(request: &R) -> Result<R::Reply, Error> {
    repeat(request, &[])
}

fn repeat<R: Request>(request: &R, handles: &[&Slot]) -> Result<R::Reply, Error> {
    loop {
        match once(request, handles.iter().map(|handle| handle.cptr())) {
            // The time that the server takes is not charged to this thread, so others of its
            // priority have their turn only if it lets them.
            Err(Error::Again) => sel4::yield_now(),
            answer => return answer,
        }
    }
}

/// Asks for an operation whose reply carries a cap, which arrives in `into`.
pub(crate) fn receive<R: Request>(
    request: &R,
    handles: &[&Slot],
    into: &Slot,
) -> Result<R::Reply, Error> {
    receive_in(into.cptr());
    call(request, handles)
}

/// The cap that comes with the next reply arrives in this slot.
pub(crate) fn receive_in(slot: u64) {
    sel4::set_receive_path(slot::CNODE, slot, u64::BITS.into());
}

/// Sends one message, with the caps in these slots as handles, and reads the reply. A cap that
/// comes with it arrives where the last one was to arrive.
///
/// # Errors
/// What the service answered, [`Error::Again`] too; [`Error::BadReply`] if that makes no sense.
pub fn once<R: Request>(
    request: &R,
    handles: impl IntoIterator<Item = u64>,
) -> Result<R::Reply, Error> {
    let mut words = [0; WORDS];
    let length = wire::encode(request, &mut words)?;
    let registers = sel4::write_message(&words[..length]);
    let mut caps = 0;
    for (position, handle) in handles.into_iter().enumerate() {
        sel4::set_extra_cap(position, handle);
        caps += 1;
    }
    let info = MessageInfo::new(R::OPERATION as u64, 0, caps, length as u64);
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
