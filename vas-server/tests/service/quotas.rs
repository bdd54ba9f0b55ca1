// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::message::{Command, Counts, Quota};
use protocol::{Error, Limit, PageSize, limits};
use vas_server::StartError;

use crate::support::*;

const COUNTS: Counts = Counts {
    sessions: 2,
    vases: 3,
    segments: 4,
    attachments: 2,
    handles: 12,
};

fn quota(user: u32, memory: u64) -> Quota {
    let counts = COUNTS;
    Quota {
        user,
        memory,
        slots: 2048,
        counts,
    }
}

/// Makes segments of one page until there is no memory; answers how many.
fn use_up(world: &mut World, process: &Process, page_size: PageSize) -> u64 {
    for number in 0.. {
        let text = format!("{} {number}", process.session.0);
        let request = alloc(&text, BASE, 1, Some(page_size));
        match world.try_segment(process, &request) {
            Ok(_) => {}
            Err(Error::OutOfMemory) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!()
}

#[test]
fn what_is_promised_is_there_when_others_have_used_up_all_they_can_get() {
    // 4 MiB, of which 2 MiB and 8 KiB are promised.
    let promised = 2 * MIB + 8 * KIB;
    let mut world = World::promising(&[21, 20, 20, 13], &[quota(1, promised)]).unwrap();
    let poor = world.bare_process(2);
    let other = world.bare_process(3);
    let rich = world.bare_process(1);
    let total = world.statistics().memory_free;
    assert_eq!(world.quota(&rich).memory_free, promised);
    assert_eq!(world.quota(&poor).memory_free, total - promised);
    assert_eq!(world.quota(&poor).user, None);
    assert_eq!(world.quota(&rich).user, Some(1));

    // The poor take what they can, and no more.
    let pages = use_up(&mut world, &poor, PageSize::Small);
    assert_eq!(pages * 4 * KIB, total - promised);
    assert_eq!(use_up(&mut world, &other, PageSize::Small), 0);
    assert_eq!(world.statistics().memory_free, promised);

    // Not even in pieces too small for a large page.
    let request = alloc("large", BASE, 1, LARGE);
    let (_, large) = world.try_segment(&rich, &request).unwrap();
    let two = world.segment(&rich, "two", BASE, 8 * KIB);
    assert_eq!(world.statistics().memory_free, 0);
    let (_, first) = world
        .find_segment(&poor, &format!("{} 0", poor.session.0))
        .unwrap();
    world.free(&poor, first).unwrap();
    let request = alloc("more", BASE, 1, SMALL);
    let more = world.try_segment(&rich, &request).map(|_| ());
    assert_eq!(more, Err(Error::OutOfMemory));
    world.free(&rich, large).unwrap();
    world.free(&rich, two).unwrap();
    assert_eq!(world.quota(&rich).memory_free, promised);
}

#[test]
fn slots_that_are_promised_are_there_when_others_have_used_up_all_they_can_get() {
    let mut world = World::promising(&[27], &[quota(1, 4 * MIB)]).unwrap();
    let poor = world.bare_process(2);
    let rich = world.bare_process(1);
    let promised = world.quota(&rich);
    // The session has one.
    assert_eq!((promised.slots_total, promised.slots_free), (2048, 2047));
    let slots = world.statistics();
    let rest = world.quota(&poor);
    assert_eq!(
        u64::from(rest.slots_total + promised.slots_total),
        slots.slots_total
    );
    assert_eq!(
        u64::from(rest.slots_free + promised.slots_free),
        slots.slots_free
    );

    let mut pages = 1024;
    for number in 0.. {
        let request = alloc(&format!("many {number}"), BASE, pages * 4 * KIB, SMALL);
        match world.try_segment(&poor, &request) {
            Ok(_) => {}
            Err(Error::OutOfSlots | Error::OutOfMemory) if pages > 1 => pages /= 2,
            Err(error) => {
                assert_eq!(error, Error::OutOfSlots);
                break;
            }
        }
    }
    assert_eq!(world.quota(&rich), promised);
    let most = u64::from(promised.slots_free) / 2;
    let segment = world.segment(&rich, "own", BASE, most * 4 * KIB);
    let used = world.quota(&rich);
    assert!(u64::from(used.slots_free) < most);
    assert!(world.quota(&poor).slots_free < 4);
    world.free(&rich, segment).unwrap();
    assert_eq!(world.quota(&rich), promised);
}

#[test]
fn a_user_has_no_more_slots_and_sessions_than_were_promised() {
    let mut world = World::promising(&[24], &[quota(1, 12 * MIB)]).unwrap();
    let process = world.bare_process(1);
    let before = world.picture(&process);
    let request = alloc("large", BASE, 2048 * 4 * KIB, SMALL);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfSlots));
    assert_eq!(world.picture(&process), before);

    let second = world.bare_process(1);
    let third = world.try_process(1, &[], &[]).map(|_| ());
    assert_eq!(third, Err(Error::LimitReached(Limit::Sessions)));
    world.bare_process(2);
    world.end(&second);
    world.bare_process(1);
}

