// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{GLOBAL, LOCAL, PAGE_BYTES, SLOT_BYTES};
use protocol::message::{SegAttachLocal, SegDetachLocal};
use protocol::{Error, Limit, PageSize, Rights, limits};
use vas_server::fake::{Fault, Held, INJECTED};

use crate::support::*;

#[test]
fn a_grown_segment_is_seen_by_all_who_are_attached_and_keeps_its_content() {
    for (page_size, own_slots) in [
        (PageSize::Small, false),
        (PageSize::Large, false),
        (PageSize::Small, true),
        (PageSize::Large, true),
    ] {
        let page = page_size.bytes();
        let mut world = World::new();
        let process = world.process(1, &[]);
        let other = world.process(2, &[]);
        let before = world.statistics();
        // At the end of a root-table slot, so that growing takes the next one.
        let base = BASE + 512 * GIB - 3 * page;
        let mut request = alloc("heap", base, 2 * page, Some(page_size));
        request.own_slots = own_slots;
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        let vases = ["data", "view"].map(|text| world.vas(&process, text));
        world.add(&process, vases[0], segment, READ_WRITE).unwrap();
        world.add(&process, vases[1], segment, READ_ONLY).unwrap();
        let writing = world.attach(&process, vases[0], READ_WRITE).unwrap();
        let reading = world.attach(&other, vases[0], READ_ONLY).unwrap();
        let viewing = world.attach(&other, vases[1], READ_WRITE).unwrap();
        world.fake().store(writing.root, base, 1).unwrap();

        // Within the slot; across; and behind.
        for pages in [3, 5, 6] {
            let last = base + pages * page - 8;
            let fault = Err(Fault::NotMapped);
            assert_eq!(world.fake().load(viewing.root, last), fault);
            let size = world.grow(&process, segment, pages * page - 100);
            assert_eq!(size, Ok(pages * page));
            assert_eq!(world.fake().load(reading.root, last), Ok(0));
            world.fake().store(writing.root, last, pages).unwrap();
            let fault = Err(Fault::ReadOnly);
            for root in [reading.root, viewing.root] {
                assert_eq!(world.fake().load(root, last), Ok(pages));
                assert_eq!(world.fake().store(root, last, 0), fault);
                assert_eq!(world.fake().load(root, base), Ok(1));
            }
        }
        // Who attaches later has it all.
        let later = world.attach(&other, vases[0], READ_WRITE).unwrap();
        for (pages, value) in [(3, 3), (5, 5), (6, 6)] {
            let address = base + pages * page - 8;
            assert_eq!(world.fake().load(later.root, address), Ok(value));
        }
        let statistics = world.stat_segment(&process, segment).unwrap();
        assert_eq!(statistics.size, 6 * page);

        for (process, attached) in [
            (&process, writing),
            (&other, reading),
            (&other, viewing),
            (&other, later),
        ] {
            world.detach(process, attached).unwrap();
        }
        for vas in vases {
            world.remove(&process, vas, segment).unwrap();
            world.delete_vas(&process, vas).unwrap();
        }
        world.free(&process, segment).unwrap();
        assert_eq!(world.statistics(), before);
    }
}

#[test]
fn a_segment_of_one_attachment_grows_there() {
    for own_slots in [false, true] {
        let mut world = World::new();
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let base = LOCAL.start + 512 * GIB - 8 * KIB;
        let mut request = alloc("own", base, 8 * KIB, SMALL);
        request.own_slots = own_slots;
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        let attachment = attached.id;
        let access = READ_WRITE;
        let attach = SegAttachLocal { attachment, access };
        world.call(&process, &attach, &[segment]).unwrap();
        let before = world.statistics();
        world.grow(&process, segment, 20 * KIB).unwrap();
        let last = base + 20 * KIB - 8;
        world.fake().store(attached.root, last, 4).unwrap();
        let detach = SegDetachLocal { attachment };
        world.call(&process, &detach, &[segment]).unwrap();
        let fault = Err(Fault::NotMapped);
        assert_eq!(world.fake().load(attached.root, last), fault);
        world.call(&process, &attach, &[segment]).unwrap();
        assert_eq!(world.fake().load(attached.root, last), Ok(4));
        world.call(&process, &detach, &[segment]).unwrap();
        world.free(&process, segment).unwrap();
        assert!(world.statistics().memory_free > before.memory_free);
    }
}

