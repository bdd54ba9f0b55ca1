// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the paper promises, where no test of one theme shows a whole promise. The numbers are
//! those of `docs/checklist.md`.

use alloc::format;
use alloc::vec::Vec;
use core::arch::x86_64::_rdtsc;

use client_lib::{
    Access, Attachment, Command, Error, Mode, Name, PageSize, Rights, Space, Vas, vas_switch,
};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Outcome, raw};
use protocol::address_map::{LOCAL, SLOT_BYTES};
use protocol::message::{ServerStat, Statistics};
use protocol::process::{ExitStatus, slot};
use sel4::{CapRights, cap};

use crate::fixture::{self, BASE, EVERYONE, OWNER, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state::{self, State, refused, unchanged};

tests! {
    row_10_every_call_of_figure_3_on_vases_does_what_it_says,
    row_11_every_call_of_figure_3_on_segments_does_what_it_says,
    row_12_what_is_deleted_is_enumerated_no_longer_and_the_rest_is,
    row_16_a_process_starts_in_a_space_given_by_the_system_and_returns_to_it,
    row_19_memory_is_reserved_when_a_segment_is_made_and_not_when_it_is_used,
    row_20_a_segment_with_its_own_tables_is_attached_again_at_the_cost_of_an_entry,
    row_26_switching_takes_one_invocation_of_a_cap_and_no_server,
    row_27_attachments_share_all_tables_below_the_root_and_changes_take_no_work,
}

fn row_10_every_call_of_figure_3_on_vases_does_what_it_says() -> Outcome {
    let vas = client_lib::vas_create("figure", OWNER)?;
    let segment = segment("figure", BASE)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    let found = client_lib::vas_find("figure")?;

    let before = State::now()?;
    let attachment = client_lib::vas_attach(&found, Access::ReadWrite)?;
    check_equal("space", vas_switch(attachment.space())?, Space::OWN)?;
    store(BASE, 10);
    let clone = client_lib::vas_clone(&vas, "clone", EVERYONE, Access::ReadWrite)?;
    check_equal("space", vas_switch(Space::OWN)?, attachment.space())?;
    visit(&clone, || {
        check_equal("word, through the clone", load(BASE), 10)?;
        store(BASE, 11);
        Ok(())
    })?;
    inside(&attachment, || check_equal("word", load(BASE), 11))?;
    client_lib::vas_delete(&clone)?;

    // The bits of its mode decide who finds it, when it is made and after it was changed.
    let reading = Rights::READ | Rights::ATTACH;
    let denied = Err(Error::PermissionDenied { needs: reading });
    fixture::answered(actor::OTHER, "find-vas figure", denied)?;
    client_lib::vas_ctl(&vas, Command::Mode(Mode(0o604)))?;
    fixture::answered(actor::OTHER, "find-vas figure", Ok(reading))?;
    client_lib::vas_ctl(&vas, Command::Mode(OWNER))?;

    let space = attachment.space();
    detach(attachment)?;
    refused(Error::StaleAttachment, || vas_switch(space))?;
    let after = State::now()?;
    // The handle that the other user was given stays while the VAS does.
    check_equal("free bytes", after.memory_free(), before.memory_free())?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn row_11_every_call_of_figure_3_on_segments_does_what_it_says() -> Outcome {
    let place = Place::new("figure")?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || {
        store(BASE, 11);
        Ok(())
    })?;
    let found = client_lib::seg_find("figure")?;

    // By the VAS's handle.
    client_lib::seg_detach(&place.vas, &found)?;
    let gone = ExitStatus::Faulted { address: BASE };
    let arguments = format!("load-then-store figure read-write {BASE}");
    fixture::expect(actor::OTHER, &arguments, gone)?;
    client_lib::seg_attach(&place.vas, &found, Access::ReadWrite)?;
    fixture::succeeds(actor::OTHER, &arguments)?;
    inside(&attachment, || check_equal("word", load(BASE + 8), 11))?;

    // By the attachment's.
    let local = segment("local", LOCAL.start)?;
    client_lib::seg_attach_local(&attachment, &local, Access::ReadWrite)?;
    inside(&attachment, || {
        store(LOCAL.start, 12);
        check_equal("word", load(LOCAL.start), 12)
    })?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::seg_free(&local)
    })?;
    client_lib::seg_detach_local(&attachment, &local)?;
    client_lib::seg_free(&local)?;

    // A copy of what it holds now.
    let clone = client_lib::seg_clone(&place.segment, "clone", OWNER)?;
    client_lib::seg_detach(&place.vas, &place.segment)?;
    client_lib::seg_attach(&place.vas, &clone, Access::ReadWrite)?;
    inside(&attachment, || {
        check_equal("word, in the copy", load(BASE), 11)?;
        store(BASE, 13);
        Ok(())
    })?;
    client_lib::seg_detach(&place.vas, &clone)?;
    client_lib::seg_attach(&place.vas, &place.segment, Access::ReadWrite)?;
    inside(&attachment, || check_equal("word", load(BASE), 11))?;

    let needs = Rights::READ | Rights::ATTACH;
    let denied = Err(Error::PermissionDenied { needs });
    fixture::answered(actor::OTHER, "find-segment clone", denied)?;
    client_lib::seg_ctl(&clone, Command::Mode(Mode(0o604)))?;
    fixture::answered(actor::OTHER, "find-segment clone", Ok(needs))?;
    client_lib::seg_free(&clone)?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn row_12_what_is_deleted_is_enumerated_no_longer_and_the_rest_is() -> Outcome {
    const NAMES: [&str; 4] = ["ash", "birch", "cedar", "date"];
    let mut vases = Vec::new();
    let mut segments = Vec::new();
    for name in NAMES {
        vases.push(client_lib::vas_create(name, EVERYONE)?);
        segments.push(segment(name, BASE)?);
    }
    let enumerate = || -> Result<[Vec<Name>; 2], Error> {
        Ok([
            state::all_vases()?
                .into_iter()
                .map(|entry| entry.name)
                .collect(),
            state::all_segments()?
                .into_iter()
                .map(|entry| entry.name)
                .collect(),
        ])
    };
    // From the middle, the ends last.
    let mut left: Vec<Name> = NAMES.into_iter().map(Name::new).collect::<Result<_, _>>()?;
    check_equal("all", enumerate()?, [left.clone(), left.clone()])?;
    for position in [1, 1, 1, 0] {
        let name = left.remove(position);
        client_lib::vas_delete(&vases.remove(position))?;
        client_lib::seg_free(&segments.remove(position))?;
        check_equal("the rest", enumerate()?, [left.clone(), left.clone()])?;
        refused(Error::NotFound, || client_lib::vas_find(name.as_str()))?;
        refused(Error::NotFound, || client_lib::seg_find(name.as_str()))?;
    }
    Ok(())
}

