// SPDX-License-Identifier: MIT OR Apache-2.0

//! The words of a text in alphabetical slices.
//!
//! A process's private heap is small and a text may have any number of different words.
//! Who needs a map of all words goes through the text once for each slice, and holds only the
//! words of that slice.

use alloc::collections::BTreeMap;

use crate::index::Counts;
use crate::words::{Word, words};

/// A map of those words that lie between two words.
#[derive(Debug)]
pub struct Slice<'a, V> {
    limit: usize,
    after: Option<Word<'a>>,
    before: Option<Word<'a>>,
    map: BTreeMap<Word<'a>, V>,
}

impl<'a, V: Default> Slice<'a, V> {
    /// The first slice, of at most `limit` words, at least 1.
    pub fn first(limit: usize) -> Self {
        Slice {
            limit: limit.max(1),
            after: None,
            before: None,
            map: BTreeMap::new(),
        }
    }

    /// The slice behind this one, once this one has seen the whole text.
    pub fn following(mut self) -> Option<Self> {
        self.before?;
        let after = self.map.pop_last().map(|(word, _)| word);
        Some(Slice {
            after,
            ..Slice::first(self.limit)
        })
    }

    /// Whether the word belongs to this slice.
    pub fn covers(&self, word: Word<'_>) -> bool {
        self.after.is_none_or(|after| word > after)
            && self.before.is_none_or(|before| word < before)
    }

    /// The value of a word, if the slice covers it. When the slice is full, its last word is
    /// left to the next slice.
    pub fn value(&mut self, word: Word<'a>) -> Option<&mut V> {
        if !self.covers(word) {
            return None;
        }
        if self.map.len() >= self.limit && !self.map.contains_key(&word) {
            let last = *self.map.last_key_value()?.0;
            self.before = Some(last.max(word));
            if word > last {
                return None;
            }
            self.map.pop_last();
        }
        Some(self.map.entry(word).or_default())
    }

    /// The map.
    pub fn map(&mut self) -> &mut BTreeMap<Word<'a>, V> {
        &mut self.map
    }
}

/// Counts the words of a text, keeping references to at most `limit` of them at a time.
pub fn count(text: &[u8], limit: usize) -> Counts {
    let mut counts = Counts::default();
    let mut next = Some(Slice::<()>::first(limit));
    while let Some(mut slice) = next {
        counts.words = 0;
        for (_, word) in words(text) {
            counts.words += 1;
            slice.value(word);
        }
        counts.distinct += slice.map().len();
        counts.distinct_bytes += slice.map().keys().map(|word| word.bytes()).sum::<usize>();
        next = slice.following();
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn words_are_counted_alike_in_slices_of_any_size(
            text in "[a-cA-C]{0,3}( [a-cA-C]{0,3}){0,60}", limit in 1usize..9,
        ) {
            let text = text.as_bytes();
            let all: Vec<_> = words(text).map(|(_, word)| word).collect();
            let distinct: BTreeSet<_> = all.iter().copied().collect();
            let expected = Counts {
                words: all.len(),
                distinct: distinct.len(),
                distinct_bytes: distinct.iter().map(|word| word.bytes()).sum(),
            };
            prop_assert_eq!(count(text, limit), expected);
        }

        #[test]
        fn every_word_lies_in_exactly_one_slice_with_all_its_occurrences(
            text in "[a-c]{0,3}( [a-c]{0,3}){0,60}", limit in 1usize..9,
        ) {
            let text = text.as_bytes();
            let mut sliced = Vec::new();
            let mut next = Some(Slice::<usize>::first(limit));
            while let Some(mut slice) = next {
                for (_, word) in words(text) {
                    if let Some(count) = slice.value(word) {
                        *count += 1;
                    }
                }
                prop_assert!(slice.map().len() <= limit);
                sliced.extend(slice.map().iter().map(|(word, count)| (*word, *count)));
                next = slice.following();
            }
            let mut whole = BTreeMap::new();
            for (_, word) in words(text) {
                *whole.entry(word).or_insert(0) += 1;
            }
            prop_assert_eq!(sliced, whole.into_iter().collect::<Vec<_>>());
        }
    }
}
