// SPDX-License-Identifier: MIT OR Apache-2.0
//! From text to layout.

use std::collections::HashSet;
use std::path::Path;

use pest::Parser;
use pest::error::{Error as PestError, ErrorVariant, LineColLocation};
use pest::iterators::Pair;

use super::{Block, Extension, Field, Member, Specification, TaggedUnion};
use crate::Error;

#[derive(pest_derive::Parser)]
#[grammar = "bitfield/grammar.pest"]
struct Grammar;

/// Parses a description that the C preprocessor has been over. Its line markers, if
/// they were left in, make errors point at the original file; `origin` names the text
/// before the first marker.
///
/// # Errors
///
/// [`Error::Bitfield`], with file, line and column: the text is not well formed, or what
/// it describes cannot be (a field across two words, a union of blocks of unlike sizes).
pub fn parse(origin: &Path, text: &str) -> Result<Specification, Error> {
    Grammar::parse(Rule::file, text)
        .map_err(|error| error.renamed_rules(|rule| rule_name(*rule).to_owned()))
        .and_then(|file| resolve(file.flat_map(Pair::into_inner)))
        .map_err(|error| Error::Bitfield(place_in_original(error, origin, text).to_string()))
}

/// A rule as an error message should call it.
fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::file => "description",
        Rule::base | Rule::key_base => "`base`",
        Rule::block | Rule::key_block => "`block`",
        Rule::order => "order of arguments",
        Rule::field | Rule::key_field => "`field`",
        Rule::field_high | Rule::key_field_high => "`field_high`",
        Rule::padding | Rule::key_padding => "`padding`",
        Rule::tagged_union | Rule::key_tagged_union => "`tagged_union`",
        Rule::tag | Rule::key_tag => "`tag`",
        Rule::name => "name",
        Rule::number => "number",
        Rule::EOI => "end of file",
        Rule::item | Rule::entry | Rule::key | Rule::letter => "item",
        Rule::WHITESPACE | Rule::COMMENT => "space",
    }
}

/// Translates an error's line by the preprocessor's markers (`# 12 "file"`).
fn place_in_original(mut error: PestError<Rule>, origin: &Path, text: &str) -> PestError<Rule> {
    let (LineColLocation::Pos((line, _)) | LineColLocation::Span((line, _), _)) = error.line_col;
    let mut file = origin.to_string_lossy().into_owned();
    let mut original = line;
    for (number, content) in text.lines().enumerate().take(line.saturating_sub(1)) {
        let Some((first, rest)) = content
            .strip_prefix("# ")
            .and_then(|marker| marker.split_once(" \""))
        else {
            continue;
        };
        if let (Ok(first), Some((name, _))) = (first.parse::<usize>(), rest.split_once('"')) {
            // The marker speaks of the line after it, which is line `number + 2` here.
            original = first + line - (number + 2);
            name.clone_into(&mut file);
        }
    }
    let shift = |position: &mut (usize, usize)| position.0 = position.0 + original - line;
    match &mut error.line_col {
        LineColLocation::Pos(position) => shift(position),
        LineColLocation::Span(start, end) => {
            shift(start);
            shift(end);
        }
    }
    error.with_path(&file)
}

/// `base W(V,S)`.
#[derive(Clone, Copy)]
struct Base {
    word_bits: u32,
    /// Bits of the values that high fields hold.
    value_bits: u32,
    sign_extended: bool,
}

/// A block whose fields are known by width only, since a union's base may yet apply.
struct Draft<'i> {
    place: Pair<'i, Rule>,
    name: String,
    base: Base,
    bits: u32,
    fields: Vec<DraftField>,
    arguments: Vec<usize>,
}

struct DraftField {
    name: String,
    offset: u32,
    width: u32,
    high: bool,
}

type Outcome<T> = Result<T, PestError<Rule>>;

fn wrong<T>(place: &Pair<'_, Rule>, message: impl Into<String>) -> Outcome<T> {
    Err(PestError::new_from_span(
        ErrorVariant::CustomError {
            message: message.into(),
        },
        place.as_span(),
    ))
}

