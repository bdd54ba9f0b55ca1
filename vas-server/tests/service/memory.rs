// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::{Error, PageSize};
use vas_server::fake::Held;

use crate::support::*;

/// Allocates segments of one page until something runs out.
fn fill(world: &mut World, process: &Process, page_size: PageSize) -> (Vec<Held>, Error) {
    let mut segments = Vec::new();
    loop {
        let text = segments.len().to_string();
        let request = alloc(&text, BASE, 1, Some(page_size));
        match world.try_segment(process, &request) {
            Ok((_, segment)) => segments.push(segment),
            Err(error) => return (segments, error),
        }
    }
}

#[test]
fn freed_memory_can_be_used_again_in_pages_of_any_size() {
    // 2 MiB, and a page for the ASID pool.
    let mut world = World::with(20_000, &[21, 12]);
    let process = world.bare_process(1);
    let before = world.statistics();
    assert_eq!(before.memory_free, 2 * MIB);
    for (round, (page_size, count)) in [
        (PageSize::Large, 1),
        (PageSize::Small, 512),
        (PageSize::Large, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut segments, error) = fill(&mut world, &process, page_size);
        assert_eq!((segments.len(), error), (count, Error::OutOfMemory));
        assert_eq!(world.statistics().memory_free, 0);
        // In another order each time.
        segments.rotate_left(count / 3 * round);
        while !segments.is_empty() {
            let position = segments.len() * 5 / 7;
            let segment = segments.swap_remove(position);
            world.free(&process, segment).unwrap();
        }
        assert_eq!(world.statistics(), before);
    }
}

#[test]
fn one_segment_can_have_all_memory_whatever_it_is_divided_into() {
    let mut world = World::with(20_000, &[13, 21, 12, 14, 17, 14]);
    let process = world.bare_process(1);
    let free = world.statistics().memory_free;
    for _ in 0..2 {
        let pieces = [1, 2, 3].map(|page| {
            let size = page * 4 * KIB;
            world.segment(&process, &page.to_string(), BASE, size)
        });
        assert_eq!(world.statistics().memory_free, free - 24 * KIB);
        for piece in pieces {
            world.free(&process, piece).unwrap();
        }
        let all = world.segment(&process, "all", BASE, free);
        assert_eq!(world.statistics().memory_free, 0);
        world.free(&process, all).unwrap();
        assert_eq!(world.statistics().memory_free, free);
    }
}

#[test]
fn a_segment_has_exactly_the_memory_it_says() {
    let mut world = World::new();
    let process = world.bare_process(1);
    for (pages, page_size) in [
        (1, PageSize::Small),
        (257, PageSize::Small),
        (1000, PageSize::Small),
        (5, PageSize::Large),
        (3, PageSize::Huge),
    ] {
        let before = world.statistics();
        let size = pages * page_size.bytes();
        let request = alloc("heap", BASE, size, Some(page_size));
        let (_, segment) = world.try_segment(&process, &request).unwrap();
        let after = world.statistics();
        assert_eq!(before.memory_free - after.memory_free, size);
        world.free(&process, segment).unwrap();
        assert_eq!(world.statistics(), before);
    }
}

#[test]
fn memory_without_a_place_for_a_large_page_is_not_enough_for_one() {
    let mut world = World::with(20_000, &[20, 20, 20, 20, 12]);
    let process = world.bare_process(1);
    let before = world.picture(&process);
    let request = alloc("heap", BASE, 1, LARGE);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfMemory));
    assert_eq!(world.picture(&process), before);
    world.segment(&process, "heap", BASE, 4 * MIB);
}

#[test]
fn no_memory_for_page_tables_refuses_an_attachment() {
    // Pages: one for the pool, four for root and tables, one for the segment; and one.
    let mut world = World::with(100, &[14, 13, 12]);
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    world.add(&process, vas, segment, READ_ONLY).unwrap();
    let first = world.attach(&process, vas, READ_ONLY).unwrap();
    let before = world.picture(&process);
    let answer = world.attach(&process, vas, READ_WRITE).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfMemory));
    assert_eq!(world.picture(&process), before);
    world.detach(&process, first).unwrap();
    world.attach(&process, vas, READ_WRITE).unwrap();
}

#[test]
fn slots_that_only_divide_free_memory_are_used_when_others_run_out() {
    // 64 pages: divided into single pages, they take 126 slots.
    let mut world = World::with(150, &[18, 12]);
    let process = world.bare_process(1);
    let before = world.statistics();
    let (segments, error) = fill(&mut world, &process, PageSize::Small);
    assert_eq!(error, Error::OutOfSlots);
    for segment in segments {
        world.free(&process, segment).unwrap();
    }
    assert_eq!(world.statistics(), before);
    // All pages in one segment: a slot for each, and one for the handle.
    let caps = world.fake().caps();
    let all = world.segment(&process, "all", BASE, 256 * KIB);
    assert!(world.fake().caps() < caps + 65);
    assert_eq!(world.statistics().slots_free, before.slots_free - 65);
    world.free(&process, all).unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn more_pages_than_slots_are_refused() {
    let mut world = World::with(100, &[30, 12]);
    let process = world.bare_process(1);
    let before = world.picture(&process);
    for size in [100 * 4 * KIB, GIB] {
        let request = alloc("heap", BASE, size, SMALL);
        let answer = world.try_segment(&process, &request).map(|_| ());
        assert_eq!(answer, Err(Error::OutOfSlots));
        assert_eq!(world.picture(&process), before);
    }
    // In larger pages it fits.
    let request = alloc("heap", BASE, GIB, LARGE);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, Err(Error::OutOfSlots));
    let request = alloc("heap", BASE, GIB, HUGE);
    world.try_segment(&process, &request).unwrap();
}

#[test]
fn memory_is_divided_once_and_not_again_for_each_request() {
    let mut world = World::new();
    let process = world.bare_process(1);
    let mut calls = Vec::new();
    for _ in 0..4 {
        let before = world.fake().calls();
        let segment = world.segment(&process, "heap", BASE, 4 * KIB);
        calls.push(world.fake().calls() - before);
        world.free(&process, segment).unwrap();
    }
    // The handle and the frame.
    assert_eq!(calls[1..], [2, 2, 2]);
}

#[test]
fn dividing_memory_takes_the_slots_that_divide_other_free_memory() {
    let mut world = World::with(300, &[18, 18, 12]);
    let process = world.bare_process(1);
    // The first 64 pages are divided into single pages, and are then free.
    let pages: Vec<Held> = (0..64)
        .map(|number: u64| world.segment(&process, &number.to_string(), BASE, 1))
        .collect();
    for page in pages {
        world.free(&process, page).unwrap();
    }
    // All but six of the slots that hold nothing are taken, one by each session.
    let idle = 126;
    while world.statistics().slots_free > idle + 6 {
        world.bare_process(2);
    }
    assert!(world.fake().caps() > 290, "the memory is still divided");
    // Four pages and a handle; and eight slots to divide the second 64 pages.
    let segment = world.segment(&process, "heap", BASE, 16 * KIB);
    world.free(&process, segment).unwrap();
    assert_eq!(world.statistics().slots_free, idle + 6);
}
