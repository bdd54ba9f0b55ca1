// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations on the collections. What an operation is follows from its number.

use core::hash::{Hash, Hasher};

use fastrand::Rng;
use rustc_hash::FxHasher;
use storage::Heap;

use crate::content::{Content, Make, Model, Plain, Private, text};

/// Chooses the operations.
const SEED: u64 = 20160402;
/// So many operations in which collections rather grow, then as many in which they rather shrink.
const SEASON: u64 = 3000;
/// A collection that has as many values does not get more.
const MOST: usize = 700;
/// Keys of the maps are smaller.
const KEYS: u32 = 1000;

/// What an operation does with its collection.
#[derive(Clone, Copy)]
enum Kind {
    Add,
    Remove,
    Look,
    Rare,
}

fn kind(random: &mut Rng, number: u64, length: usize) -> Kind {
    let growing = (number / SEASON).is_multiple_of(2);
    let adds = if growing { 550 } else { 250 };
    match random.u32(..1000) {
        0..4 => Kind::Rare,
        roll if roll < adds && length < MOST => Kind::Add,
        roll if roll < 800 => Kind::Remove,
        _ => Kind::Look,
    }
}

/// A number that stands for a value.
fn digest(value: &impl Hash) -> u64 {
    let mut hasher = hasher();
    value.hash(&mut hasher);
    hasher.finish()
}

fn hasher() -> FxHasher {
    FxHasher::with_seed(1)
}

/// A name of which few are so long that they differ in more than a byte.
fn word(random: &mut Rng) -> alloc::string::String {
    alloc::format!("word {}", random.u32(..KEYS))
}

