// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{IMAGE_BASE, STACK_TOP};
use protocol::{AttachmentId, Error, PageSize, Rights};
use vas_server::fake::Fault;

use crate::support::*;

#[test]
fn an_attached_process_sees_its_private_memory_and_the_segments() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 8 * KIB);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    assert_ne!(attached.id, AttachmentId(0));
    let pages = world.fake().pages(attached.root);
    let seen: Vec<_> = pages
        .iter()
        .map(|&(address, _, size, access)| (address, size, access))
        .collect();
    let small = PageSize::Small;
    assert_eq!(
        seen,
        [
            (IMAGE_BASE, small, READ_ONLY),
            (IMAGE_BASE + 0x1000, small, READ_ONLY),
            (STACK_TOP - 0x3000, small, READ_WRITE),
            (STACK_TOP - 0x2000, small, READ_WRITE),
            (STACK_TOP - 0x1000, small, READ_WRITE),
            (BASE, small, READ_WRITE),
            (BASE + 0x1000, small, READ_WRITE),
        ]
    );
}

#[test]
fn the_private_memory_is_the_same_in_every_attachment_of_a_process_and_no_other() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(1, &[]);
    let stack = STACK_TOP - 8;
    let mut roots = Vec::new();
    for text in ["a", "b"] {
        let vas = world.vas(&process, text);
        roots.push(world.attach(&process, vas, READ_ONLY).unwrap().root);
        let (_, found) = world.find_vas(&other, text).unwrap();
        let strange = world.attach(&other, found, READ_ONLY).unwrap().root;
        world.fake().store(strange, stack, 13).unwrap();
    }
    // Writable although the VAS is attached read-only: it is the process's own memory.
    world.fake().store(roots[0], stack, 42).unwrap();
    assert_eq!(world.fake().load(roots[1], stack), Ok(42));
    let answer = world.fake().store(roots[0], IMAGE_BASE, 1);
    assert_eq!(answer, Err(Fault::ReadOnly));
}

#[test]
fn what_one_process_stores_another_loads_at_the_same_address() {
    let mut world = World::new();
    let writer = world.process(1, &[]);
    let reader = world.process(2, &[]);
    let vas = world.vas(&writer, "data");
    let segment = world.segment(&writer, "heap", BASE + 4 * KIB, 8 * KIB);
    world.add(&writer, vas, segment, READ_WRITE).unwrap();
    let writing = world.attach(&writer, vas, READ_WRITE).unwrap();
    let address = BASE + 8 * KIB + 16;
    world.fake().store(writing.root, address, BASE).unwrap();
    world.end(&writer);

    let (_, found) = world.find_vas(&reader, "data").unwrap();
    let reading = world.attach(&reader, found, READ_ONLY).unwrap();
    assert_eq!(world.fake().load(reading.root, address), Ok(BASE));
    let answer = world.fake().store(reading.root, address, 1);
    assert_eq!(answer, Err(Fault::ReadOnly));
}

#[test]
fn a_page_is_writable_only_if_both_the_segment_and_the_process_are_attached_for_writing() {
    for (of_segment, of_process, writable) in [
        (READ_ONLY, READ_ONLY, false),
        (READ_ONLY, READ_WRITE, false),
        (READ_WRITE, READ_ONLY, false),
        (READ_WRITE, READ_WRITE, true),
    ] {
        for attach_first in [false, true] {
            let mut world = World::new();
            let process = world.process(1, &[]);
            let vas = world.vas(&process, "data");
            let segment = world.segment(&process, "heap", BASE, 1);
            let attached = if attach_first {
                let attached = world.attach(&process, vas, of_process).unwrap();
                world.add(&process, vas, segment, of_segment).unwrap();
                attached
            } else {
                world.add(&process, vas, segment, of_segment).unwrap();
                world.attach(&process, vas, of_process).unwrap()
            };
            let (_, access) = world.fake().translate(attached.root, BASE).unwrap();
            assert_eq!(access == READ_WRITE, writable);
        }
    }
}

#[test]
fn a_change_of_a_vas_reaches_all_who_are_attached() {
    let mut world = World::new();
    let first = world.process(1, &[]);
    let second = world.process(2, &[]);
    let vas = world.vas(&first, "data");
    let (_, found) = world.find_vas(&second, "data").unwrap();
    let roots = [
        world.attach(&first, vas, READ_WRITE).unwrap().root,
        world.attach(&second, found, READ_WRITE).unwrap().root,
    ];
    let near = world.segment(&first, "near", BASE, 1);
    let far = world.segment(&first, "far", BASE + 4 * KIB, 1);
    for segment in [near, far] {
        world.add(&second, found, segment, READ_WRITE).unwrap();
    }
    world.fake().store(roots[0], BASE, 7).unwrap();
    assert_eq!(world.fake().load(roots[1], BASE), Ok(7));

    world.remove(&first, vas, near).unwrap();
    for root in roots {
        assert_eq!(world.fake().load(root, BASE), Err(Fault::NotMapped));
        assert_eq!(world.fake().load(root, BASE + 4 * KIB), Ok(0));
    }
}

