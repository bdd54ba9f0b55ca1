// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::handle::{GENERATIONS, Handle, INDEXES};
use protocol::message::{
    Operation, Request, SegAttach, SegDetach, SegFree, ServerStat, SessionEnd, VasAttach,
    VasDelete, VasFind,
};
use protocol::wire::{self, WORDS, Words};
use protocol::{Badge, Error, Kind, Rights};

use crate::support::*;

/// Sends words as they are and reads the error.
fn send(
    world: &mut World,
    badge: Badge,
    label: u64,
    words: &[u64],
    handles: &[Option<Badge>],
) -> Result<(), Error> {
    let mut reply: Words = [0; WORDS];
    let answer = world
        .server
        .handle(badge, label, words, handles, &mut reply)
        .expect("answered at once");
    world.fake().check();
    if answer.label == 0 {
        return Ok(());
    }
    let error: Error = wire::decode(&reply[..answer.length]).unwrap();
    assert_eq!(error.number(), answer.label);
    Err(error)
}

#[test]
fn a_label_that_names_no_operation_is_refused() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let before = world.picture(&process);
    for label in (0..300).chain([u64::MAX, 1 << 32 | 1]) {
        if Operation::from_label(label).is_none() {
            for badge in [session, Badge::CONTROL] {
                let answer = send(&mut world, badge, label, &[], &[]);
                assert_eq!(answer, Err(Error::UnknownOperation));
            }
        }
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_session_may_not_ask_what_init_may_and_init_not_what_sessions_may() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let before = world.picture(&process);
    for &operation in Operation::ALL {
        let label = operation as u64;
        let wrong = if label < 64 { Badge::CONTROL } else { session };
        let answer = send(&mut world, wrong, label, &[0; 16], &[]);
        assert_eq!(answer, Err(Error::UnknownOperation), "{operation:?}");
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_handle_is_no_session_and_no_control() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    let badges = [vas, segment].map(|cap| world.fake().badge(cap).unwrap());
    let before = world.picture(&process);
    for badge in badges.into_iter().chain([0, 2].map(Badge::from_bits)) {
        for &operation in Operation::ALL {
            let answer = send(&mut world, badge, operation as u64, &[], &[Some(badge)]);
            assert_eq!(answer, Err(Error::UnknownOperation), "{operation:?}");
        }
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_body_that_is_not_what_the_operation_expects_is_malformed() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    let caps = [vas, segment].map(|cap| world.fake().badge(cap));
    let before = world.picture(&process);
    for &operation in Operation::ALL {
        let label = operation as u64;
        let badge = if label < 64 { session } else { Badge::CONTROL };
        for words in [&[u64::MAX; WORDS][..], &[u64::MAX; 3], &[0; 200]] {
            let answer = send(&mut world, badge, label, words, &caps);
            assert_eq!(answer, Err(Error::Malformed), "{operation:?}");
        }
    }
    // Cut short, and one word too many.
    let mut words = [0; WORDS];
    let name = name("a long enough name");
    let length = wire::encode(&VasFind { name }, &mut words).unwrap();
    for length in (0..length).chain([length + 1]) {
        let label = VasFind::OPERATION as u64;
        let answer = send(&mut world, session, label, &words[..length], &[]);
        assert_eq!(answer, Err(Error::Malformed));
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_missing_or_foreign_or_deleted_cap_is_a_stale_handle() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let vas = world.vas(&process, "data");
    let vas = world.fake().badge(vas);
    let before = world.picture(&process);
    let stale = |position| Err(Error::StaleHandle { position });
    let access = READ_ONLY;
    // The kernel unwraps only caps to the server's endpoint; all others come as none.
    for absent in [&[][..], &[None], &[None, None, None]] {
        let answer = world.send(session, &VasDelete, absent).map(|_| ());
        assert_eq!(answer, stale(0));
        let answer = world.send(session, &SegFree, absent).map(|_| ());
        assert_eq!(answer, stale(0));
        let answer = world.send(session, &VasAttach { access }, absent);
        assert_eq!(answer.map(|_| ()), stale(0));
        let answer = world.send(session, &SegAttach { access }, absent);
        assert_eq!(answer.map(|_| ()), stale(0));
    }
    for absent in [&[vas][..], &[vas, None]] {
        let answer = world.send(session, &SegAttach { access }, absent);
        assert_eq!(answer.map(|_| ()), stale(1));
        let answer = world.send(session, &SegDetach, absent).map(|_| ());
        assert_eq!(answer, stale(1));
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_handle_of_another_kind_is_told_apart() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    let [vas, segment] = [vas, segment].map(|cap| world.fake().badge(cap));
    let before = world.picture(&process);
    let wrong = |position, expected, found| {
        Err(Error::WrongKind {
            position,
            expected,
            found,
        })
    };
    for (badge, found) in [
        (segment, Kind::Segment),
        (Some(session), Kind::Session),
        (Some(Badge::CONTROL), Kind::Control),
    ] {
        let answer = world.send(session, &VasDelete, &[badge]).map(|_| ());
        assert_eq!(answer, wrong(0, Kind::Vas, found));
        let answer = world.send(session, &SegDetach, &[badge, vas]).map(|_| ());
        assert_eq!(answer, wrong(0, Kind::Vas, found));
    }
    let answer = world.send(session, &SegFree, &[vas]).map(|_| ());
    assert_eq!(answer, wrong(0, Kind::Segment, Kind::Vas));
    let answer = world.send(session, &SegDetach, &[vas, vas]).map(|_| ());
    assert_eq!(answer, wrong(1, Kind::Segment, Kind::Vas));
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_forged_badge_opens_nothing() {
    // The kernel lets no client choose a badge; the generation is a second line.
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let vas = world.vas(&process, "data");
    let vas = world.fake().badge(vas).unwrap().handle();
    let before = world.picture(&process);
    for (index, generation) in [
        (vas.index, vas.generation + 1),
        (vas.index + 1, vas.generation),
        (INDEXES as u16 - 1, GENERATIONS - 1),
    ] {
        let forged = Handle {
            kind: Kind::Vas,
            rights: Rights::all(),
            index,
            number: 0,
            generation,
        };
        let answer = world
            .send(session, &VasDelete, &[Some(forged.badge())])
            .map(|_| ());
        assert_eq!(answer, Err(Error::StaleHandle { position: 0 }));
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn the_first_thing_that_is_wrong_is_the_answer() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let vas = world.try_vas(&process, "data", CLOSED).unwrap();
    let vas = world.fake().badge(vas).unwrap();
    let powerless = Handle {
        rights: Rights::empty(),
        ..vas.handle()
    }
    .badge();
    let label = SegAttach::OPERATION as u64;
    let body = [0];
    let bad_body = [9];
    // A session, a body, handles, rights.
    let mut send = |badge, words: &[u64], caps: &[_]| send(&mut world, badge, label, words, caps);
    let unknown = send(vas, &bad_body, &[]);
    assert_eq!(unknown, Err(Error::UnknownOperation));
    let malformed = send(session, &bad_body, &[]);
    assert_eq!(malformed, Err(Error::Malformed));
    let stale = send(session, &body, &[Some(powerless), None]);
    assert_eq!(stale, Err(Error::StaleHandle { position: 1 }));
}

#[test]
fn caps_beyond_those_that_an_operation_takes_are_ignored() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let session = world.fake().badge(process.cap).unwrap();
    let caps = [None, Some(session), Some(Badge::CONTROL)];
    world.send(session, &ServerStat, &caps).unwrap();
    let other = world.process(1, &[]);
    let request = SessionEnd {
        session: other.session,
    };
    world.send(Badge::CONTROL, &request, &caps).unwrap();
}
