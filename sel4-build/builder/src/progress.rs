// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tells the user what takes long.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Steps that take less say nothing when they end.
const WORTH_TELLING: Duration = Duration::from_secs(1);

/// Runs a step, telling its name, what it does, and how long it took if that was long.
pub fn step<T>(name: &str, doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    eprintln!("{name}: {doing}");
    let start = Instant::now();
    let result = work()?;
    let took = start.elapsed();
    if took >= WORTH_TELLING {
        eprintln!("{name}: {:.1} s", took.as_secs_f64());
    }
    Ok(result)
}
