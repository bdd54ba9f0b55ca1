// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each collection against that of the standard library, in many stays; full heaps, panics of what
//! users write, and memory that comes back.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, LinkedList};
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use proptest::prelude::*;
use storage::{
    Heap, Inside, LEAST_BYTES, Root, Store, VasBTreeMap, VasBox, VasHashMap, VasList, VasString,
    VasVec, Writing,
};

use crate::memory::Segment;

type Unordered = VasHashMap<'static, u16, u32>;
type Ordered = VasBTreeMap<'static, u16, u32>;
type List = VasList<'static, u32>;
type Text = VasString<'static>;

const CASES: u32 = if cfg!(miri) { 1 } else { 128 };
/// Bytes of a segment with room for all that tests put in one.
const ROOM: usize = if cfg!(miri) { 1 << 15 } else { 1 << 20 };
const COUNT: u32 = if cfg!(miri) { 25 } else { 500 };
const OPERATIONS: usize = if cfg!(miri) { 40 } else { 600 };

/// Operations, and arguments for them: keys that are met again, and a value.
fn operations() -> impl Strategy<Value = Vec<(u8, u16, u32)>> {
    proptest::collection::vec((0..32u8, 0..200u16, any::<u32>()), 1..OPERATIONS)
}

/// Takes from both ends in turn, until there is nothing left.
fn meet<T: PartialEq + std::fmt::Debug>(
    mut ends: impl DoubleEndedIterator<Item = T>,
    mut expected: impl DoubleEndedIterator<Item = T>,
) {
    loop {
        let (first, last) = (ends.next(), ends.next_back());
        assert_eq!(first, expected.next());
        assert_eq!(last, expected.next_back());
        if last.is_none() {
            return;
        }
    }
}

