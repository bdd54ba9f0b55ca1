// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segments: made, found, listed, put into VASes and taken out, and their memory.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use client_lib::{Access, Mode, Name, PageSize, Vas};
use common::Outcome;
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{fetch_add, load, store, wait_for};
use protocol::address_map::{GLOBAL, SLOT_BYTES};
use protocol::message::SegEntry;
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state;

tests! {
    row_6_a_segment_tells_what_it_is_and_what_it_has,
    a_segment_grows_in_place_and_a_process_that_is_inside_sees_it,
    a_segment_does_not_grow_into_what_is_in_the_way,
    row_6_a_new_segment_is_listed_with_all_it_was_made_with,
    a_size_is_rounded_up_to_whole_pages,
    without_a_page_size_the_server_chooses_one,
    row_12_a_listing_of_many_pages_has_every_segment_once_in_order_of_name,
    another_process_follows_the_pointers_that_one_has_written,
    processes_change_the_same_memory_at_the_same_time,
    pages_of_4_kib_hold_data_from_the_first_word_to_the_last,
    pages_of_2_mib_hold_data_from_the_first_word_to_the_last,
    a_page_of_1_gib_holds_data_from_the_first_word_to_the_last,
    a_segment_may_span_boundaries_of_page_tables_of_every_level,
    segments_may_lie_at_both_ends_of_the_address_map,
    neighbours_that_share_page_tables_come_and_go_alone,
    a_vas_may_have_segments_of_all_page_sizes,
    fresh_memory_reads_as_zero_after_reuse_too,
    row_14_a_segment_added_to_a_vas_is_seen_by_a_process_that_is_inside,
    a_segment_may_be_in_several_vases,
    data_outlives_the_vas_and_the_process_that_wrote_it,
    a_segment_can_be_detached_and_attached_again_with_other_access,
}

fn row_6_a_new_segment_is_listed_with_all_it_was_made_with() -> Outcome {
    let made = client_lib::seg_alloc("field", BASE, 0x40_0000, Some(PageSize::Large), Mode(0o604))?;
    let expected = SegEntry {
        name: Name::new("field")?,
        owner: 1000,
        mode: Mode(0o604),
        base: BASE,
        size: 0x40_0000,
        page_size: PageSize::Large,
        vases: 0,
    };
    check_equal("the list", state::all_segments()?, Vec::from([expected]))?;
    let found = client_lib::seg_find("field")?;
    for segment in [&made, &found] {
        check_equal("base", segment.base(), BASE)?;
        check_equal("size", segment.size(), 0x40_0000)?;
        check_equal("page size", segment.page_size(), PageSize::Large)?;
    }
    check_equal("segments", client_lib::server_stat()?.segments, 1)?;
    client_lib::seg_free(&found)?;
    check_equal("segments", client_lib::server_stat()?.segments, 0)?;
    check_equal("the list", state::all_segments()?, Vec::new())
}

