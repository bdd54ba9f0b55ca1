// SPDX-License-Identifier: MIT OR Apache-2.0

use std::alloc::Layout;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use allocator_api2::alloc::Allocator;
use proptest::prelude::*;
use storage::{HeapError, LEAST_BYTES, VasBox, VasVec, grow_with};

use crate::memory::Segment;

type Numbers = VasVec<'static, u64>;

#[test]
fn what_one_stay_stores_the_next_finds() {
    let segment = Segment::new(1 << 16);
    segment
        .build::<Numbers>("s", |heap| VasVec::new_in(heap))
        .unwrap();
    for number in 0..100 {
        let write = |mut inside: storage::Inside<'_, Numbers, _>| inside.root_mut().push(number);
        segment.write::<Numbers, _>(write).unwrap();
    }
    let sum = segment.read::<Numbers, _>(|inside| inside.root().iter().sum::<u64>());
    assert_eq!(sum, Ok(4950));
}

#[test]
fn a_segment_of_zeros_has_no_heap() {
    let segment = Segment::new(1 << 16);
    let read = segment.read::<Numbers, _>(|_| ());
    assert_eq!(read, Err(HeapError::NoHeap));
}

#[test]
fn too_small_a_segment_gets_no_heap() {
    let segment = Segment::new(LEAST_BYTES / 2);
    let built = segment.build::<Numbers>("s", |heap| VasVec::new_in(heap));
    assert_eq!(built, Err(HeapError::TooSmall));
    let segment = Segment::new(LEAST_BYTES);
    let built = segment.build::<[u64; 2048]>("s", |_| [0; 2048]);
    assert_eq!(built, Err(HeapError::TooSmall));
    let read = segment.read::<[u64; 2048], _>(|_| ());
    assert_eq!(read, Err(HeapError::NoHeap));
}

#[test]
fn a_heap_whose_making_stopped_half_way_is_none() {
    let segment = Segment::new(1 << 16);
    segment.build::<u64>("s", |_| 7).unwrap();
    let stopped = catch_unwind(AssertUnwindSafe(|| segment.build::<u64>("s", |_| panic!())));
    assert!(stopped.is_err());
    let read = segment.read::<u64, _>(|_| ());
    assert_eq!(read, Err(HeapError::NoHeap));
}

#[test]
fn who_dies_while_allocating_leaves_a_heap_that_is_seen_to_be_half_changed() {
    thread_local!(static ASKED: Cell<bool> = const { Cell::new(false) });
    let segment = Segment::new(LEAST_BYTES);
    segment.build::<u64>("dies", |_| 7).unwrap();
    // The mark is found by writing it where it lies: who dies cannot be had on the host. In
    // QEMU processes are killed.
    let changing = segment.base() + 5 * size_of::<u64>();
    let changing = std::ptr::with_exposed_provenance_mut::<u64>(changing);
    // SAFETY: a word of the segment.
    unsafe { changing.write(1) };
    let read = segment.read::<u64, _>(|_| ASKED.set(true));
    assert_eq!(read, Err(HeapError::HalfChanged));
    assert!(!ASKED.get());
    segment.build::<u64>("dies", |_| 8).unwrap();
    assert_eq!(segment.read::<u64, _>(|inside| *inside.root()), Ok(8));
}

#[test]
fn a_heap_that_is_full_says_so_and_goes_on() {
    let segment = Segment::new(1 << 16);
    segment
        .build::<Numbers>("s", |heap| VasVec::new_in(heap))
        .unwrap();
    let refused = |mut inside: storage::Inside<'_, Numbers, _>| {
        let before = inside.here().statistics();
        assert!(inside.root_mut().try_reserve(1 << 16).is_err());
        assert!(inside.root_mut().try_reserve(usize::MAX / 16).is_err());
        assert_eq!(
            VasBox::try_new_in([1u8; 1 << 17], inside.heap()).err(),
            Some([1; 1 << 17])
        );
        assert_eq!(inside.here().statistics(), before);
        inside.root_mut().push(1);
    };
    segment.write::<Numbers, _>(refused).unwrap();
}

