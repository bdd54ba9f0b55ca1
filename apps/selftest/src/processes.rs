// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes: started, waited for, ended, and what is left of them in the server.

use alloc::format;
use alloc::vec::Vec;

use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Failure, Outcome, verdict};
use protocol::limits;
use protocol::process::{ExitStatus, InitError, ProcessId};
use runtime::process;

use crate::fixture::{self, BASE, Place, actor};
use crate::harness::tests;
use crate::{harness, state};

tests! {
    an_exit_code_arrives_as_it_was,
    a_panic_is_told_apart_from_an_exit,
    arguments_arrive_as_they_were,
    a_process_can_be_waited_for_before_and_after_it_ends,
    a_process_can_be_waited_for_only_once,
    a_killed_process_is_known_as_killed,
    a_process_that_has_ended_cannot_be_killed,
    an_unknown_process_can_be_neither_waited_for_nor_killed,
    another_processes_child_can_be_neither_waited_for_nor_killed,
    an_unknown_component_cannot_be_started,
    arguments_that_are_too_long_are_refused,
    a_component_that_may_not_start_others_cannot,
    many_processes_one_after_the_other_leave_nothing_behind,
    as_many_processes_as_there_may_be_run_at_once,
    a_process_that_never_yields_does_not_stop_the_others,
    a_process_that_dies_inside_a_vas_leaves_nothing_behind,
    a_process_that_forgets_to_detach_leaves_nothing_behind,
    a_process_goes_on_when_the_one_that_started_it_ends,
    a_process_goes_on_when_the_one_that_waits_for_it_is_killed,
}

fn an_exit_code_arrives_as_it_was() -> Outcome {
    for code in [0, 1, 2, 255, 256, -1, i32::MAX, i32::MIN] {
        for how in ["exit", "exit-at-once"] {
            let arguments = format!("{how} {}", code as u32);
            fixture::expect(actor::OTHER, &arguments, ExitStatus::Exited(code))?;
        }
    }
    Ok(())
}

fn a_panic_is_told_apart_from_an_exit() -> Outcome {
    fixture::expect(actor::OTHER, "panic", ExitStatus::Panicked)
}

fn arguments_arrive_as_they_were() -> Outcome {
    fixture::succeeds(actor::OTHER, "arguments two words")?;
    fixture::expect(
        actor::OTHER,
        "arguments two",
        ExitStatus::Exited(verdict::CONFUSED),
    )
}

fn a_process_can_be_waited_for_before_and_after_it_ends() -> Outcome {
    let sessions = client_lib::server_stat()?.sessions;
    let early = fixture::start(actor::OTHER, "exit 3")?;
    let late = fixture::start(actor::OTHER, "exit 4")?;
    check_equal(
        "sessions",
        client_lib::server_stat()?.sessions,
        sessions + 2,
    )?;
    fixture::ends_with(early, ExitStatus::Exited(3))?;
    for _ in 0..1000 {
        sel4::yield_now();
    }
    // The second one has ended by itself meanwhile.
    check_equal("sessions", client_lib::server_stat()?.sessions, sessions)?;
    fixture::ends_with(late, ExitStatus::Exited(4))
}

fn a_process_can_be_waited_for_only_once() -> Outcome {
    let id = fixture::start(actor::OTHER, "exit 5")?;
    fixture::ends_with(id, ExitStatus::Exited(5))?;
    check_equal("second wait", process::wait(id), Err(InitError::NotFound))
}

fn a_killed_process_is_known_as_killed() -> Outcome {
    let sessions = client_lib::server_stat()?.sessions;
    for waiting in [0, 1, 50] {
        let id = fixture::start(actor::OTHER, "live")?;
        for _ in 0..waiting {
            sel4::yield_now();
        }
        process::kill(id)?;
        check_equal("sessions", client_lib::server_stat()?.sessions, sessions)?;
        fixture::ends_with(id, ExitStatus::Killed)?;
        check_equal("second wait", process::wait(id), Err(InitError::NotFound))?;
        check_equal("second kill", process::kill(id), Err(InitError::NotFound))?;
    }
    Ok(())
}

fn a_process_that_has_ended_cannot_be_killed() -> Outcome {
    let sessions = client_lib::server_stat()?.sessions;
    let id = fixture::start(actor::OTHER, "exit 6")?;
    while client_lib::server_stat()?.sessions > sessions {
        sel4::yield_now();
    }
    process::kill(id)?;
    fixture::ends_with(id, ExitStatus::Exited(6))
}

