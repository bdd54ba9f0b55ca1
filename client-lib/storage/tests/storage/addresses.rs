// SPDX-License-Identifier: MIT OR Apache-2.0

//! No collection ever holds an address out of its segment: looked for word by word, in all that
//! this process has mapped.

#![cfg(not(miri))]

use std::ops::Range;

use storage::{
    Heap, Inside, Root, Shape, Store, VasBTreeMap, VasHashMap, VasList, VasString, VasVec, Writing,
};

use crate::memory::Segment;

/// All that this process has mapped: its program, libraries, heaps and stacks.
fn mapped() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let range = |line: &str| {
        let (start, rest) = line.split_once('-').unwrap();
        let (end, _) = rest.split_once(' ').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        address(start)..address(end)
    };
    maps.lines().map(range).collect()
}

/// The words of a segment that are addresses of this process, but not of the segment.
fn foreign(segment: &Segment) -> Vec<usize> {
    let own = segment.base()..segment.base() + segment.room();
    let mapped = mapped();
    let is_mapped = |address: &usize| mapped.iter().any(|range| range.contains(address));
    assert!(is_mapped(&own.start) && is_mapped(&(foreign as *const () as usize)));
    let word = |address| {
        // SAFETY: a word of the segment, which was zeros at first.
        unsafe { std::ptr::with_exposed_provenance::<usize>(address).read_volatile() }
    };
    own.clone()
        .step_by(size_of::<usize>())
        .map(word)
        .filter(|word| !own.contains(word) && is_mapped(word))
        .collect()
}

/// Builds a root and changes it in steps. Answers the foreign addresses after each.
fn look<R: Root>(
    build: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    steps: &[for<'v> fn(Inside<'v, R, Writing>)],
) -> Vec<Vec<usize>> {
    let segment = Segment::new(1 << 20);
    segment.build::<R>("s", build).unwrap();
    let mut found = vec![foreign(&segment)];
    for step in steps {
        segment.write::<R, _>(step).unwrap();
        found.push(foreign(&segment));
    }
    found
}

fn nowhere(found: &[Vec<usize>]) {
    for (step, addresses) in found.iter().enumerate() {
        assert!(addresses.is_empty(), "step {step}: {addresses:#x?}");
    }
}

/// A map as it comes from `hashbrown`, which may not be stored.
struct Bare<'v>(hashbrown::HashMap<u64, u64, rustc_hash::FxBuildHasher, Heap<'v>>);

// SAFETY: none. It is looked at where it was made only.
unsafe impl<'v> Store<'v> for Bare<'v> {
    fn describe(_: &mut Shape) {}
}

impl Root for Bare<'_> {
    type At<'v> = Bare<'v>;
}

#[test]
fn a_bare_map_has_an_address_of_the_program_until_it_is_filled() {
    let found = look::<Bare>(
        |heap| {
            Bare(hashbrown::HashMap::with_hasher_in(
                rustc_hash::FxBuildHasher,
                heap,
            ))
        },
        &[
            |mut inside| {
                inside.root_mut().0.insert(1, 1);
            },
            |mut inside| std::mem::forget(inside.root_mut().0.drain()),
            |mut inside| {
                inside.root_mut().0.clear();
                inside.root_mut().0.shrink_to_fit();
            },
        ],
    );
    let found: Vec<_> = found.iter().map(|addresses| addresses.len()).collect();
    assert_eq!(found, [1, 0, 1, 1]);
}

type Map<'v> = VasHashMap<'v, u64, VasString<'v>>;

#[test]
fn a_hash_map_has_no_address_out_of_the_heap() {
    nowhere(&look::<Map>(
        |heap| VasHashMap::new_in(heap),
        &[
            |mut inside| {
                let heap = inside.heap();
                let insert = |number| {
                    let text = VasString::from_str_in("text", heap);
                    inside.root_mut().insert(number, text);
                };
                (0..1000).for_each(insert);
            },
            |mut inside| inside.root_mut().retain(|key, _| key % 3 == 0),
            |mut inside| assert!(inside.root_mut().try_reserve(1 << 30).is_err()),
            |mut inside| {
                for key in 0..1000 {
                    inside.root_mut().remove(&key);
                }
            },
            |mut inside| inside.root_mut().clear(),
            |mut inside| {
                let heap = inside.heap();
                let entry = inside.root_mut().entry(7);
                entry.or_insert_with(|| VasString::new_in(heap));
            },
            |mut inside| *inside.root_mut() = VasHashMap::try_new_in(inside.heap()).unwrap(),
            |mut inside| *inside.root_mut() = VasHashMap::with_capacity_in(0, inside.heap()),
        ],
    ));
}

#[test]
fn a_btree_map_has_no_address_out_of_the_heap() {
    nowhere(&look::<VasBTreeMap<u64, u64>>(
        |heap| VasBTreeMap::new_in(heap),
        &[
            |mut inside| {
                for number in 0..1000 {
                    inside.root_mut().insert(number * 37 % 1009, number);
                }
            },
            |mut inside| inside.root_mut().retain(|key, _| key % 3 == 0),
            |mut inside| {
                for key in 0..1009 {
                    inside.root_mut().remove(&key);
                }
            },
            |mut inside| {
                inside.root_mut().insert(1, 1);
            },
            |mut inside| inside.root_mut().clear(),
        ],
    ));
}

#[test]
fn a_list_has_no_address_out_of_the_heap() {
    nowhere(&look::<[VasList<u64>; 2]>(
        |heap| [VasList::new_in(heap), VasList::new_in(heap)],
        &[
            |mut inside| {
                for number in 0..1000 {
                    inside.root_mut()[0].push_back(number);
                    inside.root_mut()[1].push_front(number);
                }
            },
            |mut inside| {
                let [one, other] = inside.root_mut();
                one.append(other);
            },
            |mut inside| inside.root_mut()[0].retain(|number| *number % 3 == 0),
            |mut inside| while inside.root_mut()[0].pop_back().is_some() {},
            |mut inside| inside.root_mut()[1].push_back(1),
            |mut inside| inside.root_mut()[1].clear(),
        ],
    ));
}

#[test]
fn a_string_and_a_vector_have_no_address_out_of_the_heap() {
    nowhere(&look::<(VasString, VasVec<u64>)>(
        |heap| (VasString::new_in(heap), VasVec::new_in(heap)),
        &[
            |mut inside| {
                let (text, vector) = inside.root_mut();
                (0..100).for_each(|_| text.push_str("text"));
                vector.extend(0..1000);
            },
            |mut inside| {
                let (text, vector) = inside.root_mut();
                while text.pop().is_some() {}
                vector.clear();
            },
            |mut inside| {
                let (text, vector) = inside.root_mut();
                text.clear();
                vector.shrink_to_fit();
                assert!(text.try_reserve(1 << 30).is_err());
            },
        ],
    ));
}
