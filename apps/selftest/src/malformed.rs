// SPDX-License-Identifier: MIT OR Apache-2.0

//! Messages that no client library would send.

use alloc::format;
use alloc::vec::Vec;

use client_lib::{Access, Error, Name, PageSize};
use common::failure::{check, check_equal};
use common::random::Random;
use common::{Failure, Outcome, raw};
use protocol::message::{
    Attached, Base, Explain, Operation, Principal, Request, SegAlloc, SegAttach, SegDetach,
    SegFind, SegFree, SessionCreate, SessionEnd, SessionId, VasAttach, VasCreate, VasDelete,
    VasDetach, VasFind,
};
use protocol::process::{ExitStatus, InitError, InitOperation, slot};
use protocol::wire::{self, WORDS};
use runtime::process;

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor, segment};
use crate::harness::{self, tests};
use crate::state::{State, refused, unchanged};

tests! {
    an_unknown_label_is_refused,
    what_is_for_init_alone_is_refused,
    a_body_of_the_wrong_length_is_refused,
    a_body_with_anything_behind_it_is_refused,
    names_and_choices_that_do_not_exist_are_refused,
    handles_beyond_those_that_an_operation_takes_are_ignored,
    a_request_that_nobody_waits_for_is_served_and_the_next_one_too,
    thousands_of_random_messages_leave_the_server_as_it_was,
    random_messages_of_several_processes_leave_the_server_as_it_was,
    thousands_of_random_messages_leave_init_as_it_was,
}

fn ask(label: u64, body: &[u64], caps: &[u64]) -> Result<(), Error> {
    let reply = raw::call(slot::SESSION, label, body, caps, raw::SCRATCH[3]);
    match reply.label {
        0 => Ok(()),
        _ => Err(reply.error().unwrap_or(Error::BadReply)),
    }
}

fn encoded<R: Request>(request: &R) -> Result<Vec<u64>, Error> {
    let mut words = [0; WORDS];
    let length = wire::encode(request, &mut words)?;
    Ok(words[..length].to_vec())
}

/// Whether a session may ask for it.
fn is_for_sessions(operation: Operation) -> bool {
    (operation as u64) < 64
}

fn an_unknown_label_is_refused() -> Outcome {
    let known = |label: &u64| Operation::from_label(*label).is_some_and(is_for_sessions);
    let labels = (0..300)
        .chain([1 << 12, 1 << 16, (1 << 20) - 1])
        .filter(|label| !known(label));
    refused(Error::UnknownOperation, || {
        for label in labels {
            for length in [0, 1, WORDS] {
                match ask(label, &[0; WORDS][..length], &[]) {
                    Err(Error::UnknownOperation) => {}
                    other => return other,
                }
            }
        }
        Err::<(), _>(Error::UnknownOperation)
    })
}

fn what_is_for_init_alone_is_refused() -> Outcome {
    let place = Place::new("moor")?;
    let principal = Principal {
        user: 0,
        groups: Default::default(),
    };
    let create = SessionCreate {
        principal,
        private: Default::default(),
    };
    refused(Error::UnknownOperation, || {
        raw::request(&create, &[], raw::SCRATCH[0])
    })?;
    check_equal(
        "a cap was sent all the same",
        ask_vas_delete(raw::SCRATCH[0]),
        stale(),
    )?;
    for session in (0..2048).chain([u32::MAX]) {
        let request = SessionEnd {
            session: SessionId(session),
        };
        let refusal = raw::request(&request, &[], raw::SCRATCH[0]);
        check_equal("ending a session", refusal, Err(Error::UnknownOperation))?;
    }
    let explain = Explain {
        session: SessionId(1),
        active: None,
        address: BASE,
        write: false,
    };
    refused(Error::UnknownOperation, || {
        raw::request(&explain, &[], raw::SCRATCH[0])
    })?;
    Ok(place.remove()?)
}

fn ask_vas_delete(cap: u64) -> Result<(), Error> {
    ask(Operation::VasDelete as u64, &[], &[cap])
}

fn stale() -> Result<(), Error> {
    Err(Error::StaleHandle { position: 0 })
}

