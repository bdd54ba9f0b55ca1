// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::message::{Operation, PrivateExtent, SessionCreate};
use protocol::wire::{self, WORDS};
use protocol::{Badge, Error, Limit, limits};

use crate::support::*;

/// Repeats until it fails; answers how often it succeeded, and the error.
fn until_refused(mut attempt: impl FnMut(usize) -> Result<(), Error>) -> (usize, Error) {
    let mut count = 0;
    loop {
        match attempt(count) {
            Ok(()) => count += 1,
            Err(error) => return (count, error),
        }
    }
}

#[test]
fn there_are_so_many_sessions_and_no_more() {
    let mut world = World::new();
    let first = world.bare_process(1);
    let rest = until_refused(|_| world.try_process(1, &[], &[]).map(|_| ()));
    let reached = Error::LimitReached(Limit::Sessions);
    assert_eq!(rest, (limits::SESSIONS - 1, reached.clone()));
    let before = world.picture(&first);
    let answer = world.try_process(1, &[], &private()).map(|_| ());
    assert_eq!(answer, Err(reached));
    assert_eq!(world.picture(&first), before);
    world.end(&first);
    world.process(1, &[]);
}

#[test]
fn there_are_so_many_vases_and_no_more() {
    let mut world = World::start(20_000, &[33], "small", 3);
    let process = world.process(1, &[]);
    let first = world.vas(&process, "first");
    let rest = until_refused(|number| {
        let text = number.to_string();
        world.try_vas(&process, &text, CLOSED).map(|_| ())
    });
    assert_eq!(rest, (limits::VASES - 1, Error::LimitReached(Limit::Vases)));
    let before = world.picture(&process);
    let answer = world.try_vas(&process, "one more", OPEN).map(|_| ());
    assert_eq!(answer, Err(Error::LimitReached(Limit::Vases)));
    assert_eq!(world.picture(&process), before);
    world.delete_vas(&process, first).unwrap();
    world.vas(&process, "one more");
}

#[test]
fn there_are_so_many_segments_and_so_many_in_one_vas_and_no_more() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let mut segments = Vec::new();
    let all = until_refused(|number| {
        let base = BASE + number as u64 * 4 * KIB;
        let request = alloc(&number.to_string(), base, 1, SMALL);
        let (_, segment) = world.try_segment(&process, &request)?;
        segments.push(segment);
        Ok(())
    });
    let reached = Error::LimitReached(Limit::Segments);
    assert_eq!(all, (limits::SEGMENTS, reached.clone()));

    let vas = world.vas(&process, "data");
    let in_one = until_refused(|number| {
        let segment = segments[number];
        world.add(&process, vas, segment, READ_ONLY)
    });
    let full = Error::LimitReached(Limit::SegmentsPerVas);
    assert_eq!(in_one, (limits::SEGMENTS_PER_VAS, full.clone()));

    let before = world.picture(&process);
    let one_more = alloc("one more", BASE, 1, SMALL);
    let answer = world.try_segment(&process, &one_more).map(|_| ());
    assert_eq!(answer, Err(reached));
    let last = segments[limits::SEGMENTS - 1];
    let answer = world.add(&process, vas, last, READ_ONLY);
    assert_eq!(answer, Err(full));
    assert_eq!(world.picture(&process), before);
    world.free(&process, last).unwrap();
    world.try_segment(&process, &one_more).unwrap();
}

#[test]
fn there_are_so_many_attachments_and_no_more() {
    const ASIDS: u32 = 5 * 512;
    let mut world = World::start(20_000, &[33], "small", 5);
    let process = world.bare_process(1);
    let all = until_refused(|number| {
        let vas = world.try_vas(&process, &number.to_string(), OPEN)?;
        world.attach(&process, vas, READ_ONLY).map(|_| ())
    });
    // There are as many VASes, so the last attempts are with another access.
    assert_eq!(all, (1024, Error::LimitReached(Limit::Vases)));
    let (_, vas) = world.find_vas(&process, "0").unwrap();
    let before = world.picture(&process);
    let answer = world.attach(&process, vas, READ_WRITE).map(|_| ());
    assert_eq!(answer, Err(Error::LimitReached(Limit::Attachments)));
    assert_eq!(world.picture(&process), before);
    assert_eq!(before, world.picture(&process));
    assert_eq!(world.statistics().asids_free, ASIDS - 1024 - 1024 * MASTER);
    world.end(&process);
    assert_eq!(world.statistics().asids_free, ASIDS - 1024 * MASTER);
}

#[test]
fn there_are_so_many_address_space_identifiers_and_no_more() {
    let mut world = World::new();
    let process = world.bare_process(1);
    let other = world.bare_process(2);
    let mut attached = Vec::new();
    let all = until_refused(|number| {
        let vas = world.try_vas(&process, &number.to_string(), OPEN)?;
        attached.push(world.attach(&process, vas, READ_ONLY)?);
        Ok(())
    });
    assert_eq!(all, (512 >> MASTER, Error::OutOfAsids));
    assert_eq!(world.statistics().asids_free, 0);
    let (_, vas) = world.find_vas(&other, "7").unwrap();
    let before = world.picture(&process);
    let answer = world.attach(&other, vas, READ_ONLY).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfAsids));
    assert_eq!(world.picture(&process), before);
    world.detach(&process, attached[100]).unwrap();
    world.attach(&other, vas, READ_ONLY).unwrap();
}

#[test]
fn more_private_extents_than_the_limit_do_not_fit_in_the_message() {
    let mut world = World::new();
    let extents: Vec<PrivateExtent> = (0..limits::PRIVATE_EXTENTS as u64)
        .map(|number| PrivateExtent {
            base: number * 8 * KIB,
            pages: 1,
            access: READ_ONLY,
        })
        .collect();
    world.try_process(1, &[], &extents).unwrap();

    let request = SessionCreate {
        principal: principal(1, &[]),
        private: extents.into_iter().collect(),
    };
    let mut words = [0; WORDS];
    let length = wire::encode(&request, &mut words).unwrap();
    // User 1, no groups, and then the number of extents.
    let mut first = words[0].to_le_bytes();
    assert_eq!(first[..3], [1, 0, limits::PRIVATE_EXTENTS as u8]);
    first[2] += 1;
    words[0] = u64::from_le_bytes(first);
    let mut reply = [0; WORDS];
    let label = Operation::SessionCreate as u64;
    let answer = world
        .server
        .handle(Badge::CONTROL, label, &words[..length + 2], &[], &mut reply);
    let length = answer.unwrap().length;
    let error: Error = wire::decode(&reply[..length]).unwrap();
    assert_eq!(error, Error::Malformed);
}
