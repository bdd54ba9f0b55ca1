// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{GLOBAL, LOCAL};
use protocol::message::{Command, SegAttachLocal, SegEntry};
use protocol::{Error, Kind, Mode, PageSize, Rights};

use crate::support::*;

#[test]
fn an_allocated_segment_can_be_found_and_is_described() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let (granted, cap) = world
        .try_segment(&process, &alloc("heap", BASE, 5000, SMALL))
        .unwrap();
    assert_eq!(granted.rights, Rights::all());
    let handle = world.fake().badge(cap).unwrap().handle();
    assert_eq!((handle.kind, handle.rights), (Kind::Segment, Rights::all()));

    let (found, _) = world.find_segment(&process, "heap").unwrap();
    assert_eq!(found.base, BASE);
    assert_eq!(found.size, 8 * KIB, "rounded up to whole pages");
    assert_eq!(found.page_size, PageSize::Small);
    let answer = world.find_segment(&process, "hea").map(|_| ());
    assert_eq!(answer, Err(Error::NotFound));
}

#[test]
fn the_segment_at_an_address_of_an_attachment_is_found_as_by_its_name() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 8 * KIB);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let attached = world.attach(&process, vas, READ_ONLY).unwrap().id;
    let local = world.segment(&process, "local", LOCAL.start, 4 * KIB);
    let request = SegAttachLocal {
        attachment: attached,
        access: READ_ONLY,
    };
    world.call(&process, &request, &[local]).unwrap();
    for (name, base, size) in [("heap", BASE, 8 * KIB), ("local", LOCAL.start, 4 * KIB)] {
        let by_name = world.find_segment(&process, name).unwrap().0;
        for address in [base, base + size - 1] {
            let (granted, cap) = world.segment_at(&process, attached, address).unwrap();
            assert_eq!(granted, by_name);
            assert_eq!(world.stat_segment(&process, cap).unwrap().base, base);
        }
        for address in [base - 1, base + size] {
            let answer = world.segment_at(&process, attached, address).map(|_| ());
            assert_eq!(answer, Err(Error::NotFound));
        }
    }
    let answer = world.segment_at(&other, attached, BASE).map(|_| ());
    assert_eq!(answer, Err(Error::StaleAttachment), "of another process");

    let (_, vas) = world.find_vas(&other, "data").unwrap();
    let attached = world.attach(&other, vas, READ_ONLY).unwrap().id;
    let closed = Command::Mode(Mode(0o600));
    world.control_segment(&process, segment, closed).unwrap();
    let answer = world.segment_at(&other, attached, BASE).map(|_| ());
    assert!(matches!(answer, Err(Error::PermissionDenied { .. })));
}

#[test]
fn what_is_asked_for_wrongly_is_refused_with_the_reason() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let before = world.picture(&process);
    let out = |base, size| Error::OutOfRange { base, size };
    let unaligned = |base, alignment| Error::Unaligned { base, alignment };
    for (base, size, page_size, error) in [
        (BASE, 0, SMALL, Error::ZeroSize),
        (BASE + 1, 0, SMALL, Error::ZeroSize),
        (0xC0DE, 4096, SMALL, unaligned(0xC0DE, 4096)),
        (BASE + 4096, 4096, LARGE, unaligned(BASE + 4096, 2 * MIB)),
        (BASE + 2 * MIB, 4096, HUGE, unaligned(BASE + 2 * MIB, GIB)),
        (0, 4096, SMALL, out(0, 4096)),
        (BASE - 4096, 4096, SMALL, out(BASE - 4096, 4096)),
        (LOCAL.end, 4096, SMALL, out(LOCAL.end, 4096)),
        (LOCAL.end - 4096, 4097, SMALL, out(LOCAL.end - 4096, 4097)),
        (GLOBAL.end - 4096, 4097, SMALL, out(GLOBAL.end - 4096, 4097)),
        (BASE, u64::MAX, SMALL, out(BASE, u64::MAX)),
        (BASE, u64::MAX, HUGE, out(BASE, u64::MAX)),
        (
            0u64.wrapping_sub(4096),
            1,
            SMALL,
            out(0u64.wrapping_sub(4096), 1),
        ),
        (
            0u64.wrapping_sub(4096),
            u64::MAX,
            SMALL,
            out(0u64.wrapping_sub(4096), u64::MAX),
        ),
        // All addresses there are, which is more than the memory there is.
        (BASE, GLOBAL.end - BASE, SMALL, Error::OutOfMemory),
        (BASE, 16 * GIB, HUGE, Error::OutOfMemory),
    ] {
        let request = alloc("heap", base, size, page_size);
        let answer = world.try_segment(&process, &request).map(|_| ());
        assert_eq!(answer, Err(error), "{size:#x} bytes at {base:#x}");
        assert_eq!(world.picture(&process), before);
    }
}