/// Valid bodies of all requests of sessions that have one. None of them is served while there
/// are a VAS and a segment of this name.
fn bodies(name: &str) -> Result<Vec<(Operation, Vec<u64>)>, Error> {
    let name = || Name::new(name);
    let other = || Name::new("no such place");
    Ok(Vec::from([
        (
            Operation::VasCreate,
            encoded(&VasCreate {
                name: name()?,
                mode: EVERYONE,
            })?,
        ),
        (Operation::VasFind, encoded(&VasFind { name: other()? })?),
        (
            Operation::VasAttach,
            encoded(&VasAttach {
                access: Access::ReadWrite,
            })?,
        ),
        (
            Operation::VasDetach,
            encoded(&VasDetach {
                attachment: client_lib::AttachmentId(1),
            })?,
        ),
        (
            Operation::SegAlloc,
            encoded(&SegAlloc {
                name: name()?,
                base: Base::At(BASE),
                size: SIZE,
                page_size: Some(PageSize::Small),
                own_slots: false,
                lockable: false,
                mode: EVERYONE,
            })?,
        ),
        (Operation::SegFind, encoded(&SegFind { name: other()? })?),
        (
            Operation::SegAttach,
            encoded(&SegAttach {
                access: Access::ReadWrite,
            })?,
        ),
    ]))
}

fn a_body_of_the_wrong_length_is_refused() -> Outcome {
    let place = Place::new("moor")?;
    for (operation, body) in bodies("moor")? {
        let mut long = [0; WORDS];
        long[..body.len()].copy_from_slice(&body);
        let before = State::now()?;
        for length in (0..WORDS).filter(|&length| length != body.len()) {
            let refusal = ask(operation as u64, &long[..length], &[]);
            let what = format!("{operation:?} of {length} words instead of {}", body.len());
            check_equal(&what, refusal, Err(Error::Malformed))?;
        }
        unchanged(&before, &State::now()?)?;
    }
    // These have no body at all.
    for operation in [
        Operation::VasDelete,
        Operation::SegDetach,
        Operation::SegFree,
        Operation::ServerStat,
    ] {
        for length in [1, 2, WORDS] {
            refused(Error::Malformed, || {
                ask(operation as u64, &[0; WORDS][..length], &[])
            })?;
        }
    }
    Ok(place.remove()?)
}

fn a_body_with_anything_behind_it_is_refused() -> Outcome {
    let place = Place::new("moor")?;
    for (operation, mut body) in bodies("moor")? {
        if let Some(last) = body.last_mut()
            && *last >> 56 == 0
        {
            *last |= 1 << 63;
            refused(Error::Malformed, || ask(operation as u64, &body, &[]))?;
        }
    }
    Ok(place.remove()?)
}

fn names_and_choices_that_do_not_exist_are_refused() -> Outcome {
    // Length and bytes of a name that the protocol's own types could not be made with.
    let bad_names: [&[u8]; 6] = [
        &[0],
        &[1, b'\n'],
        &[2, 0xc3, 0x28],
        &[3, b'a', 0, b'b'],
        &[
            33, b'a', b'b', b'c', b'd', b'e', b'f', b'g', b'h', b'i', b'j', b'k', b'l', b'm',
        ],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    ];
    for operation in [Operation::VasCreate, Operation::VasFind, Operation::SegFind] {
        for name in bad_names {
            let body: Vec<u64> = name
                .chunks(8)
                .map(|chunk| {
                    let mut word = [0; 8];
                    word[..chunk.len()].copy_from_slice(chunk);
                    u64::from_le_bytes(word)
                })
                .collect();
            refused(Error::Malformed, || ask(operation as u64, &body, &[]))?;
        }
    }
    // An access is 0 or 1.
    for operation in [Operation::VasAttach, Operation::SegAttach] {
        for access in [2, 0x7f, 0xff, u64::MAX] {
            refused(Error::Malformed, || ask(operation as u64, &[access], &[]))?;
        }
    }
    Ok(())
}

