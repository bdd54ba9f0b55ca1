// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares an index in a segment with one that is built the ordinary way.
//!
//! The ordinary index is a `BTreeMap` from word to vector of positions in private memory. If
//! the text has more words than that may hold, it is built and compared in parts.

use alloc::vec::Vec;
use core::fmt;

use crate::index::{Error, Index, Positions};
use crate::slice::Slice;
use crate::words::{Word, words};

/// How much the ordinary index may hold at a time.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Different words.
    pub words: usize,
    /// Positions.
    pub positions: usize,
}

/// The first difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a> {
    /// The index cannot be followed.
    Error(Error),
    /// A number in the header is wrong.
    Header {
        /// Which.
        what: &'static str,
        /// The right number.
        right: u64,
        /// The number in the header.
        found: u64,
    },
    /// The index lacks a word.
    Missing(Word<'a>),
    /// The index has a word that the text has not.
    Extra(Word<'a>),
    /// The index has a word twice.
    Repeated,
    /// The index has another position for a word, or none, or one too many.
    Position {
        /// The word.
        word: Word<'a>,
        /// The right position.
        right: Option<u64>,
        /// The position in the index.
        found: Option<u64>,
    },
}

impl From<Error> for Difference<'_> {
    fn from(error: Error) -> Self {
        Difference::Error(error)
    }
}

impl fmt::Display for Difference<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Error(error) => error.fmt(out),
            Difference::Header { what, right, found } => {
                write!(out, "the index says {found} {what}, the text has {right}")
            }
            Difference::Missing(word) => write!(out, "the index lacks {word}"),
            Difference::Extra(word) => {
                write!(out, "the index has {word}, which the text has not")
            }
            Difference::Repeated => write!(out, "the index has a word twice"),
            Difference::Position { word, right, found } => {
                let at = |position: &Option<u64>, out: &mut fmt::Formatter<'_>| match position {
                    Some(position) => write!(out, "at byte {position}"),
                    None => write!(out, "no more"),
                };
                write!(out, "the index has {word} ")?;
                at(found, out)?;
                write!(out, ", the text ")?;
                at(right, out)
            }
        }
    }
}

impl core::error::Error for Difference<'_> {}

/// What the ordinary index knows of a word.
#[derive(Default)]
struct Ordinary<'a> {
    /// Positions that have not been compared yet.
    positions: Vec<u64>,
    /// What follows in the index behind those that have.
    theirs: Option<Positions<'a>>,
}

/// Checks that `index` has every word of `text`, every position of each, and no more.
///
/// # Errors
/// The first difference.
pub fn compare<'a>(
    index: &Index<'a>,
    text: &'a [u8],
    limits: Limits,
) -> Result<(), Difference<'a>> {
    let mut total = 0;
    let mut distinct = 0;
    let mut next = Some(Slice::<Ordinary<'a>>::first(limits.words));
    while let Some(mut slice) = next {
        total = 0;
        let mut held = 0;
        for (offset, word) in words(text) {
            total += 1;
            let Some(ordinary) = slice.value(word) else {
                continue;
            };
            ordinary.positions.push(offset as u64);
            held += 1;
            if held >= limits.positions {
                compare_positions(index, &mut slice)?;
                held = 0;
            }
        }
        compare_positions(index, &mut slice)?;
        compare_ends(index, &mut slice)?;
        distinct += slice.map().len() as u64;
        next = slice.following();
    }
    compare_number("words", total, index.words())?;
    compare_number("different words", distinct, index.distinct())
}

/// Compares the positions that `slice` holds, and empties it of them.
fn compare_positions<'a>(
    index: &Index<'a>,
    slice: &mut Slice<'a, Ordinary<'a>>,
) -> Result<(), Difference<'a>> {
    for (&word, ordinary) in slice.map() {
        let positions = core::mem::take(&mut ordinary.positions);
        if ordinary.theirs.is_none() {
            let found = index.find(word)?.ok_or(Difference::Missing(word))?;
            ordinary.theirs = Some(found.positions());
        }
        for right in positions {
            let found = ordinary.theirs.as_mut().and_then(Iterator::next);
            compare_position(word, Some(right), found.transpose()?)?;
        }
    }
    Ok(())
}

