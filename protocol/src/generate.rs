// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random values of any type of the protocol, for tests that send what no client would.
//!
//! The values are made through `serde`, as if they were read from somewhere: so every type that
//! can be decoded can be made, and a new operation needs nothing here.

use core::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::address_map::PAGE_BYTES;
use crate::message::{self, Operation, Request};
use crate::wire::{self, Words};

/// Elements of a list at most.
const ELEMENTS: u64 = 4;

/// Where values come from.
pub struct Generator<'a, F> {
    below: F,
    names: &'a [&'a str],
    numbers: Numbers<'a>,
    /// The field, or the type around a number, that is being made.
    place: &'static str,
}

/// Numbers that mean something, by the name of the field or of the type around them, as in
/// `("base", &[1 << 39])` or `("Mode", &[0o660])`. For all others any of them are taken.
pub type Numbers<'a> = &'a [(&'a str, &'a [u64])];

/// A type is not made of what the types of the protocol are made of, or refuses what it would
/// have to be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotMade;

impl fmt::Display for NotMade {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("no value of this type can be made")
    }
}

impl core::error::Error for NotMade {}

impl de::Error for NotMade {
    fn custom<T: fmt::Display>(_: T) -> Self {
        NotMade
    }
}

impl<'a, F: FnMut(u64) -> u64> Generator<'a, F> {
    /// `below` gives a random number below its argument; names are taken from `names`.
    pub fn new(below: F, names: &'a [&'a str], numbers: Numbers<'a>) -> Self {
        Generator {
            below,
            names,
            numbers,
            place: "",
        }
    }

    /// A value.
    ///
    /// # Errors
    /// [`NotMade`] if the type cannot be made, or refuses one of the names.
    pub fn value<'de, T: Deserialize<'de>>(&mut self) -> Result<T, NotMade> {
        T::deserialize(self)
    }

    /// The body of a request for this operation, and how many words it takes.
    ///
    /// # Errors
    /// As [`value`](Self::value), or if it does not fit into a message.
    pub fn body(&mut self, operation: Operation, words: &mut Words) -> Result<usize, NotMade> {
        struct Body<'b, G>(&'b mut G, &'b mut Words);

        impl<F: FnMut(u64) -> u64> message::Visitor for Body<'_, Generator<'_, F>> {
            type Output = Result<usize, NotMade>;

            fn visit<R: Request>(self) -> Self::Output {
                let request: R = self.0.value()?;
                wire::encode(&request, self.1).map_err(|_| NotMade)
            }
        }

        operation.visit(Body(self, words))
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.below)(bound)
    }

    fn one_of<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let index = self.below((from.len() as u64).max(1));
        from.get(index as usize).copied()
    }

    /// A number that is likely to matter: mostly one that means something, else one near it, a
    /// power of two, a small one, or any.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0..5 => self.known(),
            5 => {
                let near = self.known();
                near.wrapping_add(self.below(4) * PAGE_BYTES)
            }
            6 => match self.below(2) {
                0 => self.below(4),
                _ => 1 << self.below(64),
            },
            _ => self.below(u64::MAX),
        }
    }

    /// A number that means something here, if any does, or else somewhere.
    fn known(&mut self) -> u64 {
        let place = self.place;
        let here = self.numbers.iter().find(|(name, _)| *name == place);
        let known = here.copied().or_else(|| self.one_of(self.numbers));
        known
            .and_then(|(_, numbers)| self.one_of(numbers))
            .unwrap_or_default()
    }
}

/// Numbers: as many bits of one as fit.
macro_rules! numbers {
    ($($method:ident => $visit:ident as $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
            visitor.$visit(self.number() as $type)
        }
    )*};
}

