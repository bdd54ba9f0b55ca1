// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::limits::REVOCABLE_HANDLES;
use protocol::message::{Command, Described, Granted, SegGranted};
use protocol::{Error, Kind, Limit, PageSize, Rights};

use crate::support::*;

#[test]
fn a_restricted_handle_allows_what_was_asked_for_and_no_more() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.try_vas(&process, "data", CLOSED).unwrap();
    let rights = Rights::READ | Rights::ATTACH;
    let weaker = world.restrict(&process, vas, rights).unwrap();
    let badge = world.fake().badge(weaker).unwrap().handle();
    assert_eq!((badge.kind, badge.rights), (Kind::Vas, rights));

    // It works for whoever has it.
    world.attach(&other, weaker, READ_ONLY).unwrap();
    let denied = |needs| Error::PermissionDenied { needs };
    let writing = world.attach(&other, weaker, READ_WRITE).map(|_| ());
    assert_eq!(writing, Err(denied(READ_WRITE.needs())));
    assert_eq!(
        world.delete_vas(&other, weaker),
        Err(denied(Rights::CONTROL))
    );
}

#[test]
fn a_handle_is_restricted_only_with_the_right_to_and_never_to_more() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 1);
    let passing = Rights::READ | Rights::GRANT;
    let weaker = world.restrict(&process, segment, passing).unwrap();
    let denied = |needs| Err(Error::PermissionDenied { needs });
    assert_eq!(
        world.restrict(&process, weaker, Rights::READ | Rights::WRITE),
        denied(Rights::READ | Rights::WRITE | Rights::GRANT)
    );
    let last = world.restrict(&process, weaker, Rights::READ).unwrap();
    assert_eq!(
        world.restrict(&process, last, Rights::READ),
        denied(passing)
    );
}

#[test]
fn a_handle_tells_what_it_is() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 5);
    let rights = Rights::empty();
    let nothing = world.restrict(&process, segment, rights).unwrap();
    let granted = Granted {
        rights: Rights::all(),
    };
    assert_eq!(world.describe(&process, vas), Ok(Described::Vas(granted)));
    let granted = SegGranted {
        rights,
        base: BASE,
        size: 4 * KIB,
        page_size: PageSize::Small,
    };
    assert_eq!(
        world.describe(&process, nothing),
        Ok(Described::Segment(granted))
    );
    world.free(&process, segment).unwrap();
    for handle in [segment, nothing] {
        assert_eq!(
            world.describe(&process, handle),
            Err(Error::StaleHandle { position: 0 })
        );
    }
}

#[test]
fn revoking_takes_restricted_handles_too() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let before = world.statistics();
    let weaker = world.restrict(&process, vas, Rights::READ).unwrap();
    let same = world.restrict(&process, vas, Rights::READ).unwrap();
    world
        .control_vas(&process, vas, Command::RevokeHandles)
        .unwrap();
    for cap in [vas, weaker, same] {
        assert!(!world.fake().exists(cap));
    }
    // Neither takes anything any longer.
    world.find_vas(&process, "data").unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn a_session_is_no_handle_to_restrict_or_to_describe() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let wrong = Error::WrongKind {
        position: 0,
        expected: Kind::Vas,
        found: Kind::Session,
    };
    let cap = process.cap;
    assert_eq!(
        world.restrict(&process, cap, Rights::empty()),
        Err(wrong.clone())
    );
    assert_eq!(world.describe(&process, cap), Err(wrong));
}

#[test]
fn a_revocable_handle_is_taken_away_alone_with_what_was_made_of_it() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let before = world.statistics();
    let passing = Rights::READ | Rights::GRANT;
    let common = world.restrict(&process, vas, passing).unwrap();
    let with_common = world.statistics();
    let (first, number) = world.restrict_revocable(&process, vas, passing).unwrap();
    let (second, other) = world.restrict_revocable(&process, vas, passing).unwrap();
    assert_ne!((number, first), (other, second));
    // Whoever has it makes more of it, revocable or not.
    let made = world.restrict(&process, first, Rights::READ).unwrap();
    let (made_revocable, same) = world
        .restrict_revocable(&process, first, Rights::READ)
        .unwrap();
    assert_eq!(same, number);

    let revoke = |world: &mut World, number| {
        let command = Command::RevokeHandle(number);
        world.control_vas(&process, vas, command)
    };
    assert_eq!(revoke(&mut world, number), Ok(()));
    for cap in [first, made, made_revocable] {
        assert!(!world.fake().exists(cap));
    }
    for cap in [vas, common, second] {
        assert!(world.fake().exists(cap));
    }
    assert_eq!(revoke(&mut world, number), Err(Error::NotFound));
    assert_eq!(revoke(&mut world, 0), Err(Error::NotFound));
    revoke(&mut world, other).unwrap();
    assert_eq!(world.statistics(), with_common);
    assert_ne!(world.statistics(), before);
}

#[test]
fn an_object_has_a_limited_number_of_revocable_handles() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 1);
    let rights = Rights::READ;
    let mut numbers: Vec<u8> = (0..REVOCABLE_HANDLES)
        .map(|_| {
            let made = world.restrict_revocable(&process, segment, rights);
            made.unwrap().1
        })
        .collect();
    let before = world.picture(&process);
    assert_eq!(
        world.restrict_revocable(&process, segment, rights),
        Err(Error::LimitReached(Limit::RevocableHandles))
    );
    assert_eq!(world.picture(&process), before);
    let number = numbers.swap_remove(7);
    let command = Command::RevokeHandle(number);
    world.control_segment(&process, segment, command).unwrap();
    let (_, again) = world.restrict_revocable(&process, segment, rights).unwrap();
    assert_eq!(again, number);
}
