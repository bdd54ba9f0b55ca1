// SPDX-License-Identifier: MIT OR Apache-2.0

//! Bodies of messages against the decoder of every request, reply and error.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use protocol::generate::Generator;
use protocol::message::{Operation, Request, Visitor};
use protocol::process::{ActiveSpace, ExitStatus, InitError, InitOperation, ProcessId, Spawn};
use protocol::wire::{self, WORDS, Words};
use protocol::{Badge, Error};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What names are made of here: the shortest, the longest, letters of more bytes.
const NAMES: &[&str] = &["a", "another", "größe", "12345678901234567890123456789012"];
const NUMBERS: &[(&str, &[u64])] = &[("", &[0o660, 1 << 39, 192 << 39, u64::MAX])];

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    if input.arbitrary().unwrap_or(true) {
        for &operation in Operation::ALL {
            operation.visit(Made(&mut input));
        }
        return;
    }
    // More than a message can have, too.
    let words = input.take_rest().chunks_exact(8);
    let words: Vec<u64> = words
        .map(|bytes| {
            bytes
                .iter()
                .fold(0, |word, &byte| word << 8 | u64::from(byte))
        })
        .collect();
    for &operation in Operation::ALL {
        operation.visit(Received(&words));
    }
    received::<Error>(&words);
    received::<Spawn>(&words);
    received::<ProcessId>(&words);
    received::<ExitStatus>(&words);
    for &word in &words {
        labels_and_badges(word);
    }
});

/// Requests and replies that somebody means, and the same with a few bits changed.
struct Made<'b, 'a>(&'b mut Unstructured<'a>);

impl Visitor for Made<'_, '_> {
    type Output = ();

    fn visit<R: Request>(self) {
        made::<R>(self.0);
        made::<R::Reply>(self.0);
    }
}

fn made<T: Serialize + DeserializeOwned>(input: &mut Unstructured<'_>) {
    if input.is_empty() {
        return;
    }
    let below = |bound| input.int_in_range(0..=bound - 1).unwrap_or(0);
    let mut generator = Generator::new(below, NAMES, NUMBERS);
    let value: T = generator.value().expect("it can be made");
    let mut words = [0; WORDS];
    let length = wire::encode(&value, &mut words).expect("it fits into a message");
    let decoded: T = wire::decode(&words[..length]).expect("what was encoded decodes");
    assert_eq!(encoded(&decoded), (words, length), "it is not the same");

    for _ in 0..input.int_in_range(0..=2).unwrap_or(0) {
        let bit = input.int_in_range(0..=WORDS * 64 - 1).unwrap_or(0) % (64 * length.max(1));
        words[bit / 64] ^= 1 << (bit % 64);
    }
    received::<T>(&words[..length]);
}

/// Words that anybody may have sent.
struct Received<'a>(&'a [u64]);

impl Visitor for Received<'_> {
    type Output = ();

    fn visit<R: Request>(self) {
        received::<R>(self.0);
        received::<R::Reply>(self.0);
    }
}

/// What decodes fits into a message again, and then means the same.
fn received<T: Serialize + DeserializeOwned>(words: &[u64]) {
    let Ok(value) = wire::decode::<T>(words) else {
        return;
    };
    let (again, length) = encoded(&value);
    assert!(length <= words.len(), "it has become longer");
    let value: T = wire::decode(&again[..length]).expect("what was encoded decodes");
    assert_eq!(encoded(&value), (again, length), "it is not the same");
}

fn encoded<T: Serialize>(value: &T) -> (Words, usize) {
    let mut words = [0; WORDS];
    let length = wire::encode(value, &mut words).expect("it fits into a message");
    (words, length)
}

fn labels_and_badges(word: u64) {
    let badge = Badge::from_bits(word);
    assert_eq!(badge.handle().badge(), badge);
    if let Some(operation) = Operation::from_label(word) {
        assert_eq!(operation as u64, word);
    }
    if let Some(operation) = InitOperation::from_label(word) {
        assert_eq!(operation as u64, word);
    }
    if let Some(error) = InitError::from_label(word) {
        assert_eq!(error.number(), word);
    }
    let space = ActiveSpace::from_word(word);
    assert_eq!(ActiveSpace::from_word(space.word()), space);
}
