// SPDX-License-Identifier: MIT OR Apache-2.0

//! The index: a hash table of words, each with a list of its positions.
//!
//! Everything lies in one segment and is linked by raw pointers, which are good in any process
//! that has attached the segment, since it is at the same addresses everywhere. Nothing is
//! written out or read in.

use core::fmt;
use core::ptr::null_mut;

use crate::memory::{self, Arena, Region};
use crate::words::{Word, words};

/// In the header of an index that is complete.
const COMPLETE: u64 = u64::from_le_bytes(*b"complete");

/// What the segment begins with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    state: u64,
    /// Words of the text.
    words: u64,
    /// Of those, different ones: the entries of the table.
    distinct: u64,
    /// How many buckets the table has: at least 1.
    buckets: u64,
    /// The first entry of each bucket.
    table: *mut *mut Entry,
}

/// A word of the table.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    /// The next in the same bucket, or null.
    next: *mut Entry,
    /// The word, in small letters.
    text: *mut u8,
    /// Its length in bytes.
    bytes: u64,
    /// How often it occurs.
    count: u64,
    first: *mut Position,
    last: *mut Position,
}

/// An occurrence of a word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Position {
    /// The next of the same word, or null.
    next: *mut Position,
    /// Where the word begins, in bytes from the beginning of the text.
    offset: u64,
}

/// Why an index cannot be built or used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no index, or it was never completed.
    Incomplete,
    /// A pointer of the index is wrong, or the segment is too small for it.
    Memory(memory::Error),
    /// The index contradicts itself.
    Damaged(&'static str),
}

impl From<memory::Error> for Error {
    fn from(error: memory::Error) -> Self {
        Error::Memory(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Incomplete => write!(out, "there is no complete index"),
            Error::Memory(error) => write!(out, "the index: {error}"),
            Error::Damaged(what) => write!(out, "the index is damaged: {what}"),
        }
    }
}

impl core::error::Error for Error {}

/// What must be known of a text to say how large its index is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Its words.
    pub words: usize,
    /// Of those, different ones.
    pub distinct: usize,
    /// Bytes of the different words.
    pub distinct_bytes: usize,
}

impl Counts {
    fn buckets(&self) -> usize {
        self.distinct.max(1)
    }

    /// The size of the index in bytes.
    pub fn index_bytes(&self) -> usize {
        size_of::<Header>()
            + self.buckets() * size_of::<*mut Entry>()
            + self.distinct * size_of::<Entry>()
            + self.words * size_of::<Position>()
            + self.distinct_bytes
    }
}

/// Builds the index of `text`.
///
/// # Errors
/// [`Error::Memory`] if the arena is smaller than [`Counts::index_bytes`] says.
pub fn build(arena: &mut Arena<'_>, counts: &Counts, text: &[u8]) -> Result<(), Error> {
    let buckets = counts.buckets();
    let mut header = Header {
        state: 0,
        words: counts.words as u64,
        distinct: counts.distinct as u64,
        buckets: buckets as u64,
        table: null_mut(),
    };
    let header_at = arena.put(header, 1)?;
    header.table = arena.put(null_mut(), buckets)?;
    for (offset, word) in words(text) {
        let occurrence = Position {
            next: null_mut(),
            offset: offset as u64,
        };
        let position = arena.put(occurrence, 1)?;
        let bucket = header.table.wrapping_add(bucket(word, buckets));
        let head = *arena.get_mut(bucket)?;
        if let Some(entry) = find(arena.region(), head, counts.distinct, word)? {
            let entry = arena.get_mut(entry)?;
            entry.count += 1;
            let last = core::mem::replace(&mut entry.last, position);
            arena.get_mut(last)?.next = position;
        } else {
            let text = arena.put_bytes(word.folded())?;
            let entry = Entry {
                next: head,
                text,
                bytes: word.bytes() as u64,
                count: 1,
                first: position,
                last: position,
            };
            *arena.get_mut(bucket)? = arena.put(entry, 1)?;
        }
    }
    header.state = COMPLETE;
    *arena.get_mut(header_at)? = header;
    Ok(())
}

fn bucket(word: Word<'_>, buckets: usize) -> usize {
    (word.hash() % buckets as u64) as usize
}

/// Looks a word up among the at most `limit` entries from `head` on.
fn find(
    region: Region<'_>,
    head: *mut Entry,
    limit: usize,
    word: Word<'_>,
) -> Result<Option<*mut Entry>, Error> {
    let mut at = head;
    for _ in 0..limit {
        if at.is_null() {
            return Ok(None);
        }
        let entry = region.get(at)?;
        if entry.bytes == word.bytes() as u64 {
            let text = region.slice(entry.text, word.bytes())?;
            if text.iter().copied().eq(word.folded()) {
                return Ok(Some(at));
            }
        }
        at = entry.next;
    }
    if at.is_null() {
        Ok(None)
    } else {
        Err(ENDLESS_BUCKET)
    }
}

