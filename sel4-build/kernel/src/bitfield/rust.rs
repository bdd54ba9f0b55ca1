// SPDX-License-Identifier: MIT OR Apache-2.0
//! Rust for user space's bindings.

use std::fmt::{self, Write};

use heck::{ToSnakeCase, ToUpperCamelCase};

use super::{Block, Field, Specification, TaggedUnion};

/// Types for a specification, to be included in a module of the bindings.
///
/// A block becomes a structure of its words, with a constructor, and per field a getter
/// and a `with_` method. A member of a union is such a structure, whose tag is set; the
/// union becomes an enumeration of its members. Names lose the prefix `seL4_` and take
/// Rust's case. The text needs nothing but `core`.
pub fn rust_module(specification: &Specification) -> String {
    let mut out = String::new();
    write_all(specification, &mut out).expect("writing to a string cannot fail");
    out
}

fn write_all(specification: &Specification, out: &mut String) -> fmt::Result {
    for block in &specification.blocks {
        write_block(out, block, None)?;
    }
    for union in &specification.unions {
        write_union(out, union)?;
        for member in &union.members {
            write_block(out, &member.block, Some((union, member.value)))?;
        }
    }
    Ok(())
}

fn bare(name: &str) -> &str {
    name.strip_prefix("seL4_").unwrap_or(name)
}

fn type_name(name: &str) -> String {
    bare(name).to_upper_camel_case()
}

fn method_name(name: &str) -> String {
    bare(name).to_snake_case()
}

/// Writes the structure of a block, or of the member of a union whose tag has a value.
fn write_block(
    out: &mut String,
    block: &Block,
    member: Option<(&TaggedUnion, u64)>,
) -> fmt::Result {
    let Block {
        name,
        word_bits,
        words,
        ..
    } = block;
    let own = type_name(name);
    let shown = |field: &&Field| member.is_none_or(|(union, _)| union.tag.name != field.name);

    writeln!(
        out,
        "\n/// `{name}`{}.",
        match member {
            Some((union, value)) => format!(", the `{}` of tag {value}", union.name),
            None => String::new(),
        }
    )?;
    write!(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\n#[repr(transparent)]\n\
         pub struct {own}([u{word_bits}; {words}]);\n\nimpl {own} {{\n"
    )?;

    let arguments: Vec<String> = block
        .arguments()
        .filter(shown)
        .map(|field| method_name(&field.name))
        .collect();
    if arguments.is_empty() {
        writeln!(out, "    /// The only value.")?;
    } else {
        write!(
            out,
            "    /// Packs the fields.\n    ///\n    /// # Panics\n    ///\n    \
             /// If a value does not fit its field.\n"
        )?;
    }
    if arguments.len() > 7 {
        writeln!(out, "    #[allow(clippy::too_many_arguments)]")?;
    }
    if arguments.is_empty() {
        writeln!(out, "    #[allow(clippy::new_without_default)]")?;
    }
    let parameters: Vec<String> = arguments
        .iter()
        .map(|argument| format!("{argument}: u{word_bits}"))
        .collect();
    write!(
        out,
        "    #[must_use]\n    pub const fn new({}) -> Self {{\n        {}Self([0; {words}])",
        parameters.join(", "),
        if member.is_some() {
            "let mut packed = "
        } else {
            ""
        },
    )?;
    for argument in &arguments {
        write!(out, "\n            .with_{argument}({argument})")?;
    }
    if let Some((union, value)) = member {
        let tag = &union.tag;
        write!(
            out,
            ";\n        packed.0[{}] |= {value:#x} << {};\n        packed",
            tag.word, tag.shift
        )?;
    }
    writeln!(out, "\n    }}\n")?;

    if member.is_none() {
        write!(
            out,
            "    /// Takes packed words for what they are.\n    #[must_use]\n    \
             pub const fn from_words(words: [u{word_bits}; {words}]) -> Self {{\n        \
             Self(words)\n    }}\n\n"
        )?;
    }
    write!(
        out,
        "    /// The packed words.\n    #[must_use]\n    \
         pub const fn words(self) -> [u{word_bits}; {words}] {{\n        self.0\n    }}\n"
    )?;
    for field in block.fields.iter().filter(shown) {
        write_accessors(out, field, *word_bits)?;
    }
    writeln!(out, "}}")
}

fn write_accessors(out: &mut String, field: &Field, word_bits: u32) -> fmt::Result {
    let Field {
        name,
        word,
        mask,
        value_mask,
        shift,
        extension,
    } = field;
    let method = method_name(name);
    let width = value_mask.count_ones();
    let (into, from) = if *shift < 0 {
        (">>", "<<")
    } else {
        ("<<", ">>")
    };
    let distance = shift.unsigned_abs();

    let (load, fits) = match extension {
        None => (
            format!("(self.0[{word}] & {mask:#x}) {from} {distance}"),
            format!("value & !{value_mask:#x} == 0"),
        ),
        Some(extension) => (
            // Sign extension without a branch: the sign is carried into the high bits.
            format!(
                "let value = (self.0[{word}] & {mask:#x}) {from} {distance};\n        \
                 (value ^ {sign:#x}).wrapping_sub({sign:#x})",
                sign = extension.sign_bit
            ),
            format!(
                "value & !{value_mask:#x} == if value & {:#x} == 0 {{ 0 }} else {{ {:#x} }}",
                extension.sign_bit, extension.high_bits
            ),
        ),
    };
    write!(
        out,
        "\n    /// Field `{name}`, {width} bits.\n    #[must_use]\n    \
         pub const fn {method}(self) -> u{word_bits} {{\n        {load}\n    }}\n\
         \n    /// The same with another `{name}`.\n    ///\n    /// # Panics\n    ///\n    \
         /// If the value does not fit.\n    #[must_use]\n    \
         pub const fn with_{method}(mut self, value: u{word_bits}) -> Self {{\n        \
         assert!({fits}, \"{name} does not fit\");\n        \
         self.0[{word}] = self.0[{word}] & !{mask:#x} | (value {into} {distance}) & {mask:#x};\n        \
         self\n    }}\n"
    )
}

fn write_union(out: &mut String, union: &TaggedUnion) -> fmt::Result {
    let TaggedUnion {
        name,
        tag,
        word_bits,
        words,
        members,
    } = union;
    let own = type_name(name);
    write!(
        out,
        "\n/// `{name}`.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]\npub enum {own} {{\n"
    )?;
    for member in members {
        let variant = type_name(&member.block.name);
        writeln!(
            out,
            "    /// Tag {}.\n    {variant}({variant}),",
            member.value
        )?;
    }
    write!(
        out,
        "}}\n\nimpl {own} {{\n    /// Tells by the tag which member the words are; `None` if there is no such member.\n    \
         #[must_use]\n    pub const fn from_words(words: [u{word_bits}; {words}]) -> Option<Self> {{\n        \
         Some(match (words[{}] & {:#x}) >> {} {{\n",
        tag.word, tag.mask, tag.shift
    )?;
    for member in members {
        let variant = type_name(&member.block.name);
        writeln!(
            out,
            "            {} => Self::{variant}({variant}(words)),",
            member.value
        )?;
    }
    write!(
        out,
        "            _ => return None,\n        }})\n    }}\n\n    /// The packed words.\n    \
         #[must_use]\n    pub const fn words(self) -> [u{word_bits}; {words}] {{\n        match self {{\n"
    )?;
    for member in members {
        let variant = type_name(&member.block.name);
        writeln!(out, "            Self::{variant}(member) => member.0,")?;
    }
    writeln!(out, "        }}\n    }}\n}}")
}
