// SPDX-License-Identifier: MIT OR Apache-2.0
//! The C that the kernel is written against.

use std::fmt::{self, Display, Write};

use super::{Block, Extension, Field, Specification, TaggedUnion};

/// The header for a specification, as the kernel includes it.
///
/// For a block `b` it declares `b_t`, `b_new`, `b_ptr_new` and per field `f` `b_get_f`,
/// `b_set_f`, `b_ptr_get_f`, `b_ptr_set_f`. For a union `u` with tag `t` it declares
/// `u_t`, `u_tag_t`, `u_get_t`, `u_ptr_get_t`, `u_t_equals`, and per member `m` the tag's
/// value `u_m`, and constructors and accessors as for a block, named `u_m_..`.
pub fn c_header(specification: &Specification) -> String {
    let mut out = String::from(
        "/* Generated from seL4's bitfield descriptions; do not edit. */\n\
         #pragma once\n\n\
         #include <assert.h>\n#include <config.h>\n#include <stdint.h>\n#include <util.h>\n",
    );
    write_all(specification, &mut out).expect("writing to a string cannot fail");
    out
}

fn write_all(specification: &Specification, out: &mut String) -> fmt::Result {
    for block in &specification.blocks {
        write_struct(out, &block.name, block.word_bits, block.words)?;
        Functions {
            prefix: block.name.clone(),
            structure: &block.name,
            block,
            tag: None,
        }
        .write(out)?;
    }
    for union in &specification.unions {
        write_struct(out, &union.name, union.word_bits, union.words)?;
        write_tag(out, union)?;
        for member in &union.members {
            let prefix = format!("{}_{}", union.name, member.block.name);
            Functions {
                structure: &union.name,
                block: &member.block,
                tag: Some((&union.tag, prefix.clone())),
                prefix,
            }
            .write(out)?;
        }
    }
    Ok(())
}

fn write_struct(out: &mut String, name: &str, word_bits: u32, words: usize) -> fmt::Result {
    write!(
        out,
        "\nstruct {name} {{\n    uint{word_bits}_t words[{words}];\n}};\ntypedef struct {name} {name}_t;\n"
    )
}

/// The tag's values, and how to read it without knowing the member.
fn write_tag(out: &mut String, union: &TaggedUnion) -> fmt::Result {
    let TaggedUnion {
        name,
        tag,
        word_bits,
        ..
    } = union;
    writeln!(out, "\nenum {name}_tag {{")?;
    for member in &union.members {
        writeln!(out, "    {name}_{} = {},", member.block.name, member.value)?;
    }
    writeln!(out, "}};\ntypedef enum {name}_tag {name}_tag_t;")?;

    let word = format!("uint{word_bits}_t");
    let by_value = Load {
        field: tag,
        words: format!("{name}.words"),
    };
    let by_pointer = Load {
        field: tag,
        words: format!("{name}_ptr->words"),
    };
    write!(
        out,
        "\nstatic inline {word} CONST\n{name}_get_{tag}({name}_t {name})\n{{\n    return {by_value};\n}}\n\
         \nstatic inline int CONST\n{name}_{tag}_equals({name}_t {name}, {word} tag)\n{{\n    return {by_value} == tag;\n}}\n\
         \nstatic inline {word} PURE\n{name}_ptr_get_{tag}({name}_t *{name}_ptr)\n{{\n    return {by_pointer};\n}}\n",
        tag = tag.name,
    )
}

/// The functions of one block.
struct Functions<'a> {
    /// How their names begin.
    prefix: String,
    /// The structure that they work on.
    structure: &'a str,
    block: &'a Block,
    /// In a union: the tag, and the name of the value that it has here.
    tag: Option<(&'a Field, String)>,
}