/// Lets `work` write to a segment that holds a `u8` only.
fn with_heap<T>(bytes: usize, work: impl for<'v> FnOnce(Heap<'v>) -> T) -> T {
    let segment = Segment::new(bytes);
    segment.build::<u8>("s", |_| 0).unwrap();
    segment
        .write::<u8, _>(|inside| {
            let before = inside.here().statistics();
            let result = work(inside.heap());
            let after = inside.here().statistics();
            assert_eq!(before.allocations, after.allocations);
            assert_eq!(before.allocated_bytes, after.allocated_bytes);
            result
        })
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_hash_map_does_what_that_of_the_standard_library_does(operations in operations()) {
        let segment = Segment::new(ROOM);
        segment.build::<Unordered>("s", |heap| VasHashMap::new_in(heap)).unwrap();
        let mut model = HashMap::new();
        for (operation, key, value) in operations {
            let play = |mut inside: Inside<'_, Unordered, Writing>| {
                let map = inside.root_mut();
                match operation {
                    0..12 => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    12..16 => assert_eq!(map.try_insert(key, value), Ok(model.insert(key, value))),
                    16..24 => assert_eq!(map.remove(&key), model.remove(&key)),
                    24 => assert_eq!(map.remove_entry(&key), model.remove_entry(&key)),
                    25 => assert_eq!(map.get_mut(&key), model.get_mut(&key)),
                    26 => {
                        let change = |entry: &mut u32| *entry = entry.wrapping_add(value);
                        let entry = map.entry(key).and_modify(change).or_insert(value);
                        assert_eq!(entry, model.entry(key).and_modify(change).or_insert(value));
                    }
                    27 => {
                        map.values_mut().for_each(|each| *each ^= value);
                        model.values_mut().for_each(|each| *each ^= value);
                    }
                    28 => {
                        let keep = |key: &u16, each: &mut u32| (*each ^ u32::from(*key)) & 3 != 0;
                        map.retain(keep);
                        model.retain(keep);
                    }
                    29 => map.reserve(usize::from(key)),
                    30 => map.try_reserve(usize::from(key)).unwrap(),
                    _ if value % 8 == 0 => {
                        map.clear();
                        model.clear();
                    }
                    _ => {}
                }
            };
            segment.write(play).unwrap();
            let look = |inside: Inside<'_, Unordered, _>| {
                let map = inside.root();
                assert_eq!(map.get(&key), model.get(&key));
                assert_eq!(map.get_key_value(&key), model.get_key_value(&key));
                assert_eq!(map.contains_key(&key), model.contains_key(&key));
                assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                let all: HashMap<u16, u32> = map.iter().map(|(&key, &value)| (key, value)).collect();
                assert_eq!(map.iter().len(), model.len());
                assert_eq!(all, model);
            };
            segment.read(look).unwrap();
        }
    }

    #[test]
    fn a_btree_map_does_what_that_of_the_standard_library_does(operations in operations()) {
        let segment = Segment::new(ROOM);
        segment.build::<Ordered>("s", |heap| VasBTreeMap::new_in(heap)).unwrap();
        let mut model = BTreeMap::new();
        for (operation, key, value) in operations {
            let play = |mut inside: Inside<'_, Ordered, Writing>| {
                let map = inside.root_mut();
                match operation {
                    0..12 => assert_eq!(map.insert(key, value), model.insert(key, value)),
                    12..16 => assert_eq!(map.try_insert(key, value), Ok(model.insert(key, value))),
                    16..24 => assert_eq!(map.remove(&key), model.remove(&key)),
                    24 => assert_eq!(map.remove_entry(&key), model.remove_entry(&key)),
                    25 => assert_eq!(map.get_mut(&key), model.get_mut(&key)),
                    26 => assert_eq!(map.pop_first(), model.pop_first()),
                    27 => assert_eq!(map.pop_last(), model.pop_last()),
                    28 => {
                        assert!(map.iter_mut().eq(model.iter_mut()));
                        map.values_mut().for_each(|each| *each ^= value);
                        model.values_mut().for_each(|each| *each ^= value);
                    }
                    29 => {
                        let keep = |key: &u16, each: &mut u32| (*each ^ u32::from(*key)) & 3 != 0;
                        map.retain(keep);
                        model.retain(keep);
                    }
                    _ if value % 8 == 0 => {
                        map.clear();
                        model.clear();
                    }
                    _ => {}
                }
            };
            segment.write(play).unwrap();
            let look = |inside: Inside<'_, Ordered, _>| {
                let map = inside.root();
                assert_eq!(map.get(&key), model.get(&key));
                assert_eq!(map.get_key_value(&key), model.get_key_value(&key));
                assert_eq!(map.contains_key(&key), model.contains_key(&key));
                assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(map.first_key_value(), model.first_key_value());
                assert_eq!(map.last_key_value(), model.last_key_value());
                assert_eq!(map.iter().len(), model.len());
                assert!(map.iter().eq(&model));
                assert!(map.iter().rev().eq(model.iter().rev()));
                meet(map.iter(), model.iter());
                meet(map.range(key..), model.range(key..));
                let end = key + value as u16 % 50;
                assert!(map.range(key..).eq(model.range(key..)));
                assert!(map.range(..key).rev().eq(model.range(..key).rev()));
                assert!(map.range(key..end).eq(model.range(key..end)));
                assert!(map.range(key..=end).rev().eq(model.range(key..=end).rev()));
                assert_eq!(map.range(end + 1..key).next(), None);
            };
            segment.read(look).unwrap();
        }
    }

    #[test]
    fn a_list_does_what_that_of_the_standard_library_does(operations in operations()) {
        let segment = Segment::new(ROOM);
        segment.build::<[List; 2]>("s", |heap| [VasList::new_in(heap), VasList::new_in(heap)]).unwrap();
        let mut model = [LinkedList::new(), LinkedList::new()];
        for (operation, which, value) in operations {
            let which = usize::from(which % 2);
            let play = |mut inside: Inside<'_, [List; 2], Writing>| {
                let list = &mut inside.root_mut()[which];
                let expected = &mut model[which];
                match operation {
                    0..6 => {
                        list.push_front(value);
                        expected.push_front(value);
                    }
                    6..12 => {
                        list.push_back(value);
                        expected.push_back(value);
                    }
                    12 => {
                        list.try_push_front(value).unwrap();
                        expected.push_front(value);
                    }
                    13 => {
                        list.try_push_back(value).unwrap();
                        expected.push_back(value);
                    }
                    14..18 => assert_eq!(list.pop_front(), expected.pop_front()),
                    18..22 => assert_eq!(list.pop_back(), expected.pop_back()),
                    22 => assert_eq!(list.front_mut(), expected.front_mut()),
                    23 => assert_eq!(list.back_mut(), expected.back_mut()),
                    24 => {
                        assert!(list.iter_mut().rev().eq(expected.iter_mut().rev()));
                        list.iter_mut().for_each(|each| *each ^= value);
                        expected.iter_mut().for_each(|each| *each ^= value);
                    }
                    25 => {
                        list.retain(|each| *each % 4 != 0);
                        *expected = expected.iter().copied().filter(|each| each % 4 != 0).collect();
                    }
                    26..28 => {
                        let [one, other] = inside.root_mut();
                        one.append(other);
                        let [one, other] = &mut model;
                        one.append(other);
                    }
                    _ if value % 8 == 0 => {
                        list.clear();
                        expected.clear();
                    }
                    _ => {}
                }
            };
            segment.write(play).unwrap();
            let look = |inside: Inside<'_, [List; 2], _>| {
                for (list, model) in inside.root().iter().zip(&model) {
                    assert_eq!((list.len(), list.is_empty()), (model.len(), model.is_empty()));
                    assert_eq!((list.front(), list.back()), (model.front(), model.back()));
                    assert!(list.iter().eq(model));
                    assert!(list.iter().rev().eq(model.iter().rev()));
                    meet(list.iter(), model.iter());
                }
            };
            segment.read(look).unwrap();
        }
    }

    #[test]
    fn a_string_does_what_that_of_the_standard_library_does(
        operations in proptest::collection::vec((0..8u8, any::<char>(), ".{0,20}"), 1..OPERATIONS / 4)
    ) {
        let segment = Segment::new(ROOM);
        segment.build::<Text>("s", |heap| VasString::new_in(heap)).unwrap();
        let mut model = String::new();
        for (operation, character, text) in operations {
            let play = |mut inside: Inside<'_, Text, Writing>| {
                let string = inside.root_mut();
                match operation {
                    0 => string.push(character),
                    1 => string.try_push(character).unwrap(),
                    2 => string.push_str(&text),
                    3 => string.try_push_str(&text).unwrap(),
                    4 => write!(string, "{character}{text}").unwrap(),
                    _ => {}
                }
                match operation {
                    0 | 1 => model.push(character),
                    2 | 3 => model.push_str(&text),
                    4 => write!(model, "{character}{text}").unwrap(),
                    5 => assert_eq!(string.pop(), model.pop()),
                    6 => {
                        let middle = model.ceil_char_boundary(model.len() / 2);
                        string.truncate(middle);
                        model.truncate(middle);
                        string.make_ascii_uppercase();
                        model.make_ascii_uppercase();
                    }
                    _ if text.is_empty() => {
                        string.clear();
                        model.clear();
                    }
                    _ => {}
                }
            };
            segment.write(play).unwrap();
            let look = |inside: Inside<'_, Text, _>| {
                let string = inside.root();
                assert_eq!(string, model.as_str());
                assert_eq!(format!("{string} {string:?}"), format!("{model} {model:?}"));
                assert_eq!((**string).cmp(&text), model.cmp(&text));
            };
            segment.read(look).unwrap();
        }
    }
}