fn a_size_is_rounded_up_to_whole_pages() -> Outcome {
    for (size, page_size, rounded) in [
        (1, PageSize::Small, 0x1000),
        (0x1001, PageSize::Small, 0x2000),
        (0x2000, PageSize::Small, 0x2000),
        (1, PageSize::Large, 0x20_0000),
        (0x20_0001, PageSize::Large, 0x40_0000),
    ] {
        let before = client_lib::server_stat()?;
        let segment = client_lib::seg_alloc("field", BASE, size, Some(page_size), EVERYONE)?;
        check_equal("size", segment.size(), rounded)?;
        let taken = before.memory_free - client_lib::server_stat()?.memory_free;
        check_equal("bytes of memory taken", taken, rounded)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn without_a_page_size_the_server_chooses_one() -> Outcome {
    for size in [1, 0x1000, 0x20_0000, 0x60_0000] {
        let segment = client_lib::seg_alloc("field", BASE, size, None, EVERYONE)?;
        let page = segment.page_size().bytes();
        check(segment.size().is_multiple_of(page), "no whole pages")?;
        check(
            segment.size() >= size && segment.size() - size < page,
            "not rounded up to pages",
        )?;
        client_lib::seg_free(&segment)?;
    }
    // A base that only small pages fit is no error if nobody asked for larger ones.
    let segment = client_lib::seg_alloc("field", BASE + 0x1000, 0x40_0000, None, EVERYONE)?;
    check_equal("page size", segment.page_size(), PageSize::Small)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn row_12_a_listing_of_many_pages_has_every_segment_once_in_order_of_name() -> Outcome {
    for count in [16, 17] {
        let mut segments = Vec::new();
        for index in 0..count {
            let name = format!("field {:02}", index * 11 % count);
            segments.push(segment(&name, BASE)?);
        }
        let listed: Vec<String> = state::all_segments()?
            .iter()
            .map(|entry| String::from(entry.name.as_str()))
            .collect();
        let expected: Vec<String> = (0..count)
            .map(|index| format!("field {index:02}"))
            .collect();
        check_equal("the list", listed, expected)?;
        for segment in segments {
            client_lib::seg_free(&segment)?;
        }
    }
    Ok(())
}

fn another_process_follows_the_pointers_that_one_has_written() -> Outcome {
    let place = Place::with("field", BASE, 1 << 20, PageSize::Small)?;
    fixture::succeeds(actor::OWNER, &format!("build-list field {BASE} 10000"))?;
    fixture::succeeds(actor::OTHER, &format!("check-list field {BASE} 10000"))?;
    // The first process is gone; the list is not.
    visit(&place.vas, || {
        let mut node = load(BASE);
        let mut sum = 0;
        while node != 0 {
            sum += load(node + 8);
            node = load(node);
        }
        check_equal("sum over the list", sum, 10_000 * 9_999 / 2)
    })?;
    Ok(place.remove()?)
}

fn processes_change_the_same_memory_at_the_same_time() -> Outcome {
    let place = Place::new("field")?;
    let mut actors = Vec::new();
    for actor in [actor::OWNER, actor::GROUP, actor::OTHER, actor::OTHER] {
        actors.push(fixture::start(actor, &format!("count field {BASE} 2000"))?);
    }
    visit(&place.vas, || {
        for _ in 0..2000 {
            fetch_add(BASE, 1);
            sel4::yield_now();
        }
        Ok(())
    })?;
    for actor in actors {
        fixture::ends_with(actor, ExitStatus::Exited(0))?;
    }
    visit(&place.vas, || check_equal("counter", load(BASE), 5 * 2000))?;
    Ok(place.remove()?)
}

/// Writes words all over a segment, most of all at the edges of pages, and lets another
/// process read some of them.
fn holds_data(pages: u64, page_size: PageSize) -> Outcome {
    let size = pages * page_size.bytes();
    let place = Place::with("field", BASE, size, page_size)?;
    check_equal("size", place.segment.size(), size)?;
    let words = || {
        let edges = (0..pages).flat_map(move |page| {
            let first = BASE + page * page_size.bytes();
            [first, first + page_size.bytes() - 8]
        });
        edges.chain((1..64).map(move |part| BASE + (size / 64 * part) / 8 * 8))
    };
    visit(&place.vas, || {
        for word in words() {
            check_equal("fresh word", load(word), 0)?;
        }
        for word in words() {
            store(word, !word);
        }
        for word in words() {
            check_equal("word", load(word), !word)?;
        }
        Ok(())
    })?;
    for word in [BASE, BASE + size - 8] {
        fixture::succeeds(actor::OTHER, &format!("load field {word} {}", !word))?;
    }
    Ok(place.remove()?)
}

fn pages_of_4_kib_hold_data_from_the_first_word_to_the_last() -> Outcome {
    holds_data(1, PageSize::Small)?;
    holds_data(1025, PageSize::Small)
}

fn pages_of_2_mib_hold_data_from_the_first_word_to_the_last() -> Outcome {
    holds_data(1, PageSize::Large)?;
    holds_data(7, PageSize::Large)
}

fn a_page_of_1_gib_holds_data_from_the_first_word_to_the_last() -> Outcome {
    holds_data(1, PageSize::Huge)
}

fn a_segment_may_span_boundaries_of_page_tables_of_every_level() -> Outcome {
    let small = PageSize::Small;
    let large = PageSize::Large;
    for (boundary, page_size) in [
        (BASE + (1 << 21), small),
        (BASE + (1 << 30), small),
        (2 * SLOT_BYTES, small),
        (BASE + (1 << 30), large),
        (2 * SLOT_BYTES, large),
    ] {
        let page = page_size.bytes();
        let base = boundary - page;
        let place = Place::with("field", base, 2 * page, page_size)?;
        let words = [base, boundary - 8, boundary, boundary + page - 8];
        visit(&place.vas, || {
            for word in words {
                store(word, word);
            }
            Ok(())
        })?;
        for word in words {
            fixture::succeeds(actor::OTHER, &format!("load field {word} {word}"))?;
        }
        // Nothing is mapped before and behind.
        let arguments = format!("load-then-store field read-write {}", boundary + page - 8);
        let behind = ExitStatus::Faulted {
            address: boundary + page,
        };
        fixture::expect(actor::OTHER, &arguments, behind)?;
        let arguments = format!("load-then-store field read-write {}", base - 8);
        let before = ExitStatus::Faulted { address: base - 8 };
        fixture::expect(actor::OTHER, &arguments, before)?;
        place.remove()?;
    }
    Ok(())
}

fn segments_may_lie_at_both_ends_of_the_address_map() -> Outcome {
    let first = Place::with("first", GLOBAL.start, 0x1000, PageSize::Small)?;
    let last = segment("last", GLOBAL.end - fixture::SIZE)?;
    client_lib::seg_attach(&first.vas, &last, Access::ReadWrite)?;
    visit(&first.vas, || {
        store(GLOBAL.start, 1);
        store(GLOBAL.end - 8, 2);
        check_equal("first word", load(GLOBAL.start), 1)?;
        check_equal("last word", load(GLOBAL.end - 8), 2)
    })?;
    fixture::succeeds(actor::OTHER, &format!("load first {} 2", GLOBAL.end - 8))?;
    first.remove()?;
    Ok(client_lib::seg_free(&last)?)
}

fn neighbours_that_share_page_tables_come_and_go_alone() -> Outcome {
    let vas = client_lib::vas_create("field", EVERYONE)?;
    let mut segments = Vec::new();
    for index in 0..8 {
        segments.push(segment(
            &format!("field {index}"),
            BASE + index * fixture::SIZE,
        )?);
    }
    let attachment = attach(&vas)?;
    for (index, segment) in segments.iter().enumerate() {
        client_lib::seg_attach(&vas, segment, Access::ReadWrite)?;
        inside(&attachment, || {
            store(segment.base(), index as u64);
            store(segment.base() + segment.size() - 8, index as u64);
            Ok(())
        })?;
    }
    // Every second one leaves, then comes back with what it held.
    for segment in segments.iter().step_by(2) {
        client_lib::seg_detach(&vas, segment)?;
    }
    inside(&attachment, || {
        for (index, segment) in segments.iter().enumerate().skip(1).step_by(2) {
            check_equal("word", load(segment.base()), index as u64)?;
        }
        Ok(())
    })?;
    for segment in segments.iter().step_by(2) {
        let word = segment.base();
        let arguments = format!("load-then-store field read-write {word}");
        fixture::expect(
            actor::OTHER,
            &arguments,
            ExitStatus::Faulted { address: word },
        )?;
        client_lib::seg_attach(&vas, segment, Access::ReadWrite)?;
    }
    inside(&attachment, || {
        for (index, segment) in segments.iter().enumerate() {
            check_equal("word", load(segment.base()), index as u64)?;
            check_equal(
                "word",
                load(segment.base() + segment.size() - 8),
                index as u64,
            )?;
        }
        Ok(())
    })?;
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn a_vas_may_have_segments_of_all_page_sizes() -> Outcome {
    let vas = client_lib::vas_create("field", EVERYONE)?;
    let mut segments = Vec::new();
    for (index, page_size) in PageSize::ALL.into_iter().enumerate() {
        // All below one page directory pointer table.
        let base = BASE + ((index as u64) << 30);
        let name = format!("field {index}");
        let bytes = page_size.bytes();
        let segment = client_lib::seg_alloc(&name, base, bytes, Some(page_size), EVERYONE)?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        segments.push(segment);
    }
    visit(&vas, || {
        for segment in &segments {
            store(segment.base() + segment.size() - 8, segment.base());
        }
        for segment in &segments {
            let last = segment.base() + segment.size() - 8;
            check_equal("last word", load(last), segment.base())?;
        }
        Ok(())
    })?;
    client_lib::vas_delete(&vas)?;
    for segment in segments {
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn fresh_memory_reads_as_zero_after_reuse_too() -> Outcome {
    // More than one round of the same size, so that memory that held data is used again; and
    // in other pages than before.
    let size = 8 << 20;
    for page_size in [
        PageSize::Small,
        PageSize::Large,
        PageSize::Small,
        PageSize::Small,
    ] {
        let place = Place::with("field", BASE, size, page_size)?;
        visit(&place.vas, || {
            for word in (BASE..BASE + size).step_by(8) {
                if load(word) != 0 {
                    check_equal(&format!("fresh word at {word:#x}"), load(word), 0)?;
                }
                store(word, u64::MAX);
            }
            Ok(())
        })?;
        place.remove()?;
    }
    Ok(())
}

fn row_14_a_segment_added_to_a_vas_is_seen_by_a_process_that_is_inside() -> Outcome {
    let place = Place::new("field")?;
    // One in the same page table, one in a table of its own, one in a root slot of its own.
    for base in [BASE + (1 << 20), BASE + (5 << 30), 7 * SLOT_BYTES] {
        let other = segment("other", base)?;
        // Its content, through another VAS.
        let elsewhere = client_lib::vas_create("elsewhere", EVERYONE)?;
        client_lib::seg_attach(&elsewhere, &other, Access::ReadWrite)?;
        visit(&elsewhere, || {
            store(base, base);
            Ok(())
        })?;
        let attachment = attach(&place.vas)?;
        inside(&attachment, || {
            store(BASE, 0);
            Ok(())
        })?;

        let follower = fixture::start(actor::OTHER, &format!("follow field {BASE} {base}"))?;
        inside(&attachment, || wait_for(BASE, 1))?;
        client_lib::seg_attach(&place.vas, &other, Access::ReadWrite)?;
        inside(&attachment, || {
            check_equal("word", load(base), base)?;
            store(BASE, 2);
            wait_for(BASE, 3)?;
            check_equal("what the other process read", load(BASE + 8), base)
        })?;
        client_lib::seg_detach(&place.vas, &other)?;
        inside(&attachment, || {
            store(BASE, 4);
            Ok(())
        })?;
        // Gone for the process that is inside, too.
        fixture::ends_with(follower, ExitStatus::Faulted { address: base + 8 })?;

        detach(attachment)?;
        client_lib::vas_delete(&elsewhere)?;
        client_lib::seg_free(&other)?;
    }
    Ok(place.remove()?)
}

fn a_segment_may_be_in_several_vases() -> Outcome {
    let place = Place::new("field")?;
    let others: Vec<Vas> = (0..5)
        .map(|index| {
            let vas = client_lib::vas_create(&format!("other {index}"), EVERYONE)?;
            let access = if index % 2 == 0 {
                Access::ReadWrite
            } else {
                Access::ReadOnly
            };
            client_lib::seg_attach(&vas, &place.segment, access)?;
            Ok(vas)
        })
        .collect::<Result<_, client_lib::Error>>()?;
    check_equal("VASes that have it", state::all_segments()?[0].vases, 6)?;
    for round in 1..10 {
        visit(&place.vas, || {
            store(BASE, round);
            Ok(())
        })?;
        for vas in &others {
            visit(vas, || check_equal("word", load(BASE), round))?;
        }
    }
    // Leaving one VAS leaves it in the others.
    client_lib::seg_detach(&place.vas, &place.segment)?;
    client_lib::seg_detach(&others[0], &place.segment)?;
    check_equal("VASes that have it", state::all_segments()?[0].vases, 4)?;
    visit(&others[1], || check_equal("word", load(BASE), 9))?;
    for vas in &others {
        client_lib::vas_delete(vas)?;
    }
    Ok(place.remove()?)
}

fn data_outlives_the_vas_and_the_process_that_wrote_it() -> Outcome {
    fixture::succeeds(actor::OWNER, &format!("create field {BASE} 0xabcdef"))?;
    client_lib::vas_delete(&client_lib::vas_find("field")?)?;
    let segment = client_lib::seg_find("field")?;
    let vas = client_lib::vas_create("another", EVERYONE)?;
    client_lib::seg_attach(&vas, &segment, Access::ReadOnly)?;
    visit(&vas, || check_equal("word", load(BASE), 0xab_cdef))?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn a_segment_can_be_detached_and_attached_again_with_other_access() -> Outcome {
    let place = Place::new("field")?;
    let arguments = format!("load-then-store field read-write {BASE}");
    for _ in 0..3 {
        fixture::succeeds(actor::OTHER, &arguments)?;
        client_lib::seg_detach(&place.vas, &place.segment)?;
        client_lib::seg_attach(&place.vas, &place.segment, Access::ReadOnly)?;
        let refused = ExitStatus::Faulted { address: BASE + 8 };
        fixture::expect(actor::OTHER, &arguments, refused)?;
        client_lib::seg_detach(&place.vas, &place.segment)?;
        client_lib::seg_attach(&place.vas, &place.segment, Access::ReadWrite)?;
    }
    Ok(place.remove()?)
}

fn row_6_a_segment_tells_what_it_is_and_what_it_has() -> Outcome {
    let place = Place::new("orchard")?;
    let statistics = client_lib::seg_stat(&place.segment)?;
    check_equal("name", statistics.object.name.as_str(), "orchard")?;
    check_equal("owner", statistics.object.owner, 1000)?;
    check_equal("mode", statistics.object.mode, EVERYONE)?;
    check_equal("base", statistics.base, BASE)?;
    check_equal("size", statistics.size, SIZE)?;
    check_equal("page size", statistics.page_size, PageSize::Small)?;
    check_equal("VASes", statistics.vases, 1)?;
    check_equal("own slots", statistics.own_slots, false)?;
    check_equal("bytes of page tables", statistics.table_bytes, 0)?;
    Ok(place.remove()?)
}

fn a_segment_grows_in_place_and_a_process_that_is_inside_sees_it() -> Outcome {
    for page_size in [PageSize::Small, PageSize::Large] {
        let page = page_size.bytes();
        let before = state::State::now()?;
        // The second growth takes another root-table slot.
        let base = 2 * SLOT_BYTES - 2 * page;
        let mut place = Place::with("field", base, page, page_size)?;
        let other = base + 3 * page;
        let follower = fixture::start(actor::OTHER, &format!("follow field {base} {other}"))?;
        let attachment = attach(&place.vas)?;
        inside(&attachment, || wait_for(base, 1))?;
        client_lib::seg_grow(&mut place.segment, 2 * page)?;
        client_lib::seg_grow(&mut place.segment, 3 * page + 1)?;
        check_equal("size", place.segment.size(), 4 * page)?;
        inside(&attachment, || {
            check_equal("new word", load(other), 0)?;
            store(other, 65);
            store(base, 2);
            wait_for(base, 3)?;
            check_equal("word of the other process", load(base + 8), 65)
        })?;
        detach(attachment)?;
        client_lib::seg_detach(&place.vas, &place.segment)?;
        fixture::ends_with(follower, ExitStatus::Faulted { address: base })?;
        place.remove()?;
        state::unchanged(&before, &state::State::now()?)?;
    }
    Ok(())
}

fn a_segment_does_not_grow_into_what_is_in_the_way() -> Outcome {
    let mut place = Place::new("field")?;
    let way = segment("way", BASE + 2 * SIZE)?;
    client_lib::seg_attach(&place.vas, &way, Access::ReadOnly)?;
    let overlap = client_lib::Error::Overlap {
        with: Name::new("way")?,
        base: BASE + 2 * SIZE,
        size: SIZE,
    };
    state::refused(overlap, || {
        client_lib::seg_grow(&mut place.segment, 2 * SIZE + 1)
    })?;
    client_lib::seg_grow(&mut place.segment, 2 * SIZE)?;
    visit(&place.vas, || {
        store(BASE + 2 * SIZE - 8, 1);
        check_equal("neighbour", load(BASE + 2 * SIZE), 0)
    })?;
    place.remove()?;
    Ok(client_lib::seg_free(&way)?)
}
