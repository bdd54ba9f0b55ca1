// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the tests, each in a process of its own, and says how each went.
//!
//! Without arguments this is the main component: it starts itself again for every test, so
//! that a test that panics, faults or forgets something fails alone, and compares what the
//! VAS server has left before and after.

#![no_std]
#![no_main]

extern crate alloc;

mod control;
mod data;
mod errors;
mod faults;
mod fixture;
mod harness;
mod ids;
mod locks;
mod malformed;
mod memory;
mod permissions;
mod placement;
mod processes;
mod registers;
mod rows;
mod rules;
mod segments;
mod sharing;
mod state;
mod switching;
mod threads;
mod vases;

use alloc::vec::Vec;

use crate::harness::Test;

runtime::heap!(512 << 10);
runtime::main!(main);

/// All tests, by theme.
const THEMES: &[&[Test]] = &[
    vases::TESTS,
    segments::TESTS,
    placement::TESTS,
    permissions::TESTS,
    control::TESTS,
    sharing::TESTS,
    errors::TESTS,
    switching::TESTS,
    ids::TESTS,
    locks::TESTS,
    data::TESTS,
    rules::TESTS,
    threads::TESTS,
    processes::TESTS,
    faults::TESTS,
    malformed::TESTS,
    memory::TESTS,
    rows::TESTS,
];

fn main() -> i32 {
    let info = runtime::start_info();
    let arguments: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    match *arguments {
        [] => harness::run_all(THEMES),
        ["case", name] => harness::run_one(THEMES, name),
        ["babble", seed] => malformed::babble(seed),
        ["start-and-leave", vas, base] => processes::start_and_leave(vas, base),
        ["start-and-wait", vas, base] => processes::start_and_wait(vas, base),
        _ => {
            runtime::println!("selftest: arguments not understood: {}", info.arguments);
            harness::FAILED
        }
    }
}
