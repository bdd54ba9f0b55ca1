// SPDX-License-Identifier: MIT OR Apache-2.0

//! Switching: what changes by it, and what does not.

use alloc::format;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use client_lib::{Access, Attachment, PageSize, Space, vas_switch};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use common::{Outcome, raw};
use protocol::Name;
use protocol::message::{VasAttach, VasDetach, VasFind};
use protocol::process::{ExitStatus, slot};
use sel4::cap;

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor};
use crate::harness::tests;
use crate::{registers, state};

tests! {
    the_same_address_holds_different_data_in_each_of_two_vases,
    the_same_address_holds_different_data_in_each_of_many_vases,
    switching_tells_where_the_thread_was,
    row_22_private_memory_is_the_same_inside_and_outside,
    row_24_switching_keeps_the_registers_that_a_function_must_preserve,
    row_24_switching_keeps_the_sse_registers,
    sse_registers_of_processes_in_a_vas_are_their_own,
    everything_can_be_asked_while_inside,
    switching_to_where_the_thread_is_changes_nothing,
    processes_in_different_vases_keep_their_own_data_when_preempted,
    a_change_of_page_sizes_at_one_address_is_seen_after_switching,
}

fn the_same_address_holds_different_data_in_each_of_two_vases() -> Outcome {
    let north = Place::new("north")?;
    let south = Place::new("south")?;
    let in_north = attach(&north.vas)?;
    let in_south = attach(&south.vas)?;
    let words = [BASE, BASE + 4096, BASE + SIZE - 8];
    for round in 0..2000u64 {
        for (attachment, value) in [(&in_north, round), (&in_south, !round)] {
            // Straight from one into the other.
            vas_switch(attachment.space())?;
            for word in words {
                if round > 0 {
                    let before = if value == round {
                        round - 1
                    } else {
                        !(round - 1)
                    };
                    check_equal("word", load(word), before ^ word)?;
                }
                store(word, value ^ word);
            }
        }
    }
    vas_switch(Space::OWN)?;
    detach(in_north)?;
    detach(in_south)?;
    north.remove()?;
    Ok(south.remove()?)
}

fn the_same_address_holds_different_data_in_each_of_many_vases() -> Outcome {
    const COUNT: usize = 32;
    let mut places = Vec::new();
    for index in 0..COUNT {
        let place = Place::new(&format!("north {index}"))?;
        let attachment = attach(&place.vas)?;
        places.push((place, attachment));
    }
    for round in 0..50 {
        for index in 0..COUNT {
            // 5 is prime to the count: all are visited, never two neighbours in a row.
            let index = index * 5 % COUNT;
            vas_switch(places[index].1.space())?;
            let expected = if round == 0 {
                0
            } else {
                (index * 1000 + round - 1) as u64
            };
            check_equal("word", load(BASE), expected)?;
            store(BASE, (index * 1000 + round) as u64);
        }
    }
    vas_switch(Space::OWN)?;
    for (place, attachment) in places {
        detach(attachment)?;
        place.remove()?;
    }
    Ok(())
}

fn switching_tells_where_the_thread_was() -> Outcome {
    let north = Place::new("north")?;
    let south = Place::new("south")?;
    let in_north = attach(&north.vas)?;
    let in_south = attach(&south.vas)?;
    let spaces = [Space::OWN, in_north.space(), in_south.space()];
    for (index, &from) in spaces.iter().enumerate() {
        for (other, &to) in spaces.iter().enumerate() {
            check(index == other || from != to, "two spaces are the same")?;
            vas_switch(from)?;
            check_equal("current space", Space::current(), from)?;
            check_equal("space left", vas_switch(to)?, from)?;
            check_equal("current space", Space::current(), to)?;
        }
    }
    vas_switch(Space::OWN)?;
    detach(in_north)?;
    detach(in_south)?;
    north.remove()?;
    Ok(south.remove()?)
}

static GLOBAL_WORD: AtomicU64 = AtomicU64::new(0);

