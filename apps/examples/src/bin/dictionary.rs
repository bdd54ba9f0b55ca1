// SPDX-License-Identifier: MIT OR Apache-2.0

//! Data full of pointers, which outlive the processes that use them (paper sections 1 and 2.2).
//!
//! `add FROM TO` puts a part of the words of a file into a trie: a tree with a node for each
//! beginning of a word, and ends. `complete BEGINNING` is a process of its own later on: it finds the
//! tree by name, follows the pointers in it as they are, and compares what it finds with the file.
//! Nothing is written out or read in between.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;

use anyhow::{Context, Result, bail, ensure};
use client_lib::{DataVas, Mode, SegmentOptions};
use runtime::println;
use storage::{Heap, Store, VasBTreeMap, VasBox};

runtime::heap!(1 << 20);
runtime::main!(main);

/// A beginning of words.
#[derive(Store)]
struct Node<'v> {
    /// Whether it is a word itself.
    is_word: bool,
    /// The beginnings that are one letter longer.
    next: VasBTreeMap<'v, char, VasBox<'v, Node<'v>>>,
}

/// A beginning of no words.
fn empty(heap: Heap<'_>) -> Node<'_> {
    Node {
        is_word: false,
        next: VasBTreeMap::new_in(heap),
    }
}

impl<'v> Node<'v> {
    fn add(&mut self, word: &str, heap: Heap<'v>) {
        let mut node = self;
        for letter in word.chars() {
            if !node.next.contains_key(&letter) {
                let longer = VasBox::new_in(empty(heap), heap);
                node.next.insert(letter, longer);
            }
            node = node.next.get_mut(&letter).expect("added above");
        }
        node.is_word = true;
    }

    /// The node of a beginning.
    fn find(&self, beginning: &str) -> Option<&Self> {
        let mut letters = beginning.chars();
        letters.try_fold(self, |node, letter| Some(&**node.next.get(&letter)?))
    }

    /// All words from here on, behind `beginning`.
    fn collect(&self, beginning: &mut String, words: &mut Vec<String>) {
        if self.is_word {
            words.push(beginning.clone());
        }
        for (&letter, node) in self.next.iter() {
            beginning.push(letter);
            node.collect(beginning, words);
            beginning.pop();
        }
    }
}

fn main() -> Result<()> {
    let info = runtime::start_info();
    let arguments: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    match *arguments {
        ["add", from, to] => add(from.parse()?, to.parse()?),
        ["complete", beginning] => complete(beginning),
        ["delete"] => Ok(DataVas::<Node>::find("dictionary")?.delete()?),
        _ => bail!("add FROM TO, complete BEGINNING, or delete"),
    }
}

/// The words of the file, in lower case.
fn words() -> Result<impl Iterator<Item = String>> {
    let text = runtime::file("text").context("the file is missing")?;
    let text = core::str::from_utf8(text).context("the file is no text")?;
    let words = text.split(|character: char| !character.is_alphabetic());
    Ok(words.filter(|word| !word.is_empty()).map(str::to_lowercase))
}

/// Adds the words with these numbers.
fn add(from: usize, to: usize) -> Result<()> {
    let options = SegmentOptions::new(64 << 10, Mode(0o640));
    let dictionary = DataVas::<Node>::find_or_create("dictionary", options, empty)?;
    let writer = dictionary.writer()?;
    let words = words()?.skip(from).take(to - from);
    let bytes = writer.enter(|mut inside| {
        let heap = inside.heap();
        for word in words {
            inside.root_mut().add(&word, heap);
        }
        inside.here().statistics().allocated_bytes
    })?;
    println!("dictionary: {bytes} bytes, and ends");
    Ok(())
}

/// Finds all words that begin so.
fn complete(beginning: &str) -> Result<()> {
    let dictionary = DataVas::<Node>::find("dictionary")?;
    let found = dictionary.reader()?.enter(|inside| {
        let mut found = Vec::new();
        if let Some(node) = inside.root().find(beginning) {
            node.collect(&mut String::from(beginning), &mut found);
        }
        found
    })?;
    let expected: BTreeSet<String> = words()?
        .filter(|word| word.starts_with(beginning))
        .collect();
    println!("dictionary: {beginning}: {}", found.join(" "));
    ensure!(found.iter().eq(&expected), "expected {expected:?}");
    Ok(())
}