fn handles_beyond_those_that_an_operation_takes_are_ignored() -> Outcome {
    let place = Place::new("moor")?;
    let [vas, segment, root, _] = raw::SCRATCH;
    raw::request(
        &VasFind {
            name: Name::new("moor")?,
        },
        &[],
        vas,
    )?;
    raw::request(
        &SegFind {
            name: Name::new("moor")?,
        },
        &[],
        segment,
    )?;
    for extra in [
        &[segment, segment][..],
        &[slot::TCB, slot::CNODE],
        &[slot::SESSION, vas],
    ] {
        let before = State::now()?;
        let caps: Vec<u64> = [vas].into_iter().chain(extra.iter().copied()).collect();
        let attached = raw::request(
            &VasAttach {
                access: Access::ReadOnly,
            },
            &caps,
            root,
        )?;
        raw::request(
            &VasDetach {
                attachment: attached.attachment,
            },
            &caps,
            root,
        )?;
        unchanged(&before, &State::now()?)?;
    }
    Ok(place.remove()?)
}

fn a_request_that_nobody_waits_for_is_served_and_the_next_one_too() -> Outcome {
    let before = State::now()?;
    let body = encoded(&VasCreate {
        name: Name::new("moor")?,
        mode: EVERYONE,
    })?;
    for _ in 0..10 {
        raw::send(Operation::VasCreate as u64, &body);
        raw::send(Operation::ServerStat as u64, &[]);
        raw::send(0xfffff, &[u64::MAX; WORDS]);
    }
    let vas = client_lib::vas_find("moor")?;
    client_lib::vas_delete(&vas)?;
    unchanged(&before, &State::now()?)
}

/// Where the handles of the random messages are.
const VAS: u64 = raw::SCRATCH[0];
const SEGMENT: u64 = raw::SCRATCH[1];
/// Where caps of replies arrive.
const RECEIVED: u64 = raw::SCRATCH[3];

/// Sends random messages; what is served by chance is undone. While no other process asks the
/// server for anything, `alone`, nothing may change by them.
fn random_messages(name: &str, seed: u64, count: usize, alone: bool) -> Outcome {
    let mut random = Random(seed);
    let bodies = bodies(name)?;
    let operations: Vec<u64> = Operation::ALL
        .iter()
        .map(|&operation| operation as u64)
        .collect();
    let caps = [
        VAS,
        SEGMENT,
        raw::EMPTY,
        slot::TCB,
        slot::CNODE,
        slot::INIT,
        slot::SESSION,
    ];
    let handles = || -> Result<(), Error> {
        raw::empty(VAS);
        raw::empty(SEGMENT);
        raw::request(
            &VasFind {
                name: Name::new(name)?,
            },
            &[],
            VAS,
        )?;
        raw::request(
            &SegFind {
                name: Name::new(name)?,
            },
            &[],
            SEGMENT,
        )?;
        Ok(())
    };
    // Handles that were revoked can be found again.
    let remake = || -> Result<(), Error> {
        if raw::request(&VasDelete, &[VAS], RECEIVED).is_err() {
            client_lib::vas_delete(&client_lib::vas_find(name)?)?;
        }
        if raw::request(&SegFree, &[SEGMENT], RECEIVED).is_err() {
            client_lib::seg_free(&client_lib::seg_find(name)?)?;
        }
        client_lib::vas_create(name, EVERYONE)?;
        segment(name, BASE)?;
        handles()
    };
    let place = Place::new(name)?;
    client_lib::seg_detach(&place.vas, &place.segment)?;
    handles()?;

    let before = State::now()?;
    let unchanged = || {
        if alone {
            unchanged(&before, &State::now()?)
        } else {
            Ok(())
        }
    };
    let mut served = 0;
    for round in 0..count {
        let (operation, valid) = &bodies[random.below(bodies.len())];
        let label = match random.below(8) {
            0 => random.next() & 0xfffff,
            1 | 2 => random.choose(&operations),
            _ => *operation as u64,
        };
        let body = random.body(valid);
        let passed: Vec<u64> = (0..random.below(4)).map(|_| random.choose(&caps)).collect();
        let reply = raw::call(slot::SESSION, label, &body, &passed, RECEIVED);
        if reply.label != 0 {
            let sense = reply.error().is_some();
            check(
                sense,
                &format!("round {round}: no error is sent as {:x}", reply.label),
            )?;
            continue;
        }
        served += 1;
        let undo = raw::SCRATCH[2];
        match Operation::from_label(label) {
            Some(Operation::VasCreate | Operation::VasClone) => {
                raw::request(&VasDelete, &[RECEIVED], undo)?
            }
            Some(Operation::SegAlloc) => raw::request(&SegFree, &[RECEIVED], undo)?,
            Some(Operation::VasAttach) => {
                let Attached { attachment, .. } = wire::decode(&reply.words)?;
                raw::request(&VasDetach { attachment }, &[], undo)?;
            }
            Some(Operation::SegAttach) => raw::request(&SegDetach, &passed[..2], undo)?,
            Some(Operation::VasDelete) => {
                client_lib::vas_create(name, EVERYONE)?;
                handles()?;
            }
            Some(Operation::SegFree) => {
                segment(name, BASE)?;
                handles()?;
            }
            // Whatever was changed, or handed out, goes with the object.
            Some(
                Operation::VasCtl
                | Operation::VasSetRoot
                | Operation::SegCtl
                | Operation::SegGrow
                | Operation::Restrict,
            ) => remake()?,
            _ => {}
        }
        raw::empty(RECEIVED);
        if round.is_multiple_of(64) {
            unchanged()?;
        }
    }
    unchanged()?;
    check(
        served > 0 && served < count,
        "the messages are not random enough",
    )?;
    client_lib::vas_delete(&client_lib::vas_find(name)?)?;
    Ok(client_lib::seg_free(&client_lib::seg_find(name)?)?)
}