#[test]
fn a_large_btree_map_stays_a_map_while_it_shrinks() {
    let count: u32 = if cfg!(miri) { 200 } else { 20_000 };
    with_heap(ROOM, |heap| {
        let mut map = VasBTreeMap::new_in(heap);
        let mut model = BTreeMap::new();
        // In an order without a pattern: multiples of a prime modulo another.
        let key = |number: u32| number.wrapping_mul(7919) % 65_537;
        for number in 0..count {
            assert_eq!(
                map.insert(key(number), number),
                model.insert(key(number), number)
            );
        }
        assert!(map.iter().eq(&model));
        for number in (0..count).rev() {
            assert_eq!(map.remove(&key(number)), model.remove(&key(number)));
            if number % 1000 == 0 {
                assert!(map.iter().eq(&model));
                assert!(map.iter_mut().eq(model.iter_mut()));
            }
        }
        assert!(map.is_empty());
    });
}

#[test]
fn maps_with_texts_as_keys_are_asked_with_plain_ones() {
    with_heap(1 << 16, |heap| {
        let mut unordered = VasHashMap::new_in(heap);
        let mut ordered = VasBTreeMap::new_in(heap);
        for number in 0..100 {
            let mut name = VasString::new_in(heap);
            write!(name, "name {number:02}").unwrap();
            unordered.insert(name.clone(), number);
            ordered.insert(name, number);
        }
        assert_eq!(unordered.get("name 42"), Some(&42));
        assert_eq!(ordered.get("name 42"), Some(&42));
        assert_eq!(unordered.remove("name 42"), Some(42));
        assert_eq!(ordered.remove("name 42"), Some(42));
        assert!(!unordered.contains_key("name 42") && !ordered.contains_key("name 42"));
        let from = ordered.range::<str>((
            std::ops::Bound::Excluded("name 97"),
            std::ops::Bound::Unbounded,
        ));
        assert!(from.map(|(_, &number)| number).eq([98, 99]));
    });
}

