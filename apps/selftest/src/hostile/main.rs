// SPDX-License-Identifier: MIT OR Apache-2.0

//! Hostile processes send the VAS server whatever the kernel lets them, while honest ones work.
//!
//! One program with several parts, which its first argument says:
//!
//! - without arguments it starts the others, and judges;
//! - `attack SEED COUNT` sends so many random messages (`attack.rs`);
//! - `first` and `second` work, and check all that they see (`honest.rs`);
//! - `sweep` deletes whatever its user owns.

#![no_std]
#![no_main]

extern crate alloc;

mod attack;
mod honest;
#[allow(dead_code)]
#[path = "../state.rs"]
mod state;

use alloc::format;
use alloc::vec::Vec;

use client_lib::{Access, Command, Mode};
use common::calls::{attach, detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use common::{Failure, Outcome};
use protocol::address_map::SLOT_BYTES;
use protocol::message::Statistics;
use protocol::process::{ExitStatus, ProcessId};
use runtime::process;

runtime::heap!(256 << 10);
runtime::main!(main);

/// Messages of one hostile process that are answered; there are more that are not.
const MESSAGES: u64 = 12_500;
/// Seeds of the hostile processes: those of a row run at the same time.
const SEEDS: [[u64; 2]; 4] = [[1, 2], [3, 4], [5, 6], [7, 8]];
/// Components, by whom they run as.
const ATTACKER: &str = "attacker";
const FIRST: &str = "first";
const SECOND: &str = "second";
/// What the honest processes must have done for every pair of hostile ones, each.
const ROUNDS: u64 = 20;

/// A page by which the processes of one group tell each other how far they are.
mod control {
    use super::SLOT_BYTES;

    pub const NAME: &str = "control";
    pub const BASE: u64 = 64 * SLOT_BYTES;
    /// Not 0 when the honest processes are to end.
    pub const STOP: u64 = BASE;
    /// How often an honest process has done all its work.
    pub const ROUNDS: [u64; 2] = [BASE + 8, BASE + 16];
}

fn main() -> i32 {
    let info = runtime::start_info();
    let words: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    let outcome = match *words {
        [] => return judge(),
        ["attack", seed, count] => return attack::run(seed, count),
        ["first"] => honest::first(),
        ["second"] => honest::second(),
        ["sweep"] => sweep(),
        _ => Err(Failure::new("no such part")),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("hostile: {}: {failure}", info.arguments);
            1
        }
    }
}

/// Runs everything, as three tests.
fn judge() -> i32 {
    let before = match client_lib::settle() {
        Ok(statistics) => statistics,
        Err(error) => {
            runtime::println!("hostile: {error}");
            return 1;
        }
    };
    let mut seen = 0;
    let outcomes = [
        (
            "honest_clients_work_undisturbed_beside_hostile_ones",
            beside_each_other(&mut seen),
        ),
        (
            "hostile_messages_are_served_and_refused_for_every_reason_there_is",
            attack::check_seen(seen),
        ),
        (
            "what_hostile_clients_leave_can_be_deleted_and_nothing_is_lost",
            all_is_back(&before),
        ),
    ];
    let mut code = 0;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(()) => runtime::println!("test {name} ... ok"),
            Err(failure) => {
                runtime::println!("test {name} ... FAILED: {failure}");
                code = 1;
            }
        }
    }
    code
}

/// Lets hostile processes loose beside the honest ones, and adds to `seen` what was answered.
fn beside_each_other(seen: &mut u32) -> Outcome {
    let mode = Mode(0o660);
    let vas = client_lib::vas_create(control::NAME, mode)?;
    let segment = client_lib::seg_alloc(control::NAME, control::BASE, 4096, None, mode)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    let attachment = attach(&vas)?;
    let rounds = || inside(&attachment, || Ok(control::ROUNDS.map(load)));

    let honest = [FIRST, SECOND].map(|name| process::spawn(name, name));
    let honest = [honest[0]?, honest[1]?];
    while rounds()?.contains(&0) {
        sel4::yield_now();
        // Whether they live: who does not, has printed why.
        check(
            client_lib::server_stat()?.sessions >= 3,
            "an honest process has ended",
        )?;
    }
    for seeds in SEEDS {
        let before = rounds()?;
        let start = |seed| process::spawn(ATTACKER, &format!("attack {seed} {MESSAGES}"));
        for attacker in seeds.map(start) {
            match process::wait(attacker?)? {
                ExitStatus::Exited(kinds @ 0..) => *seen |= kinds as u32,
                other => return Err(Failure::new(format!("a hostile process ended: {other:x?}"))),
            }
        }
        let after = rounds()?;
        runtime::println!("hostile: rounds of honest work: {before:?} to {after:?}");
        for (before, after) in before.into_iter().zip(after) {
            check(
                after >= before + ROUNDS,
                "an honest process did hardly anything",
            )?;
        }
    }
    inside(&attachment, || {
        store(control::STOP, 1);
        Ok(())
    })?;
    for process in honest {
        ends_well(process)?;
    }
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

#[track_caller]
fn ends_well(process: ProcessId) -> Outcome {
    check_equal(
        "end of a process",
        process::wait(process)?,
        ExitStatus::Exited(0),
    )
}

/// All users delete what they own; then the server has the same as before.
fn all_is_back(before: &Statistics) -> Outcome {
    for component in [ATTACKER, FIRST, SECOND] {
        ends_well(process::spawn(component, "sweep")?)?;
    }
    match state::difference(before, &client_lib::settle()?) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(difference)),
    }
}

/// Deletes all that this process may, whoever uses it. What cannot be deleted belongs to others,
/// or shows in the end.
fn sweep() -> Outcome {
    for entry in state::all_vases()? {
        if let Ok(vas) = client_lib::vas_find(entry.name.as_str()) {
            let _ = client_lib::vas_ctl(&vas, Command::Evict);
            let _ = client_lib::vas_delete(&vas);
        }
    }
    for entry in state::all_segments()? {
        if let Ok(segment) = client_lib::seg_find(entry.name.as_str()) {
            let _ = client_lib::seg_ctl(&segment, Command::Evict);
            let _ = client_lib::seg_free(&segment);
        }
    }
    Ok(())
}
