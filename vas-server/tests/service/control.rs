// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::message::{AttachmentEntry, Command, Lifetime, VasCommand};
use protocol::{AttachmentId, Error, Limit, Mode, Rights, limits};
use vas_server::fake::Fault;

use crate::support::*;

const DENIED: Error = Error::PermissionDenied {
    needs: Rights::READ.union(Rights::ATTACH),
};

#[test]
fn mode_and_owner_decide_from_then_on_who_finds_an_object_and_how() {
    let mut world = World::new();
    let process = world.process(1, &[7]);
    let other = world.process(2, &[8]);
    let vas = world.try_vas(&process, "data", CLOSED).unwrap();
    let segment = world.segment(&process, "heap", BASE, 1);
    world
        .control_segment(&process, segment, Command::Mode(CLOSED))
        .unwrap();
    let found_vas = |world: &mut World, who: &Process| {
        let answer = world.find_vas(who, "data");
        answer.map(|(granted, _)| granted.rights)
    };
    let found_segment = |world: &mut World, who: &Process| {
        let answer = world.find_segment(who, "heap");
        answer.map(|(granted, _)| granted.rights)
    };
    assert_eq!(found_vas(&mut world, &other), Err(DENIED));
    assert_eq!(found_segment(&mut world, &other), Err(DENIED));

    let reading = Rights::READ | Rights::ATTACH;
    let readable = Command::Mode(Mode(0o604));
    world.control_vas(&process, vas, readable.clone()).unwrap();
    world.control_segment(&process, segment, readable).unwrap();
    assert_eq!(found_vas(&mut world, &other), Ok(reading));
    assert_eq!(found_segment(&mut world, &other), Ok(reading));

    let given = Command::Owner {
        user: 2,
        group: Some(7),
    };
    world.control_vas(&process, vas, given.clone()).unwrap();
    world.control_segment(&process, segment, given).unwrap();
    let all = Rights::all();
    assert_eq!(found_vas(&mut world, &other), Ok(all));
    assert_eq!(found_segment(&mut world, &other), Ok(all));
    // Now of the group, which may do nothing; the handle that it has is as good as before.
    assert_eq!(found_vas(&mut world, &process), Err(DENIED));
    assert_eq!(found_segment(&mut world, &process), Err(DENIED));
    let object = world.stat_vas(&process, vas).unwrap().object;
    assert_eq!((object.owner, object.group), (2, Some(7)));
    world.delete_vas(&process, vas).unwrap();
}

#[test]
fn revoking_takes_all_handles_away_and_what_is_found_afterwards_works() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let before = world.statistics();
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let (_, found) = world.find_vas(&other, "data").unwrap();
    let (_, found_segment) = world.find_segment(&other, "heap").unwrap();
    let attached = world.attach(&other, found, READ_WRITE).unwrap();

    let revoke = Command::RevokeHandles;
    world.control_vas(&process, vas, revoke.clone()).unwrap();
    world.control_segment(&process, segment, revoke).unwrap();
    for cap in [vas, segment, found, found_segment] {
        assert!(!world.fake().exists(cap));
    }
    // Who is attached stays so.
    world.fake().store(attached.root, BASE, 5).unwrap();
    let (granted, vas) = world.find_vas(&process, "data").unwrap();
    assert_eq!(granted.rights, Rights::all());
    let (_, segment) = world.find_segment(&process, "heap").unwrap();
    world.detach(&other, attached).unwrap();
    world.delete_vas(&process, vas).unwrap();
    world.free(&process, segment).unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn evicting_ends_all_attachments_of_a_vas() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    let untouched = world.vas(&process, "other");
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let roots = [
        world.attach(&process, vas, READ_ONLY).unwrap(),
        world.attach(&process, vas, READ_WRITE).unwrap(),
        world.attach(&other, vas, READ_WRITE).unwrap(),
    ];
    let stays = world.attach(&other, untouched, READ_WRITE).unwrap();
    world.control_vas(&process, vas, Command::Evict).unwrap();
    for attached in roots {
        assert!(!world.fake().exists(attached.root));
    }
    assert!(world.fake().exists(stays.root));
    assert_eq!(world.detach(&other, roots[2]), Err(Error::StaleAttachment));
    world.attach(&other, vas, READ_WRITE).unwrap();
}

#[test]
fn evicting_takes_a_segment_out_of_all_vases_and_attachments() {
    for own_slots in [false, true] {
        let mut world = World::new();
        let process = world.process(1, &[]);
        let mut request = alloc("heap", BASE, 8 * KIB, SMALL);
        request.own_slots = own_slots;
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        let stays = world.segment(&process, "stays", BASE + 513 * GIB, 1);
        let mut attached = Vec::new();
        for text in ["data", "view"] {
            let vas = world.vas(&process, text);
            world.add(&process, vas, segment, READ_WRITE).unwrap();
            world.add(&process, vas, stays, READ_WRITE).unwrap();
            attached.push(world.attach(&process, vas, READ_WRITE).unwrap());
        }
        world
            .control_segment(&process, segment, Command::Evict)
            .unwrap();
        for attached in attached {
            let fake = world.fake();
            assert_eq!(fake.load(attached.root, BASE), Err(Fault::NotMapped));
            assert_eq!(fake.load(attached.root, BASE + 513 * GIB), Ok(0));
        }
        assert_eq!(world.stat_segment(&process, segment).unwrap().vases, 0);
        world.free(&process, segment).unwrap();
    }
}