#[test]
fn the_last_page_of_the_global_addresses_can_be_used() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", GLOBAL.end - 4096, 4096);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    assert_eq!(world.fake().load(attached.root, GLOBAL.end - 8), Ok(0));
}

#[test]
fn a_name_is_taken_until_its_segment_is_freed() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 1);
    let request = alloc("heap", BASE + GIB, 1, SMALL);
    let before = world.picture(&process);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, Err(Error::NameExists));
    assert_eq!(world.picture(&process), before);
    world.free(&process, segment).unwrap();
    world.try_segment(&process, &request).unwrap();
}

#[test]
fn segments_at_the_same_addresses_may_be_in_different_vases() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let roots = ["a", "b"].map(|text| {
        let vas = world.vas(&process, text);
        let segment = world.segment(&process, text, BASE, 4 * KIB);
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        world.attach(&process, vas, READ_WRITE).unwrap().root
    });
    world.fake().store(roots[0], BASE, 1).unwrap();
    world.fake().store(roots[1], BASE, 2).unwrap();
    assert_eq!(world.fake().load(roots[0], BASE), Ok(1));
    assert_eq!(world.fake().load(roots[1], BASE), Ok(2));
}

#[test]
fn an_overlap_is_refused_and_the_segment_in_the_way_named() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let middle = world.segment(&process, "middle", BASE + 4 * MIB, 2 * MIB);
    world.add(&process, vas, middle, READ_ONLY).unwrap();
    world.attach(&process, vas, READ_ONLY).unwrap();
    let overlap = || Error::Overlap {
        with: name("middle"),
        base: BASE + 4 * MIB,
        size: 2 * MIB,
    };
    for (text, base, size, page_size, fits) in [
        ("same", BASE + 4 * MIB, 2 * MIB, SMALL, false),
        ("inside", BASE + 5 * MIB, 4 * KIB, SMALL, false),
        ("around", BASE, 8 * MIB, LARGE, false),
        ("far around", BASE, GIB, HUGE, false),
        ("first page", BASE + 4 * MIB - 4096, 8 * KIB, SMALL, false),
        ("last page", BASE + 6 * MIB - 4096, 8 * KIB, SMALL, false),
        ("before", BASE + 2 * MIB, 2 * MIB, LARGE, true),
        ("after", BASE + 6 * MIB, 4 * KIB, SMALL, true),
    ] {
        let request = alloc(text, base, size, page_size);
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        let before = world.picture(&process);
        let answer = world.add(&process, vas, segment, READ_ONLY);
        if fits {
            assert_eq!(answer, Ok(()), "{text}");
        } else {
            assert_eq!(answer, Err(overlap()), "{text}");
            assert_eq!(world.picture(&process), before);
        }
    }
}

#[test]
fn a_segment_is_added_to_a_vas_once() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, vas, segment, READ_ONLY).unwrap();
    let before = world.picture(&process);
    for access in [READ_ONLY, READ_WRITE] {
        let answer = world.add(&process, vas, segment, access);
        assert_eq!(answer, Err(Error::AlreadyAttached));
        assert_eq!(world.picture(&process), before);
    }
}

#[test]
fn a_segment_that_is_not_in_a_vas_cannot_be_taken_out() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let other = world.vas(&process, "other");
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, other, segment, READ_ONLY).unwrap();
    let before = world.picture(&process);
    let answer = world.remove(&process, vas, segment);
    assert_eq!(answer, Err(Error::NotAttached));
    assert_eq!(world.picture(&process), before);
    world.remove(&process, other, segment).unwrap();
    let answer = world.remove(&process, other, segment);
    assert_eq!(answer, Err(Error::NotAttached));
}

