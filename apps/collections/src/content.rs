// SPDX-License-Identifier: MIT OR Apache-2.0

//! What lies in the VAS, and the same in the standard library's collections.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use fastrand::Rng;
use storage::{Heap, Store, VasBTreeMap, VasBox, VasHashMap, VasList, VasString, VasVec};

use crate::{WORKERS, operation};

/// All that is in the VAS.
#[derive(Store)]
pub struct Content<'v> {
    /// How many operations are done.
    pub done: u64,
    /// How many of them each worker did.
    pub shares: [u64; WORKERS as usize],
    /// How often one worker went on where another had been.
    pub turns: u64,
    /// Who was in last.
    pub last: u64,
    /// A vector.
    pub numbers: VasVec<'v, u64>,
    /// A string.
    pub text: VasString<'v>,
    /// A hash map.
    pub words: VasHashMap<'v, VasString<'v>, Item<'v>>,
    /// An ordered map.
    pub ordered: VasBTreeMap<'v, u32, Item<'v>>,
    /// A list.
    pub queue: VasList<'v, Item<'v>>,
}

/// Values of several shapes.
#[derive(Store, Debug, Hash)]
pub enum Item<'v> {
    /// Without a pointer.
    Number(u64),
    /// With one.
    Text(VasString<'v>),
    /// With one behind another.
    Boxed(VasBox<'v, (u64, VasString<'v>)>),
    /// Several numbers.
    Many(VasVec<'v, u16>),
    /// A map in a map.
    Map(VasBTreeMap<'v, u8, u64>),
}

/// The same in private memory.
#[derive(Default)]
pub struct Model {
    /// How many operations are done.
    pub done: u64,
    /// A vector.
    pub numbers: Vec<u64>,
    /// A string.
    pub text: String,
    /// For the hash map, which the standard library has only where there is a system.
    pub words: BTreeMap<String, Plain>,
    /// An ordered map.
    pub ordered: BTreeMap<u32, Plain>,
    /// For the list. It can do more than the standard library's list.
    pub queue: VecDeque<Plain>,
}

/// As [`Item`], with the same variants in the same order: they hash alike.
#[derive(Debug, Hash)]
pub enum Plain {
    /// Without a pointer.
    Number(u64),
    /// With one.
    Text(String),
    /// With one behind another.
    Boxed(Box<(u64, String)>),
    /// Several numbers.
    Many(Vec<u16>),
    /// A map in a map.
    Map(BTreeMap<u8, u64>),
}

impl Plain {
    /// Some value.
    pub fn random(random: &mut Rng) -> Self {
        match random.u8(..8) {
            0..=2 => Plain::Number(random.u64(..)),
            3 => Plain::Text(text(random)),
            4 => Plain::Boxed(Box::new((random.u64(..), text(random)))),
            5..=6 => Plain::Many((0..random.u16(..12)).collect()),
            _ => Plain::Map(
                (0..random.u8(..20))
                    .map(|key| (key, random.u64(..)))
                    .collect(),
            ),
        }
    }
}

/// Some text, of letters that take one byte and more.
pub fn text(random: &mut Rng) -> String {
    const LETTERS: [char; 8] = ['a', 'b', 'z', ' ', 'ä', 'ß', '中', '🦀'];
    let length = random.usize(..16);
    let letter = |_| LETTERS[random.usize(..LETTERS.len())];
    (0..length).map(letter).collect()
}

/// Where values are made.
pub trait Make: Copy {
    /// A string there.
    type Text;
    /// A value there.
    type Item;
    /// A list there.
    type List;
    /// Makes a string.
    fn text(self, text: &str) -> Self::Text;
    /// Makes a value.
    fn item(self, value: Plain) -> Self::Item;
    /// Makes a list.
    fn list(self) -> Self::List;
}

/// The private memory.
#[derive(Clone, Copy)]
pub struct Private;

impl Make for Private {
    type Text = String;
    type Item = Plain;
    type List = VecDeque<Plain>;

    fn text(self, text: &str) -> String {
        text.into()
    }

    fn item(self, value: Plain) -> Plain {
        value
    }

    fn list(self) -> VecDeque<Plain> {
        VecDeque::new()
    }
}

impl<'v> Make for Heap<'v> {
    type Text = VasString<'v>;
    type Item = Item<'v>;
    type List = VasList<'v, Item<'v>>;

    fn text(self, text: &str) -> VasString<'v> {
        VasString::from_str_in(text, self)
    }

    fn item(self, value: Plain) -> Item<'v> {
        Item::of(&value, self)
    }

    fn list(self) -> VasList<'v, Item<'v>> {
        VasList::new_in(self)
    }
}

impl<'v> Item<'v> {
    fn of(value: &Plain, heap: Heap<'v>) -> Self {
        match value {
            Plain::Number(number) => Item::Number(*number),
            Plain::Text(text) => Item::Text(heap.text(text)),
            Plain::Boxed(both) => {
                let (number, text) = &**both;
                Item::Boxed(VasBox::new_in((*number, heap.text(text)), heap))
            }
            Plain::Many(numbers) => {
                let mut many = VasVec::new_in(heap);
                many.extend_from_slice(numbers);
                Item::Many(many)
            }
            Plain::Map(map) => {
                let mut copy = VasBTreeMap::new_in(heap);
                for (&key, &value) in map {
                    copy.insert(key, value);
                }
                Item::Map(copy)
            }
        }
    }

