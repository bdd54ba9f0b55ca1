// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::message::VasEntry;
use protocol::{Error, Kind, Mode, Rights};

use crate::support::*;

#[test]
fn a_created_vas_can_be_found_by_its_name_and_comes_with_all_rights() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let made = world.vas(&process, "data");
    let badge = world.fake().badge(made).unwrap().handle();
    assert_eq!((badge.kind, badge.rights), (Kind::Vas, Rights::all()));

    let (_, found) = world.find_vas(&process, "data").unwrap();
    let found = world.fake().badge(found).unwrap().handle();
    assert_eq!(
        (found.kind, found.index, found.generation),
        (badge.kind, badge.index, badge.generation)
    );
}

#[test]
fn an_unknown_name_is_not_found() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    world.vas(&process, "data");
    let answer = world.find_vas(&process, "dat").map(|_| ());
    assert_eq!(answer, Err(Error::NotFound));
}

#[test]
fn a_name_is_taken_until_its_vas_is_deleted() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    let before = world.picture(&process);
    assert_eq!(
        world.try_vas(&other, "data", OPEN).map(|_| ()),
        Err(Error::NameExists)
    );
    assert_eq!(world.picture(&process), before);
    world.delete_vas(&process, vas).unwrap();
    world.vas(&other, "data");
}

#[test]
fn a_vas_and_a_segment_may_have_the_same_name() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    world.vas(&process, "data");
    world.segment(&process, "data", BASE, 1);
}

#[test]
fn mode_bits_decide_what_a_found_handle_allows() {
    let all_of = |rights: &[Rights]| rights.iter().fold(Rights::empty(), |all, &one| all | one);
    let read = all_of(&[Rights::READ, Rights::ATTACH]);
    let write = all_of(&[Rights::WRITE, Rights::ATTACH]);
    let owner = all_of(&[Rights::CONTROL, Rights::GRANT]);
    let none = Rights::empty();
    for (mode, for_owner, for_group, for_others) in [
        (0o000, owner, none, none),
        (0o111, owner, none, none),
        (0o400, owner | read, none, none),
        (0o640, owner | read | write, read, none),
        (0o042, owner, read, write),
        (0o206, owner | write, none, read | write),
        (0o777, owner | read | write, read | write, read | write),
    ] {
        let mut world = World::new();
        let creator = world.process(1, &[10, 11]);
        world.try_vas(&creator, "data", Mode(mode)).unwrap();
        for (user, groups, rights) in [
            (1, &[][..], for_owner),
            (1, &[10], for_owner),
            (2, &[7, 10], for_group),
            // The creator's first group is that of the VAS.
            (2, &[11], for_others),
            (2, &[], for_others),
        ] {
            let process = world.process(user, groups);
            let expected = if rights.is_empty() {
                let needs = read;
                Err(Error::PermissionDenied { needs })
            } else {
                Ok(rights)
            };
            let found = world.find_vas(&process, "data");
            let badge = found
                .clone()
                .map(|(_, cap)| world.fake().badge(cap).unwrap());
            assert_eq!(badge.map(|badge| badge.handle().rights), expected);
            assert_eq!(found.map(|(granted, _)| granted.rights), expected);
        }
    }
}

#[test]
fn a_creator_without_groups_gives_nothing_to_any_group() {
    let mut world = World::new();
    let creator = world.process(1, &[]);
    let other = world.process(2, &[0]);
    world.try_vas(&creator, "data", Mode(0o060)).unwrap();
    let answer = world.find_vas(&other, "data").map(|_| ());
    assert!(matches!(answer, Err(Error::PermissionDenied { .. })));
}

#[test]
fn finding_again_takes_no_further_slot() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    world.vas(&process, "data");
    world.find_vas(&process, "data").unwrap();
    let before = world.statistics();
    for _ in 0..10 {
        world.find_vas(&process, "data").unwrap();
    }
    assert_eq!(world.statistics(), before);
}