#[test]
fn collections_of_collections_are_found_in_a_later_stay() {
    #[derive(Store)]
    struct Library<'v> {
        shelves: VasBTreeMap<'v, VasString<'v>, VasList<'v, VasString<'v>>>,
        lent: VasHashMap<'v, u64, VasVec<'v, VasBox<'v, u32>>>,
    }
    let segment = Segment::new(1 << 16);
    segment
        .build::<Library>("s", |heap| Library {
            shelves: VasBTreeMap::new_in(heap),
            lent: VasHashMap::new_in(heap),
        })
        .unwrap();
    for number in 0..50u32 {
        let write = |mut inside: Inside<'_, Library, Writing>| {
            let heap = inside.heap();
            let library = inside.root_mut();
            let name = VasString::from_str_in(["poems", "plays"][number as usize % 2], heap);
            if !library.shelves.contains_key(&name) {
                library.shelves.insert(name.clone(), VasList::new_in(heap));
            }
            let shelf = library.shelves.get_mut(&name).unwrap();
            shelf.push_back(VasString::from_str_in(&number.to_string(), heap));
            let lent = library.lent.entry(u64::from(number % 7));
            let lent = lent.or_insert_with(|| VasVec::new_in(heap));
            lent.push(VasBox::new_in(number, heap));
        };
        segment.write(write).unwrap();
    }
    let read = |inside: Inside<'_, Library, _>| {
        let library = inside.root();
        assert!(library.shelves.keys().eq(["plays", "poems"].iter()));
        let plays = library.shelves.get("plays").unwrap();
        assert!(
            plays
                .iter()
                .map(|play| play.parse::<u32>().unwrap())
                .eq((1..50).step_by(2))
        );
        assert!(
            library
                .lent
                .get(&3)
                .unwrap()
                .iter()
                .map(|number| **number)
                .eq((3..50).step_by(7))
        );
    };
    segment.read(read).unwrap();
}