#[test]
fn all_processes_of_a_user_share_its_quota_and_it_outlives_them() {
    let mut world = World::promising(&[22], &[quota(1, 64 * KIB)]).unwrap();
    let [first, second] = [(), ()].map(|()| world.bare_process(1));
    world.segment(&first, "first", BASE, 40 * KIB);
    let request = alloc("second", BASE, 40 * KIB, SMALL);
    let answer = world.try_segment(&second, &request).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfMemory));
    world.end(&first);
    assert_eq!(world.quota(&second).memory_free, 24 * KIB);
    let (_, first) = world.find_segment(&second, "first").unwrap();
    world.free(&second, first).unwrap();
    world.try_segment(&second, &request).unwrap();
}

#[test]
fn who_asks_pays_page_tables_included_and_gets_it_back_whoever_deletes() {
    let quotas = [quota(1, 128 * KIB), quota(2, 128 * KIB)];
    let mut world = World::promising(&[22], &quotas).unwrap();
    let owner = world.bare_process(1);
    let guest = world.bare_process(2);
    let used = |world: &mut World, process: &Process| {
        let quota = world.quota(process);
        (quota.memory_total - quota.memory_free) / (4 * KIB)
    };
    let vas = world.vas(&owner, "data");
    let root = u64::from(MASTER);
    assert_eq!(used(&mut world, &owner), root);
    let attached = world.attach(&owner, vas, READ_WRITE).unwrap();
    assert_eq!(used(&mut world, &owner), root + 1);

    // The guest adds a page and the tables for it.
    let (_, found) = world.find_vas(&guest, "data").unwrap();
    let segment = world.segment(&guest, "heap", BASE, 1);
    world.add(&guest, found, segment, READ_WRITE).unwrap();
    assert_eq!(used(&mut world, &guest), 1 + 3);
    assert_eq!(used(&mut world, &owner), root + 1);
    // The owner adds one for which tables are there, and the guest removes its own: the
    // tables stay, and the guest pays on.
    let own = world.segment(&owner, "own", BASE + 4 * KIB, 1);
    world.add(&owner, vas, own, READ_WRITE).unwrap();
    assert_eq!(used(&mut world, &owner), root + 1 + 1);
    world.remove(&guest, found, segment).unwrap();
    assert_eq!(used(&mut world, &guest), 1 + 3);
    world
        .fake()
        .store(attached.root, BASE + 4 * KIB, 1)
        .unwrap();

    // The guest grows what is the owner's.
    let (_, found_own) = world.find_segment(&guest, "own").unwrap();
    world.grow(&guest, found_own, 12 * KIB).unwrap();
    assert_eq!(used(&mut world, &guest), 1 + 3 + 2);
    assert_eq!(used(&mut world, &owner), root + 1 + 1);

    world.detach(&owner, attached).unwrap();
    world.delete_vas(&owner, vas).unwrap();
    world.free(&owner, own).unwrap();
    assert_eq!(used(&mut world, &owner), 0);
    assert_eq!(used(&mut world, &guest), 1);
    world.free(&owner, segment).unwrap();
    assert_eq!(used(&mut world, &guest), 0);
}

