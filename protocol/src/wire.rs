// SPDX-License-Identifier: MIT OR Apache-2.0

//! Values in message registers.
//!
//! `postcard` bytes, little-endian in 64-bit words, the last word filled up with zeros.
//! Values are decoded to owned ones: the IPC buffer they came in is used by the next
//! kernel call.

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Message registers of one message (seL4 manual, chapter "Message Passing").
pub const WORDS: usize = 120;
/// Bytes of one message.
pub const BYTES: usize = WORDS * 8;

/// The words of one message.
pub type Words = [u64; WORDS];

/// Writes `value` into `words` and returns how many words it takes.
///
/// # Errors
/// [`Error::Malformed`] if it does not fit.
pub fn encode<T: Serialize>(value: &T, words: &mut Words) -> Result<usize, Error> {
    let mut bytes = [0; BYTES];
    let length = postcard::to_slice(value, &mut bytes)
        .map_err(|_| Error::Malformed)?
        .len();
    let count = length.div_ceil(8);
    for (word, chunk) in words[..count].iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().map_err(|_| Error::Malformed)?);
    }
    Ok(count)
}

/// Reads a value that takes all of `words`.
///
/// # Errors
/// [`Error::Malformed`] if the words are too many for a message, are not the encoding of
/// a `T`, or have anything but zeros behind it.
pub fn decode<T: for<'de> Deserialize<'de>>(words: &[u64]) -> Result<T, Error> {
    let mut bytes = [0; BYTES];
    let bytes = bytes.get_mut(..words.len() * 8).ok_or(Error::Malformed)?;
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| Error::Malformed)?;
    if rest.len() >= 8 || rest.iter().any(|&byte| byte != 0) {
        return Err(Error::Malformed);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::*;

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let request = SegAlloc {
            name: Name::new("segment").unwrap(),
            base: Base::At(1 << 39),
            size: 1 << 30,
            page_size: Some(PageSize::Large),
            own_slots: false,
            lockable: true,
            mode: Mode(0o640),
        };
        let mut words = [0; WORDS];
        let count = encode(&request, &mut words).unwrap();
        assert_eq!(decode::<SegAlloc>(&words[..count]), Ok(request));
    }

    #[test]
    fn a_word_too_many_is_malformed() {
        let mut words = [0; WORDS];
        let count = encode(
            &VasDetach {
                attachment: AttachmentId(7),
            },
            &mut words,
        )
        .unwrap();
        assert_eq!(
            decode::<VasDetach>(&words[..count + 1]),
            Err(Error::Malformed)
        );
    }

    #[test]
    fn padding_that_is_not_zero_is_malformed() {
        let mut words = [0; WORDS];
        let count = encode(
            &VasDetach {
                attachment: AttachmentId(7),
            },
            &mut words,
        )
        .unwrap();
        words[count - 1] |= 1 << 63;
        assert_eq!(decode::<VasDetach>(&words[..count]), Err(Error::Malformed));
    }

    #[test]
    fn a_message_that_is_cut_short_is_malformed() {
        let mut words = [0; WORDS];
        let count = encode(
            &VasFind {
                name: Name::new("a long enough name").unwrap(),
            },
            &mut words,
        )
        .unwrap();
        assert_eq!(
            decode::<VasFind>(&words[..count - 1]),
            Err(Error::Malformed)
        );
    }

    #[test]
    fn more_words_than_a_message_has_are_malformed() {
        assert_eq!(decode::<VasDelete>(&[0; WORDS + 1]), Err(Error::Malformed));
    }

    #[test]
    fn an_empty_name_does_not_decode() {
        assert_eq!(decode::<VasFind>(&[0]), Err(Error::Malformed));
    }

    #[test]
    fn the_largest_pages_of_listings_fit_in_a_message() {
        let name = Name::new(&"x".repeat(crate::limits::NAME_BYTES)).unwrap();
        let vas = VasEntry {
            name: name.clone(),
            owner: u32::MAX,
            mode: Mode(u16::MAX),
            segments: u32::MAX,
            attachments: u32::MAX,
        };
        let segment = SegEntry {
            name,
            owner: u32::MAX,
            mode: Mode(u16::MAX),
            base: u64::MAX,
            size: u64::MAX,
            page_size: PageSize::Huge,
            vases: u32::MAX,
        };
        let mut words = [0; WORDS];
        let entries = core::iter::repeat_n(vas, crate::limits::LIST_PAGE).collect();
        encode(&VasPage { entries }, &mut words).unwrap();
        let entries = core::iter::repeat_n(segment, crate::limits::LIST_PAGE).collect();
        encode(&SegPage { entries }, &mut words).unwrap();
    }

    #[test]
    fn statistics_with_the_longest_names_of_policies_fit_in_a_message() {
        let name = Name::new(&"x".repeat(crate::limits::NAME_BYTES)).unwrap();
        let statistics = Statistics {
            memory_total: u64::MAX,
            memory_free: u64::MAX,
            slots_total: u64::MAX,
            slots_free: u64::MAX,
            asids_total: u32::MAX,
            asids_free: u32::MAX,
            tables: u32::MAX,
            pending: u32::MAX,
            sessions: u32::MAX,
            vases: u32::MAX,
            segments: u32::MAX,
            attachments: u32::MAX,
            page_tables: name.clone(),
            page_size: name.clone(),
            placement: name.clone(),
            locks: name.clone(),
            tlb_tags: name.clone(),
            admission: name.clone(),
            lifetime: name,
        };
        encode(&statistics, &mut [0; WORDS]).unwrap();
    }

    #[test]
    fn every_label_names_the_operation_it_came_from() {
        for &operation in Operation::ALL {
            assert_eq!(Operation::from_label(operation as u64), Some(operation));
        }
    }
}