fn thousands_of_random_messages_leave_the_server_as_it_was() -> Outcome {
    for seed in [1, 0x9e37_79b9_7f4a_7c15] {
        random_messages("moor", seed, 3000, true)?;
    }
    Ok(())
}

/// A role of this program: sends random messages while others do too.
pub fn babble(seed: &str) -> i32 {
    let outcome = seed
        .parse()
        .map_err(Failure::from)
        // A name that a random change of another's does not make of it.
        .and_then(|number| random_messages(&seed.repeat(8), number, 1500, false));
    match outcome {
        Ok(()) => harness::PASSED,
        Err(failure) => {
            runtime::println!("selftest: {failure}");
            harness::FAILED
        }
    }
}

fn random_messages_of_several_processes_leave_the_server_as_it_was() -> Outcome {
    let before = State::now()?;
    let processes: Vec<_> = (7..10)
        .map(|seed| fixture::start("selftest", &format!("babble {seed}")))
        .collect::<Result<_, _>>()?;
    for process in processes {
        fixture::ends_with(process, ExitStatus::Exited(harness::PASSED))?;
    }
    unchanged(&before, &State::now()?)
}

fn thousands_of_random_messages_leave_init_as_it_was() -> Outcome {
    let mut random = Random(3);
    let before = State::now()?;
    let labels = [
        InitOperation::Spawn,
        InitOperation::Wait,
        InitOperation::Kill,
    ];
    for round in 0..3000 {
        let label = match random.below(4) {
            0 => random.next() & 0xfffff,
            _ => random.choose(&labels) as u64,
        };
        if label == InitOperation::Exit as u64 {
            continue;
        }
        // No process has such a number, and no component such a name.
        let body: Vec<u64> = (0..random.below(WORDS + 1))
            .map(|_| random.next())
            .collect();
        let reply = raw::call(slot::INIT, label, &body, &[slot::TCB], RECEIVED);
        let error = InitError::from_label(reply.label);
        check(
            error.is_some(),
            &format!("round {round}: init served label {label}"),
        )?;
    }
    // A text that is longer than its message.
    for count in [9, 1 << 20, u64::MAX - 7, u64::MAX] {
        let label = InitOperation::Print as u64;
        let reply = raw::call(slot::INIT, label, &[count, 0], &[], RECEIVED);
        check_equal(
            "print",
            InitError::from_label(reply.label),
            Some(InitError::Malformed),
        )?;
    }
    unchanged(&before, &State::now()?)?;
    let id = process::spawn(actor::OTHER, "exit 9")?;
    check_equal("init", process::wait(id)?, ExitStatus::Exited(9))
}
