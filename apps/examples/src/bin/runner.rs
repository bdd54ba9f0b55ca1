// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the examples, one after the other, and says of each whether it does what it shows.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use anyhow::{Context, Result, ensure};
use client_lib::raw;
use protocol::process::{ExitStatus, ProcessId};
use runtime::{println, process};

/// Enough for an error.
const HEAP_BYTES: usize = 1 << 14;

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

/// An example.
struct Example {
    /// What it shows, as a sentence.
    name: &'static str,
    /// Runs its programs.
    run: fn() -> Result<()>,
}

/// Makes examples of functions, named as these are.
macro_rules! examples {
    ($($function:ident),* $(,)?) => {
        &[$(Example { name: stringify!($function), run: $function }),*]
    };
}

/// All of them.
const EXAMPLES: &[Example] = examples![
    row_17_the_program_of_figure_4_runs_and_another_process_reads_what_it_wrote,
    row_1_a_table_is_larger_than_the_window_that_it_is_seen_through,
    row_2_a_tree_outlives_the_processes_that_build_it_and_is_followed_as_it_is,
    row_3_processes_share_a_book_that_grows_without_a_server_between_them,
];

fn main() -> i32 {
    let mut failed = 0;
    for &Example { name, run } in EXAMPLES {
        match leaves_nothing(run) {
            Ok(()) => println!("test {name} ... ok"),
            Err(error) => {
                println!("test {name} ... FAILED: {error:#}");
                failed += 1;
            }
        }
    }
    failed
}

/// Runs an example, and compares what the server has before and after.
fn leaves_nothing(run: fn() -> Result<()>) -> Result<()> {
    let before = client_lib::settle().context("asking the server")?;
    run()?;
    let after = client_lib::settle().context("asking the server")?;
    ensure!(
        after == before,
        "the server has not got everything back: {before:?} before, {after:?} after"
    );
    Ok(())
}

fn row_17_the_program_of_figure_4_runs_and_another_process_reads_what_it_wrote() -> Result<()> {
    must_end("figure4", "", 0)?;
    must_end("figure4-reader", "", 42)?;
    raw::vas_delete(raw::vas_find("v0")?).context("deleting the VAS")?;
    raw::seg_free(raw::seg_find("s0")?).context("freeing the segment")?;
    Ok(())
}

fn row_1_a_table_is_larger_than_the_window_that_it_is_seen_through() -> Result<()> {
    must_end("windows", "", 0)
}

fn row_2_a_tree_outlives_the_processes_that_build_it_and_is_followed_as_it_is() -> Result<()> {
    must_end("dictionary", "add 0 300", 0)?;
    must_end("dictionary", "add 300 100000", 0)?;
    must_end("dictionary-reader", "complete se", 0)?;
    must_end("dictionary-reader", "complete xyz", 0)?;
    must_end("dictionary", "delete", 0)
}

fn row_3_processes_share_a_book_that_grows_without_a_server_between_them() -> Result<()> {
    const SHOPS: usize = 5;
    const ORDERS: usize = 200;
    let mut shops = Vec::new();
    for shop in 0..SHOPS {
        shops.push(start("orders", &format!("shop shop{shop} {ORDERS}"))?);
    }
    for shop in shops {
        ends("orders", shop, 0)?;
    }
    must_end("orders", &format!("check {SHOPS} {ORDERS}"), 0)
}

fn start(component: &str, arguments: &str) -> Result<ProcessId> {
    process::spawn(component, arguments).with_context(|| format!("starting {component}"))
}

/// Waits for the end of a process, and checks how it ended.
fn ends(component: &str, child: ProcessId, code: i32) -> Result<()> {
    let status = process::wait(child).with_context(|| format!("waiting for {component}"))?;
    ensure!(
        status == ExitStatus::Exited(code),
        "{component} ended with {status:?} instead of {code}"
    );
    Ok(())
}

/// Runs a component, and checks how it ended.
fn must_end(component: &str, arguments: &str, code: i32) -> Result<()> {
    ends(component, start(component, arguments)?, code)
}