fn an_unknown_process_can_be_neither_waited_for_nor_killed() -> Outcome {
    let own = runtime::start_info().process;
    let next = ProcessId(own.0 + 1);
    for id in [
        ProcessId(0),
        own,
        next,
        ProcessId(1 << 27),
        ProcessId(u32::MAX),
    ] {
        check_equal("wait", process::wait(id), Err(InitError::NotFound))?;
        check_equal("kill", process::kill(id), Err(InitError::NotFound))?;
    }
    Ok(())
}

fn another_processes_child_can_be_neither_waited_for_nor_killed() -> Outcome {
    let place = Place::new("forge")?;
    let attachment = attach(&place.vas)?;
    let child = fixture::start(actor::OTHER, &format!("hold forge {BASE}"))?;
    inside(&attachment, || wait_for(BASE, 1))?;
    let not_found = verdict::of_init(Err::<(), _>(InitError::NotFound));
    let parent = runtime::start_info().process;
    for (actor, id) in [
        (actor::OTHER, child),
        (actor::OWNER, child),
        (actor::OTHER, parent),
    ] {
        for what in ["wait", "kill"] {
            let arguments = format!("{what} {}", id.0);
            fixture::expect(actor, &arguments, ExitStatus::Exited(not_found))?;
        }
    }
    inside(&attachment, || {
        store(BASE, 2);
        Ok(())
    })?;
    fixture::ends_with(child, ExitStatus::Exited(0))?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn an_unknown_component_cannot_be_started() -> Outcome {
    for name in ["actor", "actor-other ", "init", "vas-server", "x"] {
        let before = state::State::now()?;
        check_equal("spawn", process::spawn(name, ""), Err(InitError::NotFound))?;
        state::unchanged(&before, &state::State::now()?)?;
    }
    Ok(())
}

fn arguments_that_are_too_long_are_refused() -> Outcome {
    let longest = "x".repeat(limits::ARGUMENT_BYTES);
    let too_long = "x".repeat(limits::ARGUMENT_BYTES + 1);
    let refused = Err(InitError::Malformed);
    check_equal("spawn", process::spawn(actor::OTHER, &too_long), refused)?;
    fixture::expect(
        actor::OTHER,
        &longest,
        ExitStatus::Exited(verdict::CONFUSED),
    )
}

fn a_component_that_may_not_start_others_cannot() -> Outcome {
    let not_allowed = verdict::of_init(Err::<(), _>(InitError::NotAllowed));
    fixture::expect(actor::OWNER, "spawn", ExitStatus::Exited(not_allowed))
}

fn many_processes_one_after_the_other_leave_nothing_behind() -> Outcome {
    for round in 0..100 {
        let before = client_lib::server_stat()?;
        fixture::expect(
            actor::OTHER,
            &format!("exit {round}"),
            ExitStatus::Exited(round),
        )?;
        let after = client_lib::server_stat()?;
        check_equal(
            "what a process leaves",
            state::difference(&before, &after),
            None,
        )?;
    }
    Ok(())
}

fn as_many_processes_as_there_may_be_run_at_once() -> Outcome {
    // Twice, as many again must fit once the first are gone.
    for _ in 0..2 {
        let before = state::State::now()?;
        let mut started = Vec::new();
        let refusal = loop {
            match process::spawn(actor::OTHER, "live") {
                Ok(id) => started.push(id),
                Err(error) => break error,
            }
        };
        check_equal("refusal", refusal, InitError::OutOfMemory)?;
        // The main process and this one run, too.
        let others = started.len();
        for &id in started
            .iter()
            .step_by(2)
            .chain(started.iter().skip(1).step_by(2))
        {
            process::kill(id)?;
        }
        for id in started {
            fixture::ends_with(id, ExitStatus::Killed)?;
        }
        state::unchanged(&before, &state::State::now()?)?;
        check_equal("processes at once", others + 2, limits::PROCESSES)?;
    }
    Ok(())
}

fn a_process_that_never_yields_does_not_stop_the_others() -> Outcome {
    let hogs: Vec<ProcessId> = (0..3)
        .map(|_| fixture::start(actor::OTHER, &format!("hog {}", u64::MAX)))
        .collect::<Result<_, Failure>>()?;
    for round in 0..5 {
        fixture::expect(
            actor::OWNER,
            &format!("exit {round}"),
            ExitStatus::Exited(round),
        )?;
    }
    for hog in hogs {
        process::kill(hog)?;
        fixture::ends_with(hog, ExitStatus::Killed)?;
    }
    Ok(())
}

fn a_process_that_dies_inside_a_vas_leaves_nothing_behind() -> Outcome {
    let place = Place::new("forge")?;
    for (how, end) in [
        ("exit", ExitStatus::Exited(7)),
        ("panic", ExitStatus::Panicked),
        (
            "fault",
            ExitStatus::Faulted {
                address: 0x5a5_5a5a_5000,
            },
        ),
        ("live", ExitStatus::Killed),
    ] {
        let attachment = attach(&place.vas)?;
        let before = state::State::now()?;
        let id = fixture::start(actor::OWNER, &format!("die-inside forge {BASE} {how}"))?;
        inside(&attachment, || wait_for(BASE, 1))?;
        if how == "live" {
            process::kill(id)?;
        }
        fixture::ends_with(id, end)?;
        state::unchanged(&before, &state::State::now()?)?;
        // The segment is as before, for the others.
        inside(&attachment, || {
            check_equal("word", load(BASE), 1)?;
            store(BASE, 0);
            Ok(())
        })?;
        detach(attachment)?;
    }
    Ok(place.remove()?)
}

fn a_process_that_forgets_to_detach_leaves_nothing_behind() -> Outcome {
    let place = Place::new("forge")?;
    let before = state::State::now()?;
    for _ in 0..3 {
        fixture::succeeds(actor::OWNER, "attach-and-exit forge")?;
        state::unchanged(&before, &state::State::now()?)?;
    }
    Ok(place.remove()?)
}

/// A role of this program: starts an actor that stays in the VAS, and ends.
pub fn start_and_leave(vas: &str, base: &str) -> i32 {
    match fixture::start(actor::OTHER, &format!("hold {vas} {base}")) {
        Ok(_) => harness::PASSED,
        Err(failure) => {
            runtime::println!("selftest: {failure}");
            harness::FAILED
        }
    }
}

/// A role of this program: starts an actor that stays in the VAS, and waits for its end.
pub fn start_and_wait(vas: &str, base: &str) -> i32 {
    match fixture::run(actor::OTHER, &format!("hold {vas} {base}")) {
        Ok(_) => harness::PASSED,
        Err(failure) => {
            runtime::println!("selftest: {failure}");
            harness::FAILED
        }
    }
}

/// Lets the actor that a role of this program has left behind end, which nobody waits for.
fn let_orphan_end(place: &Place, before: &state::State) -> Outcome {
    visit(&place.vas, || {
        wait_for(BASE, 1)?;
        store(BASE, 2);
        Ok(())
    })?;
    for _ in 0..100_000 {
        if state::State::now()? == *before {
            return Ok(());
        }
        sel4::yield_now();
    }
    state::unchanged(before, &state::State::now()?)
}

fn a_process_goes_on_when_the_one_that_started_it_ends() -> Outcome {
    let place = Place::new("forge")?;
    // The server makes a handle when it is first asked for one with these rights.
    fixture::run(actor::OTHER, "find-vas forge")?;
    let before = state::State::now()?;
    let arguments = format!("start-and-leave forge {BASE}");
    fixture::expect("selftest", &arguments, ExitStatus::Exited(harness::PASSED))?;
    check(
        state::State::now()? != before,
        "the process is gone with the one that started it",
    )?;
    let_orphan_end(&place, &before)?;
    Ok(place.remove()?)
}

fn a_process_goes_on_when_the_one_that_waits_for_it_is_killed() -> Outcome {
    let place = Place::new("forge")?;
    // The server makes a handle when it is first asked for one with these rights.
    fixture::run(actor::OTHER, "find-vas forge")?;
    let before = state::State::now()?;
    let waiting = fixture::start("selftest", &format!("start-and-wait forge {BASE}"))?;
    visit(&place.vas, || wait_for(BASE, 1))?;
    process::kill(waiting)?;
    fixture::ends_with(waiting, ExitStatus::Killed)?;
    check(
        state::State::now()? != before,
        "the process is gone with the one that waited",
    )?;
    let_orphan_end(&place, &before)?;
    Ok(place.remove()?)
}