#[test]
fn deleting_a_vas_takes_its_handles_from_all_who_have_them() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let before = world.statistics();
    let made = world.vas(&process, "data");
    let (_, found) = world.find_vas(&other, "data").unwrap();
    world.delete_vas(&process, made).unwrap();
    assert!(!world.fake().exists(made) && !world.fake().exists(found));
    assert_eq!(world.statistics(), before);
    let stale = Err(Error::StaleHandle { position: 0 });
    assert_eq!(world.attach(&other, found, READ_ONLY).map(|_| ()), stale);
    assert_eq!(world.delete_vas(&process, made), stale);
    let answer = world.find_vas(&process, "data").map(|_| ());
    assert_eq!(answer, Err(Error::NotFound));
}

#[test]
fn a_handle_of_the_past_does_not_open_what_took_its_place() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let first = world.vas(&process, "data");
    let old = world.fake().badge(first).unwrap();
    world.delete_vas(&process, first).unwrap();
    // Until the place of the first is used again.
    let (mut vas, mut badge) = (first, old);
    for _ in 0..=protocol::limits::VASES {
        vas = world.vas(&process, "data");
        badge = world.fake().badge(vas).unwrap();
        if badge.handle().index == old.handle().index {
            break;
        }
        world.delete_vas(&process, vas).unwrap();
    }
    assert_eq!(badge.handle().index, old.handle().index);
    assert_ne!(badge, old);
    let session = world.fake().badge(process.cap).unwrap();
    let answer = world
        .send(session, &protocol::message::VasDelete, &[Some(old)])
        .map(|_| ());
    assert_eq!(answer, Err(Error::StaleHandle { position: 0 }));
    world.delete_vas(&process, vas).unwrap();
}

#[test]
fn deleting_needs_control() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    world.vas(&process, "data");
    let (_, found) = world.find_vas(&other, "data").unwrap();
    let before = world.picture(&process);
    let needs = Rights::CONTROL;
    assert_eq!(
        world.delete_vas(&other, found),
        Err(Error::PermissionDenied { needs })
    );
    assert_eq!(world.picture(&process), before);
    let (_, own) = world.find_vas(&process, "data").unwrap();
    world.delete_vas(&process, own).unwrap();
}

#[test]
fn a_vas_is_not_deleted_while_a_process_is_attached() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let attached = world.attach(&process, vas, READ_ONLY).unwrap();
    let other = world.attach(&process, vas, READ_WRITE).unwrap();
    let before = world.picture(&process);
    let in_use = |attachments| Err(Error::InUse { attachments });
    assert_eq!(world.delete_vas(&process, vas), in_use(2));
    assert_eq!(world.picture(&process), before);
    world.detach(&process, attached).unwrap();
    assert_eq!(world.delete_vas(&process, vas), in_use(1));
    world.detach(&process, other).unwrap();
    world.delete_vas(&process, vas).unwrap();
}

#[test]
fn segments_outlive_the_vas_they_were_in() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 4 * KIB);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    world.fake().store(attached.root, BASE, 42).unwrap();
    world.detach(&process, attached).unwrap();
    world.delete_vas(&process, vas).unwrap();

    let vas = world.vas(&process, "other");
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let attached = world.attach(&process, vas, READ_ONLY).unwrap();
    assert_eq!(world.fake().load(attached.root, BASE), Ok(42));
}

#[test]
fn a_listing_shows_in_order_what_the_principal_may_look_up() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let mut names: Vec<String> = (0..20).map(|number| format!("vas {number}")).collect();
    for text in &names {
        world.vas(&process, text);
    }
    let secret = world.try_vas(&process, "secret", CLOSED).unwrap();
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, secret, segment, READ_ONLY).unwrap();
    world.attach(&process, secret, READ_ONLY).unwrap();

    names.sort();
    let listed = |entries: Vec<VasEntry>| -> Vec<String> {
        let names = entries.iter().map(|entry| entry.name.as_str().to_owned());
        names.collect()
    };
    assert_eq!(listed(world.list_vases(&other)), names);
    let own = world.list_vases(&process);
    assert_eq!(
        own[0],
        VasEntry {
            name: name("secret"),
            owner: 1,
            mode: CLOSED,
            segments: 1,
            attachments: 1,
        }
    );
    assert_eq!(listed(own[1..].to_vec()), names);
}