    fn to_plain(&self) -> Plain {
        match self {
            Item::Number(number) => Plain::Number(*number),
            Item::Text(text) => Plain::Text(text.as_str().into()),
            Item::Boxed(both) => Plain::Boxed(Box::new((both.0, both.1.as_str().into()))),
            Item::Many(numbers) => Plain::Many(numbers.to_vec()),
            Item::Map(map) => Plain::Map(map.iter().map(|(&key, &value)| (key, value)).collect()),
        }
    }
}

impl PartialEq<Plain> for Item<'_> {
    fn eq(&self, other: &Plain) -> bool {
        match (self, other) {
            (Item::Number(one), Plain::Number(other)) => one == other,
            (Item::Text(one), Plain::Text(other)) => one.as_str() == other,
            (Item::Boxed(one), Plain::Boxed(other)) => {
                one.0 == other.0 && one.1.as_str() == other.1
            }
            (Item::Many(one), Plain::Many(other)) => one.as_slice() == other.as_slice(),
            (Item::Map(one), Plain::Map(other)) => one.iter().eq(other),
            _ => false,
        }
    }
}

/// Nothing yet.
pub fn empty(heap: Heap<'_>) -> Content<'_> {
    Content::of(&Model::default(), heap)
}

impl<'v> Content<'v> {
    /// What a model has. Who did it is not in it.
    pub fn of(model: &Model, heap: Heap<'v>) -> Self {
        let mut content = Content {
            done: model.done,
            shares: [0; WORKERS as usize],
            turns: 0,
            last: 0,
            numbers: VasVec::new_in(heap),
            text: heap.text(&model.text),
            words: VasHashMap::new_in(heap),
            ordered: VasBTreeMap::new_in(heap),
            queue: VasList::new_in(heap),
        };
        content.numbers.extend_from_slice(&model.numbers);
        for (word, item) in &model.words {
            content.words.insert(heap.text(word), Item::of(item, heap));
        }
        for (&key, item) in &model.ordered {
            content.ordered.insert(key, Item::of(item, heap));
        }
        for item in &model.queue {
            content.queue.push_back(Item::of(item, heap));
        }
        content
    }

    /// Walks through everything and says what is not as in the model.
    pub fn difference(&self, model: &Model) -> Option<&'static str> {
        let same = [
            ("count of operations", self.done == model.done),
            ("vector", self.numbers.as_slice() == model.numbers),
            ("string", self.text.as_str() == model.text),
            (
                "hash map",
                self.words.len() == model.words.len()
                    && self.words.iter().count() == model.words.len()
                    && self.words.iter().all(|(word, item)| {
                        let other = model.words.get(word.as_str());
                        other.is_some_and(|other| item == other)
                    })
                    && model
                        .words
                        .keys()
                        .all(|word| self.words.contains_key(word.as_str())),
            ),
            (
                "ordered map",
                self.ordered.len() == model.ordered.len()
                    && self.ordered.keys().eq(model.ordered.keys())
                    && self.ordered.keys().rev().eq(model.ordered.keys().rev())
                    && self.ordered.values().eq_by_each(model.ordered.values()),
            ),
            (
                "list",
                self.queue.len() == model.queue.len()
                    && self.queue.iter().eq_by_each(model.queue.iter())
                    && self.queue.iter().rev().eq_by_each(model.queue.iter().rev()),
            ),
        ];
        let different = same.iter().find(|(_, same)| !same);
        different.map(|&(what, _)| what)
    }
}

/// Compares references to values of two types, one by one.
trait EqByEach<'m, T: 'm>: Iterator<Item = &'m T> + Sized {
    fn eq_by_each<'o, O: 'o>(self, other: impl Iterator<Item = &'o O>) -> bool
    where
        T: PartialEq<O>,
    {
        self.eq(other)
    }
}

impl<'m, T: 'm, I: Iterator<Item = &'m T>> EqByEach<'m, T> for I {}

impl Model {
    /// What is in the VAS now.
    pub fn of(content: &Content<'_>) -> Self {
        let words = content.words.iter();
        let ordered = content.ordered.iter();
        Model {
            done: content.done,
            numbers: content.numbers.to_vec(),
            text: content.text.as_str().into(),
            words: words
                .map(|(word, item)| (word.as_str().into(), item.to_plain()))
                .collect(),
            ordered: ordered.map(|(&key, item)| (key, item.to_plain())).collect(),
            queue: content.queue.iter().map(Item::to_plain).collect(),
        }
    }

    /// Does the next operation, and answers what came of it.
    pub fn step(&mut self) -> u64 {
        let answer = operation::on_model(self, self.done, Private);
        self.done += 1;
        answer
    }

    /// Does what others have done meanwhile.
    ///
    /// # Panics
    /// If it has done more than they.
    pub fn catch_up(&mut self, done: u64) {
        assert!(self.done <= done, "operations were lost");
        while self.done < done {
            self.step();
        }
    }
}
