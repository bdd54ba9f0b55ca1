// SPDX-License-Identifier: MIT OR Apache-2.0

//! Memory: that it is given back, that it runs out cleanly, and that a leak would be seen.

use alloc::format;
use alloc::vec::Vec;

use client_lib::{Access, Error, PageSize, Segment};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use common::{Failure, Outcome};
use protocol::address_map::{GLOBAL, SLOT_BYTES};
use protocol::process::ExitStatus;
use protocol::{Limit, limits};

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state::{self, State, refused, unchanged};

tests! {
    a_leak_is_noticed,
    a_user_has_what_its_quota_promises_when_memory_is_used_up,
    a_user_has_no_more_than_its_quota,
    nearly_all_memory_can_be_had_again_and_again_in_all_page_sizes,
    small_and_large_segments_in_any_order_leave_nothing_behind,
    memory_that_is_freed_in_another_order_becomes_whole_again,
    when_memory_is_used_up_everything_is_refused_and_nothing_lost,
    when_slots_are_used_up_segments_are_refused_and_nothing_lost,
    there_are_as_many_vases_as_the_limit_says,
    there_are_as_many_segments_as_the_limit_says,
    a_vas_has_as_many_segments_as_the_limit_says,
    there_are_as_many_attachments_as_the_limit_says,
    a_process_whose_own_slots_are_used_up_is_told_so,
    attaching_and_detaching_for_long_leaves_nothing_behind,
}

fn a_leak_is_noticed() -> Outcome {
    let before = client_lib::server_stat()?;
    let leak = segment("leak", BASE)?;
    let during = client_lib::server_stat()?;
    let seen = state::difference(&before, &during);
    check(
        seen.is_some(),
        "a segment that is not freed was not noticed",
    )?;
    check(
        during.memory_free < before.memory_free,
        "a segment takes no memory",
    )?;
    check(
        during.slots_free < before.slots_free,
        "a segment takes no slots",
    )?;
    client_lib::seg_free(&leak)?;

    let vas = client_lib::vas_create("leak", EVERYONE)?;
    let without = client_lib::server_stat()?;
    let attachment = attach(&vas)?;
    let with = client_lib::server_stat()?;
    check(
        state::difference(&without, &with).is_some(),
        "an attachment was not noticed",
    )?;
    check(
        with.asids_free < without.asids_free,
        "an attachment takes no ASID",
    )?;
    check(
        with.tables > without.tables,
        "an attachment takes no page tables",
    )?;
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    check_equal(
        "difference",
        state::difference(&before, &client_lib::server_stat()?),
        None,
    )
}

/// The bytes that segments of this page size could have: as far as whole pages and slots go,
/// and less, for the server's own use, for memory that is not aligned, and for slots between others
/// that are in use, since slots are taken in ranges.
fn nearly_all(page_size: PageSize) -> Result<u64, Error> {
    client_lib::settle()?;
    let statistics = client_lib::quota_stat()?;
    let page = page_size.bytes();
    let by_slots = (u64::from(statistics.slots_free) / 8 * 7).saturating_mul(page);
    let bytes = statistics.memory_free.min(by_slots) / 16 * 15;
    // Of the largest pages at least one lies in memory somewhere.
    Ok(if page_size == PageSize::Huge {
        page
    } else {
        bytes / page * page
    })
}

/// Takes so much memory in one segment.
fn take(name: &str, bytes: u64, page_size: PageSize) -> Result<Segment, Error> {
    client_lib::seg_alloc(name, BASE, bytes, Some(page_size), EVERYONE)
}

fn nearly_all_memory_can_be_had_again_and_again_in_all_page_sizes() -> Outcome {
    let before = State::now()?;
    for _ in 0..2 {
        for page_size in PageSize::ALL {
            let bytes = nearly_all(page_size)?;
            let segment = take("all", bytes, page_size)?;
            let free = client_lib::server_stat()?.memory_free;
            check_equal("free bytes", free, before.memory_free() - bytes)?;
            client_lib::seg_free(&segment)?;
            unchanged(&before, &State::now()?)?;
        }
    }
    Ok(())
}

fn small_and_large_segments_in_any_order_leave_nothing_behind() -> Outcome {
    let before = State::now()?;
    let mut segments: Vec<Segment> = Vec::new();
    let mut number = 0x1234_5678_u64;
    for round in 0..600 {
        number = number
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let random = (number >> 33) as usize;
        if segments.len() < 24 && !random.is_multiple_of(3) || segments.is_empty() {
            let page_size = [PageSize::Small, PageSize::Small, PageSize::Large][random % 7 % 3];
            let bytes = page_size.bytes() * (1 + (random as u64 >> 4) % 13);
            segments.push(take(&format!("some {round}"), bytes, page_size)?);
        } else {
            let segment = segments.swap_remove(random % segments.len());
            client_lib::seg_free(&segment)?;
        }
    }
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    unchanged(&before, &State::now()?)?;
    // And it is still in one piece.
    let huge = take("huge", 1 << 30, PageSize::Huge)?;
    Ok(client_lib::seg_free(&huge)?)
}

