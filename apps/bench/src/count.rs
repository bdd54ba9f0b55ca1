// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counting instructions.
//!
//! QEMU started with `-icount shift=0` gives each instruction one nanosecond and the
//! time-stamp counter one tick a nanosecond. While the processor is busy the counter counts
//! instructions, those of the kernel and of other processes included.

#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::arch::asm;
use core::arch::x86_64::_rdtsc;
use core::fmt;

/// Counts before the first that is kept.
const WARM_UPS: usize = 3;
/// Counts that are kept, at least and at most. An odd number is kept, so that there is a median.
const LEAST_REPEATS: usize = 3;
const MOST_REPEATS: usize = 33;
/// Instructions after which no more than the least repeats are made.
const BUDGET: u64 = 1 << 30;
/// Turns of the loop of known length, of two instructions each.
const TURNS: u64 = 10_000;
/// How often what should be the same each time is counted.
const TRIALS: usize = 16;

/// The counter does not count instructions.
#[derive(Clone, Copy, Debug)]
pub struct NotInstructions {
    /// What it counted of [`TURNS`] turns of two instructions.
    counted: u64,
}

impl fmt::Display for NotInstructions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the time-stamp counter does not count instructions: {} of a loop of {}",
            self.counted,
            2 * TURNS
        )
    }
}

/// Counts instructions.
#[derive(Clone, Copy, Debug)]
pub struct Counter {
    /// What counting nothing counts.
    empty: u64,
}

impl Counter {
    /// A counter, once a loop of known length has been counted right.
    ///
    /// # Errors
    /// If it was not: QEMU does not run with `-icount shift=0`.
    pub fn new() -> Result<Self, NotInstructions> {
        let raw = Counter { empty: 0 };
        let least = |work: fn()| (0..TRIALS).map(|_| raw.count(work).0).min().unwrap_or(0);
        let counted = least(|| turn(2 * TURNS)).wrapping_sub(least(|| turn(TURNS)));
        if counted != 2 * TURNS {
            return Err(NotInstructions { counted });
        }
        let empty = least(|| ());
        Ok(Counter { empty })
    }

    /// The instructions that `work` takes, and its result.
    #[inline(always)]
    pub fn count<T>(&self, work: impl FnOnce() -> T) -> (u64, T) {
        // SAFETY: reads a register.
        let start = unsafe { _rdtsc() };
        let result = work();
        // SAFETY: as above.
        let end = unsafe { _rdtsc() };
        (end.saturating_sub(start + self.empty), result)
    }

    /// Repeats what gives `N` counts, warmed up, as often as is reasonable.
    ///
    /// # Errors
    /// The first of `work`.
    pub fn repeat<const N: usize, E>(
        &self,
        mut work: impl FnMut(&Self) -> Result<[u64; N], E>,
    ) -> Result<[Samples; N], E> {
        let mut samples = [const { Samples(Vec::new()) }; N];
        for samples in &mut samples {
            samples.0.reserve(MOST_REPEATS);
        }
        let mut spent = 0;
        for done in 0..WARM_UPS + MOST_REPEATS {
            let counts = work(self)?;
            let all: u64 = counts.iter().sum();
            // So much work does not depend on what was done before it.
            if done < WARM_UPS && all < BUDGET / LEAST_REPEATS as u64 {
                continue;
            }
            for (samples, count) in samples.iter_mut().zip(counts) {
                samples.0.push(count);
            }
            spent += all;
            let repeats = samples.first().map_or(0, Samples::repeats);
            let enough = spent > BUDGET && repeats >= LEAST_REPEATS && repeats % 2 == 1;
            if enough || repeats == MOST_REPEATS {
                break;
            }
        }
        for samples in &mut samples {
            samples.0.sort_unstable();
        }
        Ok(samples)
    }
}

/// Instructions of each repeat, in order of size.
#[derive(Clone, Debug)]
pub struct Samples(Vec<u64>);

impl Samples {
    /// Counts in any order, at least one.
    pub fn of(mut counts: Vec<u64>) -> Self {
        counts.sort_unstable();
        Samples(counts)
    }

    /// The middle one.
    pub fn median(&self) -> u64 {
        self.0[self.0.len() / 2]
    }

    /// The least.
    pub fn minimum(&self) -> u64 {
        self.0[0]
    }

    /// The most.
    pub fn maximum(&self) -> u64 {
        self.0[self.0.len() - 1]
    }

    /// How many.
    pub fn repeats(&self) -> usize {
        self.0.len()
    }
}

/// Two instructions a turn.
#[inline(never)]
fn turn(turns: u64) {
    // SAFETY: changes one register and the flags.
    unsafe {
        asm!(
            "2:",
            "dec {turns}",
            "jnz 2b",
            turns = inout(reg) turns => _,
            options(nomem, nostack)
        );
    }
}
