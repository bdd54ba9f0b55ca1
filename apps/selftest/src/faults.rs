// SPDX-License-Identifier: MIT OR Apache-2.0

//! Faults: each ends its process, with the right address, and nothing else.

use alloc::format;

use client_lib::Access;
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Failure, Outcome};
use protocol::address_map::{FILES, GLOBAL, IPC_BUFFER, LOCAL, PAGE_BYTES, SLOT_BYTES};
use protocol::address_map::{STACK_TOP, START_INFO};
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, Place, SIZE, actor};
use crate::harness::tests;

tests! {
    a_fault_in_the_null_page_is_told_with_its_address,
    a_fault_at_any_unmapped_address_is_told_with_all_of_it,
    every_reason_of_a_fault_is_told,
    a_stack_that_overflows_faults_in_its_guard_page,
    the_stack_the_ipc_buffer_and_the_start_page_end_where_they_should,
    a_store_to_code_or_constants_faults,
    a_jump_to_nowhere_is_told_with_the_address_jumped_to,
    an_instruction_that_fails_is_told_with_its_own_address,
    an_unknown_system_call_ends_only_its_caller,
    the_segment_of_another_vas_cannot_be_reached,
    a_segment_cannot_be_reached_from_outside_its_vas,
    the_addresses_around_a_segment_are_not_mapped,
    a_process_whose_root_is_taken_away_faults_and_the_others_go_on,
    a_forged_fault_message_ends_only_its_sender,
}

/// Bytes of an actor's stack, as the system description says.
const STACK_BYTES: u64 = 64 << 10;

fn faulted(address: u64) -> ExitStatus {
    ExitStatus::Faulted { address }
}

/// Fails unless all three kinds of access to an address are faults there.
fn unreachable(address: u64) -> Outcome {
    for access in ["load", "store", "jump"] {
        let arguments = format!("crash-at {access} {address:#x}");
        fixture::expect(actor::OTHER, &arguments, faulted(address))?;
    }
    Ok(())
}

fn a_fault_in_the_null_page_is_told_with_its_address() -> Outcome {
    for address in [0, 8, 0xff8] {
        unreachable(address)?;
    }
    Ok(())
}

fn a_fault_at_any_unmapped_address_is_told_with_all_of_it() -> Outcome {
    for address in [
        0x1000,
        0x7_6543_2108,
        SLOT_BYTES - 8,
        GLOBAL.start,
        0x1234_5678_9ab8,
        GLOBAL.end - 8,
        LOCAL.start,
        LOCAL.end + 8,
        // The kernel's half.
        0xffff_8000_0000_0000,
        0xffff_ff80_0000_0000,
        0xffff_ffff_8000_0000,
        0xffff_ffff_ffff_fff8,
    ] {
        unreachable(address)?;
    }
    Ok(())
}

fn every_reason_of_a_fault_is_told() -> Outcome {
    let place = Place::new("ridge")?;
    let stack = STACK_TOP - STACK_BYTES - 8;
    for (arguments, reason) in [
        ("crash-at load 0x8".into(), "the null page"),
        (
            "crash-at load 0x1000".into(),
            "below the program, never mapped",
        ),
        (
            format!("crash-at load {stack:#x}"),
            "the guard page of the stack: stack overflow",
        ),
        (
            format!("crash-at store {START_INFO:#x}"),
            "private memory, read-only",
        ),
        (
            format!("crash-at load {FILES:#x}"),
            "private addresses, not mapped",
        ),
        (
            format!("crash-at load {BASE:#x}"),
            "no VAS active: no segment here",
        ),
        (
            format!("load-then-store ridge read-only {BASE}"),
            "VAS ridge active, segment ridge: read-only",
        ),
    ] {
        let process = fixture::start(actor::OTHER, &arguments)?;
        fixture::faults_with(process, reason)?;
    }
    Ok(place.remove()?)
}

fn a_stack_that_overflows_faults_in_its_guard_page() -> Outcome {
    let lowest = STACK_TOP - STACK_BYTES;
    fixture::expect(actor::OTHER, "crash stack", faulted(lowest - 8))?;
    // The whole page is a guard.
    unreachable(lowest - PAGE_BYTES)
}

fn the_stack_the_ipc_buffer_and_the_start_page_end_where_they_should() -> Outcome {
    unreachable(STACK_TOP)?;
    unreachable(IPC_BUFFER - 8)?;
    unreachable(IPC_BUFFER + PAGE_BYTES)?;
    unreachable(START_INFO + PAGE_BYTES)?;
    // There are no files.
    unreachable(FILES)?;
    fixture::expect(
        actor::OTHER,
        &format!("crash-at store {START_INFO}"),
        faulted(START_INFO),
    )
}

/// The address of something in every actor.
fn address_of(what: &str) -> Result<u64, Failure> {
    match fixture::run(actor::OTHER, &format!("address-of {what}"))? {
        ExitStatus::Exited(address) if address > 0x40_0000 => Ok(address as u64),
        other => Err(Failure::new(format!(
            "the actor does not know where {what} is: {other:?}"
        ))),
    }
}

