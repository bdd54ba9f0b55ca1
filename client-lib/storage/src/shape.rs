// SPDX-License-Identifier: MIT OR Apache-2.0

//! A number for how a type lies in memory.

use core::any::type_name;
use core::hash::Hasher;

use fnv::FnvHasher;

use crate::{Root, Store};

/// Different composite types that a root may be made of.
const TYPES: usize = 128;

/// What is written down of a type: names, sizes and order of all that it is made of, through
/// pointers too.
///
/// Two programs with the same definitions get the same number for them; who has changed a
/// definition gets another, so that data are never read as what they are not.
pub struct Shape {
    hasher: FnvHasher,
    /// The composite types that have begun, by which those that contain themselves end.
    seen: heapless::Vec<&'static str, TYPES>,
}

impl Shape {
    /// The number for a root.
    ///
    /// # Panics
    /// If it is made of more than 128 different types.
    pub fn of<R: Root>() -> u64 {
        let mut shape = Shape {
            hasher: FnvHasher::default(),
            seen: heapless::Vec::new(),
        };
        // Which lifetime is chosen makes no difference.
        R::At::<'static>::describe(&mut shape);
        shape.hasher.finish()
    }

    /// Writes down a type that has no parts.
    pub fn primitive<T>(&mut self, name: &str) {
        self.text(name);
        self.hasher.write_usize(size_of::<T>());
        self.hasher.write_usize(align_of::<T>());
    }

    /// Writes down a type whose parts `describe` writes down.
    pub fn composite<T>(&mut self, name: &str, describe: impl FnOnce(&mut Shape)) {
        // Programs may have the same type under different paths, so the path tells types apart
        // here, but is not written down.
        let path = type_name::<T>();
        if let Some(position) = self.seen.iter().position(|&seen| seen == path) {
            self.hasher.write_usize(position);
            return;
        }
        assert!(self.seen.push(path).is_ok(), "a root of too many types");
        self.primitive::<T>(name);
        describe(self);
        self.text("end");
    }

    /// Writes down what the next field or variant of a composite type is called.
    pub fn part(&mut self, name: &str) {
        self.text(name);
    }

    /// Writes down the number that stands for a variant.
    pub fn number(&mut self, number: i128) {
        self.hasher.write_i128(number);
    }

    fn text(&mut self, text: &str) {
        self.hasher.write(text.as_bytes());
        // No text contains it.
        self.hasher.write_u8(0xff);
    }
}