fn resolve<'i>(items: impl Iterator<Item = Pair<'i, Rule>>) -> Outcome<Specification> {
    let mut base = None;
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut unions = Vec::new();
    let mut names = HashSet::new();
    for item in items {
        match item.as_rule() {
            Rule::base => base = Some(read_base(item)?),
            Rule::block | Rule::tagged_union => {
                let Some(base) = base else {
                    return wrong(&item, "no `base` before this");
                };
                let mut inner = item.clone().into_inner();
                inner.next();
                if let Some(name) = inner.next()
                    && !names.insert(name.as_str())
                {
                    return wrong(&name, "a second block or union of this name");
                }
                if item.as_rule() == Rule::block {
                    drafts.push(read_block(item, base)?);
                } else {
                    unions.push((item, base));
                }
            }
            _ => {}
        }
    }

    let mut taken = HashSet::new();
    let unions = unions
        .into_iter()
        .map(|(item, base)| read_union(item, base, &drafts, &mut taken))
        .collect::<Outcome<_>>()?;
    let blocks = drafts
        .iter()
        .filter(|draft| !taken.contains(draft.name.as_str()))
        .map(|draft| draft.lay_out(draft.base))
        .collect::<Outcome<_>>()?;
    Ok(Specification { blocks, unions })
}

fn read_number(pair: &Pair<'_, Rule>) -> Outcome<u64> {
    let text = pair.as_str();
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
    .or_else(|_| wrong(pair, "this number is too large"))
}

/// A number of bits. The limit is far above any block, far below overflow.
fn read_width(pair: &Pair<'_, Rule>) -> Outcome<u32> {
    match u32::try_from(read_number(pair)?) {
        Ok(width) if (1..=65_536).contains(&width) => Ok(width),
        _ => wrong(pair, "a number of bits from 1 to 65536 is needed"),
    }
}

fn read_base(item: Pair<'_, Rule>) -> Outcome<Base> {
    let numbers = item
        .clone()
        .into_inner()
        .skip(1)
        .map(|pair| read_number(&pair))
        .collect::<Outcome<Vec<_>>>()?;
    let (word_bits, value_bits, sign) = match numbers[..] {
        [word] => (word, word, 0),
        [word, value, sign] => (word, value, sign),
        _ => return wrong(&item, "`base` needs one number or three"),
    };
    if word_bits != 32 && word_bits != 64 {
        return wrong(&item, "words have 32 or 64 bits");
    }
    if value_bits == 0
        || value_bits > word_bits
        || sign > 1
        || (sign == 1 && value_bits == word_bits)
    {
        return wrong(
            &item,
            "the values must fit the words, and the sign flag is 0 or 1",
        );
    }
    Ok(Base {
        word_bits: word_bits as u32,
        value_bits: value_bits as u32,
        sign_extended: sign == 1,
    })
}

