// SPDX-License-Identifier: MIT OR Apache-2.0

//! Behaviours of several threads.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use client_lib::{Access, Error, rpc, vas_switch};
use common::calls::{attach, detach, inside};
use common::failure::check_equal;
use common::segment_memory::{fetch_add, load};
use common::{Failure, Outcome};
use protocol::message::SegAttach;
use runtime::thread::{self, SpawnError};

use crate::{LIFETIME, crash, live};

/// Words by which threads tell each other how far they are.
static STEP: AtomicU64 = AtomicU64::new(0);

fn wait_for_step(step: u64) -> Outcome {
    for _ in 0..LIFETIME {
        if STEP.load(Ordering::Relaxed) >= step {
            return Ok(());
        }
        sel4::yield_now();
    }
    Err(Failure::new("another thread is not where it should be"))
}

fn step() {
    STEP.fetch_add(1, Ordering::Relaxed);
}

/// For an actor with one thread: it has no other.
pub fn start_one() -> Outcome {
    let answer = thread::spawn(|| ()).map(|_| ());
    check_equal("answer", answer, Err(SpawnError::NoneLeft))
}

/// Another thread uses more than its stack.
pub fn overflow() -> Outcome {
    let handle = thread::spawn(|| crash::crash("stack"))?;
    handle.join()?
}

/// Another thread does not leave the VAS that it has entered.
pub fn end_inside(vas: &str) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    let space = attachment.space();
    let handle = thread::spawn(move || vas_switch(space).map(|_| ()))?;
    Ok(handle.join()??)
}

/// The first thread is in one VAS and another thread in the other; this one of them loads at
/// `word`, where nothing is.
pub fn fault_in(number: u64, one: &str, other: &str, word: u64) -> Outcome {
    let here = attach(&client_lib::vas_find(one)?)?;
    let there = attach(&client_lib::vas_find(other)?)?;
    let load_if = move |own: u64| {
        step();
        wait_for_step(2)?;
        if number == own {
            load(word);
        }
        live()
    };
    let _other = thread::spawn(move || inside(&there, || load_if(1)))?;
    inside(&here, || load_if(0))
}

/// Another thread is in the VAS when the first detaches.
pub fn detach_under(vas: &str) -> Outcome {
    let attachment = attach(&client_lib::vas_find(vas)?)?;
    let space = attachment.space();
    let handle = thread::spawn(move || {
        vas_switch(space)?;
        step();
        live()
    })?;
    wait_for_step(1)?;
    detach(attachment)?;
    handle.join()?
}

/// Threads are inside a VAS, wait for each other and for the server, and have begun what takes many
/// steps. Then the process ends, if it is not killed. The test holds the locks of `other`,
/// and is told at `word`, in `vas`, when all is so.
pub fn be_everywhere(vas: &str, other: &str, word: u64, how: &str) -> Outcome {
    let within = Arc::new(attach(&client_lib::vas_find(vas)?)?);
    let locked = attach(&client_lib::vas_find(other)?)?;
    let inner = within.clone();
    let holder = thread::spawn(move || inside(&inner, move || tell_and_live(word)))?;
    wait_for_step(1)?;
    let waits_for_thread = thread::spawn(move || holder.join().map(|_| ()))?;
    let inner = within.clone();
    let waits_for_turn = thread::spawn(move || inside(&inner, live))?;
    let waits_for_server = thread::spawn(move || inside(&locked, live))?;
    let _begins = thread::spawn(begin)?;
    let _yields = thread::spawn(live)?;
    wait_for_step(2)?;
    // All have their turn, so those that wait do.
    for _ in 0..50 {
        sel4::yield_now();
    }
    let waiting = [
        waits_for_thread.is_finished(),
        waits_for_server.is_finished(),
    ];
    check_equal("ended", waiting, [false; 2])?;
    check_equal("ended", waits_for_turn.is_finished(), false)?;
    step();
    match how {
        "exit" => Ok(()),
        "panic" => {
            let handle = thread::spawn(|| panic!("on purpose"))?;
            handle.join()?
        }
        "fault" => {
            let handle = thread::spawn(|| crash::crash_at("load", 0x5a5_5a5a_5000))?;
            handle.join()?
        }
        _ => live(),
    }
}

/// Inside a VAS: tells the test once all threads are where they are to be.
fn tell_and_live(word: u64) -> Outcome {
    step();
    wait_for_step(3)?;
    fetch_add(word, 1);
    live()
}

/// Begins what takes many steps, and does not go on with it.
fn begin() -> Outcome {
    let vas = client_lib::vas_find("asking")?;
    let segment = client_lib::seg_find("asking")?;
    let _attachment = attach(&vas)?;
    let access = Access::ReadWrite;
    let handles = [vas.cptr(), segment.cptr()];
    let answer = rpc::once(&SegAttach { access }, handles);
    check_equal("answer", answer, Err(Error::Again))?;
    step();
    live()
}
