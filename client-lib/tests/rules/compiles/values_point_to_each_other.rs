// SPDX-License-Identifier: MIT OR Apache-2.0

//! Pointers within a VAS are stored there, owning and others.

use client_lib::{DataError, Writer};
use storage::{Heap, OutOfVas, Store, VasBox, VasPtr, VasVec};

#[derive(Store)]
pub struct Person<'v> {
    age: u32,
    children: VasVec<'v, VasBox<'v, Person<'v>>>,
    youngest: Option<VasPtr<'v, Person<'v>>>,
}

fn born<'v>(parent: &mut Person<'v>, heap: Heap<'v>) -> Result<(), OutOfVas> {
    let child = Person {
        age: 0,
        children: VasVec::new_in(heap),
        youngest: None,
    };
    let child = VasBox::new_in(child, heap);
    parent.youngest = Some(VasPtr::new(&*child, heap)?);
    parent.children.push(child);
    Ok(())
}

pub fn change(writer: &Writer<Person>) -> Result<Result<(), OutOfVas>, DataError> {
    writer.enter(|mut inside| {
        let heap = inside.heap();
        born(inside.root_mut(), heap)?;
        for child in &mut inside.root_mut().children {
            child.age += 1;
            born(child, heap)?;
        }
        Ok(())
    })
}
