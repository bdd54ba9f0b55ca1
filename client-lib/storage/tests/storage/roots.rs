// SPDX-License-Identifier: MIT OR Apache-2.0

#![expect(dead_code, reason = "types that are looked at only")]

use storage::{HeapError, Shape, Store, VasBox, VasVec};

use crate::memory::Segment;

mod one {
    use super::*;

    #[derive(Store)]
    pub struct Book<'v> {
        pub pages: u32,
        pub next: Option<VasBox<'v, Book<'v>>>,
    }

    #[derive(Store)]
    pub enum State {
        Lent { to: u32 },
        Lost,
    }
}

/// The same definitions in another place, as another program has them.
mod same {
    use super::*;

    #[derive(Store)]
    pub struct Book<'v> {
        pub pages: u32,
        pub next: Option<VasBox<'v, Book<'v>>>,
    }

    #[derive(Store)]
    pub enum State {
        Lent { to: u32 },
        Lost,
    }
}

mod other_type {
    use super::*;

    #[derive(Store)]
    pub struct Book<'v> {
        pub pages: i32,
        pub next: Option<VasBox<'v, Book<'v>>>,
    }

    #[derive(Store)]
    pub enum State {
        Lent { to: i32 },
        Lost,
    }
}

mod other_name {
    use super::*;

    #[derive(Store)]
    pub struct Book<'v> {
        pub price: u32,
        pub next: Option<VasBox<'v, Book<'v>>>,
    }

    #[derive(Store)]
    pub enum State {
        Lost,
        Lent { to: u32 },
    }
}

#[test]
fn the_same_definition_has_the_same_shape_wherever_it_is() {
    assert_eq!(Shape::of::<one::Book>(), Shape::of::<same::Book>());
    assert_eq!(Shape::of::<one::State>(), Shape::of::<same::State>());
}

#[test]
fn another_definition_has_another_shape() {
    let books = [
        Shape::of::<one::Book>(),
        Shape::of::<other_type::Book>(),
        Shape::of::<other_name::Book>(),
    ];
    let states = [
        Shape::of::<one::State>(),
        Shape::of::<other_type::State>(),
        Shape::of::<other_name::State>(),
    ];
    for shapes in [books, states] {
        assert!(shapes[0] != shapes[1] && shapes[0] != shapes[2] && shapes[1] != shapes[2]);
    }
}

/// Definitions of the same names and sizes that mean something else.
mod as_it_was {
    use super::*;

    #[derive(Store)]
    pub enum State {
        Lent = 1,
        Lost = 2,
    }

    #[derive(Store)]
    pub struct Book {
        pub lent: u8,
        pub pages: u16,
    }
}

mod renumbered {
    use super::*;

    #[derive(Store)]
    pub enum State {
        Lent = 2,
        Lost = 3,
    }

    #[derive(Store)]
    #[repr(C)]
    pub struct Book {
        pub lent: u8,
        pub pages: u16,
    }
}

#[test]
fn other_numbers_of_variants_and_another_order_of_fields_have_another_shape() {
    assert_eq!(size_of::<as_it_was::Book>(), size_of::<renumbered::Book>());
    assert_ne!(
        Shape::of::<as_it_was::Book>(),
        Shape::of::<renumbered::Book>()
    );
    assert_ne!(
        Shape::of::<as_it_was::State>(),
        Shape::of::<renumbered::State>()
    );
}

#[test]
fn what_lies_behind_pointers_counts_too() {
    type Through<T> = VasVec<'static, (u8, VasBox<'static, T>)>;
    assert_eq!(
        Shape::of::<Through<one::Book>>(),
        Shape::of::<Through<same::Book>>()
    );
    assert_ne!(
        Shape::of::<Through<one::Book>>(),
        Shape::of::<Through<other_type::Book>>()
    );
}

#[test]
fn a_root_of_another_type_is_refused() {
    let segment = Segment::new(1 << 16);
    segment
        .build::<one::Book>("s", |_| one::Book {
            pages: 1,
            next: None,
        })
        .unwrap();
    let same = segment.read::<same::Book, _>(|inside| inside.root().pages);
    assert_eq!(same, Ok(1));
    let expected = Shape::of::<other_name::Book>();
    let found = Shape::of::<one::Book>();
    let refused = segment.read::<other_name::Book, _>(|_| ());
    assert_eq!(refused, Err(HeapError::OtherRoot { expected, found }));
}