impl<'de, F: FnMut(u64) -> u64> Deserializer<'de> for &mut Generator<'_, F> {
    type Error = NotMade;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NotMade> {
        Err(NotMade)
    }

    numbers! {
        deserialize_u8 => visit_u8 as u8;
        deserialize_u16 => visit_u16 as u16;
        deserialize_u32 => visit_u32 as u32;
        deserialize_u64 => visit_u64 as u64;
        deserialize_i8 => visit_i8 as i8;
        deserialize_i16 => visit_i16 as i16;
        deserialize_i32 => visit_i32 as i32;
        deserialize_i64 => visit_i64 as i64;
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        visitor.visit_bool(self.below(2) == 1)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        visitor.visit_str(self.one_of(self.names).ok_or(NotMade)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        match self.below(2) {
            0 => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        self.place = name;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotMade> {
        let left = self.below(ELEMENTS + 1) as usize;
        visitor.visit_seq(Elements {
            of: self,
            left,
            fields: &[],
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        visitor.visit_seq(Elements {
            of: self,
            left: length,
            fields: &[],
        })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        visitor.visit_seq(Elements {
            of: self,
            left: fields.len(),
            fields,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        let index = self.below(variants.len() as u64) as u32;
        visitor.visit_enum(Variant { of: self, index })
    }

    forward_to_deserialize_any! {
        i128 u128 f32 f64 char bytes byte_buf map identifier ignored_any
    }
}

struct Elements<'b, G> {
    of: &'b mut G,
    left: usize,
    /// Their names, if they have any.
    fields: &'static [&'static str],
}

impl<'de, F: FnMut(u64) -> u64> SeqAccess<'de> for Elements<'_, Generator<'_, F>> {
    type Error = NotMade;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, NotMade> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        if let Some((first, rest)) = self.fields.split_first() {
            self.of.place = first;
            self.fields = rest;
        }
        seed.deserialize(&mut *self.of).map(Some)
    }
}

struct Variant<'b, G> {
    of: &'b mut G,
    index: u32,
}

impl<'b, 'de, F: FnMut(u64) -> u64> EnumAccess<'de> for Variant<'b, Generator<'_, F>> {
    type Error = NotMade;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), NotMade> {
        let index: U32Deserializer<NotMade> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de, F: FnMut(u64) -> u64> VariantAccess<'de> for Variant<'_, Generator<'_, F>> {
    type Error = NotMade;

    fn unit_variant(self) -> Result<(), NotMade> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, NotMade> {
        seed.deserialize(self.of)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        self.of.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NotMade> {
        self.of.deserialize_struct("", fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::WORDS;

    /// Counts through all numbers, which is random enough here.
    fn generator(names: &'static [&'static str]) -> Generator<'static, impl FnMut(u64) -> u64> {
        let mut state = 0u64;
        let below = move |bound| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 32) % bound
        };
        Generator::new(below, names, &[("base", &[1 << 39]), ("Mode", &[0o660])])
    }

    struct Decodes<'a>(&'a [u64]);

    impl message::Visitor for Decodes<'_> {
        type Output = bool;

        fn visit<R: Request>(self) -> bool {
            wire::decode::<R>(self.0).is_ok()
        }
    }

    #[test]
    fn every_request_can_be_made_and_decodes() {
        let mut generator = generator(&["a", "another"]);
        for &operation in Operation::ALL {
            for _ in 0..100 {
                let mut words = [0; WORDS];
                let length = generator.body(operation, &mut words).unwrap();
                assert!(operation.visit(Decodes(&words[..length])), "{operation:?}");
            }
        }
    }

    #[test]
    fn numbers_that_mean_something_are_taken_where_they_do() {
        let mut generator = generator(&["a"]);
        let made = [(); 100].map(|()| generator.value::<message::SegAlloc>().unwrap());
        let count = |holds: fn(&message::SegAlloc) -> bool| {
            made.iter().filter(|request| holds(request)).count()
        };
        assert!(count(|request| request.base == message::Base::At(1 << 39)) > 10);
        assert!(count(|request| request.mode.0 == 0o660) > 40);
        assert!(count(|request| request.size == 1 << 39) < 50);
    }

    #[test]
    fn a_choice_is_made_among_all_that_there_are() {
        let mut generator = generator(&["a"]);
        let mut commands = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let command: message::VasCommand = generator.value().unwrap();
            let text = std::format!("{command:?}");
            commands.insert(text.split(['{', '8']).next().unwrap().to_owned());
        }
        for part in ["Mode", "Owner", "Creator", "LastAttacher", "Evict", "true"] {
            let found = commands.iter().any(|command| command.contains(part));
            assert!(found, "{part} is not among {commands:?}");
        }
    }

    #[test]
    fn a_name_that_is_none_is_not_made() {
        let made = generator(&["\n"]).value::<message::VasFind>();
        assert_eq!(made, Err(NotMade));
    }
}
