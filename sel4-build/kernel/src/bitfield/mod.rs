// SPDX-License-Identifier: MIT OR Apache-2.0
//! seL4's bitfield descriptions: one parser, C for the kernel and Rust for the bindings.
//!
//! A `.bf` file lays out *blocks* (fields in one or several machine words) and *tagged
//! unions* (blocks of one size that are told apart by a field they all have). The kernel
//! is written against accessor functions made from them; user space packs the same words.
//! Layout is computed once, here; the outputs only spell it.

mod c;
mod parse;
mod rust;

use std::path::{Path, PathBuf};

use crate::Error;
use crate::build::Tool;

pub use c::c_header;
pub use parse::parse;
pub use rust::rust_module;

/// What a `.bf` file describes, with every position computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specification {
    /// Blocks that are in no union, in the order of the file.
    pub blocks: Vec<Block>,
    /// Tagged unions, in the order of the file.
    pub unions: Vec<TaggedUnion>,
}

/// Fields in one or several words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name, as in the file.
    pub name: String,
    /// Bits in a word: 32 or 64.
    pub word_bits: u32,
    /// How many words it takes.
    pub words: usize,
    /// The fields, from the most significant down.
    pub fields: Vec<Field>,
    /// Indices into `fields`: the order of the constructor's arguments.
    pub arguments: Vec<usize>,
}

/// One field of a block, and how its value moves in and out of its word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, as in the file.
    pub name: String,
    /// The word that holds it.
    pub word: usize,
    /// The bits of the word that it takes.
    pub mask: u64,
    /// The bits of a value that can be kept.
    pub value_mask: u64,
    /// How far a value is shifted left on its way into the word (negative: right).
    pub shift: i32,
    /// For addresses that are sign-extended: how.
    pub extension: Option<Extension>,
}

/// Sign extension of a value: addresses are canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The highest bit that is kept.
    pub sign_bit: u64,
    /// All bits above, which are equal to it.
    pub high_bits: u64,
}

/// Blocks of one size, told apart by a field that all have in the same place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaggedUnion {
    /// Its name, as in the file.
    pub name: String,
    /// The field that tells the members apart.
    pub tag: Field,
    /// Bits in a word: 32 or 64.
    pub word_bits: u32,
    /// How many words it takes.
    pub words: usize,
    /// The members, in the order of the file.
    pub members: Vec<Member>,
}

/// One member of a tagged union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The value of the tag.
    pub value: u64,
    /// Its layout; the tag is among the fields.
    pub block: Block,
}

impl Block {
    /// The fields in the order of the constructor's arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &Field> {
        self.arguments.iter().map(|&index| &self.fields[index])
    }
}

/// Reads a description through the C preprocessor. `includes` are the folders that it
/// includes from; one of them must hold the configuration, `autoconf.h`.
///
/// # Errors
///
/// [`Error::Tool`] if the preprocessor fails, and the errors of [`parse`].
pub fn read(description: &Path, includes: &[PathBuf]) -> Result<Specification, Error> {
    let text = Tool::new("gcc", format!("preprocessing {}", description.display()))
        .args(["-E", "-x", "c", "-w", "-nostdinc", "-DHAVE_AUTOCONF"])
        .args(
            includes
                .iter()
                .map(|folder| format!("-I{}", folder.display())),
        )
        .args([description])
        .run()?;
    parse(description, &text)
}

#[cfg(test)]
mod tests;