fn read_block(item: Pair<'_, Rule>, base: Base) -> Outcome<Draft<'_>> {
    let mut name = String::new();
    let mut order = None;
    let mut entries: Vec<(&str, u32, u32, bool, Pair<'_, Rule>)> = Vec::new();
    let mut bits = 0;
    for part in item.clone().into_inner().skip(1) {
        match part.as_rule() {
            Rule::name => part.as_str().clone_into(&mut name),
            Rule::order => order = Some(part),
            Rule::padding => {
                for width in part.into_inner().skip(1) {
                    bits += read_width(&width)?;
                }
            }
            rule => {
                let mut inner = part.clone().into_inner().skip(1);
                let (Some(field), Some(width)) = (inner.next(), inner.next()) else {
                    return wrong(&part, "a field needs a name and a width");
                };
                if entries.iter().any(|(other, ..)| *other == field.as_str()) {
                    return wrong(&field, "a second field of this name");
                }
                let width = read_width(&width)?;
                bits += width;
                entries.push((field.as_str(), bits, width, rule == Rule::field_high, part));
            }
        }
    }
    if bits == 0 || bits % base.word_bits != 0 {
        return wrong(
            &item,
            format!(
                "block {name} has {bits} bits, which is no multiple of its word, {} bits",
                base.word_bits
            ),
        );
    }

    let mut fields = Vec::new();
    for (name, end, width, high, place) in entries {
        let offset = bits - end;
        if offset / base.word_bits != (offset + width - 1) / base.word_bits {
            return wrong(&place, format!("field {name} lies across two words"));
        }
        fields.push(DraftField {
            name: name.to_owned(),
            offset,
            width,
            high,
        });
    }

    let arguments = match order {
        None => (0..fields.len()).collect(),
        Some(order) => {
            let mut arguments = Vec::new();
            for argument in order.clone().into_inner() {
                match fields
                    .iter()
                    .position(|field| field.name == argument.as_str())
                {
                    Some(index) if !arguments.contains(&index) => arguments.push(index),
                    Some(_) => return wrong(&argument, "named twice"),
                    None => return wrong(&argument, "the block has no field of this name"),
                }
            }
            if arguments.len() != fields.len() {
                return wrong(&order, "the order must name every field");
            }
            arguments
        }
    };
    Ok(Draft {
        place: item,
        name,
        base,
        bits,
        fields,
        arguments,
    })
}

fn read_union<'i>(
    item: Pair<'i, Rule>,
    base: Base,
    drafts: &[Draft<'i>],
    taken: &mut HashSet<&'i str>,
) -> Outcome<TaggedUnion> {
    let mut parts = item.clone().into_inner().skip(1);
    let (Some(name), Some(tag_name)) = (parts.next(), parts.next()) else {
        return wrong(&item, "a union needs a name and the name of its tag");
    };
    let mut tag: Option<Field> = None;
    let mut words = 0;
    let mut members: Vec<Member> = Vec::new();
    for part in parts {
        let mut inner = part.clone().into_inner().skip(1);
        let (Some(member), Some(value_place)) = (inner.next(), inner.next()) else {
            return wrong(&part, "a tag needs a name and a value");
        };
        let Some(draft) = drafts.iter().find(|draft| draft.name == member.as_str()) else {
            return wrong(&member, "there is no block of this name");
        };
        if draft.base.word_bits != base.word_bits {
            return wrong(&member, "its words differ from those of the union");
        }
        let block = draft.lay_out(base)?;
        let Some(own_tag) = block
            .fields
            .iter()
            .find(|field| field.name == tag_name.as_str())
        else {
            return wrong(&member, format!("it has no field {}", tag_name.as_str()));
        };
        if draft
            .fields
            .iter()
            .any(|field| field.high && field.name == own_tag.name)
        {
            return wrong(&member, "its tag is a high field");
        }
        match &tag {
            Some(tag) if tag != own_tag => {
                return wrong(&member, "its tag lies elsewhere than those before it");
            }
            Some(_) if words != block.words => {
                return wrong(&member, "its size differs from those before it");
            }
            Some(_) => {}
            None => {
                words = block.words;
                tag = Some(own_tag.clone());
            }
        }
        let value = read_number(&value_place)?;
        if value & !own_tag.value_mask != 0 {
            return wrong(&value_place, "too large for the tag");
        }
        if members.iter().any(|other| other.value == value) {
            return wrong(&value_place, "a second member with this value");
        }
        if !taken.insert(member.as_str()) {
            return wrong(&member, "it is a member already");
        }
        members.push(Member { value, block });
    }
    let Some(tag) = tag else {
        return wrong(&item, "a union needs members");
    };
    Ok(TaggedUnion {
        name: name.as_str().to_owned(),
        tag,
        word_bits: base.word_bits,
        words,
        members,
    })
}

impl Draft<'_> {
    /// Computes where each field lies; high fields depend on the base.
    fn lay_out(&self, base: Base) -> Outcome<Block> {
        let fields = self
            .fields
            .iter()
            .map(|field| {
                let ones = u64::MAX >> (64 - field.width);
                let position = field.offset % base.word_bits;
                // The lowest bit of a value that is kept.
                let lowest = if field.high {
                    match base.value_bits.checked_sub(field.width) {
                        Some(lowest) => lowest,
                        None => {
                            return wrong(
                                &self.place,
                                format!("high field {} is wider than its values", field.name),
                            );
                        }
                    }
                } else {
                    0
                };
                let word = u64::MAX >> (64 - base.word_bits);
                let extension = (field.high && base.sign_extended).then(|| Extension {
                    sign_bit: 1 << (base.value_bits - 1),
                    high_bits: word & (u64::MAX << base.value_bits),
                });
                Ok(Field {
                    name: field.name.clone(),
                    word: (field.offset / base.word_bits) as usize,
                    mask: ones << position,
                    value_mask: ones << lowest,
                    shift: position as i32 - lowest as i32,
                    extension,
                })
            })
            .collect::<Outcome<_>>()?;
        Ok(Block {
            name: self.name.clone(),
            word_bits: base.word_bits,
            words: (self.bits / base.word_bits) as usize,
            fields,
            arguments: self.arguments.clone(),
        })
    }
}
