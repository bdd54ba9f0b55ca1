// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root task that tries the invocation Switch, and counts its instructions.
//!
//! It is compiled by the test `switch` alone. With `-icount shift=0` the time-stamp counter
//! counts instructions.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each root task uses a part of it")]
mod support;

use core::arch::x86_64::_rdtsc;
use core::fmt;

use support::*;

/// Where the tests map: a slot of the root table that nothing else uses.
const BASE: u64 = 1 << 39;
const ROUNDS: u64 = 64;

fn check(what: &str, right: bool, seen: &dyn fmt::Debug) {
    say!(
        "{}: {what} ({seen:?})",
        if right { "right" } else { "wrong" }
    );
}

fn switch(root: u64) -> u64 {
    system_call(-1, root, PML4_SWITCH << 12, [0; 4]).0 >> 12
}

/// One word more than the fast path takes.
fn switch_slowly(root: u64) -> u64 {
    invoke(root, PML4_SWITCH, &[0; 5], &[])
}

/// Instructions that something takes, without those of counting.
fn count(mut round: impl FnMut()) -> u64 {
    let mut lowest = u64::MAX;
    let mut empty = u64::MAX;
    for _ in 0..ROUNDS {
        // SAFETY: reads a register.
        let (start, middle) = unsafe { (_rdtsc(), _rdtsc()) };
        round();
        // SAFETY: as above.
        let end = unsafe { _rdtsc() };
        empty = empty.min(middle - start);
        lowest = lowest.min(end - middle);
    }
    lowest - empty
}

extern "C" fn answer(wait: u64, _: u64, _: u64) -> ! {
    system_call(-5, wait, 0, [0; 4]);
    loop {
        system_call(-2, wait, 0, [0; 4]);
    }
}

fn main() {
    map_tables(BASE, VSPACE);
    let page = make(PAGE);
    must(map(page, BASE, VSPACE));
    // SAFETY: just mapped.
    unsafe { (BASE as *mut u64).write_volatile(1) };

    // Another root, with this program by attachment and another page at the same address.
    let other = make(PML4);
    must(invoke(ASID_POOL, ASID_POOL_ASSIGN, &[], &[other]));
    let (program, error) = copy(IMAGE_TABLES.load(core::sync::atomic::Ordering::Relaxed));
    must(error);
    must(map_table(program, PDPT_MAP, 0, other));
    map_tables(BASE, other);
    let other_page = make(PAGE);
    must(map(other_page, BASE, other));
    // SAFETY: mapped in both roots.
    let here = || unsafe { (BASE as *const u64).read_volatile() };

    for (what, switch) in [
        ("fast", switch as fn(u64) -> u64),
        ("slow", switch_slowly as fn(u64) -> u64),
    ] {
        let seen = (here(), switch(other), here(), switch(VSPACE), here());
        check(what, seen == (1, 0, 0, 0, 1), &seen);
        let seen = (switch(VSPACE), here());
        check("to the same root", seen == (0, 1), &seen);
    }

    let (switch_only, error) = (new_slot(), 0);
    must(error);
    must(copy_to(other, switch_only, READ_ONLY));
    let (copied, error) = copy(switch_only);
    must(error);
    let seen = (switch(copied), here(), switch(VSPACE), here());
    check("by a switch-only root", seen == (0, 0, 0, 1), &seen);
    let table = make(PDPT);
    let frame = make(PAGE);
    for root in [switch_only, copied] {
        let seen = [
            map_table(table, PDPT_MAP, 2 * BASE, root),
            map_table(
                make(PAGE_DIRECTORY),
                PAGE_DIRECTORY_MAP,
                BASE + (1 << 30),
                root,
            ),
            map_table(make(PAGE_TABLE), PAGE_TABLE_MAP, BASE + (1 << 21), root),
            map(frame, BASE + 0x1000, root),
            invoke(other_page, PAGE_REMAP, &[READ_ONLY, 0], &[root]),
        ];
        check(
            "nothing is mapped through it",
            seen == [INVALID_CAPABILITY; 5],
            &seen,
        );
    }

    let bare = make(PML4);
    let seen = (switch(bare), switch_slowly(bare));
    check(
        "no ASID",
        seen == (INVALID_CAPABILITY, INVALID_CAPABILITY),
        &seen,
    );
    let seen = invoke(other, PDPT_MAP, &[], &[]);
    check("another label", seen == ILLEGAL_OPERATION, &seen);

    // The last cap to a root, other than the thread's own, goes while the thread is there.
    let lonely = make(PML4);
    must(invoke(ASID_POOL, ASID_POOL_ASSIGN, &[], &[lonely]));
    let (attached, error) = copy(program);
    must(error);
    must(map_table(attached, PDPT_MAP, 0, lonely));
    let moved = new_slot();
    must(copy_to(lonely, moved, READ_WRITE));
    must(switch(moved));
    delete(lonely);
    delete(moved);
    let seen = (switch(VSPACE), switch_slowly(VSPACE));
    check("the last cap", seen == (REVOKE_FIRST, REVOKE_FIRST), &seen);
    must(invoke(
        INIT_THREAD,
        TCB_SET_SPACE,
        &[0, 0, 0],
        &[CNODE, VSPACE],
    ));
    let seen = here();
    check("back", seen == 1, &seen);

    let server = Worker::new_in(other, 1);
    let wait = make(ENDPOINT);
    server.start(answer, wait, 0);
    yield_now();
    say!(
        "instructions: two IPC, {}",
        count(|| {
            system_call(-1, wait, 0, [0; 4]);
        })
    );
    say!(
        "instructions: two switches, {}",
        count(|| {
            switch(other);
            switch(VSPACE);
        })
    );
    say!(
        "instructions: two slow switches, {}",
        count(|| {
            switch_slowly(other);
            switch_slowly(VSPACE);
        })
    );
    say!(
        "instructions: refused, {}",
        count(|| {
            invoke(other, PDPT_MAP, &[], &[]);
        })
    );
    say!("instructions: yield, {}", count(yield_now));
    say!("switch: done");
}
