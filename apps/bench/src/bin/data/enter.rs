// SPDX-License-Identifier: MIT OR Apache-2.0

//! Entering a VAS with data and leaving it, beside switching there and back.

use bench::count::Counter;
use client_lib::{DataVas, Error, LockMode, Space, VasCommand, vas_ctl, vas_switch};

use crate::{Failure, NAME, OPTIONS, figures};

const MEASURE: &str = "there and back";
const READING: [&str; 3] = [
    "vas_switch, twice",
    "Reader::enter, nothing done",
    "Reader::enter, a word of the root read",
];
const WRITING: [&str; 3] = [
    "vas_switch, twice",
    "Writer::enter, nothing done",
    "Writer::enter, a word of the root written",
];

pub fn run(counter: &Counter) -> Result<(), Failure> {
    let cooperative = ["locks cooperative, to read", "locks cooperative, to write"];
    with_locks(counter, LockMode::Cooperative, cooperative)?;
    let enforced = ["locks enforced, to read", "locks enforced, to write"];
    with_locks(counter, LockMode::Enforced, enforced)
}

fn with_locks(
    counter: &Counter,
    mode: LockMode,
    [reading, writing]: [&str; 2],
) -> Result<(), Failure> {
    let data = DataVas::<u64>::create(NAME, OPTIONS, |_| 0)?;
    vas_ctl(data.vas(), VasCommand::LockMode(mode))?;

    // A thread can tell where it is, so switching is counted through the same attachment.
    let reader = data.reader()?;
    let space = reader.enter(|_| Space::current())?;
    let samples = counter.repeat(|counter| {
        let (switching, done) = counter.count(|| there_and_back(space));
        done?;
        let (nothing, done) = counter.count(|| reader.enter(|_| ()));
        done?;
        let (word, done) = counter.count(|| reader.enter(|inside| *inside.root()));
        done?;
        Ok::<_, Failure>([switching, nothing, word])
    })?;
    figures(MEASURE, reading, READING, &samples);
    drop(reader);

    let writer = data.writer()?;
    let space = writer.enter(|_| Space::current())?;
    let samples = counter.repeat(|counter| {
        let (switching, done) = counter.count(|| there_and_back(space));
        done?;
        let (nothing, done) = counter.count(|| writer.enter(|_| ()));
        done?;
        let (word, done) = counter.count(|| writer.enter(|mut inside| *inside.root_mut() = 1));
        done?;
        Ok::<_, Failure>([switching, nothing, word])
    })?;
    figures(MEASURE, writing, WRITING, &samples);
    drop(writer);
    Ok(data.delete()?)
}

#[inline]
fn there_and_back(space: Space) -> Result<(), Error> {
    vas_switch(space)?;
    vas_switch(Space::OWN)?;
    Ok(())
}
