// SPDX-License-Identifier: MIT OR Apache-2.0

//! What may be stored.

use core::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64,
};
use core::time::Duration;

use allocator_api2::vec::Vec;

use crate::{Heap, Shape};

/// Types that may be stored in a VAS (paper section 3.3: "a VAS should not store a pointer that
/// points to another VAS", nor one to the common region of a process).
///
/// `'v` is the lifetime of one stay in the VAS, which its pointers have: a value with pointers
/// into one VAS may not be stored in another, since the lifetimes differ.
///
/// Derived, it is implemented for types all of whose fields may be stored:
///
/// ```
/// #![forbid(unsafe_code)]
/// use storage::{Store, VasBox, VasVec};
///
/// #[derive(Store)]
/// struct Book<'v> {
///     pages: u32,
///     next: Option<VasBox<'v, Book<'v>>>,
///     lent_to: VasVec<'v, u64>,
/// }
/// ```
///
/// # Safety
/// A value holds no address but of memory of the VAS; means the same to any process, so nothing
/// that depends on the program, such as functions; cannot be changed through a shared reference;
/// and [`describe`](Store::describe) writes down all that it is made of.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not be stored in a VAS",
    label = "may point out of the VAS, or mean something in this process only",
    note = "numbers, `VasBox`, `VasPtr`, `CheckedPtr`, `VasVec`, `VasString` and the other \
            collections of a VAS may be stored, and types made of them with `#[derive(Store)]`",
    note = "references, functions, and `String`, `Vec` and `Box` of the private heap may not, nor \
            may cells and atomics, which change through what may only be read"
)]
pub unsafe trait Store<'v>: Sized {
    /// Writes down how the type lies in memory.
    fn describe(shape: &mut Shape);
}

/// Types of which a value can be the root of a heap in a VAS, by which others find all the rest.
///
/// For a type with a lifetime it is implemented whatever the lifetime is: `Root` names the type
/// outside of the VAS, [`At`](Root::At) is what there is during a stay in it.
/// `#[derive(Store)]` implements it for types without type parameters.
#[diagnostic::on_unimplemented(
    message = "`{Self}` may not be the root of a VAS",
    label = "no root",
    note = "a root may be of a type with `#[derive(Store)]` that has no type parameters, a number, \
            or an option, array, tuple, `VasBox` or collection of such"
)]
pub trait Root {
    /// The type during a stay.
    type At<'v>: Store<'v>;
}

// What messages need not list, as the notes above name it, is not recommended.

macro_rules! primitive {
    ($($type:ty),* $(,)?) => {
        $(
            // SAFETY: plain values without addresses.
            #[diagnostic::do_not_recommend]
            unsafe impl Store<'_> for $type {
                fn describe(shape: &mut Shape) {
                    shape.primitive::<Self>(stringify!($type));
                }
            }

            #[diagnostic::do_not_recommend]
            impl Root for $type {
                type At<'v> = $type;
            }
        )*
    };
}

primitive!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    NonZeroU8,
    NonZeroU16,
    NonZeroU32,
    NonZeroU64,
    NonZeroI8,
    NonZeroI16,
    NonZeroI32,
    NonZeroI64,
    Duration,
);

// SAFETY: holds values that may be stored.
unsafe impl<'v, T: Store<'v>> Store<'v> for Option<T> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("Option", T::describe);
    }
}

// SAFETY: holds values that may be stored.
unsafe impl<'v, T: Store<'v>, E: Store<'v>> Store<'v> for Result<T, E> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("Result", |shape| {
            T::describe(shape);
            E::describe(shape);
        });
    }
}

// SAFETY: holds values that may be stored.
unsafe impl<'v, T: Store<'v>, const LENGTH: usize> Store<'v> for [T; LENGTH] {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("array", T::describe);
    }
}

macro_rules! tuple {
    ($($element:ident)*) => {
        // SAFETY: holds values that may be stored.
        #[diagnostic::do_not_recommend]
        unsafe impl<'v, $($element: Store<'v>),*> Store<'v> for ($($element,)*) {
            fn describe(shape: &mut Shape) {
                shape.composite::<Self>("tuple", |shape| {
                    $($element::describe(shape);)*
                });
            }
        }

        #[diagnostic::do_not_recommend]
        impl<$($element: Root),*> Root for ($($element,)*) {
            type At<'v> = ($($element::At<'v>,)*);
        }
    };
}

tuple!(A);
tuple!(A B);
tuple!(A B C);
tuple!(A B C D);
tuple!(A B C D E);
tuple!(A B C D E F);

// SAFETY: its memory is the heap's, and what it holds may be stored.
unsafe impl<'v, T: Store<'v>> Store<'v> for Vec<T, Heap<'v>> {
    fn describe(shape: &mut Shape) {
        shape.composite::<Self>("Vec", T::describe);
    }
}

impl<T: Root> Root for Option<T> {
    type At<'v> = Option<T::At<'v>>;
}

impl<T: Root, const LENGTH: usize> Root for [T; LENGTH] {
    type At<'v> = [T::At<'v>; LENGTH];
}

impl<T: Root> Root for Vec<T, Heap<'_>> {
    type At<'v> = Vec<T::At<'v>, Heap<'v>>;
}