#[test]
fn objects_are_counted_for_the_user_that_made_them() {
    let mut world = World::promising(&[22], &[quota(1, MIB)]).unwrap();
    let process = world.bare_process(1);
    let other = world.bare_process(2);
    let reached = |limit| Err(Error::LimitReached(limit));
    assert_eq!(world.quota(&process).most, COUNTS);
    let rest = world.quota(&other).most;
    assert_eq!(rest.sessions + COUNTS.sessions, limits::SESSIONS as u32);
    assert_eq!(rest.vases + COUNTS.vases, limits::VASES as u32);
    assert_eq!(rest.segments + COUNTS.segments, limits::SEGMENTS as u32);
    assert_eq!(
        rest.attachments + COUNTS.attachments,
        limits::ATTACHMENTS as u32
    );
    assert_eq!(rest.handles + COUNTS.handles, limits::HANDLES as u32);

    let vases = ["a", "b", "c"].map(|text| world.vas(&process, text));
    let segments = ["a", "b", "c", "d"].map(|text| world.segment(&process, text, BASE, 1));
    let before = world.picture(&other);
    let answer = world.try_vas(&process, "one more", OPEN).map(|_| ());
    assert_eq!(answer, reached(Limit::Vases));
    let clone = world.clone_vas(&process, vases[0], "one more", OPEN, READ_ONLY);
    assert_eq!(clone.map(|_| ()), reached(Limit::Vases));
    let request = alloc("one more", BASE, 1, SMALL);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, reached(Limit::Segments));
    assert_eq!(world.picture(&other), before);

    let attached =
        [READ_ONLY, READ_WRITE].map(|access| world.attach(&process, vases[0], access).unwrap());
    let answer = world.attach(&process, vases[1], READ_ONLY).map(|_| ());
    assert_eq!(answer, reached(Limit::Attachments));
    // Seven handles are those of the objects.
    for number in 0..5 {
        let rights = protocol::Rights::from_bits_truncate(number);
        world.restrict(&process, vases[0], rights).unwrap();
    }
    let none = protocol::Rights::empty();
    let answer = world.restrict(&process, vases[1], none).map(|_| ());
    assert_eq!(answer, reached(Limit::Handles));
    let sessions = 1;
    let used = Counts { sessions, ..COUNTS };
    assert_eq!(world.quota(&process).used, used);
    // One that is there already can be had.
    world.restrict(&process, vases[0], none).unwrap();

    // Others are not concerned; and giving an object away does not make it theirs to pay.
    world.vas(&other, "other");
    let before = world.quota(&other);
    let (user, group) = (2, None);
    world
        .control_vas(&process, vases[2], Command::Owner { user, group })
        .unwrap();
    assert_eq!(world.quota(&other), before);

    for attached in attached {
        world.detach(&process, attached).unwrap();
    }
    for vas in vases {
        world.delete_vas(&process, vas).unwrap();
    }
    for segment in segments {
        world.free(&process, segment).unwrap();
    }
    let after = world.quota(&process);
    let used = Counts {
        sessions,
        ..Counts::default()
    };
    assert_eq!(after.used, used);
    assert_eq!(after.memory_free, after.memory_total);
}

#[test]
fn a_process_that_ends_no_longer_counts() {
    let mut world = World::promising(&[22], &[quota(1, MIB)]).unwrap();
    let process = world.process(1, &[]);
    let before = world.quota(&process);
    let second = world.process(1, &[]);
    let vas = world.vas(&second, "data");
    let segment = world.segment(&second, "heap", BASE, 1);
    world.add(&second, vas, segment, READ_WRITE).unwrap();
    let lifetime = lives(protocol::Lifetime::Creator);
    world.control_vas(&second, vas, lifetime.clone()).unwrap();
    world.control_segment(&second, segment, lifetime).unwrap();
    world.attach(&second, vas, READ_WRITE).unwrap();
    world.end(&second);
    assert_eq!(world.quota(&process), before);
}

#[test]
fn more_than_there_is_cannot_be_promised() {
    let refused = |quotas: &[Quota]| {
        let error = World::promising(&[22], quotas).map(|_| ()).unwrap_err();
        error.to_string()
    };
    let fits = [quota(1, 2 * MIB), quota(2, MIB)];
    assert!(World::promising(&[22], &fits).is_ok());
    let error = refused(&[quota(1, 2 * MIB), quota(2, 2 * MIB)]);
    assert_eq!(
        error,
        "the quota of user 2 cannot be kept: not enough free memory"
    );
    let mut many = quota(7, MIB);
    many.counts.segments = limits::SEGMENTS as u32;
    let error = refused(&[many, quota(8, MIB)]);
    assert!(error.contains("user 8"), "{error}");
    assert!(error.contains("Segments"), "{error}");
    let expected = StartError::Quota {
        user: 8,
        error: Error::LimitReached(Limit::Segments),
    };
    let found = World::promising(&[22], &[many, quota(8, MIB)]).map(|_| ());
    assert_eq!(found.unwrap_err(), expected);
}
