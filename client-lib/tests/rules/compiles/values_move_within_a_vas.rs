// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is in a VAS is taken out of its place, exchanged and put back during a stay.

use client_lib::{DataError, Writer};
use storage::{Store, VasBox};

#[derive(Store)]
pub struct Link<'v> {
    number: u64,
    before: Option<VasBox<'v, Link<'v>>>,
}

pub fn turn_round(writer: &Writer<Option<Link>>) -> Result<(), DataError> {
    writer.enter(|mut inside| {
        let heap = inside.heap();
        let mut old = inside
            .root_mut()
            .take()
            .map(|link| VasBox::new_in(link, heap));
        let mut new = None;
        while let Some(mut link) = old {
            old = core::mem::replace(&mut link.before, new);
            link.number += 1;
            new = Some(link);
        }
        *inside.root_mut() = new.map(VasBox::into_inner);
    })
}