fn a_store_to_code_or_constants_faults() -> Outcome {
    for what in ["divide", "constant"] {
        let address = address_of(what)?;
        // A load is no fault: the actor says that it came through.
        let loaded = fixture::run(actor::OTHER, &format!("crash-at load {address}"))?;
        check_equal(
            "a load",
            loaded,
            ExitStatus::Exited(common::verdict::CONFUSED),
        )?;
        fixture::expect(
            actor::OTHER,
            &format!("crash-at store {address}"),
            faulted(address),
        )?;
    }
    Ok(())
}

fn a_jump_to_nowhere_is_told_with_the_address_jumped_to() -> Outcome {
    for address in [1, 0x1357, GLOBAL.end + 5, 0x7fff_ffff_0001] {
        let arguments = format!("crash-at jump {address}");
        fixture::expect(actor::OTHER, &arguments, faulted(address))?;
    }
    Ok(())
}

fn an_instruction_that_fails_is_told_with_its_own_address() -> Outcome {
    for what in ["divide", "undefined", "privileged"] {
        let address = address_of(what)?;
        fixture::expect(actor::OTHER, &format!("crash {what}"), faulted(address))?;
    }
    // An address that is none is no page fault.
    let status = fixture::run(actor::OTHER, "crash-at load 0x800000000000")?;
    check(
        matches!(status, ExitStatus::Faulted { .. }),
        "a non-canonical address was no fault",
    )
}

fn an_unknown_system_call_ends_only_its_caller() -> Outcome {
    let status = fixture::run(actor::OTHER, "crash system-call")?;
    check(
        matches!(status, ExitStatus::Faulted { .. }),
        "an unknown system call was no fault",
    )
}

fn the_segment_of_another_vas_cannot_be_reached() -> Outcome {
    let here = Place::new("ridge")?;
    let there = Place::new("valley")?;
    let other = fixture::segment("elsewhere", 3 * SLOT_BYTES)?;
    client_lib::seg_attach(&here.vas, &other, Access::ReadWrite)?;
    let address = 3 * SLOT_BYTES + 16;
    // The word there is loaded in the right VAS, the next one in the wrong one.
    let arguments = format!("load-from-other ridge valley {address}");
    let process = fixture::start(actor::OTHER, &arguments)?;
    let reason =
        "VAS valley active, segment elsewhere is in VAS ridge: the segment is in another VAS";
    fixture::faults_with(process, reason)?;
    here.remove()?;
    there.remove()?;
    Ok(client_lib::seg_free(&other)?)
}

fn a_segment_cannot_be_reached_from_outside_its_vas() -> Outcome {
    let place = Place::new("ridge")?;
    visit(&place.vas, || {
        store(BASE, 0x5ec2e7);
        Ok(())
    })?;
    unreachable(BASE)?;
    visit(&place.vas, || check_equal("word", load(BASE), 0x5ec2e7))?;
    Ok(place.remove()?)
}

fn the_addresses_around_a_segment_are_not_mapped() -> Outcome {
    let base = BASE + (1 << 30);
    let place = Place::with("ridge", base, SIZE, client_lib::PageSize::Small)?;
    for address in [
        base - 8,
        base - PAGE_BYTES,
        base + SIZE,
        base + (1 << 21),
        BASE,
    ] {
        let arguments = format!("load-then-store ridge read-write {address}");
        fixture::expect(actor::OTHER, &arguments, faulted(address))?;
    }
    Ok(place.remove()?)
}

fn a_process_whose_root_is_taken_away_faults_and_the_others_go_on() -> Outcome {
    let place = Place::new("ridge")?;
    let holder = fixture::start(actor::OWNER, &format!("hold ridge {BASE}"))?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || wait_for(BASE, 1))?;
    let victim = format!("detach-inside ridge {}", BASE + 4096);
    let victim = fixture::start(actor::OTHER, &victim)?;
    let reason = "VAS ridge was active: the attachment was detached";
    fixture::faults_with(victim, reason)?;
    inside(&attachment, || {
        check_equal("what it wrote before", load(BASE + 4096), 1)?;
        store(BASE, 2);
        Ok(())
    })?;
    fixture::ends_with(holder, ExitStatus::Exited(0))?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn a_forged_fault_message_ends_only_its_sender() -> Outcome {
    let place = Place::new("ridge")?;
    let holder = fixture::start(actor::OWNER, &format!("hold ridge {BASE}"))?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || wait_for(BASE, 1))?;
    for label in [0, 1, 2, 3, 4, 5, 6, 132, 0xfffff] {
        for length in [0, 1, 4, 20, 120] {
            let arguments = format!("forge-fault {label} {length}");
            let status = fixture::run(actor::OTHER, &arguments)?;
            check(
                matches!(status, ExitStatus::Faulted { .. }),
                "a fault message was ignored",
            )?;
        }
    }
    inside(&attachment, || {
        store(BASE, 2);
        Ok(())
    })?;
    fixture::ends_with(holder, ExitStatus::Exited(0))?;
    detach(attachment)?;
    Ok(place.remove()?)
}