fn row_22_private_memory_is_the_same_inside_and_outside() -> Outcome {
    let place = Place::new("north")?;
    let attachment = attach(&place.vas)?;
    // More of the stack than was used before.
    let mut stack = [0u64; 2048];
    let mut heap: Vec<Vec<u64>> = Vec::new();
    for round in 0..20u64 {
        inside(&attachment, || {
            GLOBAL_WORD.fetch_add(1, Ordering::Relaxed);
            for (index, word) in core::hint::black_box(&mut stack).iter_mut().enumerate() {
                *word += index as u64;
            }
            heap.push((0..round * 16).collect());
            Ok(())
        })?;
        check_equal("global", GLOBAL_WORD.load(Ordering::Relaxed), round + 1)?;
        for (index, &word) in stack.iter().enumerate() {
            check_equal("word of the stack", word, (round + 1) * index as u64)?;
        }
        check_equal(
            "words on the heap",
            heap.concat().len() as u64,
            round * (round + 1) * 8,
        )?;
    }
    detach(attachment)?;
    Ok(place.remove()?)
}

/// The spaces between which [`there_and_back`] switches.
static SWITCHES: AtomicU64 = AtomicU64::new(0);

extern "C" fn there_and_back(attachment: u64) {
    // SAFETY: the only caller passes the address of an attachment that outlives the call.
    let attachment = unsafe { &*(attachment as *const Attachment) };
    let before = Space::current();
    if vas_switch(attachment.space()) == Ok(before) && vas_switch(before).is_ok() {
        SWITCHES.fetch_add(2, Ordering::Relaxed);
    }
}

extern "C" fn step_over(attachment: u64) {
    // SAFETY: as above.
    let attachment = unsafe { &*(attachment as *const Attachment) };
    let there = attachment.space();
    let to = if Space::current() == there {
        Space::OWN
    } else {
        there
    };
    if vas_switch(to).is_ok() {
        SWITCHES.fetch_add(1, Ordering::Relaxed);
    }
}

extern "C" fn clobber(_: u64) {
    // SAFETY: none of them is in use here, and this is what the test is to find out.
    unsafe { core::arch::asm!("mov r12, rsp", options(nostack, preserves_flags)) }
}