const ENDLESS_BUCKET: Error = Error::Damaged("it has more words than its header says");

/// An index that another program has built.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    region: Region<'a>,
    header: &'a Header,
    table: &'a [*mut Entry],
}

impl<'a> Index<'a> {
    /// The index at the beginning of `region`.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn open(region: Region<'a>) -> Result<Self, Error> {
        let header: &Header = region.get(region.base())?;
        if header.state != COMPLETE {
            return Err(Error::Incomplete);
        }
        let table = region.slice(header.table, header.buckets as usize)?;
        if table.is_empty() {
            return Err(Error::Damaged("its table is empty"));
        }
        Ok(Index {
            region,
            header,
            table,
        })
    }

    /// Words of the text.
    pub fn words(&self) -> u64 {
        self.header.words
    }

    /// Different words of the text.
    pub fn distinct(&self) -> u64 {
        self.header.distinct
    }

    /// Looks a word up.
    ///
    /// # Errors
    /// Says what is wrong with the index.
    pub fn find(&self, word: Word<'_>) -> Result<Option<Found<'a>>, Error> {
        let head = self.table[bucket(word, self.table.len())];
        find(self.region, head, self.header.distinct as usize, word)?
            .map(|at| self.found(at))
            .transpose()
    }

    /// Every word of the index, in no particular order. Stops behind the first error.
    pub fn entries(&self) -> impl Iterator<Item = Result<Found<'a>, Error>> {
        let index = *self;
        let mut buckets = index.table.iter();
        let mut at: *mut Entry = null_mut();
        let mut left = Some(index.header.distinct);
        core::iter::from_fn(move || {
            while at.is_null() {
                at = *buckets.next()?;
            }
            left = left?.checked_sub(1);
            let found = match left {
                Some(_) => index.found(at),
                None => Err(ENDLESS_BUCKET),
            };
            match &found {
                Ok(found) => at = found.entry.next,
                Err(_) => left = None,
            }
            Some(found)
        })
    }

    /// The `N` words that occur most often, the most frequent first; fewer if the index has
    /// fewer.
    ///
    /// # Errors
    /// Says what is wrong with the index.
    pub fn most_frequent<const N: usize>(&self) -> Result<[Option<Found<'a>>; N], Error> {
        let mut best: [Option<Found<'a>>; N] = [None; N];
        for found in self.entries() {
            let mut candidate = Some(found?);
            for place in &mut best {
                let rank = |found: &Option<Found<'a>>| {
                    found.map(|found| (found.count(), core::cmp::Reverse(found.word)))
                };
                if rank(&candidate) > rank(place) {
                    core::mem::swap(&mut candidate, place);
                }
            }
        }
        Ok(best)
    }

    /// A number in the index, which no reader may change: how often the most frequent word
    /// occurs, or the number of words if there are none.
    ///
    /// # Errors
    /// Says what is wrong with the index.
    pub fn forbidden(&self) -> Result<*mut u64, Error> {
        let [first] = self.most_frequent()?;
        let number = first.map_or(&raw const self.header.words, |found| {
            &raw const found.entry.count
        });
        Ok(number.cast_mut())
    }

    fn found(&self, at: *mut Entry) -> Result<Found<'a>, Error> {
        let entry = self.region.get(at)?;
        let text = self.region.slice(entry.text, entry.bytes as usize)?;
        Ok(Found {
            region: self.region,
            entry,
            word: Word::new(text),
        })
    }
}

/// A word that the index has.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    region: Region<'a>,
    entry: &'a Entry,
    word: Word<'a>,
}

impl<'a> Found<'a> {
    /// The word.
    pub fn word(&self) -> Word<'a> {
        self.word
    }

    /// How often it occurs.
    pub fn count(&self) -> u64 {
        self.entry.count
    }

    /// Where it occurs: offsets in the text in bytes. An error ends the list.
    pub fn positions(&self) -> Positions<'a> {
        Positions {
            region: self.region,
            at: self.entry.first,
            left: self.entry.count,
        }
    }
}

/// The positions of a word.
#[derive(Clone, Debug)]
pub struct Positions<'a> {
    region: Region<'a>,
    at: *mut Position,
    left: u64,
}