#[test]
fn evicting_takes_a_segment_out_of_the_attachments_that_have_it_alone() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let base = protocol::address_map::LOCAL.start;
    let segment = world.segment(&process, "own", base, 1);
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    let request = protocol::message::SegAttachLocal {
        attachment: attached.id,
        access: READ_WRITE,
    };
    world.call(&process, &request, &[segment]).unwrap();
    assert_eq!(world.fake().load(attached.root, base), Ok(0));
    world
        .control_segment(&process, segment, Command::Evict)
        .unwrap();
    let fault = Err(Fault::NotMapped);
    assert_eq!(world.fake().load(attached.root, base), fault);
    world.free(&process, segment).unwrap();
}

#[test]
fn hints_and_lifetimes_are_kept_and_told() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    for tlb_tag in [true, false] {
        let hint = VasCommand::TlbTag(tlb_tag);
        world.control_vas(&process, vas, hint).unwrap();
        assert_eq!(world.stat_vas(&process, vas).unwrap().tlb_tag, tlb_tag);
    }
    for lifetime in [
        Lifetime::Creator,
        Lifetime::LastAttacher,
        Lifetime::Persistent,
    ] {
        world.control_vas(&process, vas, lives(lifetime)).unwrap();
        let object = world.stat_vas(&process, vas).unwrap().object;
        assert_eq!(object.lifetime, lifetime);
        world
            .control_segment(&process, segment, lives(lifetime))
            .unwrap();
        let object = world.stat_segment(&process, segment).unwrap().object;
        assert_eq!(object.lifetime, lifetime);
    }
}

#[test]
fn a_root_that_one_process_names_another_finds() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    assert_eq!(world.root(&process, vas, "index"), Err(Error::NotFound));
    for address in [BASE, BASE + 8, u64::MAX] {
        world
            .set_root(&process, vas, "index", Some(address))
            .unwrap();
        let (_, found) = world.find_vas(&other, "data").unwrap();
        assert_eq!(world.root(&other, found, "index"), Ok(address));
        assert_eq!(world.stat_vas(&process, vas).unwrap().roots, 1);
    }
    world.set_root(&process, vas, "index", None).unwrap();
    assert_eq!(world.root(&process, vas, "index"), Err(Error::NotFound));
    assert_eq!(
        world.set_root(&process, vas, "index", None),
        Err(Error::NotFound)
    );
    // Another VAS has other roots.
    world.set_root(&process, vas, "log", Some(1)).unwrap();
    let second = world.vas(&process, "second");
    assert_eq!(world.root(&process, second, "log"), Err(Error::NotFound));
}

#[test]
fn a_vas_has_so_many_roots_and_no_more() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    for number in 0..limits::ROOTS_PER_VAS as u64 {
        world
            .set_root(&process, vas, &number.to_string(), Some(number))
            .unwrap();
    }
    assert_eq!(
        world.set_root(&process, vas, "one more", Some(0)),
        Err(Error::LimitReached(Limit::RootsPerVas))
    );
    world.set_root(&process, vas, "3", Some(33)).unwrap();
    world.set_root(&process, vas, "5", None).unwrap();
    world.set_root(&process, vas, "one more", Some(0)).unwrap();
    assert_eq!(world.root(&process, vas, "3"), Ok(33));
    assert_eq!(world.root(&process, vas, "4"), Ok(4));
    assert_eq!(world.root(&process, vas, "5"), Err(Error::NotFound));
}

#[test]
fn one_attachment_is_ended_and_the_others_stay() {
    let mut world = World::new();
    let owner = world.process(1, &[]);
    let vas = world.vas(&owner, "data");
    let segment = world.segment(&owner, "heap", BASE, 1);
    world.add(&owner, vas, segment, READ_WRITE).unwrap();
    let other_vas = world.vas(&owner, "other");
    let elsewhere = world.attach(&owner, other_vas, READ_WRITE).unwrap();
    // More than one page of a listing.
    let guests: Vec<_> = (0..limits::LIST_PAGE as u32 + 1)
        .map(|number| {
            let guest = world.process(10 + number, &[]);
            let (_, found) = world.find_vas(&guest, "data").unwrap();
            let attached = world.attach(&guest, found, READ_ONLY).unwrap();
            (10 + number, attached)
        })
        .collect();
    let listed = world.attachments(&owner, vas).unwrap();
    let expected = guests.iter().map(|&(user, attached)| AttachmentEntry {
        attachment: attached.id,
        user,
        access: READ_ONLY,
    });
    assert_eq!(listed, expected.collect::<Vec<_>>());

    let (_, victim) = guests[3];
    let evict = VasCommand::EvictAttachment(victim.id);
    world.control_vas(&owner, vas, evict.clone()).unwrap();
    assert!(!world.fake().exists(victim.root));
    for &(_, attached) in guests
        .iter()
        .filter(|(_, attached)| attached.id != victim.id)
    {
        assert_eq!(world.fake().load(attached.root, BASE), Ok(0));
    }
    assert_eq!(
        world.attachments(&owner, vas).unwrap().len(),
        guests.len() - 1
    );

    // Not twice, and not those of another VAS.
    let before = world.picture(&owner);
    let stale = Err(Error::StaleAttachment);
    assert_eq!(world.control_vas(&owner, vas, evict), stale);
    for id in [elsewhere.id, AttachmentId(0), AttachmentId(u64::MAX)] {
        let evict = VasCommand::EvictAttachment(id);
        assert_eq!(world.control_vas(&owner, vas, evict), stale);
    }
    assert_eq!(world.picture(&owner), before);
}