thread_local! {
    /// The segment that grows in this thread, and how large it may become.
    static ROOM: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn grow(base: usize, bytes: usize) -> Option<usize> {
    let (grows, room) = ROOM.get();
    (base == grows && bytes <= room).then(|| bytes.next_multiple_of(4096))
}

#[test]
fn a_heap_grows_with_its_segment_as_far_as_that_goes() {
    // SAFETY: the segment has so much room behind it, which nothing uses.
    unsafe { grow_with(grow) };
    let segment = Segment::with_room(LEAST_BYTES, 1 << 20);
    segment
        .build::<Numbers>("grows", |heap| VasVec::new_in(heap))
        .unwrap();
    ROOM.set((segment.base(), segment.room()));
    let pushed = |mut inside: storage::Inside<'_, Numbers, _>| {
        let mut pushed = 0;
        while inside.root_mut().try_reserve(1).is_ok() {
            inside.root_mut().push(pushed);
            pushed += 1;
        }
        // Another vector fits where one of twice the size does not.
        assert!(VasBox::try_new_in([0u8; 1 << 18], inside.heap()).is_ok());
        pushed
    };
    // A vector doubles, and there are the old one and the new one for a moment.
    let pushed = segment.write::<Numbers, _>(pushed).unwrap();
    assert!(pushed * 8 >= 1 << 18, "{pushed}");
    let read = |inside: storage::Inside<'_, Numbers, _>| {
        assert!(inside.root().iter().copied().eq(0..pushed));
    };
    segment.read::<Numbers, _>(read).unwrap();
}

#[test]
fn statistics_count_what_is_allocated() {
    let segment = Segment::new(1 << 16);
    segment.build::<u8>("s", |_| 0).unwrap();
    let count = |inside: storage::Inside<'_, u8, _>| {
        let heap = inside.heap();
        let before = heap.here().statistics();
        let first = VasBox::new_in([0u8; 100], heap);
        let second = VasBox::new_in([0u8; 50], heap);
        let with_both = heap.here().statistics();
        assert_eq!(with_both.allocations, before.allocations + 2);
        // A box has its heap in front of it.
        let bytes = before.allocated_bytes + (8 + 100) + (8 + 50);
        assert_eq!(with_both.allocated_bytes, bytes);
        drop((first, second));
        let after = heap.here().statistics();
        assert_eq!(after.allocations, before.allocations);
        assert_eq!(after.allocated_bytes, before.allocated_bytes);
        assert_eq!(after.peak_bytes, with_both.allocated_bytes);
    };
    segment.write::<u8, _>(count).unwrap();
}

proptest! {
    #[test]
    fn blocks_never_overlap_and_keep_their_content(
        operations in proptest::collection::vec((0..3u8, 0..32usize, 0..2000usize, 0..8u32), 1..200)
    ) {
        let segment = Segment::new(1 << 16);
        segment.build::<u8>("s", |_| 0).unwrap();
        let play = |inside: storage::Inside<'_, u8, _>| {
            let heap = inside.heap();
            let empty = heap.here().statistics();
            let mut blocks = Vec::new();
            for (round, &(operation, which, size, align)) in operations.iter().enumerate() {
                let layout = Layout::from_size_align(size, 1 << align).unwrap();
                let fill = round as u8;
                if operation == 0 || blocks.is_empty() {
                    if let Ok(block) = heap.allocate(layout) {
                        assert_eq!(block.cast::<u8>().addr().get() % layout.align(), 0);
                        // SAFETY: a block of this size.
                        unsafe { block.cast::<u8>().write_bytes(fill, size) };
                        blocks.push((block.cast::<u8>(), layout, fill));
                    }
                    continue;
                }
                let (block, old, content) = blocks.swap_remove(which % blocks.len());
                // SAFETY: a block of this size, filled so.
                let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), old.size()) };
                assert!(bytes.iter().all(|&byte| byte == content));
                if operation == 1 || size < old.size() {
                    // SAFETY: from here, with this layout.
                    unsafe { heap.deallocate(block, old) };
                    continue;
                }
                // SAFETY: from here, with this layout; the new one is not smaller.
                match unsafe { heap.grow(block, old, layout) } {
                    Ok(moved) => {
                        let moved = moved.cast::<u8>();
                        // SAFETY: a block of this size, whose first bytes are the old ones.
                        unsafe {
                            let bytes = std::slice::from_raw_parts(moved.as_ptr(), old.size());
                            assert!(bytes.iter().all(|&byte| byte == content));
                            moved.write_bytes(fill, size);
                        }
                        blocks.push((moved, layout, fill));
                    }
                    Err(_) => blocks.push((block, old, content)),
                }
            }
            for (block, layout, _) in blocks {
                // SAFETY: from here, with this layout.
                unsafe { heap.deallocate(block, layout) };
            }
            let end = heap.here().statistics();
            assert_eq!(end.allocations, empty.allocations);
            assert_eq!(end.allocated_bytes, empty.allocated_bytes);
        };
        segment.write::<u8, _>(play).unwrap();
    }
}
