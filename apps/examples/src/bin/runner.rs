// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the examples, one after the other, and says of each whether it does what it shows.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;

use anyhow::{Context, Result, ensure};
use client_lib::raw;
use protocol::process::ExitStatus;
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

/// All of them.
const EXAMPLES: &[Example] = &[Example {
    name: "row_17_the_program_of_figure_4_runs_and_another_process_reads_what_it_wrote",
    run: row_17_the_program_of_figure_4_runs_and_another_process_reads_what_it_wrote,
}];

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
    must_end("figure4", 0)?;
    must_end("figure4-reader", 42)?;
    raw::vas_delete(raw::vas_find("v0")?).context("deleting the VAS")?;
    raw::seg_free(raw::seg_find("s0")?).context("freeing the segment")?;
    Ok(())
}

/// Starts a component, waits for its end, and checks how it ended.
fn must_end(component: &str, code: i32) -> Result<()> {
    let child = process::spawn(component, "").with_context(|| format!("starting {component}"))?;
    let status = process::wait(child).with_context(|| format!("waiting for {component}"))?;
    ensure!(
        status == ExitStatus::Exited(code),
        "{component} ended with {status:?} instead of {code}"
    );
    Ok(())
}