fn memory_that_is_freed_in_another_order_becomes_whole_again() -> Outcome {
    let before = State::now()?;
    for _ in 0..2 {
        // The huge page is made of what all these were made of.
        let mut segments = Vec::new();
        let bytes = nearly_all(PageSize::Large)? / 256 / (2 << 20) * (2 << 20);
        for index in 0..256 {
            segments.push(take(&format!("part {index}"), bytes, PageSize::Large)?);
        }
        refused(Error::OutOfMemory, || take("huge", 1 << 30, PageSize::Huge))?;
        for segment in segments
            .iter()
            .step_by(2)
            .chain(segments.iter().skip(1).step_by(2))
        {
            client_lib::seg_free(segment)?;
        }
        let huge = take("huge", 1 << 30, PageSize::Huge)?;
        client_lib::seg_free(&huge)?;
        unchanged(&before, &State::now()?)?;
    }
    Ok(())
}

/// Takes memory in ever smaller segments until there is none.
fn use_up_memory() -> Result<Vec<Segment>, Failure> {
    let mut segments = Vec::new();
    for page_size in [PageSize::Huge, PageSize::Large, PageSize::Small] {
        let page = page_size.bytes();
        let mut bytes = 1 << 30;
        while bytes >= page {
            match take(&format!("piece {}", segments.len()), bytes, page_size) {
                Ok(segment) => segments.push(segment),
                Err(Error::OutOfMemory) => bytes /= 2,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(segments)
}

fn when_memory_is_used_up_everything_is_refused_and_nothing_lost() -> Outcome {
    let before = State::now()?;
    let place = Place::new("harbour")?;
    let spare = segment("spare", BASE + (9 << 30))?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || {
        store(BASE, 11);
        Ok(())
    })?;
    for _ in 0..2 {
        let with = State::now()?;
        let pieces = use_up_memory()?;
        let left = client_lib::quota_stat()?.memory_free;
        check(
            left < 1 << 20,
            &format!("{left} bytes are free and cannot be had"),
        )?;

        refused(Error::OutOfMemory, || segment("one more", BASE))?;
        // Both need page tables.
        refused(Error::OutOfMemory, || {
            client_lib::vas_attach(&place.vas, Access::ReadOnly)
        })?;
        refused(Error::OutOfMemory, || {
            client_lib::seg_attach(&place.vas, &spare, Access::ReadWrite)
        })?;
        // What is there works on.
        inside(&attachment, || check_equal("word", load(BASE), 11))?;

        for piece in pieces {
            client_lib::seg_free(&piece)?;
        }
        unchanged(&with, &State::now()?)?;
    }
    // And now there is room.
    client_lib::seg_attach(&place.vas, &spare, Access::ReadWrite)?;
    inside(&attachment, || {
        store(BASE + (9 << 30), 12);
        Ok(())
    })?;
    detach(attachment)?;
    place.remove()?;
    client_lib::seg_free(&spare)?;
    unchanged(&before, &State::now()?)
}

fn when_slots_are_used_up_segments_are_refused_and_nothing_lost() -> Outcome {
    let before = State::now()?;
    let statistics = client_lib::settle()?;
    let pages = statistics.memory_free / 4096;
    if pages <= statistics.slots_free {
        return Err(Failure::new(
            "this system has more slots than pages: no test possible",
        ));
    }
    let bytes = (statistics.slots_free + 1) * 4096;
    refused(Error::OutOfSlots, || take("slots", bytes, PageSize::Small))?;
    unchanged(&before, &State::now()?)
}

fn there_are_as_many_vases_as_the_limit_says() -> Outcome {
    let before = State::now()?;
    let mut vases = Vec::new();
    for index in 0..client_lib::quota_stat()?.most.vases {
        vases.push(client_lib::vas_create(&format!("vas {index}"), EVERYONE)?);
    }
    let limit = Error::LimitReached(Limit::Vases);
    refused(limit, || client_lib::vas_create("one more", EVERYONE))?;
    for vas in vases {
        client_lib::vas_delete(&vas)?;
    }
    unchanged(&before, &State::now()?)
}

fn there_are_as_many_segments_as_the_limit_says() -> Outcome {
    let before = State::now()?;
    let mut segments = Vec::new();
    for index in 0..client_lib::quota_stat()?.most.segments {
        segments.push(segment(&format!("segment {index}"), BASE)?);
    }
    refused(Error::LimitReached(Limit::Segments), || {
        segment("one more", BASE)
    })?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    unchanged(&before, &State::now()?)
}

fn a_vas_has_as_many_segments_as_the_limit_says() -> Outcome {
    let before = State::now()?;
    let vas = client_lib::vas_create("harbour", EVERYONE)?;
    let mut segments = Vec::new();
    for index in 0..=limits::SEGMENTS_PER_VAS as u64 {
        // Every eighth in a root slot of its own.
        let base = (1 + index / 8) * SLOT_BYTES + index % 8 * SIZE;
        check(base < GLOBAL.end, "too many")?;
        segments.push(segment(&format!("segment {index}"), base)?);
    }
    let (last, others) = segments.split_last().ok_or(Failure::new("no segments"))?;
    for segment in others {
        client_lib::seg_attach(&vas, segment, Access::ReadWrite)?;
    }
    let limit = Error::LimitReached(Limit::SegmentsPerVas);
    refused(limit, || {
        client_lib::seg_attach(&vas, last, Access::ReadWrite)
    })?;
    // All of them can be reached.
    visit(&vas, || {
        for segment in others {
            store(segment.base(), segment.base());
        }
        for segment in others {
            check_equal("word", load(segment.base()), segment.base())?;
        }
        Ok(())
    })?;
    client_lib::vas_delete(&vas)?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    unchanged(&before, &State::now()?)
}

fn there_are_as_many_attachments_as_the_limit_says() -> Outcome {
    let before = State::now()?;
    let mut vases = Vec::new();
    let most = client_lib::quota_stat()?.most.attachments;
    for index in 0..=most / 2 {
        vases.push(client_lib::vas_create(&format!("vas{index}"), EVERYONE)?);
    }
    let with = State::now()?;
    // Twice: the first process's attachments go with it.
    for actor in [actor::OTHER, actor::OWNER] {
        let all = ExitStatus::Exited(most as i32);
        fixture::expect(actor, "attach-until-refused vas", all)?;
        // Handles that were found first now are made by the server once for each set of
        // rights, and stay until the VAS goes.
        let after = client_lib::settle()?;
        check_equal("attachments", after.attachments, 0)?;
        check_equal("free ASIDs", after.asids_free, with.asids_free())?;
        check_equal("free bytes", after.memory_free, with.memory_free())?;
    }
    for vas in vases {
        client_lib::vas_delete(&vas)?;
    }
    unchanged(&before, &State::now()?)
}

fn a_process_whose_own_slots_are_used_up_is_told_so() -> Outcome {
    let place = Place::new("harbour")?;
    let mut handles = Vec::new();
    let error = loop {
        match client_lib::vas_find("harbour") {
            Ok(vas) => handles.push(vas),
            Err(error) => break error,
        }
    };
    check_equal("error", error, Error::OutOfSlots)?;
    check(handles.len() > 1900, "a process has too few slots")?;
    refused(Error::OutOfSlots, || {
        client_lib::vas_create("other", EVERYONE)
    })?;
    refused(Error::OutOfSlots, || segment("other", 2 * BASE))?;
    refused(Error::OutOfSlots, || attach(&place.vas))?;
    drop(handles);
    visit(&place.vas, || {
        store(BASE, 1);
        Ok(())
    })?;
    Ok(place.remove()?)
}

fn attaching_and_detaching_for_long_leaves_nothing_behind() -> Outcome {
    let place = Place::with("harbour", BASE, 1 << 20, PageSize::Small)?;
    let before = State::now()?;
    for round in 0..300 {
        visit(&place.vas, || {
            check_equal("word", load(BASE), round)?;
            store(BASE, round + 1);
            Ok(())
        })?;
    }
    unchanged(&before, &State::now()?)?;
    Ok(place.remove()?)
}

fn a_user_has_what_its_quota_promises_when_memory_is_used_up() -> Outcome {
    let before = State::now()?;
    let own = client_lib::quota_stat()?;
    check_equal("user with a quota", own.user, None)?;
    let segments = use_up_memory()?;
    // What is left is promised: the user it is promised to has all of it.
    let left = client_lib::quota_stat()?.memory_free;
    check(left < 1 << 20, "memory is not used up")?;
    let promised = client_lib::server_stat()?.memory_free - left;
    fixture::succeeds(actor::PROMISED, &format!("use-quota {promised}"))?;
    check_equal(
        "free bytes",
        client_lib::server_stat()?.memory_free,
        promised,
    )?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    unchanged(&before, &State::now()?)
}

fn a_user_has_no_more_than_its_quota() -> Outcome {
    let before = State::now()?;
    fixture::succeeds(actor::PROMISED, "exceed-quota")?;
    unchanged(&before, &State::now()?)
}
