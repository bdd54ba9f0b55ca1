// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{IMAGE_BASE, PRIVATE};
use protocol::message::{PrivateExtent, ServerStat, SessionEnd, SessionId};
use protocol::{Access, Error, Kind};
use vas_server::fake::Fault;

use crate::support::*;

const fn extent(base: u64, pages: u32) -> PrivateExtent {
    PrivateExtent {
        base,
        pages,
        access: Access::ReadWrite,
    }
}

#[test]
fn a_session_is_a_cap_whose_badge_says_which() {
    let mut world = World::new();
    let first = world.process(1, &[]);
    let second = world.process(1, &[]);
    let badges = [&first, &second].map(|process| world.fake().badge(process.cap).unwrap());
    assert_ne!(badges[0], badges[1]);
    assert_ne!(first.session, second.session);
    for badge in badges {
        assert_eq!(badge.handle().kind, Kind::Session);
    }
    assert_eq!(world.statistics().sessions, 2);
}

#[test]
fn a_session_that_ends_releases_what_it_held_and_leaves_what_it_made() {
    let mut world = World::new();
    let witness = world.process(1, &[]);
    let before = world.statistics();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 4 * KIB);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let reading = world.attach(&process, vas, READ_ONLY).unwrap();
    let writing = world.attach(&process, vas, READ_WRITE).unwrap();
    let stays = world.attach(&witness, vas, READ_WRITE).unwrap();
    world.fake().store(writing.root, BASE, 42).unwrap();

    world.end(&process);
    for cap in [process.cap, reading.root, writing.root] {
        assert!(!world.fake().exists(cap));
    }
    assert_eq!(world.statistics().attachments, 1);
    assert_eq!(world.statistics().sessions, 1);
    assert_eq!(world.fake().load(stays.root, BASE), Ok(42));

    world.detach(&witness, stays).unwrap();
    let (_, vas) = world.find_vas(&witness, "data").unwrap();
    world.delete_vas(&witness, vas).unwrap();
    let (_, segment) = world.find_segment(&witness, "heap").unwrap();
    world.free(&witness, segment).unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn private_memory_that_init_takes_back_first_is_gone_from_every_attachment() {
    let mut world = World::new();
    let caps = world.fake().caps_of_objects();
    let process = world.process(1, &[]);
    let before = world.statistics();
    let vas = world.vas(&process, "data");
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    for &cap in &process.memory {
        world.fake().revoke_and_drop(cap);
        world.fake().check();
    }
    let answer = world.fake().load(attached.root, IMAGE_BASE);
    assert_eq!(answer, Err(Fault::NotMapped));
    world.detach(&process, attached).unwrap();
    world.delete_vas(&process, vas).unwrap();
    assert_eq!(world.statistics(), before);
    world.end(&process);
    assert_eq!(world.fake().caps_of_objects(), caps);
}

#[test]
fn a_process_whose_private_memory_never_came_is_refused_an_attachment() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    for &cap in &process.memory {
        world.fake().revoke_and_drop(cap);
    }
    let before = world.picture(&process);
    let answer = world.attach(&process, vas, READ_WRITE).map(|_| ());
    assert_eq!(answer, Err(Error::Internal { kernel: 6 }));
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_session_ends_once() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(1, &[]);
    world.end(&process);
    let before = world.picture(&other);
    for session in [process.session, SessionId(u32::MAX), SessionId(77)] {
        let answer = world.control(&SessionEnd { session }).map(|_| ());
        assert_eq!(answer, Err(Error::NotFound));
    }
    assert_eq!(world.picture(&other), before);
}

#[test]
fn a_session_that_has_ended_may_ask_for_nothing() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let badge = world.fake().badge(process.cap).unwrap();
    world.end(&process);
    // The cap is gone; this is the badge of the past, which the kernel delivers no more.
    let answer = world.send(badge, &ServerStat, &[]).map(|_| ());
    assert_eq!(answer, Err(Error::UnknownOperation));
    world.process(1, &[]);
    let answer = world.send(badge, &ServerStat, &[]).map(|_| ());
    assert_eq!(answer, Err(Error::UnknownOperation));
}

#[test]
fn private_memory_that_is_described_wrongly_is_refused() {
    let mut world = World::new();
    let witness = world.process(1, &[]);
    let before = world.picture(&witness);
    let end = PRIVATE.end;
    let out = |base, pages: u64| Error::OutOfRange {
        base,
        size: pages * 4096,
    };
    let unaligned = |base| Error::Unaligned {
        base,
        alignment: 4096,
    };
    for (extents, error) in [
        (vec![extent(IMAGE_BASE, 0)], Error::ZeroSize),
        (vec![extent(IMAGE_BASE + 8, 1)], unaligned(IMAGE_BASE + 8)),
        (vec![extent(end, 1)], out(end, 1)),
        (vec![extent(end - 4096, 2)], out(end - 4096, 2)),
        (
            vec![extent(0u64.wrapping_sub(4096), 1)],
            out(0u64.wrapping_sub(4096), 1),
        ),
        (
            vec![extent(0u64.wrapping_sub(4096), u32::MAX)],
            out(0u64.wrapping_sub(4096), u32::MAX.into()),
        ),
        // Not in order, and one over the other.
        (vec![extent(0x2000, 1), extent(0x1000, 1)], Error::Malformed),
        (vec![extent(0x1000, 2), extent(0x2000, 1)], Error::Malformed),
        (vec![extent(0x1000, 1), extent(0x1000, 1)], Error::Malformed),
        // More pages than slots, and than can be counted in 32 bits.
        (vec![extent(0, 1 << 26)], Error::OutOfSlots),
        (
            vec![extent(0, 1 << 26), extent(1 << 38, 1 << 26)],
            Error::OutOfSlots,
        ),
    ] {
        if crate::EXTENDED && error == Error::OutOfSlots {
            // A table is one cap, whatever it maps.
            continue;
        }
        let answer = world.try_process(1, &[], &extents).map(|_| ());
        assert_eq!(answer, Err(error), "{extents:x?}");
        assert_eq!(world.picture(&witness), before);
    }
    // One behind the other is right.
    let extents = [extent(0x1000, 1), extent(0x2000, 1), extent(end - 4096, 1)];
    world.try_process(1, &[], &extents).unwrap();
}