impl Iterator for Positions<'_> {
    type Item = Result<u64, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = core::mem::replace(&mut self.at, null_mut());
        match (self.left, at.is_null()) {
            (0, true) => return None,
            (0, false) => return Some(Err(Error::Damaged("a list is longer than its count"))),
            (_, true) => {
                self.left = 0;
                return Some(Err(Error::Damaged("a list is shorter than its count")));
            }
            _ => self.left -= 1,
        }
        match self.region.get(at) {
            Ok(position) => {
                self.at = position.next;
                Some(Ok(position.offset))
            }
            Err(error) => {
                self.left = 0;
                Some(Err(error.into()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::check::{Difference, Limits, compare};
    use crate::memory::tests::with_arena;
    use crate::slice::count;

    /// Builds the index of `text` in an arena of exactly the size that was counted.
    fn with_index<T>(text: &[u8], work: impl FnOnce(&mut Arena<'_>) -> T) -> T {
        let counts = count(text, 1000);
        with_arena(counts.index_bytes(), |arena| {
            build(arena, &counts, text).unwrap();
            work(arena)
        })
    }

    fn positions(index: &Index<'_>, word: &[u8]) -> Option<Vec<u64>> {
        let found = index.find(Word::new(word)).unwrap()?;
        Some(found.positions().collect::<Result<_, _>>().unwrap())
    }

    /// Where the entry of a word lies.
    fn entry(arena: &Arena<'_>, word: &[u8]) -> *mut Entry {
        let index = Index::open(arena.region()).unwrap();
        let found = index.find(Word::new(word)).unwrap().unwrap();
        (&raw const *found.entry).cast_mut()
    }

    fn outcome(arena: &Arena<'_>, word: &[u8]) -> Result<Vec<u64>, Error> {
        let index = Index::open(arena.region())?;
        let found = index.find(Word::new(word))?.unwrap();
        found.positions().collect()
    }

    #[test]
    fn words_are_found_whatever_their_case_and_absent_ones_are_not() {
        with_index(b"The cat, the hat.\r\nTHE END", |arena| {
            let index = Index::open(arena.region()).unwrap();
            assert_eq!((index.words(), index.distinct()), (6, 4));
            assert_eq!(positions(&index, b"tHe"), Some(vec![0, 9, 19]));
            assert_eq!(positions(&index, b"end"), Some(vec![23]));
            assert_eq!(positions(&index, b"ca"), None);
            assert_eq!(positions(&index, b""), None);
        });
    }

    #[test]
    fn a_text_without_words_has_an_empty_index() {
        for text in [&b""[..], b"\0\r\n -"] {
            with_index(text, |arena| {
                let index = Index::open(arena.region()).unwrap();
                assert_eq!((index.words(), index.distinct()), (0, 0));
                assert_eq!(positions(&index, b"a"), None);
                assert_eq!(index.entries().count(), 0);
                assert!(
                    index
                        .most_frequent::<2>()
                        .unwrap()
                        .iter()
                        .all(Option::is_none)
                );
                let words = index.forbidden().unwrap();
                assert_eq!(arena.region().get(words), Ok(&0));
            });
        }
    }

    #[test]
    fn one_huge_word_is_indexed() {
        let text = vec![b'X'; 1 << 20];
        with_index(&text, |arena| {
            let index = Index::open(arena.region()).unwrap();
            assert_eq!(positions(&index, &text), Some(vec![0]));
            assert_eq!(positions(&index, &text[1..]), None);
        });
    }

    #[test]
    fn the_most_frequent_words_come_first_and_equal_ones_in_alphabetical_order() {
        with_index(b"d c c b b a a a", |arena| {
            let index = Index::open(arena.region()).unwrap();
            let best = index.most_frequent::<5>().unwrap();
            let best = best.map(|found| found.map(|found| found.word().to_string()));
            let best: Vec<_> = best.iter().flatten().collect();
            assert_eq!(best, ["\"a\"", "\"b\"", "\"c\"", "\"d\""]);
            let count = index.forbidden().unwrap();
            assert_eq!(arena.region().get(count), Ok(&3));
        });
    }

    #[test]
    fn a_segment_that_is_a_byte_too_small_is_refused() {
        let text = b"some words, and some more";
        let counts = count(text, 1000);
        with_arena(counts.index_bytes() - 1, |arena| {
            let full = Error::Memory(memory::Error::Full);
            assert_eq!(build(arena, &counts, text), Err(full));
            let opened = Index::open(arena.region());
            assert_eq!(opened.map(|_| ()), Err(Error::Incomplete));
        });
    }

    #[test]
    fn memory_without_an_index_is_refused() {
        with_arena(4096, |arena| {
            let opened = Index::open(arena.region());
            assert_eq!(opened.map(|_| ()), Err(Error::Incomplete));
        });
        with_arena(size_of::<Header>() - 1, |arena| {
            let opened = Index::open(arena.region());
            assert!(matches!(opened, Err(Error::Memory(_))));
        });
    }

    #[test]
    fn a_wrong_pointer_is_an_error_and_is_not_followed() {
        let damages: [fn(&mut Entry); 4] = [
            |entry| entry.first = null_mut::<Position>().wrapping_add(1),
            |entry| entry.first = entry.first.wrapping_byte_add(1),
            |entry| entry.first = entry.first.wrapping_add(1 << 20),
            |entry| entry.text = entry.text.wrapping_add(1 << 20),
        ];
        for damage in damages {
            with_index(b"a b", |arena| {
                let entry = entry(arena, b"a");
                damage(arena.get_mut(entry).unwrap());
                let outcome = outcome(arena, b"a");
                assert!(matches!(
                    outcome,
                    Err(Error::Memory(memory::Error::Pointer { .. }))
                ));
            });
        }
    }

    #[test]
    fn a_list_that_does_not_end_at_its_count_is_an_error() {
        for (count, what) in [
            (1, "a list is longer than its count"),
            (3, "a list is shorter than its count"),
        ] {
            with_index(b"a a", |arena| {
                let entry = entry(arena, b"a");
                arena.get_mut(entry).unwrap().count = count;
                assert_eq!(outcome(arena, b"a"), Err(Error::Damaged(what)));
            });
        }
    }

    #[test]
    fn lists_that_run_in_circles_are_an_error() {
        with_index(b"a", |arena| {
            let entry = entry(arena, b"a");
            let position = arena.get_mut(entry).unwrap().first;
            arena.get_mut(position).unwrap().next = position;
            assert!(matches!(outcome(arena, b"a"), Err(Error::Damaged(_))));
            arena.get_mut(entry).unwrap().next = entry;
            let index = Index::open(arena.region()).unwrap();
            assert_eq!(index.find(Word::new(b"b")).map(|_| ()), Err(ENDLESS_BUCKET));
            let entries: Vec<_> = index.entries().map(|found| found.map(|_| ())).collect();
            assert_eq!(entries, [Ok(()), Err(ENDLESS_BUCKET)]);
        });
    }

    #[test]
    fn a_header_whose_table_cannot_be_is_an_error() {
        for buckets in [0, 1 << 40, u64::MAX] {
            with_index(b"a", |arena| {
                let header: *mut Header = arena.region().base();
                arena.get_mut(header).unwrap().buckets = buckets;
                assert!(Index::open(arena.region()).is_err());
            });
        }
    }

    #[test]
    fn wrong_numbers_in_the_header_are_told() {
        let limits = Limits {
            words: 10,
            positions: 10,
        };
        for (words, distinct, what, right, found) in
            [(3, 1, "words", 2, 3), (2, 2, "different words", 1, 2)]
        {
            with_index(b"a a", |arena| {
                let header: *mut Header = arena.region().base();
                let header = arena.get_mut(header).unwrap();
                (header.words, header.distinct) = (words, distinct);
                let index = Index::open(arena.region()).unwrap();
                let difference = Difference::Header { what, right, found };
                assert_eq!(compare(&index, b"a a", limits), Err(difference));
            });
        }
    }

    #[test]
    fn a_word_that_is_in_the_table_twice_is_told() {
        let text = b"a b";
        let counts = count(text, 10);
        let limits = Limits {
            words: 10,
            positions: 10,
        };
        with_arena(counts.index_bytes() + size_of::<Entry>(), |arena| {
            build(arena, &counts, text).unwrap();
            let a = entry(arena, b"a");
            let copy = *arena.get_mut(a).unwrap();
            let copy = arena.put(copy, 1).unwrap();
            arena.get_mut(a).unwrap().next = copy;
            let header: *mut Header = arena.region().base();
            arena.get_mut(header).unwrap().distinct += 1;
            let index = Index::open(arena.region()).unwrap();
            assert_eq!(compare(&index, text, limits), Err(Difference::Repeated));
        });
    }

    proptest! {
        #[test]
        fn an_index_has_the_words_and_positions_of_its_text(
            text in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "[a-cA-C]{0,3}([ \r\n][a-cA-C]{0,3}){0,60}".prop_map(String::into_bytes),
                "\\PC{0,100}".prop_map(String::into_bytes),
            ],
        ) {
            let mut expected: BTreeMap<Vec<u8>, Vec<u64>> = BTreeMap::new();
            let mut start = 0;
            for run in text.split(|byte| !(byte.is_ascii_alphanumeric() || *byte > 127)) {
                if !run.is_empty() {
                    let word = run.to_ascii_lowercase();
                    expected.entry(word).or_default().push(start as u64);
                }
                start += run.len() + 1;
            }
            let found = with_index(&text, |arena| {
                let index = Index::open(arena.region()).unwrap();
                for (word, right) in &expected {
                    assert_eq!(positions(&index, word).as_ref(), Some(right));
                }
                let entries = index.entries().map(|found| {
                    let found = found.unwrap();
                    let positions: Result<_, _> = found.positions().collect();
                    (found.word().folded().collect(), positions.unwrap())
                });
                entries.collect::<BTreeMap<Vec<u8>, Vec<u64>>>()
            });
            prop_assert_eq!(found, expected);
        }
    }
}