/// Fills a heap by `put` until that is refused, and looks whether `all` is as before then.
fn fill<R: Root, T: PartialEq + std::fmt::Debug>(
    build: impl for<'v> FnOnce(Heap<'v>) -> R::At<'v>,
    put: impl for<'v> Fn(&mut R::At<'v>, u32, Heap<'v>) -> bool,
    all: impl for<'v> Fn(&R::At<'v>) -> T,
    take: impl for<'v> Fn(&mut R::At<'v>),
) {
    let segment = Segment::new(LEAST_BYTES);
    segment.build::<R>("full", build).unwrap();
    let write = |mut inside: Inside<'_, R, Writing>| {
        let heap = inside.heap();
        let mut number = 0;
        loop {
            let before = all(inside.root());
            let statistics = inside.here().statistics();
            if !put(inside.root_mut(), number, heap) {
                assert_eq!(all(inside.root()), before);
                let after = inside.here().statistics();
                assert_eq!(after.allocations, statistics.allocations);
                assert_eq!(after.allocated_bytes, statistics.allocated_bytes);
                break;
            }
            number += 1;
        }
        assert!(number > 10, "{number}");
        take(inside.root_mut());
        assert!(
            put(inside.root_mut(), number, heap),
            "no room though something was taken"
        );
    };
    segment.write(write).unwrap();
}

#[test]
fn a_full_heap_changes_nothing_in_a_hash_map() {
    fill::<VasHashMap<'static, u32, VasString<'static>>, _>(
        |heap| VasHashMap::new_in(heap),
        |map, number, heap| {
            VasString::try_from_str_in("a text", heap)
                .is_ok_and(|text| map.try_insert(number, text).is_ok())
        },
        |map| {
            let all = map.iter().map(|(&key, text)| (key, text.to_string()));
            (map.len(), all.collect::<BTreeMap<_, _>>())
        },
        |map| map.retain(|key, _| key % 2 == 0),
    );
}

#[test]
fn a_full_heap_changes_nothing_in_a_btree_map() {
    // Of a size that the map itself finds no room.
    fill::<VasBTreeMap<'static, u32, [u32; 3]>, _>(
        |heap| VasBTreeMap::new_in(heap),
        |map, number, _| {
            map.try_insert(number.wrapping_mul(0x9e37_79b9), [number; 3])
                .is_ok()
        },
        |map| {
            let all = map.iter().map(|(&key, &value)| (key, value));
            (map.len(), all.collect::<Vec<_>>())
        },
        |map| map.retain(|_, [number, ..]| *number % 2 == 0),
    );
}

#[test]
fn a_full_heap_changes_nothing_in_a_list() {
    fill::<List, _>(
        |heap| VasList::new_in(heap),
        |list, number, _| list.try_push_back(number).is_ok(),
        |list| (list.len(), list.iter().copied().collect::<Vec<_>>()),
        |list| list.retain(|number| *number % 2 == 0),
    );
}

#[test]
fn a_full_heap_changes_nothing_in_a_string() {
    fill::<Text, _>(
        |heap| VasString::new_in(heap),
        |text, number, _| text.try_push_str(&format!("{number:100}")).is_ok(),
        |text| text.to_string(),
        |text| text.clear(),
    );
}

#[test]
fn a_key_that_is_there_needs_no_room() {
    let segment = Segment::new(LEAST_BYTES);
    type Maps = (
        VasHashMap<'static, u32, u32>,
        VasBTreeMap<'static, u32, u32>,
    );
    segment
        .build::<Maps>("full", |heap| {
            (VasHashMap::new_in(heap), VasBTreeMap::new_in(heap))
        })
        .unwrap();
    let write = |mut inside: Inside<'_, Maps, Writing>| {
        let mut number = 0;
        while inside.root_mut().0.try_insert(number, number).is_ok() {
            number += 1;
        }
        let last = number - 1;
        assert_eq!(inside.root_mut().0.try_insert(last, 0), Ok(Some(last)));
        number = 0;
        while inside.root_mut().1.try_insert(number, number).is_ok() {
            number += 1;
        }
        let last = number - 1;
        assert_eq!(inside.root_mut().1.try_insert(last, 0), Ok(Some(last)));
        assert!(VasHashMap::<u32, [u64; 400]>::try_new_in(inside.heap()).is_err());
    };
    segment.write(write).unwrap();
}