#[test]
fn adding_needs_the_right_to_change_the_vas_and_to_use_the_segment() {
    let mut world = World::new();
    let owner = world.process(1, &[]);
    let other = world.process(2, &[]);
    let modes = [
        ("none", 0o600),
        ("read", 0o604),
        ("write", 0o602),
        ("both", 0o606),
    ];
    let mut handles = Vec::new();
    for (position, (text, mode)) in modes.into_iter().enumerate() {
        let mode = protocol::Mode(mode);
        world.try_vas(&owner, text, mode).unwrap();
        let base = BASE + position as u64 * GIB;
        let mut request = alloc(text, base, 1, SMALL);
        request.mode = mode;
        world.try_segment(&owner, &request).unwrap();
        if text != "none" {
            let vas = world.find_vas(&other, text).unwrap().1;
            let segment = world.find_segment(&other, text).unwrap().1;
            handles.push((vas, segment));
        }
    }
    let [read, write, both] = handles[..] else {
        panic!("three can be found");
    };
    let denied = |needs| Err(Error::PermissionDenied { needs });
    let before = world.picture(&owner);
    let mut add = |vas, segment, access| world.add(&other, vas, segment, access);
    assert_eq!(add(read.0, both.1, READ_ONLY), denied(Rights::WRITE));
    assert_eq!(add(both.0, read.1, READ_WRITE), denied(READ_WRITE.needs()));
    assert_eq!(add(both.0, write.1, READ_ONLY), denied(READ_ONLY.needs()));
    assert_eq!(
        add(write.0, write.1, READ_WRITE),
        denied(READ_WRITE.needs())
    );
    assert_eq!(world.picture(&owner), before);

    let mut add = |vas, segment, access| world.add(&other, vas, segment, access);
    assert_eq!(add(write.0, read.1, READ_ONLY), Ok(()));
    assert_eq!(add(both.0, both.1, READ_WRITE), Ok(()));

    // Taking out needs no right on the segment, but the right to change the VAS.
    let own = world.find_vas(&owner, "read").unwrap().1;
    world.add(&owner, own, both.1, READ_ONLY).unwrap();
    let answer = world.remove(&other, read.0, both.1);
    assert_eq!(answer, denied(Rights::WRITE));
    assert_eq!(world.remove(&other, write.0, read.1), Ok(()));
}

#[test]
fn freeing_needs_control() {
    let mut world = World::new();
    let owner = world.process(1, &[]);
    let other = world.process(2, &[]);
    world.segment(&owner, "heap", BASE, 1);
    let (_, found) = world.find_segment(&other, "heap").unwrap();
    let before = world.picture(&owner);
    let needs = Rights::CONTROL;
    let answer = world.free(&other, found);
    assert_eq!(answer, Err(Error::PermissionDenied { needs }));
    assert_eq!(world.picture(&owner), before);
}

#[test]
fn a_segment_is_not_freed_while_it_is_in_a_vas() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 1);
    let vases = ["a", "b"].map(|text| {
        let vas = world.vas(&process, text);
        world.add(&process, vas, segment, READ_ONLY).unwrap();
        vas
    });
    let before = world.picture(&process);
    let in_use = |attachments| Err(Error::InUse { attachments });
    assert_eq!(world.free(&process, segment), in_use(2));
    assert_eq!(world.picture(&process), before);
    world.remove(&process, vases[0], segment).unwrap();
    assert_eq!(world.free(&process, segment), in_use(1));
    // A VAS that is deleted lets go of its segments.
    world.delete_vas(&process, vases[1]).unwrap();
    world.free(&process, segment).unwrap();
    assert!(!world.fake().exists(segment));
}

#[test]
fn freeing_a_segment_takes_its_handles_from_all_who_have_them() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    let before = world.statistics();
    let segment = world.segment(&process, "heap", BASE, 1);
    let (_, found) = world.find_segment(&other, "heap").unwrap();
    world.free(&process, segment).unwrap();
    assert!(!world.fake().exists(found));
    assert_eq!(world.statistics(), before);
    let stale = |position| Err(Error::StaleHandle { position });
    assert_eq!(world.add(&other, vas, found, READ_ONLY), stale(1));
    assert_eq!(world.remove(&other, vas, found), stale(1));
    assert_eq!(world.free(&other, found), stale(0));
}