impl Functions<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        self.write_constructors(out)?;
        for field in &self.block.fields {
            if self
                .tag
                .as_ref()
                .is_none_or(|(tag, _)| tag.name != field.name)
            {
                self.write_accessors(out, field)?;
            }
        }
        Ok(())
    }

    fn write_constructors(&self, out: &mut String) -> fmt::Result {
        let Functions {
            prefix,
            structure,
            block,
            ..
        } = self;
        let mut parameters = Vec::new();
        let mut checks = String::new();
        let mut stores = Vec::new();
        for field in block.arguments() {
            let value = match &self.tag {
                Some((tag, value)) if tag.name == field.name => {
                    format!("(uint{}_t){value}", block.word_bits)
                }
                _ => {
                    parameters.push(format!("uint{}_t {}", block.word_bits, field.name));
                    let check = Check {
                        field,
                        value: &field.name,
                    };
                    writeln!(checks, "    {check}")?;
                    field.name.clone()
                }
            };
            stores.push((
                field.word,
                Store {
                    field,
                    value: &value,
                }
                .to_string(),
            ));
        }
        let body = |words: &str| {
            let mut body = checks.clone();
            for word in 0..block.words {
                body += &format!("    {words}[{word}] = 0;\n");
            }
            for (word, store) in &stores {
                body += &format!("    {words}[{word}] |= {store};\n");
            }
            body
        };

        let list = if parameters.is_empty() {
            "void".to_owned()
        } else {
            parameters.join(", ")
        };
        write!(
            out,
            "\nstatic inline {structure}_t CONST\n{prefix}_new({list})\n{{\n    {structure}_t {structure};\n{}    return {structure};\n}}\n",
            body(&format!("{structure}.words"))
        )?;
        parameters.insert(0, format!("{structure}_t *{structure}_ptr"));
        write!(
            out,
            "\nstatic inline void\n{prefix}_ptr_new({})\n{{\n{}}}\n",
            parameters.join(", "),
            body(&format!("{structure}_ptr->words"))
        )
    }

    fn write_accessors(&self, out: &mut String, field: &Field) -> fmt::Result {
        let Functions {
            prefix,
            structure,
            block,
            ..
        } = self;
        let Field {
            name, word, mask, ..
        } = field;
        let number = format!("uint{}_t", block.word_bits);
        let check = Check { field, value: "v" };
        let store = Store { field, value: "v" };
        for (infix, attribute, parameter, words, result, answer) in [
            (
                "",
                "CONST",
                format!("{structure}_t {structure}"),
                format!("{structure}.words"),
                format!("{structure}_t CONST"),
                format!("    return {structure};\n"),
            ),
            (
                "ptr_",
                "PURE",
                format!("{structure}_t *{structure}_ptr"),
                format!("{structure}_ptr->words"),
                "void".to_owned(),
                String::new(),
            ),
        ] {
            let member = match &self.tag {
                Some((tag, value)) => {
                    let load = Load {
                        field: tag,
                        words: words.clone(),
                    };
                    format!("    assert({load} == {value});\n")
                }
                None => String::new(),
            };
            let load = Load {
                field,
                words: words.clone(),
            };
            let extend = match field.extension {
                Some(extension) => format!(
                    "    if (ret & 0x{:x}ull) {{\n        ret |= 0x{:x}ull;\n    }}\n",
                    extension.sign_bit, extension.high_bits
                ),
                None => String::new(),
            };
            write!(
                out,
                "\nstatic inline {number} {attribute}\n{prefix}_{infix}get_{name}({parameter})\n\
                 {{\n    {number} ret;\n{member}    ret = {load};\n{extend}    return ret;\n}}\n\
                 \nstatic inline {result}\n{prefix}_{infix}set_{name}({parameter}, {number} v)\n\
                 {{\n{member}    {check}\n    {words}[{word}] &= ~0x{mask:x}ull;\n    \
                 {words}[{word}] |= {store};\n{answer}}}\n",
            )?;
        }
        Ok(())
    }
}

/// A field's value, taken out of its word, not yet sign-extended.
struct Load<'a> {
    field: &'a Field,
    words: String,
}

impl Display for Load<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field {
            word, mask, shift, ..
        } = self.field;
        write!(f, "(({}[{word}] & 0x{mask:x}ull)", self.words)?;
        write_shift(f, -shift)?;
        f.write_str(")")
    }
}

/// A value, moved to its place in the word.
struct Store<'a> {
    field: &'a Field,
    value: &'a str,
}

impl Display for Store<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field {
            value_mask, shift, ..
        } = self.field;
        write!(f, "(({} & 0x{value_mask:x}ull)", self.value)?;
        write_shift(f, *shift)?;
        f.write_str(")")
    }
}

/// Asserts that nothing of a value is lost.
struct Check<'a> {
    field: &'a Field,
    value: &'a str,
}

impl Display for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value;
        write!(
            f,
            "assert(({value} & ~0x{:x}ull) == ",
            self.field.value_mask
        )?;
        match self.field.extension {
            Some(Extension {
                sign_bit,
                high_bits,
            }) => {
                write!(
                    f,
                    "(({value} & 0x{sign_bit:x}ull) ? 0x{high_bits:x}ull : 0ull));"
                )
            }
            None => f.write_str("0);"),
        }
    }
}

fn write_shift(f: &mut fmt::Formatter<'_>, left: i32) -> fmt::Result {
    match left {
        0 => Ok(()),
        1.. => write!(f, " << {left}"),
        _ => write!(f, " >> {}", -left),
    }
}
