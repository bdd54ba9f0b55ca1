// SPDX-License-Identifier: MIT OR Apache-2.0

use std::rc::Rc;

use storage::{CheckedPtr, Inside, OutOfVas, Store, VasBox, VasPtr, Writing, WrongVas};

use crate::memory::Segment;

#[derive(Store)]
struct Node<'v> {
    number: u64,
    next: Option<VasBox<'v, Node<'v>>>,
    first: Option<VasPtr<'v, u64>>,
}

fn chain(segment: &Segment) {
    segment.build::<Option<Node>>("s", |_| None).unwrap();
    let write = |mut inside: Inside<'_, Option<Node>, Writing>| {
        let heap = inside.heap();
        for number in 0..10 {
            let next = inside
                .root_mut()
                .take()
                .map(|node| VasBox::new_in(node, heap));
            let first = next
                .as_ref()
                .map(|next| VasPtr::new(&next.number, heap).unwrap());
            *inside.root_mut() = Some(Node {
                number,
                next,
                first,
            });
        }
    };
    segment.write(write).unwrap();
}

#[test]
fn values_that_point_to_each_other_are_followed_in_a_later_stay() {
    let segment = Segment::new(1 << 16);
    chain(&segment);
    let read = |inside: Inside<'_, Option<Node>, _>| {
        let mut numbers = Vec::new();
        let mut node = inside.root().as_ref();
        while let Some(current) = node {
            numbers.push(current.number);
            node = current.next.as_deref();
            let first = current.first.map(|first| {
                // SAFETY: the next node is alive, and nobody writes.
                unsafe { *first.as_ref() }
            });
            assert_eq!(first, node.map(|node| node.number));
        }
        numbers
    };
    let numbers = segment.read(read).unwrap();
    assert!(numbers.into_iter().eq((0..10).rev()));
}

#[test]
fn a_box_is_eight_bytes_and_none_takes_no_more() {
    assert_eq!(size_of::<VasBox<'_, Node<'_>>>(), 8);
    assert_eq!(size_of::<Option<VasBox<'_, [u64; 100]>>>(), 8);
    assert_eq!(size_of::<Option<VasPtr<'_, u8>>>(), 8);
    assert_eq!(size_of::<CheckedPtr<u64>>(), 8);
}

#[test]
fn dropping_a_box_drops_its_value_and_frees_its_memory() {
    let segment = Segment::new(1 << 16);
    segment.build::<u8>("s", |_| 0).unwrap();
    let write = |inside: Inside<'_, u8, Writing>| {
        let before = inside.here().statistics();
        let counted = Rc::new(());
        let boxed = VasBox::new_in(counted.clone(), inside.heap());
        let other = VasBox::new_in(counted.clone(), inside.heap());
        assert_eq!(Rc::strong_count(&counted), 3);
        drop(boxed);
        assert_eq!(Rc::strong_count(&counted), 2);
        drop(other.into_inner());
        assert_eq!(Rc::strong_count(&counted), 1);
        assert_eq!(inside.here().statistics().allocations, before.allocations);
    };
    segment.write::<u8, _>(write).unwrap();
}

#[test]
fn boxes_of_all_alignments_are_aligned() {
    #[derive(Store, PartialEq, Debug)]
    #[repr(align(64))]
    struct Aligned(u8);

    let segment = Segment::new(1 << 16);
    segment.build::<u8>("s", |_| 0).unwrap();
    let write = |inside: Inside<'_, u8, Writing>| {
        for number in 0..20 {
            let boxed = VasBox::new_in(Aligned(number), inside.heap());
            let small = VasBox::new_in(number, inside.heap());
            let empty = VasBox::new_in((), inside.heap());
            assert_eq!(boxed.as_ptr().address() % 64, 0);
            assert_eq!((&*boxed, *small, *empty), (&Aligned(number), number, ()));
        }
        assert_eq!(inside.here().statistics().allocations, 1);
    };
    segment.write::<u8, _>(write).unwrap();
}

#[test]
fn addresses_out_of_the_heap_are_no_pointers() {
    let segment = Segment::new(1 << 16);
    segment.build::<u64>("s", |_| 0).unwrap();
    let check = |inside: Inside<'_, u64, _>| {
        let here = inside.here();
        let on_the_stack = 7u64;
        let address = (&raw const on_the_stack).addr();
        assert_eq!(VasPtr::new(&on_the_stack, here), Err(OutOfVas { address }));
        let root = VasPtr::new(inside.root(), here).unwrap();
        let addresses = here.addresses();
        for address in [
            0,
            addresses.start - 8,
            addresses.end - 7,
            addresses.end,
            usize::MAX - 7,
            root.address() + 1,
        ] {
            // SAFETY: not followed.
            let cast = unsafe { VasPtr::<u64>::vcast(address, here) };
            assert_eq!(cast, Err(OutOfVas { address }));
        }
        // SAFETY: not followed.
        assert_eq!(unsafe { VasPtr::vcast(root.address(), here) }, Ok(root));
    };
    segment.read::<u64, _>(check).unwrap();
}

#[test]
fn a_checked_pointer_is_good_in_its_own_vas_only() {
    let (one, other) = (Segment::new(1 << 16), Segment::new(1 << 16));
    one.build::<u64>("one", |_| 1).unwrap();
    other.build::<u64>("other", |_| 2).unwrap();
    let point = |inside: Inside<'_, u64, storage::Reading>| {
        let pointer = VasPtr::new(inside.root(), inside.here()).unwrap();
        CheckedPtr::<u64>::new(pointer, inside.here())
    };
    let pointer = one.read(point).unwrap();
    let follow = |inside: Inside<'_, u64, storage::Reading>| {
        // SAFETY: the root is alive, and nobody writes.
        pointer
            .check(inside.here())
            .map(|pointer| unsafe { *pointer.as_ref() })
    };
    assert_eq!(one.read(follow), Ok(Ok(1)));
    let Ok(Err(WrongVas {
        address,
        expected,
        found,
    })) = other.read(follow)
    else {
        panic!("taken as one of the other VAS");
    };
    assert!((one.base()..one.base() + one.room()).contains(&address));
    assert_ne!(expected, found);
}