#[test]
fn attaching_needs_rights_for_the_access() {
    let mut world = World::new();
    let owner = world.process(1, &[]);
    let other = world.process(2, &[]);
    for (text, mode, may_read, may_write) in [
        ("read", 0o604, true, false),
        ("write", 0o602, false, false),
        ("both", 0o606, true, true),
    ] {
        world.try_vas(&owner, text, protocol::Mode(mode)).unwrap();
        let (_, found) = world.find_vas(&other, text).unwrap();
        for (access, may) in [(READ_ONLY, may_read), (READ_WRITE, may_write)] {
            let before = world.picture(&owner);
            let answer = world.attach(&other, found, access).map(|_| ());
            if may {
                assert_eq!(answer, Ok(()));
            } else {
                let needs = access.needs();
                assert_eq!(answer, Err(Error::PermissionDenied { needs }));
                assert_eq!(world.picture(&owner), before);
            }
        }
    }
}

#[test]
fn a_process_attaches_a_vas_once_with_each_access() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    let reading = world.attach(&process, vas, READ_ONLY).unwrap();
    let writing = world.attach(&process, vas, READ_WRITE).unwrap();
    let before = world.picture(&process);
    for access in [READ_ONLY, READ_WRITE] {
        let answer = world.attach(&process, vas, access).map(|_| ());
        assert_eq!(answer, Err(Error::AlreadyAttached));
        assert_eq!(world.picture(&process), before);
    }
    assert_ne!(reading.id, writing.id);
    world.attach(&other, vas, READ_WRITE).unwrap();
    world.detach(&process, reading).unwrap();
    world.attach(&process, vas, READ_ONLY).unwrap();
}

#[test]
fn detaching_takes_the_root_away_and_gives_everything_back() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    for (text, base, page_size) in [
        ("a", BASE, SMALL),
        ("b", BASE + 2 * MIB, LARGE),
        ("c", BASE + GIB, HUGE),
    ] {
        let request = alloc(text, base, 1, page_size);
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        world.add(&process, vas, segment, READ_WRITE).unwrap();
    }
    let before = world.statistics();
    let caps = world.fake().caps_of_objects();
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    let during = world.statistics();
    assert_eq!(during.attachments, 1);
    assert_eq!(during.asids_free, before.asids_free - 1);
    // The root; without sharing also private: 1 + 2 + 2, global: 1 + 1 + 1.
    let tables = if crate::EXTENDED { 1 } else { 9 };
    assert_eq!(during.tables, before.tables + tables);
    let bytes = u64::from(tables) * 4 * KIB;
    assert_eq!(during.memory_free, before.memory_free - bytes);
    world.detach(&process, attached).unwrap();
    assert!(!world.fake().exists(attached.root));
    assert_eq!(world.statistics(), before);
    assert_eq!(world.fake().caps_of_objects(), caps);
    let answer = world.detach(&process, attached);
    assert_eq!(answer, Err(Error::StaleAttachment));
}

#[test]
fn an_attachment_can_be_detached_by_the_session_that_made_it_alone() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    let before = world.picture(&process);
    let answer = world.detach(&other, attached);
    assert_eq!(answer, Err(Error::StaleAttachment));
    for number in [0, 1 << 20, 1 << 48, u64::MAX] {
        let id = AttachmentId(number);
        let answer = world.detach(&process, Attached { id, ..attached });
        assert_eq!(answer, Err(Error::StaleAttachment));
    }
    assert_eq!(world.picture(&process), before);
    world.detach(&process, attached).unwrap();
}

#[test]
fn an_attachment_is_not_what_took_its_place() {
    let mut world = World::new();
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let first = world.attach(&process, vas, READ_WRITE).unwrap();
    world.detach(&process, first).unwrap();
    for _ in 0..protocol::limits::ATTACHMENTS + 1 {
        let next = world.attach(&process, vas, READ_WRITE).unwrap();
        let answer = world.detach(&process, first);
        assert_eq!(answer, Err(Error::StaleAttachment));
        world.detach(&process, next).unwrap();
    }
}

#[test]
fn tables_that_segments_share_stay_until_the_last_is_removed() {
    let mut world = World::new();
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    let segments: Vec<_> = (0..4)
        .map(|number| {
            let base = BASE + number * 4 * KIB;
            world.segment(&process, &number.to_string(), base, 4 * KIB)
        })
        .collect();
    let mut seen = Vec::new();
    for &segment in &segments {
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        seen.push(world.statistics().tables);
    }
    assert_eq!(seen, [4 + MASTER; 4]);
    for (number, &segment) in segments.iter().enumerate() {
        let last = BASE + 3 * 4 * KIB;
        assert_eq!(world.fake().load(attached.root, last), Ok(0));
        world.remove(&process, vas, segment).unwrap();
        let tables = if number < 3 { 4 } else { 1 };
        assert_eq!(world.statistics().tables, tables + MASTER);
    }
}

#[test]
fn row_32_eight_kibibytes_across_a_root_slot_take_seven_tables() {
    // Paper, section 4.4; the root included.
    let mut world = World::new();
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let base = BASE + 512 * GIB - 4 * KIB;
    let segment = world.segment(&process, "heap", base, 8 * KIB);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    world.attach(&process, vas, READ_WRITE).unwrap();
    assert_eq!(world.statistics().tables, 7 + MASTER);
}

#[test]
fn a_delegated_handle_works_for_the_session_it_was_passed_to() {
    let mut world = World::new();
    let owner = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.try_vas(&owner, "data", CLOSED).unwrap();
    let refused = world.find_vas(&other, "data").map(|_| ());
    let needs = Rights::READ | Rights::ATTACH;
    assert_eq!(refused, Err(Error::PermissionDenied { needs }));
    // The owner passes its cap on; the server goes by the cap, not by the mode bits.
    world.attach(&other, vas, READ_WRITE).unwrap();
}
