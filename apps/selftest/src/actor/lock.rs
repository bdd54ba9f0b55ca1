// SPDX-License-Identifier: MIT OR Apache-2.0

//! Behaviours under locks.

use core::arch::x86_64::_rdtsc;

use client_lib::{Access, Error, Rights, Space, vas_switch, vas_switch_timeout};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Failure, Outcome, raw};
use protocol::message::VasUnlock;

/// Enters, stores 1 at `word`, and leaves when it is 2.
pub fn stay(vas: &str, word: u64) -> Outcome {
    visit(&client_lib::vas_find(vas)?, || {
        store(word, 1);
        wait_for(word, 2)
    })
}

/// Enters in this way and leaves.
pub fn switch(
    vas: &str,
    access: Access,
    enter: impl FnOnce(Space) -> Result<Space, Error>,
) -> Result<Rights, Error> {
    let attachment = client_lib::vas_attach(&client_lib::vas_find(vas)?, access)?;
    enter(attachment.space())?;
    vas_switch(Space::OWN)?;
    detach(attachment)?;
    Ok(Rights::empty())
}

/// Waits for a tenth of a time and for the whole time, and sees that it is as long.
pub fn wait_in_vain(vas: &str, microseconds: u64) -> Outcome {
    // Fewer than any processor counts, and what is counted where time is counted in instructions.
    const COUNTED_IN_A_MICROSECOND: u64 = 1000;
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    let waits = |microseconds: u64| {
        // SAFETY: reads a register.
        let start = unsafe { _rdtsc() };
        let answer = vas_switch_timeout(attachment.space(), microseconds);
        // SAFETY: as above.
        let counted = unsafe { _rdtsc() } - start;
        check_equal("answer", answer, Err(Error::Locked))?;
        check_equal("space", Space::current(), Space::OWN)?;
        check(
            counted >= microseconds * COUNTED_IN_A_MICROSECOND,
            "too early",
        )?;
        Ok::<_, Failure>(counted)
    };
    waits(0)?;
    waits(1)?;
    // It takes longer if others keep the server or this process from running.
    let mut least = u64::MAX;
    for _ in 0..5 {
        least = least.min(waits(microseconds / 10)?);
    }
    let whole = waits(microseconds)?;
    check(whole > least * 5, "much too early")?;
    check(whole < least * 200, "much too late")?;
    Ok(detach(attachment)?)
}

/// Adds 1 to a word in two steps, with others running in between, inside one VAS and the other in
/// turn.
pub fn alternate(one: &str, other: &str, word: u64, turns: u64) -> Outcome {
    let attachments = [
        attach(&client_lib::vas_find(one)?)?,
        attach(&client_lib::vas_find(other)?)?,
    ];
    for _ in 0..turns {
        for attachment in &attachments {
            vas_switch(attachment.space())?;
            let before = load(word);
            sel4::yield_now();
            store(word, before + 1);
        }
    }
    vas_switch(Space::OWN)?;
    for attachment in attachments {
        detach(attachment)?;
    }
    Ok(())
}

/// Stays inside until the test has changed the word; then leaves and enters again.
pub fn enter_again(vas: &str, word: u64) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    inside(&attachment, || {
        store(word, 1);
        wait_for(word, 2)
    })?;
    inside(&attachment, || {
        store(word, 3);
        wait_for(word, 4)
    })?;
    Ok(detach(attachment)?)
}

/// Gives the lock back that it is inside with.
pub fn unlock_inside(vas: &str) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    vas_switch(attachment.space())?;
    let attachment = attachment.id();
    raw::request(&VasUnlock { attachment }, &[], raw::SCRATCH[0])?;
    Err(Failure::new("still inside without the lock"))
}