#[test]
fn a_size_that_a_segment_has_already_changes_nothing() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 8 * KIB);
    let before = world.picture(&process);
    for size in [0, 1, 4 * KIB, 8 * KIB] {
        assert_eq!(world.grow(&process, segment, size), Ok(8 * KIB));
    }
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_segment_does_not_grow_into_another_in_any_vas_or_attachment_that_has_it() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let first = world.vas(&process, "first");
    let second = world.vas(&process, "second");
    let segment = world.segment(&process, "heap", BASE, 4 * KIB);
    let way = world.segment(&process, "way", BASE + 12 * KIB, 4 * KIB);
    world.add(&process, first, segment, READ_WRITE).unwrap();
    world.add(&process, second, segment, READ_WRITE).unwrap();
    world.add(&process, second, way, READ_ONLY).unwrap();
    let before = world.picture(&process);
    let overlap = Error::Overlap {
        with: name("way"),
        base: BASE + 12 * KIB,
        size: 4 * KIB,
    };
    assert_eq!(world.grow(&process, segment, 16 * KIB), Err(overlap));
    assert_eq!(world.picture(&process), before);
    world.grow(&process, segment, 12 * KIB).unwrap();
    world.remove(&process, second, way).unwrap();
    world.grow(&process, segment, 16 * KIB).unwrap();
    // And now nothing can be added where it is.
    let overlap = Error::Overlap {
        with: name("heap"),
        base: BASE,
        size: 16 * KIB,
    };
    assert_eq!(world.add(&process, second, way, READ_ONLY), Err(overlap));
}

#[test]
fn a_growth_that_is_refused_takes_nothing_from_what_is_in_its_way() {
    for (area, own_slots) in [(BASE, false), (BASE, true), (LOCAL.start, false)] {
        let mut world = World::new();
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        let attachment = attached.id;
        let add = |world: &mut World, text: &str, base: u64, pages: u64, own_slots: bool| {
            let mut request = alloc(text, base, pages * PAGE_BYTES, SMALL);
            request.own_slots = own_slots;
            let segment = world.try_segment(&process, &request).unwrap().1;
            let access = READ_WRITE;
            if area == BASE {
                world.add(&process, vas, segment, access).unwrap();
            } else {
                let request = SegAttachLocal { attachment, access };
                world.call(&process, &request, &[segment]).unwrap();
            }
            segment
        };
        // What is in the way lies in the next root-table slot.
        let base = area + SLOT_BYTES - 2 * PAGE_BYTES;
        let segment = add(&mut world, "heap", base, 1, own_slots);
        let way = area + SLOT_BYTES + PAGE_BYTES;
        add(&mut world, "way", way, 3, false);
        let words = [0, 1, 2].map(|number| way + number * PAGE_BYTES);
        for word in words {
            world.fake().store(attached.root, word, word).unwrap();
        }
        let before = world.picture(&process);
        // Over a part of it, all of it, and more.
        for pages in [4, 6, 9] {
            let answer = world.grow(&process, segment, pages * PAGE_BYTES);
            assert!(matches!(answer, Err(Error::Overlap { .. })), "{answer:?}");
            assert_eq!(world.picture(&process), before);
            for word in words {
                assert_eq!(world.fake().load(attached.root, word), Ok(word));
            }
        }
    }
}