#[test]
fn all_collections_give_all_memory_back() {
    with_heap(ROOM, |heap| {
        let counted = Rc::new(());
        let text = |number: u32| VasString::from_str_in(&"x".repeat(number as usize % 40), heap);
        let value = |number| (counted.clone(), text(number));
        let mut unordered = VasHashMap::new_in(heap);
        let mut ordered = VasBTreeMap::new_in(heap);
        let mut list = VasList::new_in(heap);
        let mut vector = VasVec::new_in(heap);
        for number in 0..COUNT {
            unordered.insert(number, value(number));
            ordered.insert(number, value(number));
            list.push_front(value(number));
            vector.push(value(number));
        }
        unordered.retain(|number, _| number % 3 != 0);
        ordered.retain(|number, _| number % 3 != 0);
        list.retain(|(_, text)| text.len() % 3 != 0);
        assert_eq!(unordered.len(), (COUNT - COUNT.div_ceil(3)) as usize);
        assert_eq!(ordered.len(), unordered.len());
        assert_eq!(
            Rc::strong_count(&counted),
            1 + unordered.len() + ordered.len() + list.len() + vector.len()
        );
        drop((unordered, ordered, list, vector));
        assert_eq!(Rc::strong_count(&counted), 1);
    });
}

#[test]
fn clearing_a_map_or_a_list_drops_what_was_in_it() {
    with_heap(ROOM, |heap| {
        let counted = Rc::new(());
        let mut unordered = VasHashMap::new_in(heap);
        let mut ordered = VasBTreeMap::new_in(heap);
        let mut list = VasList::new_in(heap);
        for number in 0..COUNT {
            unordered.insert(number, counted.clone());
            ordered.insert(number, counted.clone());
            list.push_front(counted.clone());
        }
        unordered.clear();
        ordered.clear();
        list.clear();
        assert_eq!(Rc::strong_count(&counted), 1);
        assert!(unordered.is_empty() && ordered.is_empty() && list.is_empty());
        unordered.insert(1, counted.clone());
        ordered.insert(1, counted.clone());
        list.push_back(counted.clone());
        assert_eq!(Rc::strong_count(&counted), 4);
    });
}

#[test]
fn a_long_list_is_dropped_with_little_stack() {
    let (length, bytes) = if cfg!(miri) {
        (200, ROOM)
    } else {
        (1_000_000, 64 << 20)
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10);
    let drop_it = move || {
        with_heap(bytes, |heap| {
            let mut list = VasList::new_in(heap);
            (0..length).for_each(|number| list.push_back(number));
            assert_eq!(list.len(), length);
        });
    };
    thread.spawn(drop_it).unwrap().join().unwrap();
}