#[test]
fn the_memory_of_a_freed_segment_comes_back_as_zeros() {
    // No more memory than it takes, so that it is surely the same.
    let memory: &[u8] = if crate::EXTENDED {
        &[13, 14, 12]
    } else {
        &[13, 14]
    };
    let mut world = World::with(100, memory);
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    for text in ["first", "second"] {
        let segment = world.segment(&process, text, BASE, 4 * KIB);
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        assert_eq!(world.fake().load(attached.root, BASE), Ok(0));
        world.fake().store(attached.root, BASE, 42).unwrap();
        world.detach(&process, attached).unwrap();
        world.remove(&process, vas, segment).unwrap();
        world.free(&process, segment).unwrap();
    }
}

#[test]
fn pages_of_every_size_are_mapped_where_they_belong() {
    let mut world = World::new();
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let attached = world.attach(&process, vas, READ_WRITE).unwrap();
    for (text, base, size, page_size) in [
        // The last one before, and the first one in, the next root slot.
        ("small", BASE + 512 * GIB - 4096, 3 * 4096, PageSize::Small),
        ("large", BASE + GIB - 2 * MIB, 6 * MIB, PageSize::Large),
        ("huge", BASE + 2 * GIB, 3 * GIB, PageSize::Huge),
    ] {
        let request = alloc(text, base, size, Some(page_size));
        let (granted, segment) = world.try_segment(&process, &request).unwrap();
        assert_eq!((granted.size, granted.page_size), (size, page_size));
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        let pages = world.fake().pages(attached.root);
        let addresses: Vec<u64> = pages
            .iter()
            .filter(|&&(_, _, size, _)| size == page_size)
            .map(|&(address, ..)| address)
            .collect();
        let expected: Vec<u64> = (base..base + size)
            .step_by(page_size.bytes() as usize)
            .collect();
        assert_eq!(addresses, expected);
    }
    let frames = world.fake().pages(attached.root);
    let mut physical: Vec<u64> = frames.iter().map(|&(_, frame, ..)| frame).collect();
    physical.sort_unstable();
    physical.dedup();
    assert_eq!(physical.len(), frames.len(), "every page is another frame");
}

#[test]
fn the_policy_chooses_the_page_size_that_was_not_asked_for() {
    for (policy, size, page_size) in [
        ("small", 3 * MIB, PageSize::Small),
        ("large", 3 * MIB, PageSize::Large),
        ("huge", 3 * MIB, PageSize::Huge),
        ("largest-fit", 4 * MIB, PageSize::Large),
        ("largest-fit", 3 * MIB, PageSize::Small),
    ] {
        let mut world = World::start(4000, &[32], policy, 1);
        let process = world.process(1, &[]);
        let request = alloc("heap", BASE, size, None);
        let (granted, _) = world.try_segment(&process, &request).unwrap();
        assert_eq!(granted.page_size, page_size, "{policy}");
        assert_eq!(granted.size, size.next_multiple_of(page_size.bytes()));
    }
}

#[test]
fn a_listing_shows_in_order_what_the_principal_may_look_up() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    let vas = world.vas(&process, "data");
    for number in 0..16u64 {
        world.segment(&process, &format!("segment {number:02}"), BASE, 1);
    }
    let mut secret = alloc("a secret", BASE, 3 * MIB, LARGE);
    secret.mode = CLOSED;
    let (_, segment) = world.try_segment(&process, &secret).unwrap();
    world.add(&process, vas, segment, READ_ONLY).unwrap();

    let listed = world.list_segments(&other);
    assert_eq!(listed.len(), 16);
    assert!(listed.is_sorted_by(|a, b| a.name < b.name));
    let own = world.list_segments(&process);
    assert_eq!(
        own[0],
        SegEntry {
            name: name("a secret"),
            owner: 1,
            mode: CLOSED,
            base: BASE,
            size: 4 * MIB,
            page_size: PageSize::Large,
            vases: 1,
        }
    );
    assert_eq!(own[1..], listed);
}