#[test]
fn a_segment_grows_only_within_its_addresses_and_memory_and_so_often() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let base = GLOBAL.end - 8 * KIB;
    let last = world.segment(&process, "last", base, 4 * KIB);
    let segment = world.segment(&process, "heap", BASE, 4 * KIB);
    let before = world.picture(&process);
    for size in [8 * KIB + 1, u64::MAX, 1 << 47] {
        let expected = Err(Error::OutOfRange { base, size });
        assert_eq!(world.grow(&process, last, size), expected);
    }
    for size in [1 << 40, 1 << 45] {
        assert_eq!(world.grow(&process, segment, size), Err(Error::OutOfMemory));
    }
    assert_eq!(world.picture(&process), before);
    world.grow(&process, last, 8 * KIB).unwrap();

    let most = limits::PIECES_PER_SEGMENT as u64 * 4 * KIB;
    for size in (4 * KIB..=most).step_by(4 * KIB as usize) {
        world.grow(&process, segment, size).unwrap();
    }
    let reached = Error::LimitReached(Limit::PiecesPerSegment);
    assert_eq!(world.grow(&process, segment, most + 1), Err(reached));
}

#[test]
fn growing_needs_the_right_to_write() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let segment = world.segment(&process, "heap", BASE, 4 * KIB);
    let others = Rights::all() - Rights::WRITE;
    let weaker = world.restrict(&process, segment, others).unwrap();
    let needs = Rights::WRITE;
    assert_eq!(
        world.grow(&process, weaker, 8 * KIB),
        Err(Error::PermissionDenied { needs })
    );
}

/// A segment in two VASes and, if it is for one, in an attachment.
fn scene(base: u64, own_slots: bool) -> (World, Process, Held) {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let mut request = alloc("heap", base, 8 * KIB, SMALL);
    request.own_slots = own_slots;
    let (_, segment) = world.try_segment(&process, &request).unwrap();
    for text in ["data", "view"] {
        let vas = world.vas(&process, text);
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        world.attach(&process, vas, READ_ONLY).unwrap();
        let (attachment, access) = (attached.id, READ_WRITE);
        if LOCAL.contains(&base) {
            let request = SegAttachLocal { attachment, access };
            world.call(&process, &request, &[segment]).unwrap();
        } else {
            world.add(&process, vas, segment, access).unwrap();
        }
    }
    (world, process, segment)
}

#[test]
fn growing_that_the_kernel_refuses_at_any_call_changes_nothing() {
    for (slot, own_slots) in [
        (BASE, false),
        (BASE, true),
        (LOCAL.start, false),
        (LOCAL.start, true),
    ] {
        let base = slot + 512 * GIB - 8 * KIB;
        for call in 1.. {
            let (mut world, process, segment) = scene(base, own_slots);
            // Beyond what it has grown by already, too.
            world.grow(&process, segment, 12 * KIB).unwrap();
            let before = world.picture(&process);
            let calls = world.fake().calls();
            world.fake().fail_at(Some(calls + call));
            // The next root-table slot is in use already, so nothing is special about it.
            let answer = world.grow(&process, segment, 24 * KIB);
            if world.fake().calls() < calls + call {
                assert_eq!(answer, Ok(24 * KIB));
                assert!(call > 4);
                break;
            }
            let kernel = INJECTED.0;
            assert_eq!(answer, Err(Error::Internal { kernel }));
            assert_eq!(world.picture(&process), before, "call {call}");
        }
        // Across the border of a slot.
        for call in 1.. {
            let (mut world, process, segment) = scene(base, own_slots);
            let before = world.picture(&process);
            let calls = world.fake().calls();
            world.fake().fail_at(Some(calls + call));
            let answer = world.grow(&process, segment, 24 * KIB);
            if world.fake().calls() < calls + call {
                assert_eq!(answer, Ok(24 * KIB));
                assert!(call > 8);
                break;
            }
            let kernel = INJECTED.0;
            assert_eq!(answer, Err(Error::Internal { kernel }));
            assert_eq!(world.picture(&process), before, "call {call}");
        }
    }
}

#[test]
fn a_segment_with_slots_of_its_own_that_has_grown_is_attached_to_a_vas_in_use() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let mut request = alloc("heap", BASE, 4 * KIB, SMALL);
    request.own_slots = true;
    let segment = world.try_segment(&process, &request).unwrap().1;
    world.grow(&process, segment, 12 * KIB).unwrap();
    let vas = world.vas(&process, "v");
    let attached = world.attach(&process, vas, READ_ONLY).unwrap();
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    assert_eq!(world.fake().load(attached.root, BASE + 8 * KIB), Ok(0));
}