/// Checks that the index has no more positions and no more words.
fn compare_ends<'a>(
    index: &Index<'a>,
    slice: &mut Slice<'a, Ordinary<'a>>,
) -> Result<(), Difference<'a>> {
    for (&word, ordinary) in slice.map() {
        let found = ordinary.theirs.as_mut().and_then(Iterator::next);
        compare_position(word, None, found.transpose()?)?;
    }
    let mut covered = 0;
    for found in index.entries() {
        let word = found?.word();
        if slice.covers(word) {
            covered += 1;
            if !slice.map().contains_key(&word) {
                return Err(Difference::Extra(word));
            }
        }
    }
    if covered > slice.map().len() {
        return Err(Difference::Repeated);
    }
    Ok(())
}

fn compare_position(
    word: Word<'_>,
    right: Option<u64>,
    found: Option<u64>,
) -> Result<(), Difference<'_>> {
    if right == found {
        Ok(())
    } else {
        Err(Difference::Position { word, right, found })
    }
}

fn compare_number(what: &'static str, right: u64, found: u64) -> Result<(), Difference<'static>> {
    if right == found {
        Ok(())
    } else {
        Err(Difference::Header { what, right, found })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::build;
    use crate::memory::tests::with_arena;
    use crate::slice::count;

    const PLENTY: Limits = Limits {
        words: 1000,
        positions: 1000,
    };

    /// The difference between the index of one text and another text.
    fn difference(indexed: &[u8], text: &[u8], limits: Limits) -> Option<String> {
        let counts = count(indexed, 1000);
        with_arena(counts.index_bytes(), |arena| {
            build(arena, &counts, indexed).unwrap();
            let index = Index::open(arena.region()).unwrap();
            compare(&index, text, limits)
                .err()
                .map(|difference| difference.to_string())
        })
    }

    #[test]
    fn the_index_of_another_text_is_told_apart() {
        let same: [(&str, &str); 3] = [("", " .\0"), ("a b", "A-B"), ("a b a", "a b a\n")];
        for (indexed, text) in same {
            assert_eq!(
                difference(indexed.as_bytes(), text.as_bytes(), PLENTY),
                None
            );
        }
        for (indexed, text, expected) in [
            ("a", "a b", "the index lacks \"b\""),
            ("a b", "a", "the index has \"b\", which the text has not"),
            ("", "a", "the index lacks \"a\""),
            ("a", "", "the index has \"a\", which the text has not"),
            (
                "a  a",
                "a a",
                "the index has \"a\" at byte 3, the text at byte 2",
            ),
            (
                "a a",
                "a",
                "the index has \"a\" at byte 2, the text no more",
            ),
            (
                "a",
                "a a",
                "the index has \"a\" no more, the text at byte 2",
            ),
        ] {
            let found = difference(indexed.as_bytes(), text.as_bytes(), PLENTY);
            assert_eq!(found.as_deref(), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn an_index_is_right_exactly_if_its_text_has_the_same_words_in_the_same_places(
            indexed in "[abA]{0,2}( [abA]{0,2}){0,20}",
            other in proptest::option::of((0usize..40, "[a ]")),
            (words_held, positions) in (1usize..5, 1usize..5),
        ) {
            let mut text = indexed.clone();
            if let Some((at, byte)) = other.filter(|(at, _)| *at < indexed.len()) {
                text.replace_range(at..at + 1, &byte);
            }
            let same = words(indexed.as_bytes()).eq(words(text.as_bytes()));
            for limits in [PLENTY, Limits { words: words_held, positions }] {
                let found = difference(indexed.as_bytes(), text.as_bytes(), limits);
                prop_assert_eq!(found.is_none(), same, "{:?}", found);
            }
        }
    }
}