fn row_24_switching_keeps_the_registers_that_a_function_must_preserve() -> Outcome {
    let place = Place::new("north")?;
    let attachment = attach(&place.vas)?;
    let argument = (&raw const attachment) as u64;
    for _ in 0..100 {
        check(
            registers::kept_by(there_and_back, argument),
            "registers changed there and back",
        )?;
        check(
            registers::kept_by(step_over, argument),
            "registers changed on the way in",
        )?;
        check(
            registers::kept_by(step_over, argument),
            "registers changed on the way out",
        )?;
    }
    check_equal("switches", SWITCHES.load(Ordering::Relaxed), 400)?;
    check(
        !registers::kept_by(clobber, 0),
        "a changed register was not noticed",
    )?;
    check_equal("space", Space::current(), Space::OWN)?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn row_24_switching_keeps_the_sse_registers() -> Outcome {
    let place = Place::new("north")?;
    // Step by step, since the client library's switch may use these registers itself: on
    // seL4 5.0.0 the root is changed by SetSpace and loaded by the Yield that follows.
    let (handle, root) = (raw::SCRATCH[0], raw::SCRATCH[1]);
    raw::request(
        &VasFind {
            name: Name::new("north")?,
        },
        &[],
        handle,
    )?;
    let attached = raw::request(
        &VasAttach {
            access: Access::ReadWrite,
        },
        &[handle],
        root,
    )?;
    let set_space = |root: u64| {
        let cnode = cap::CNode::from_bits(slot::CNODE);
        let tcb = cap::Tcb::from_bits(slot::TCB);
        tcb.set_space(slot::FAULT, cnode, 0, cap::PML4::from_bits(root), 0)
    };
    for round in 1..100 {
        set_space(root)?;
        check(
            registers::sse_survives_yield(round << 32 | round),
            "lost on the way in",
        )?;
        check_equal("word", load(BASE), round - 1)?;
        store(BASE, round);
        set_space(slot::VSPACE)?;
        check(registers::sse_survives_yield(!round), "lost on the way out")?;
    }
    raw::request(
        &VasDetach {
            attachment: attached.attachment,
        },
        &[],
        raw::SCRATCH[2],
    )?;
    Ok(place.remove()?)
}

fn sse_registers_of_processes_in_a_vas_are_their_own() -> Outcome {
    let place = Place::new("north")?;
    let arguments = format!("keep-sse north {BASE} 10000000");
    let mut actors = Vec::new();
    for actor in [actor::OWNER, actor::GROUP, actor::OTHER] {
        actors.push(fixture::start(actor, &arguments)?);
    }
    for actor in actors {
        fixture::ends_with(actor, ExitStatus::Exited(0))?;
    }
    Ok(place.remove()?)
}

fn everything_can_be_asked_while_inside() -> Outcome {
    let place = Place::new("north")?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || {
        runtime::println!("this line is printed from inside a VAS");
        store(BASE, 1);
        // The server makes a handle when it is first asked for one with these rights.
        fixture::succeeds(actor::OTHER, &format!("load north {BASE} 1"))?;
        let before = state::State::now()?;
        let south = Place::with("south", BASE, 1 << 20, PageSize::Small)?;
        visit(&south.vas, || {
            check_equal("word", load(BASE), 0)?;
            store(BASE, 2);
            Ok(())
        })?;
        check_equal("word", load(BASE), 1)?;
        fixture::succeeds(actor::OTHER, &format!("load south {BASE} 2"))?;
        fixture::succeeds(actor::OTHER, &format!("load north {BASE} 1"))?;
        check_equal("VASes", state::all_vases()?.len(), 2)?;
        south.remove()?;
        state::unchanged(&before, &state::State::now()?)
    })?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn switching_to_where_the_thread_is_changes_nothing() -> Outcome {
    let place = Place::new("north")?;
    visit(&place.vas, || {
        store(BASE, 3);
        let here = Space::current();
        for _ in 0..10 {
            check_equal("space left", vas_switch(here)?, here)?;
            check_equal("word", load(BASE), 3)?;
        }
        Ok(())
    })?;
    check_equal("space left", vas_switch(Space::OWN)?, Space::OWN)?;
    Ok(place.remove()?)
}

fn processes_in_different_vases_keep_their_own_data_when_preempted() -> Outcome {
    const TURNS: u64 = 300_000;
    let mut places = Vec::new();
    let mut actors = Vec::new();
    for (index, actor) in [actor::OWNER, actor::GROUP, actor::OTHER]
        .into_iter()
        .enumerate()
    {
        let name = format!("north{index}");
        let place = Place::new(&name)?;
        let attachment = attach(&place.vas)?;
        let first = (index as u64 + 1) << 40;
        places.push((place, attachment, first));
        actors.push(fixture::start(
            actor,
            &format!("guard {name} {BASE} {first} {TURNS}"),
        )?);
    }
    // None of them yields, so if all are seen on their way at once, they were preempted.
    let mut all_on_their_way = false;
    for _ in 0..100_000 {
        let mut under_way = 0;
        let mut done = 0;
        for (_, attachment, first) in &places {
            let word = inside(attachment, || Ok(load(BASE)))?;
            under_way += u32::from(word > *first && word < first + TURNS - 1);
            done += u32::from(word == first + TURNS - 1);
        }
        all_on_their_way |= under_way == 3;
        if all_on_their_way || done > 0 {
            break;
        }
        sel4::yield_now();
    }
    for actor in actors {
        fixture::ends_with(actor, ExitStatus::Exited(0))?;
    }
    check(
        all_on_their_way,
        "the processes did not run at the same time",
    )?;
    for (place, attachment, first) in places {
        inside(&attachment, || {
            check_equal("last word", load(BASE), first + TURNS - 1)
        })?;
        detach(attachment)?;
        place.remove()?;
    }
    Ok(())
}

fn a_change_of_page_sizes_at_one_address_is_seen_after_switching() -> Outcome {
    // Nothing that the processor remembers of the pages of before may be used.
    let vas = client_lib::vas_create("north", EVERYONE)?;
    let attachment = attach(&vas)?;
    for (round, page_size) in [
        PageSize::Small,
        PageSize::Large,
        PageSize::Small,
        PageSize::Huge,
        PageSize::Large,
    ]
    .into_iter()
    .enumerate()
    {
        let bytes = page_size.bytes();
        let segment = client_lib::seg_alloc("north", BASE, bytes, Some(page_size), EVERYONE)?;
        vas_switch(attachment.space())?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        check_equal("fresh word", load(BASE), 0)?;
        store(BASE, round as u64 + 1);
        check_equal("word", load(BASE), round as u64 + 1)?;
        client_lib::seg_detach(&vas, &segment)?;
        vas_switch(Space::OWN)?;
        client_lib::seg_free(&segment)?;
    }
    detach(attachment)?;
    Ok(client_lib::vas_delete(&vas)?)
}
