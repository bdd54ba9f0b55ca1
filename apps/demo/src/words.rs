// SPDX-License-Identifier: MIT OR Apache-2.0

//! What a word is.
//!
//! A word is a longest run of ASCII letters, digits and bytes above 127, so that words of any
//! UTF-8 text stay whole and any other bytes are a text as well. ASCII capitals and small
//! letters are the same.

use core::cmp::Ordering;
use core::fmt::{self, Write};
use core::hash::Hasher;

use fnv::FnvHasher;

/// Most characters of a word that are displayed.
const DISPLAYED: usize = 32;

/// A word as it stands in a text. Compares as if its capitals were small letters.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a>(&'a [u8]);

impl<'a> Word<'a> {
    /// These bytes as a word.
    pub fn new(bytes: &'a [u8]) -> Self {
        Word(bytes)
    }

    /// The word that begins at `offset` of `text`, if one does.
    pub fn at(text: &'a [u8], offset: usize) -> Option<Self> {
        if offset > 0 && is_in_word(text.get(offset - 1)?) {
            return None;
        }
        let rest = text.get(offset..)?;
        let bytes = &rest[..rest.iter().take_while(|byte| is_in_word(byte)).count()];
        (!bytes.is_empty()).then_some(Word(bytes))
    }

    /// Its bytes, capitals made small.
    pub fn folded(self) -> impl ExactSizeIterator<Item = u8> {
        self.0.iter().map(u8::to_ascii_lowercase)
    }

    /// Its length in bytes.
    pub fn bytes(self) -> usize {
        self.0.len()
    }

    /// A number that is the same for equal words, in every program.
    pub fn hash(self) -> u64 {
        let mut hasher = FnvHasher::default();
        for byte in self.folded() {
            hasher.write_u8(byte);
        }
        hasher.finish()
    }
}

impl Ord for Word<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl PartialOrd for Word<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Word<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for Word<'_> {}

/// In quotation marks, as far as it is UTF-8 that can be printed; long words are cut.
impl fmt::Display for Word<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('"')?;
        let mut left = DISPLAYED;
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars().take(left) {
                left -= 1;
                match letter.to_ascii_lowercase() {
                    control if control.is_control() => write!(out, "{}", control.escape_unicode())?,
                    letter => out.write_char(letter)?,
                }
            }
            for byte in chunk.invalid().iter().take(left) {
                left -= 1;
                write!(out, "\\x{byte:02x}")?;
            }
            if left == 0 {
                break;
            }
        }
        out.write_char('"')?;
        if left == 0 && self.0.len() > DISPLAYED {
            write!(out, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// The words of a text and the offsets in bytes at which they begin.
pub fn words(text: &[u8]) -> impl Iterator<Item = (usize, Word<'_>)> {
    let mut next = 0;
    core::iter::from_fn(move || {
        let start = next + text[next..].iter().position(is_in_word)?;
        let word = Word::at(text, start)?;
        next = start + word.bytes();
        Some((start, word))
    })
}

fn is_in_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &[u8]) -> Vec<(usize, Vec<u8>)> {
        words(text)
            .map(|(offset, word)| (offset, word.folded().collect()))
            .collect()
    }

    #[test]
    fn words_are_runs_of_letters_digits_and_high_bytes_with_small_letters() {
        let text = "It's\r\n\tna\u{ef}ve, x86_64!".as_bytes();
        let expected: [(usize, &[u8]); 5] = [
            (0, b"it"),
            (3, b"s"),
            (7, "na\u{ef}ve".as_bytes()),
            (15, b"x86"),
            (19, b"64"),
        ];
        let expected = expected[..5].iter().map(|(at, word)| (*at, word.to_vec()));
        assert_eq!(found(text), expected.collect::<Vec<_>>());
    }

    #[test]
    fn texts_without_words_have_none() {
        assert_eq!(found(b""), []);
        assert_eq!(found(b"\0\x01 .,-\r\n"), []);
    }

    #[test]
    fn a_word_is_found_where_it_begins_and_nowhere_else() {
        let text = b"ab cd";
        assert_eq!(Word::at(text, 0), Some(Word::new(b"AB")));
        assert_eq!(Word::at(text, 1), None);
        assert_eq!(Word::at(text, 2), None);
        assert_eq!(Word::at(text, 3), Some(Word::new(b"cd")));
        assert_eq!(Word::at(text, 5), None);
        assert_eq!(Word::at(text, 6), None);
    }

    #[test]
    fn equal_words_have_equal_hashes() {
        assert_eq!(Word::new(b"VAS").hash(), Word::new(b"vas").hash());
        assert_ne!(Word::new(b"vas").hash(), Word::new(b"was").hash());
    }

    #[test]
    fn words_are_displayed_as_far_as_they_can_be_printed() {
        assert_eq!(
            Word::new("Na\u{ef}ve".as_bytes()).to_string(),
            "\"na\u{ef}ve\""
        );
        assert_eq!(Word::new(b"a\xff\xc2\x85").to_string(), r#""a\xff\u{85}""#);
        let long = [b'x'; 1000];
        let shown = Word::new(&long).to_string();
        assert_eq!(
            shown,
            format!("\"{}\"... (1000 bytes)", "x".repeat(DISPLAYED))
        );
        assert_eq!(
            Word::new(&long[..DISPLAYED]).to_string().len(),
            DISPLAYED + 2
        );
    }
}
