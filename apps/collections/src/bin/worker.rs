// SPDX-License-Identifier: MIT OR Apache-2.0

//! Works on the data until all is done, or it is killed.
//!
//! `work WORKER SEED HOW`: does a few operations in each stay, and compares what came of them with
//! its own copy of everything, which does what the others did in between. With HOW `yields` it lets
//! others run time and again, also while it is inside; with `runs` only when its time is over.
//! `read`: only compares. `iterate`: reads the table of two programs.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;

use client_lib::{Access, DataError, DataVas};
use collections::board::{self, State};
use collections::content::{Content, Model};
use collections::{DATA, WRONG, operation, table};
use common::calls::{detach, inside};
use common::failure::{check, check_equal};
use common::{Failure, Outcome};
use fastrand::Rng;
use storage::{Heap, VasBox};

runtime::heap!(2 << 20);
runtime::main!(main);

/// The most operations in one stay.
const MOST: u64 = 16;
/// Everything is compared in one of so many stays.
const WHOLE: u32 = 500;
/// A worker that yields does so in one of so many stays, and while it is inside.
const YIELD: u32 = 16;
/// Pieces that a worker that does not yield allocates beside each operation.
const CHURN: u32 = 8;
/// How often who only reads lets others run before it looks again.
const READER_YIELDS: u32 = 6;
/// It compares more often than that.
const LEAST_COMPARED: u32 = 5;

fn main() -> i32 {
    let info = runtime::start_info();
    let words: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    let outcome = match *words {
        ["work", worker, seed, how] => work(worker, seed, how == "yields"),
        ["read"] => read(),
        ["iterate"] => iterate(),
        _ => Err(Failure::new("no such behaviour")),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("worker {}: {failure}", info.arguments);
            WRONG
        }
    }
}

fn work(worker: &str, seed: &str, yields: bool) -> Outcome {
    let worker: u64 = worker.parse()?;
    let mut random = Rng::with_seed(seed.parse()?);
    let data = DataVas::<Content>::find(DATA)?;
    let writer = data.writer()?;
    let board = board::attach()?;
    let mut model: Option<Model> = None;
    let mut answers = Vec::with_capacity(MOST as usize);
    loop {
        let most = random.u64(1..=MOST);
        let whole = random.u32(..WHOLE) == 0;
        let yields_inside = yields && random.u32(..YIELD) == 0;
        answers.clear();
        let stay = writer.enter(|mut inside| {
            board::enter(worker, State::Inside);
            let heap = inside.heap();
            let content = inside.root_mut();
            let first = content.done;
            check_equal("operations done", first, board::committed())?;
            // Who comes later begins with what is there. The others compare that.
            let model = model.get_or_insert_with(|| Model::of(content));
            if whole {
                model.catch_up(first);
                if let Some(what) = content.difference(model) {
                    return Err(Failure::new(format!("after {first}: the {what} differs")));
                }
            }
            if yields_inside {
                sel4::yield_now();
            }
            let count = most.min(board::end().saturating_sub(first));
            for number in first..first + count {
                answers.push(operation::on_content(content, number, heap));
                content.done = number + 1;
                if !yields {
                    churn(heap, number);
                }
            }
            content.shares[worker as usize] += count;
            if content.last != worker {
                content.last = worker;
                content.turns += 1;
            }
            board::commit(content.done);
            board::enter(worker, State::Between);
            Ok(first)
        });
        let first = match stay {
            Err(DataError::Inconsistent) => {
                writer.rebuild_inconsistent(|heap| {
                    board::enter(worker, State::Inside);
                    let model = model.get_or_insert_default();
                    model.catch_up(board::committed());
                    let content = Content::of(model, heap);
                    board::rebuild();
                    board::enter(worker, State::Between);
                    content
                })?;
                continue;
            }
            stay => stay??,
        };
        let model = model.as_mut().ok_or_else(|| Failure::new("no model"))?;
        inside(&board, || {
            board::enter(worker, State::Outside);
            model.catch_up(first);
            for (number, &answer) in (first..).zip(&answers) {
                if model.step() != answer {
                    let what = format!("operation {number} has another result");
                    return Err(Failure::new(what));
                }
            }
            if yields && random.u32(..YIELD) == 0 {
                sel4::yield_now();
            }
            board::enter(worker, State::Between);
            Ok(())
        })?;
        if answers.is_empty() {
            return Ok(detach(board)?);
        }
    }
}

/// Allocates and frees, so that more of those that are killed die in the allocator.
fn churn(heap: Heap<'_>, number: u64) {
    for _ in 0..CHURN {
        black_box(VasBox::new_in([number; 4], heap));
    }
}

fn read() -> Outcome {
    let data = DataVas::<Content>::find(DATA)?;
    let reader = data.reader()?;
    let mut model = Model::default();
    let mut compared = 0;
    loop {
        let stay = reader.enter(|inside| {
            let content = inside.root();
            if content.done != model.done {
                model.catch_up(content.done);
                compared += 1;
            }
            match content.difference(&model) {
                Some(what) => Err(Failure::new(format!(
                    "after {}: the {what} differs",
                    model.done
                ))),
                None => Ok(model.done >= board::end()),
            }
        });
        match stay {
            // It may not rebuild.
            Err(DataError::Inconsistent) => {}
            stay => {
                if stay?? {
                    runtime::println!(
                        "collections: compared as a whole {compared} times by who only reads"
                    );
                    return check(compared > LEAST_COMPARED, "seldom compared");
                }
            }
        }
        for _ in 0..READER_YIELDS {
            sel4::yield_now();
        }
    }
}

fn iterate() -> Outcome {
    let data = DataVas::<table::Table>::find(table::NAME)?;
    let refused = client_lib::vas_attach(data.vas(), Access::ReadWrite);
    check(refused.is_err(), "who may only read was let in to write")?;
    let reader = data.reader()?;
    let (before, after) = (table::expected(2), table::expected(3));
    reader.enter(|inside| {
        inside.root().check(&before)?;
        while !board::may_leave() {
            inside.root().check(&before)?;
            sel4::yield_now();
        }
        inside.root().check(&before)
    })??;
    // Who waited is let in first.
    reader.enter(|inside| inside.root().check(&after))?
}