/// An operation on one kind of collections. The same text is compiled for both, so that they are
/// asked for the same things; only the standard library says what must come of it.
macro_rules! operation {
    ($(#[$doc:meta])* $name:ident [$($stay:lifetime)?] $content:ty, $make:ty) => {
        $(#[$doc])*
        pub fn $name$(<$stay>)?(content: &mut $content, number: u64, make: $make) -> u64 {
            let mut random = Rng::with_seed(SEED ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let random = &mut random;
            let mut answer = hasher();
            let out = &mut answer;
            match random.u8(..5) {
                0 => {
                    let numbers = &mut content.numbers;
                    let at = random.usize(..=numbers.len());
                    match (kind(random, number, numbers.len()), random.u8(..4)) {
                        (Kind::Add, 0) => numbers.insert(at, random.u64(..)),
                        (Kind::Add, 1) => {
                            let more = [random.u64(..), number, random.u64(..)];
                            numbers.extend_from_slice(&more);
                        }
                        (Kind::Add, _) => numbers.push(random.u64(..)),
                        (Kind::Remove, 0) if at < numbers.len() => numbers.remove(at).hash(out),
                        (Kind::Remove, 1) if at < numbers.len() => {
                            numbers.swap_remove(at).hash(out)
                        }
                        (Kind::Remove, 2) => {
                            numbers.truncate(numbers.len().saturating_sub(random.usize(..8)))
                        }
                        (Kind::Remove, _) => numbers.pop().hash(out),
                        (Kind::Look, 0) => (numbers.first(), numbers.last()).hash(out),
                        (Kind::Look, 1) => {
                            if let Some(value) = numbers.get_mut(at) {
                                *value ^= number;
                                value.hash(out);
                            }
                        }
                        (Kind::Look, 2) => {
                            numbers[at..].iter().take(20).for_each(|value| value.hash(out))
                        }
                        (Kind::Look, _) => numbers.get(at).hash(out),
                        (Kind::Rare, 0) => numbers.clear(),
                        (Kind::Rare, 1) => numbers.retain(|value| value % 3 != 0),
                        (Kind::Rare, 2) => numbers.sort_unstable(),
                        (Kind::Rare, _) => numbers.reserve(300),
                    }
                    numbers.len().hash(out);
                }
                1 => {
                    let string = &mut content.text;
                    match (kind(random, number, string.len()), random.u8(..3)) {
                        (Kind::Add, 0) => string.push('ü'),
                        (Kind::Add, _) => string.push_str(&text(random)),
                        (Kind::Remove, 0) => {
                            let mut length = string.len() - random.usize(..=string.len().min(20));
                            while !string.is_char_boundary(length) {
                                length -= 1;
                            }
                            string.truncate(length);
                        }
                        (Kind::Remove, _) => string.pop().hash(out),
                        (Kind::Look, 0) => string.contains("中a").hash(out),
                        (Kind::Look, 1) => string.as_str().hash(out),
                        (Kind::Look, _) => string.chars().rev().take(20).for_each(|c| c.hash(out)),
                        (Kind::Rare, 0) => string.clear(),
                        (Kind::Rare, _) => string.make_ascii_uppercase(),
                    }
                    string.len().hash(out);
                }
                2 => {
                    let words = &mut content.words;
                    let key = word(random);
                    match (kind(random, number, words.len()), random.u8(..4)) {
                        (Kind::Add, 0) => {
                            let value = Plain::random(random);
                            let (one, other) = (make.item(Plain::Number(number)), make.item(value));
                            let entry = words.entry(make.text(&key)).and_modify(|old| {
                                old.hash(out);
                                *old = one;
                            });
                            entry.or_insert_with(|| other);
                        }
                        (Kind::Add, _) => {
                            let value = make.item(Plain::random(random));
                            words.insert(make.text(&key), value).hash(out);
                        }
                        (Kind::Remove, 0) => words.remove_entry(key.as_str()).hash(out),
                        (Kind::Remove, _) => words.remove(key.as_str()).hash(out),
                        (Kind::Look, 0) => words.contains_key(key.as_str()).hash(out),
                        (Kind::Look, 1) => words.get_key_value(key.as_str()).hash(out),
                        (Kind::Look, 2) => {
                            if let Some(value) = words.get_mut(key.as_str()) {
                                *value = make.item(Plain::random(random));
                            }
                        }
                        (Kind::Look, _) => words.get(key.as_str()).hash(out),
                        (Kind::Rare, 0) => words.clear(),
                        (Kind::Rare, 1) => words.retain(|key, _| digest(key) % 4 != 0),
                        (Kind::Rare, 2) => words
                            .values_mut()
                            .filter(|value| digest(&**value) % 4 == 0)
                            .for_each(|value| *value = make.item(Plain::Number(number))),
                        // In whatever order they are.
                        (Kind::Rare, _) => {
                            let digests = words.iter().map(|entry| digest(&entry));
                            digests.fold(0u64, u64::wrapping_add).hash(out);
                        }
                    }
                    words.len().hash(out);
                }
                3 => {
                    let ordered = &mut content.ordered;
                    let key = random.u32(..KEYS);
                    match (kind(random, number, ordered.len()), random.u8(..6)) {
                        (Kind::Add, _) => {
                            let value = make.item(Plain::random(random));
                            ordered.insert(key, value).hash(out);
                        }
                        (Kind::Remove, 0) => ordered.pop_first().hash(out),
                        (Kind::Remove, 1) => ordered.pop_last().hash(out),
                        (Kind::Remove, 2) => ordered.remove_entry(&key).hash(out),
                        (Kind::Remove, _) => ordered.remove(&key).hash(out),
                        (Kind::Look, 0) => ordered.get(&key).hash(out),
                        (Kind::Look, 1) => {
                            (ordered.first_key_value(), ordered.last_key_value()).hash(out);
                            ordered.contains_key(&key).hash(out);
                        }
                        (Kind::Look, 2) => {
                            if let Some(value) = ordered.get_mut(&key) {
                                *value = make.item(Plain::random(random));
                            }
                        }
                        (Kind::Look, 3) => {
                            ordered.range(..=key).rev().take(20).for_each(|e| e.hash(out))
                        }
                        (Kind::Look, _) => {
                            ordered.range(key..key + 30).for_each(|entry| entry.hash(out))
                        }
                        (Kind::Rare, 0) => ordered.clear(),
                        (Kind::Rare, 1..=2) => ordered.retain(|key, _| key % 4 != 0),
                        (Kind::Rare, 3) => ordered
                            .iter_mut()
                            .filter(|(key, _)| *key % 8 == 0)
                            .for_each(|(_, value)| *value = make.item(Plain::Number(number))),
                        (Kind::Rare, _) => ordered.iter().for_each(|entry| entry.hash(out)),
                    }
                    ordered.len().hash(out);
                }
                _ => {
                    let queue = &mut content.queue;
                    match (kind(random, number, queue.len()), random.u8(..3)) {
                        (Kind::Add, 0) => queue.push_front(make.item(Plain::random(random))),
                        (Kind::Add, 1) => queue.push_back(make.item(Plain::random(random))),
                        (Kind::Add, _) => {
                            let mut more = make.list();
                            for _ in 0..random.u8(..4) {
                                more.push_back(make.item(Plain::random(random)));
                            }
                            queue.append(&mut more);
                            more.is_empty().hash(out);
                        }
                        (Kind::Remove, 0) => queue.pop_front().hash(out),
                        (Kind::Remove, 1) => queue.pop_back().hash(out),
                        (Kind::Remove, _) => {
                            for _ in 0..random.u8(..3) {
                                queue.pop_front().hash(out);
                            }
                        }
                        (Kind::Look, 0) => (queue.front(), queue.back()).hash(out),
                        (Kind::Look, 1) => {
                            if let Some(value) = queue.back_mut() {
                                *value = make.item(Plain::random(random));
                            }
                        }
                        (Kind::Look, _) => {
                            queue.iter().rev().take(20).for_each(|value| value.hash(out))
                        }
                        (Kind::Rare, 0) => queue.clear(),
                        (Kind::Rare, 1) => queue.retain(|value| digest(&*value) % 3 != 0),
                        (Kind::Rare, _) => queue
                            .iter_mut()
                            .step_by(7)
                            .for_each(|value| *value = make.item(Plain::Number(number))),
                    }
                    queue.len().hash(out);
                }
            }
            answer.finish()
        }
    };
}

operation! {
    /// Does an operation on the collections of the VAS, and answers with a digest of all results.
    on_content ['v] Content<'v>, Heap<'v>
}

operation! {
    /// Does it on those of the standard library.
    on_model [] Model, Private
}