fn row_16_a_process_starts_in_a_space_given_by_the_system_and_returns_to_it() -> Outcome {
    // This process was started for this test alone, and has not switched yet.
    check_equal("first space", Space::current(), Space::OWN)?;
    let place = Place::new("home")?;
    let attachment = attach(&place.vas)?;
    for round in 1..4 {
        check_equal("space left", vas_switch(attachment.space())?, Space::OWN)?;
        store(BASE, round);
        check_equal("word", load(BASE), round)?;
        check_equal("space left", vas_switch(Space::OWN)?, attachment.space())?;
        check_equal("space", Space::current(), Space::OWN)?;
    }
    // A process that goes home from a VAS finds none of the segments there.
    let arguments = format!("go-home-and-load home {BASE}");
    let out_of_reach = ExitStatus::Faulted { address: BASE + 8 };
    fixture::expect(actor::OTHER, &arguments, out_of_reach)?;
    // Home is there when the VAS no longer is.
    detach(attachment)?;
    place.remove()?;
    check_equal("space left", vas_switch(Space::OWN)?, Space::OWN)
}

fn row_19_memory_is_reserved_when_a_segment_is_made_and_not_when_it_is_used() -> Outcome {
    for (page_size, size) in [(PageSize::Small, 1 << 20), (PageSize::Large, 4 << 20)] {
        let vas = client_lib::vas_create("store", EVERYONE)?;
        let before = client_lib::server_stat()?;
        let segment = client_lib::seg_alloc("store", BASE, size, Some(page_size), EVERYONE)?;
        let reserved = client_lib::server_stat()?;
        check_equal(
            "bytes reserved",
            before.memory_free - reserved.memory_free,
            size,
        )?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        let attachment = attach(&vas)?;
        let untouched = State::now()?;
        inside(&attachment, || {
            for page in (BASE..BASE + size).step_by(4096) {
                check_equal("new word", load(page), 0)?;
                store(page, page);
            }
            Ok(())
        })?;
        unchanged(&untouched, &State::now()?)?;
        detach(attachment)?;
        client_lib::vas_delete(&vas)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

/// Whether attachments of a VAS share tables here; the stock kernel cannot.
fn shares_tables() -> Result<bool, Error> {
    Ok(client_lib::server_stat()?.page_tables.as_str() == "shared")
}

/// What `work` adds to the server's tables, and the least time it takes of a few times; `undo`
/// undoes it.
fn cost(
    mut work: impl FnMut() -> Result<(), Error>,
    mut undo: impl FnMut() -> Result<(), Error>,
) -> Result<(u32, u64), Error> {
    let mut least = u64::MAX;
    let mut tables = 0;
    for _ in 0..9 {
        let before = client_lib::server_stat()?.tables;
        // SAFETY: reads a register.
        let start = unsafe { _rdtsc() };
        work()?;
        // SAFETY: as above.
        least = least.min(unsafe { _rdtsc() } - start);
        tables = client_lib::server_stat()?.tables - before;
        undo()?;
    }
    Ok((tables, least))
}

fn row_20_a_segment_with_its_own_tables_is_attached_again_at_the_cost_of_an_entry() -> Outcome {
    const BYTES: u64 = 8 << 20;
    let vas = client_lib::vas_create("cache", EVERYONE)?;
    let small = Some(PageSize::Small);
    let plain = client_lib::seg_alloc("plain", 3 * SLOT_BYTES, BYTES, small, EVERYONE)?;
    let base = 4 * SLOT_BYTES;
    let cached = client_lib::seg_alloc_own_slots("cached", base, BYTES, small, EVERYONE)?;
    let attachment = attach(&vas)?;
    let attach_and_detach = |segment| {
        cost(
            || client_lib::seg_attach(&vas, segment, Access::ReadWrite),
            || client_lib::seg_detach(&vas, segment),
        )
    };
    let (plain_tables, plain_time) = attach_and_detach(&plain)?;
    let (cached_tables, cached_time) = attach_and_detach(&cached)?;
    if shares_tables()? {
        // A PDPT, a page directory, and a page table for each 2 MiB.
        check_equal("tables that are made", plain_tables, 2 + 4)?;
        check_equal("tables that are made again", cached_tables, 0)?;
        check(
            cached_time * 8 < plain_time,
            &format!("attaching again took {cached_time} instead of {plain_time}"),
        )?;
    } else {
        check_equal("tables without sharing", cached_tables, plain_tables)?;
    }
    // What was cached is the memory of before.
    for value in 0..3 {
        client_lib::seg_attach(&vas, &cached, Access::ReadWrite)?;
        inside(&attachment, || {
            check_equal("last word", load(base + BYTES - 8), value)?;
            store(base + BYTES - 8, value + 1);
            Ok(())
        })?;
        client_lib::seg_detach(&vas, &cached)?;
    }
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    client_lib::seg_free(&plain)?;
    Ok(client_lib::seg_free(&cached)?)
}

/// Goes to a root by one invocation of its cap: the extended kernel's, or else the stock one's
/// of the own thread.
fn go(root: u64) -> Result<(), sel4::Error> {
    let root = cap::PML4::from_bits(root);
    root.switch().or_else(|error| match error {
        sel4::Error::IllegalOperation => {
            let cnode = cap::CNode::from_bits(slot::CNODE);
            cap::Tcb::from_bits(slot::TCB).set_space(slot::FAULT, cnode, 0, root, 0)
        }
        error => Err(error),
    })
}

fn row_26_switching_takes_one_invocation_of_a_cap_and_no_server() -> Outcome {
    let place = Place::new("door")?;
    let [root, session, handle, unused] = raw::SCRATCH;
    raw::request(
        &protocol::message::VasFind {
            name: Name::new("door")?,
        },
        &[],
        handle,
    )?;
    // What attaching gives is a cap of a root table.
    let access = Access::ReadWrite;
    let attached = raw::request(&protocol::message::VasAttach { access }, &[handle], root)?;

    // Without the session's cap nothing can be asked of the server.
    let cnode = cap::CNode::from_bits(slot::CNODE);
    let depth = u64::BITS as u8;
    cnode.move_(session, depth, cnode, slot::SESSION, depth)?;
    let asked = raw::call(slot::SESSION, 0, &[], &[], unused);
    let mut seen = Vec::new();
    for round in 0..3 {
        go(root)?;
        seen.push((round, load(BASE)));
        store(BASE, round + 1);
        go(slot::VSPACE)?;
    }
    cnode.move_(slot::SESSION, depth, cnode, session, depth)?;
    check(asked.label != 0, "a request without a session was answered")?;
    check_equal("words", seen, Vec::from([(0, 0), (1, 1), (2, 2)]))?;

    // Copies of the cap are as good, and nothing can be mapped through any.
    cnode.copy(session, depth, cnode, root, depth, CapRights::ALL)?;
    go(session)?;
    let word = load(BASE);
    go(slot::VSPACE)?;
    check_equal("word", word, 3)?;
    raw::request(&ServerStat, &[], unused)?;
    let attachment = attached.attachment;
    raw::request(&protocol::message::VasDetach { attachment }, &[], unused)?;
    check(go(session).is_err(), "a copy outlives the attachment")?;
    raw::empty(handle);
    Ok(place.remove()?)
}

fn row_27_attachments_share_all_tables_below_the_root_and_changes_take_no_work() -> Outcome {
    const MOST: usize = 8;
    let place = Place::with("commons", BASE, 4 << 20, PageSize::Small)?;
    let more = segment("more", BASE + (64 << 20))?;
    let tables = || -> Result<u32, Error> { Ok(client_lib::server_stat()?.tables) };
    let shared = shares_tables()?;
    let mut holders = Vec::new();
    let mine = attach(&place.vas)?;
    let mut of_adding = Vec::new();
    for index in 0..MOST {
        let before: Statistics = client_lib::server_stat()?;
        let word = BASE + 4096 * index as u64;
        holders.push((
            fixture::start(actor::OTHER, &format!("hold commons {word}"))?,
            word,
        ));
        inside(&mine, || wait_for(word, 1))?;
        let made = tables()? - before.tables;
        if shared {
            check_equal("tables of an attachment: its root", made, 1)?;
        }
        of_adding.push(add_and_see(&place.vas, &mine, &more)?);
    }
    if shared {
        check(
            of_adding.iter().all(|&made| made == of_adding[0]),
            "adding a segment takes more tables when more are attached",
        )?;
    }
    for (holder, word) in holders {
        inside(&mine, || {
            store(word, 2);
            Ok(())
        })?;
        fixture::ends_with(holder, ExitStatus::Exited(0))?;
    }
    detach(mine)?;
    client_lib::seg_free(&more)?;
    Ok(place.remove()?)
}

/// Adds a segment, sees it through an attachment of before, and removes it. The tables that
/// adding it took.
fn add_and_see(
    vas: &Vas,
    attachment: &Attachment,
    segment: &client_lib::Segment,
) -> Result<u32, common::Failure> {
    let before = client_lib::server_stat()?.tables;
    client_lib::seg_attach(vas, segment, Access::ReadWrite)?;
    let made = client_lib::server_stat()?.tables - before;
    inside(attachment, || {
        check_equal("last word", load(segment.base() + SIZE - 8), 0)
    })?;
    client_lib::seg_detach(vas, segment)?;
    Ok(made)
}
