// SPDX-License-Identifier: MIT OR Apache-2.0

//! Behaviours with data of known types.

use client_lib::DataVas;
use common::data::{self, Notes, OPTIONS, none};
use common::failure::check;
use common::segment_memory::{load, store};
use common::{Failure, Outcome};

/// Makes a VAS with notes.
pub fn create(vas: &str, count: u64) -> Outcome {
    data::create(vas)?;
    add(vas, count)
}

/// Notes the numbers from 0 on.
pub fn add(vas: &str, count: u64) -> Outcome {
    let writer = data::find(vas)?.writer()?;
    writer.enter(|mut inside| {
        let heap = inside.heap();
        for number in 0..count {
            inside.root_mut().add(number, heap);
        }
    })?;
    Ok(())
}

/// Adds 1 to the first number in two steps, with others running in between.
pub fn count(vas: &str, turns: u64) -> Outcome {
    let writer = data::find(vas)?.writer()?;
    for _ in 0..turns {
        writer.enter(|mut inside| {
            let before = inside.root().numbers[0];
            sel4::yield_now();
            inside.root_mut().numbers[0] = before + 1;
        })?;
    }
    Ok(())
}

/// Finds the numbers from 0 on.
pub fn read(vas: &str, count: u64) -> Outcome {
    let reader = data::find(vas)?.reader()?;
    let same = reader.enter(|inside| {
        let notes = inside.root();
        notes.numbers.iter().copied().eq(0..count) && notes.chain().eq((0..count).rev())
    })?;
    check(same, "the notes are others")
}

/// Notes one number in what some process has made.
pub fn find_or_create(vas: &str) -> Outcome {
    let data = DataVas::<Notes>::find_or_create(vas, OPTIONS, none)?;
    let writer = data.writer()?;
    writer.enter(|mut inside| {
        let heap = inside.heap();
        inside.root_mut().add(1, heap);
    })?;
    Ok(())
}

/// Ends while it writes.
pub fn die(vas: &str, how: &str) -> Outcome {
    let writer = data::find(vas)?.writer()?;
    writer.enter(|mut inside| {
        inside.root_mut().numbers.clear();
        match how {
            "panic" => panic!("on purpose"),
            "exit" => runtime::exit(0),
            // Until it is killed.
            _ => loop {
                sel4::yield_now();
            },
        }
    })?
}

/// Allocates through a collection that it may only read.
pub fn write_read_only(vas: &str) -> Outcome {
    let reader = data::find(vas)?.reader()?;
    reader.enter(|inside| inside.root().numbers.clone().len())?;
    Err(Failure::new("a copy was made where nothing can be written"))
}

/// Writes to what it may only read.
pub fn store_as_reader(vas: &str) -> Outcome {
    let reader = data::find(vas)?.reader()?;
    reader.enter(|inside| store(address_of(inside.root()), 1))?;
    Err(Failure::new("a reader has written"))
}

/// Follows a pointer when it has left the VAS, attached or no longer.
pub fn follow_outside(vas: &str, attachment: &str) -> Outcome {
    let reader = data::find(vas)?.reader()?;
    let address = reader.enter(|inside| address_of(inside.root()))?;
    if attachment == "dropped" {
        drop(reader);
    }
    load(address);
    Err(Failure::new("a segment is seen from outside"))
}

fn address_of<T>(value: &T) -> u64 {
    core::ptr::from_ref(value).expose_provenance() as u64
}

/// Visits another VAS from one, until there is a VAS called `go`.
pub fn visit(vas: &str, other: &str, go: &str) -> Outcome {
    let (here, there) = (data::find(vas)?.writer()?, data::find(other)?.writer()?);
    let go = alloc::string::String::from(go);
    here.enter(|mut inside| {
        there.enter_from(&mut inside, move |_| {
            while client_lib::vas_find(&go).is_err() {
                sel4::yield_now();
            }
        })
    })??;
    Ok(())
}
