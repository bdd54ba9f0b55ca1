// SPDX-License-Identifier: MIT OR Apache-2.0

//! The time, as long as somebody waits until one.
//!
//! The kernel has no clock, and the timer counts 16 bits, a good 54 ms. So time is what is added up
//! of what the timer has counted. It stands still while the timer does, and if the server comes to
//! look a whole round of the timer too late, that round is lost: it is never too early.

use crate::kernel::{Kernel, TIMER_HERTZ, Timer};

const MICROSECONDS: u128 = 1_000_000;
/// The timer wakes the server after half a round at most, so that it can come half a round late.
const MOST: u64 = 1 << 15;

/// Time is told in ticks of the timer.
pub(super) struct Clock {
    timer: Timer,
    /// As it was seen last.
    now: u64,
    running: Option<Running>,
}

/// The timer runs.
struct Running {
    /// What it had come to when it was seen last.
    count: u16,
    /// When it comes to 0.
    wakes_at: u64,
}

impl Clock {
    pub(super) const fn new(timer: Timer) -> Self {
        Clock {
            timer,
            now: 0,
            running: None,
        }
    }

    pub(super) fn now(&mut self, kernel: &mut impl Kernel) -> u64 {
        if let Some(running) = &mut self.running {
            let count = kernel.timer_count();
            let passed = running.count.wrapping_sub(count);
            self.now = self.now.saturating_add(passed.into());
            running.count = count;
        }
        self.now
    }

    /// The first time at which so much has passed for certain.
    pub(super) fn after(&mut self, kernel: &mut impl Kernel, microseconds: u64) -> u64 {
        // The tick that it is in may be about to end.
        let ticks = u128::from(microseconds) * u128::from(TIMER_HERTZ);
        let ticks = ticks.div_ceil(MICROSECONDS) + 1;
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX);
        self.now(kernel).saturating_add(ticks)
    }

    /// The server is to be woken at this time, or before if that is too far off for the timer, and
    /// not at any other; if none, the timer stops.
    pub(super) fn wake_at(&mut self, kernel: &mut impl Kernel, time: Option<u64>) {
        let now = self.now(kernel);
        let ticks = time.map(|time| time.saturating_sub(now).clamp(1, MOST) as u16);
        kernel.set_timer(self.timer, ticks);
        self.running = ticks.map(|count| Running {
            count,
            wakes_at: now.saturating_add(count.into()),
        });
    }

    /// The server is to be woken at this time, if it is not before.
    pub(super) fn wake_by(&mut self, kernel: &mut impl Kernel, time: u64) {
        let running = self.running.as_ref();
        if running.is_none_or(|running| time < running.wakes_at) {
            self.wake_at(kernel, Some(time));
        }
    }
}