thread_local! {
    /// How many more calls of what users write go well.
    static CALLS: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn call() {
    let left = CALLS.get();
    assert_ne!(left, 0, "on purpose");
    CALLS.set(left - 1);
}

/// A key whose order and hash panic, and whose drop is counted.
#[derive(Debug)]
struct Nervous {
    number: u32,
    _counted: Rc<()>,
}

impl PartialEq for Nervous {
    fn eq(&self, other: &Self) -> bool {
        call();
        self.number == other.number
    }
}

impl Eq for Nervous {}

impl PartialOrd for Nervous {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Nervous {
    fn cmp(&self, other: &Self) -> Ordering {
        call();
        self.number.cmp(&other.number)
    }
}

impl Hash for Nervous {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        call();
        self.number.hash(hasher);
    }
}

#[test]
fn keys_that_panic_leave_maps_whole() {
    let step = if cfg!(miri) { 200 } else { 7 };
    for calls in (0..700).step_by(step) {
        with_heap(ROOM, |heap| {
            let counted = Rc::new(());
            let key = |number| Nervous {
                number,
                _counted: counted.clone(),
            };
            let mut unordered = VasHashMap::new_in(heap);
            let mut ordered = VasBTreeMap::new_in(heap);
            CALLS.set(calls);
            let work = || {
                for number in 0..60 {
                    unordered.insert(key(number * 37 % 61), number);
                    if number % 3 == 0 {
                        unordered.remove(&key(number));
                    }
                }
                unordered.retain(|key, _| key.number % 2 == 0);
            };
            let _ = catch_unwind(AssertUnwindSafe(work));
            CALLS.set(calls);
            let work = || {
                for number in 0..60 {
                    ordered.insert(key(number * 37 % 61), number);
                    if number % 3 == 0 {
                        ordered.remove(&key(number));
                    }
                }
                ordered.retain(|key, _| key.number % 2 == 0);
            };
            let _ = catch_unwind(AssertUnwindSafe(work));
            CALLS.set(usize::MAX);
            assert_eq!(
                Rc::strong_count(&counted),
                1 + unordered.len() + ordered.len()
            );
            assert!(unordered.keys().all(|key| unordered.contains_key(key)));
            assert!(ordered.keys().all(|key| ordered.contains_key(key)));
            assert!(ordered.keys().is_sorted());
            unordered.insert(key(100), 1);
            ordered.insert(key(100), 1);
            drop((unordered, ordered));
            assert_eq!(Rc::strong_count(&counted), 1);
        });
    }
}

#[test]
fn a_closure_that_panics_leaves_collections_whole() {
    with_heap(ROOM, |heap| {
        let counted = Rc::new(());
        let mut unordered = VasHashMap::new_in(heap);
        let mut ordered = VasBTreeMap::new_in(heap);
        let mut list = VasList::new_in(heap);
        for number in 0..100 {
            unordered.insert(number, counted.clone());
            ordered.insert(number, counted.clone());
            list.push_back(counted.clone());
        }
        let panics = |calls: usize| {
            CALLS.set(calls);
            || {
                call();
                false
            }
        };
        let keep = panics(30);
        let work = || unordered.retain(|_, _| keep());
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        let keep = panics(30);
        let work = || ordered.retain(|_, _| keep());
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        let keep = panics(30);
        let work = || list.retain(|_| keep());
        assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
        assert_eq!((unordered.len(), ordered.len(), list.len()), (70, 70, 70));
        assert!(ordered.keys().copied().eq(30..100));
        assert_eq!(Rc::strong_count(&counted), 1 + 3 * 70);
    });
}

/// An order that contradicts itself.
#[derive(PartialEq, Eq)]
struct Liar(u32);

thread_local!(static LIES: Cell<u32> = const { Cell::new(1) });

impl PartialOrd for Liar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Liar {
    fn cmp(&self, other: &Self) -> Ordering {
        LIES.set(
            LIES.get()
                .wrapping_mul(1_664_525)
                .wrapping_add(1_013_904_223),
        );
        match LIES.get() >> 24 {
            0..100 => Ordering::Less,
            100..200 => Ordering::Greater,
            _ => self.0.cmp(&other.0),
        }
    }
}

#[test]
fn an_order_that_contradicts_itself_makes_a_map_wrong_and_nothing_else() {
    with_heap(ROOM, |heap| {
        let mut map = VasBTreeMap::new_in(heap);
        let mut entries = 0usize;
        for number in 0..if cfg!(miri) { 200 } else { 5000u32 } {
            entries += usize::from(map.insert(Liar(number % 300), number).is_none());
            if number % 3 == 0 {
                entries -= usize::from(map.remove(&Liar(number % 200)).is_some());
            }
            if number % 100 == 99 {
                assert!(map.range(Liar(20)..Liar(90)).count() <= entries);
                map.retain(|_, value| *value % 8 != 0);
                entries = map.len();
            }
            assert_eq!(map.len(), entries);
        }
        assert_eq!(map.iter().count(), entries);
        assert_eq!(map.iter_mut().count(), entries);
    });
}

#[test]
fn values_without_size_are_counted() {
    with_heap(1 << 16, |heap| {
        let mut list = VasList::new_in(heap);
        (0..100).for_each(|_| list.push_back(()));
        assert_eq!(list.iter().count(), 100);
        let mut map = VasHashMap::new_in(heap);
        assert_eq!((map.insert((), ()), map.insert((), ())), (None, Some(())));
        let mut map = VasBTreeMap::new_in(heap);
        assert_eq!((map.insert((), ()), map.insert((), ())), (None, Some(())));
        assert_eq!(map.range(..=()).count(), 1);
        assert_eq!(map.remove(&()), Some(()));
    });
}
