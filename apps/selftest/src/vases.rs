// SPDX-License-Identifier: MIT OR Apache-2.0

//! VASes: made, found, listed, attached to, deleted.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use client_lib::{Access, Error, Mode, Name, Rights};
use common::Outcome;
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use protocol::message::VasEntry;
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, EVERYONE, OWNER, Place, actor};
use crate::harness::tests;
use crate::state::{self, refused};

tests! {
    a_new_vas_is_listed_and_found_by_name,
    the_creators_handle_has_all_rights,
    a_name_is_free_again_once_its_vas_is_deleted,
    a_vas_and_a_segment_may_have_the_same_name,
    names_may_be_32_bytes_of_any_characters_but_control_characters,
    row_12_a_listing_of_many_pages_has_every_vas_once_in_order_of_name,
    row_13_a_vas_outlives_the_process_that_made_it,
    a_process_may_attach_for_reading_and_for_writing_at_once,
    attachments_of_all_processes_are_counted,
    detaching_one_process_leaves_the_others_attached,
    an_attachment_can_be_made_again_after_detaching,
    a_deleted_vas_leaves_its_segments,
    a_vas_tells_what_it_is_and_what_it_has,
}

fn a_new_vas_is_listed_and_found_by_name() -> Outcome {
    let vas = client_lib::vas_create("orchard", Mode(0o640))?;
    let expected = VasEntry {
        name: Name::new("orchard")?,
        owner: 1000,
        mode: Mode(0o640),
        segments: 0,
        attachments: 0,
    };
    check_equal("the list", state::all_vases()?, Vec::from([expected]))?;
    let found = client_lib::vas_find("orchard")?;
    check(
        found
            .rights()
            .contains(Rights::READ | Rights::WRITE | Rights::ATTACH),
        "few rights",
    )?;
    check_equal("VASes", client_lib::server_stat()?.vases, 1)?;

    // A handle that was found is as good as the first one.
    client_lib::vas_delete(&found)?;
    check_equal("VASes", client_lib::server_stat()?.vases, 0)?;
    check_equal("the list", state::all_vases()?, Vec::new())?;
    refused(Error::StaleHandle { position: 0 }, || {
        client_lib::vas_delete(&vas)
    })
}

fn the_creators_handle_has_all_rights() -> Outcome {
    // Whatever the mode bits say.
    let vas = client_lib::vas_create("orchard", Mode(0))?;
    let segment = client_lib::seg_alloc("orchard", BASE, 1, None, Mode(0))?;
    check_equal("rights", vas.rights(), Rights::all())?;
    check_equal("rights", segment.rights(), Rights::all())?;
    client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
    visit(&vas, || {
        store(BASE, 1);
        Ok(())
    })?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn a_name_is_free_again_once_its_vas_is_deleted() -> Outcome {
    for _ in 0..3 {
        let vas = client_lib::vas_create("orchard", EVERYONE)?;
        client_lib::vas_delete(&vas)?;
        refused(Error::NotFound, || client_lib::vas_find("orchard"))?;
    }
    Ok(())
}

fn a_vas_and_a_segment_may_have_the_same_name() -> Outcome {
    let place = Place::new("orchard")?;
    client_lib::vas_find("orchard")?;
    client_lib::seg_find("orchard")?;
    Ok(place.remove()?)
}

fn names_may_be_32_bytes_of_any_characters_but_control_characters() -> Outcome {
    let names = [
        "a",
        " ",
        "an orchard/with: punctuation!",
        "Obstgärten, größere Wiesen…",
    ];
    let longest = "x".repeat(32);
    let too_long = "x".repeat(33);
    for name in names.into_iter().chain([longest.as_str()]) {
        let vas = client_lib::vas_create(name, EVERYONE)?;
        check_equal(
            "name in the list",
            state::all_vases()?[0].name.as_str(),
            name,
        )?;
        client_lib::vas_find(name)?;
        client_lib::vas_delete(&vas)?;
    }
    for name in ["", "a\nb", "\u{1}", "\u{7f}", too_long.as_str()] {
        refused(Error::InvalidName, || {
            client_lib::vas_create(name, EVERYONE)
        })?;
        refused(Error::InvalidName, || client_lib::vas_find(name))?;
        refused(Error::InvalidName, || {
            client_lib::seg_alloc(name, BASE, 1, None, EVERYONE)
        })?;
        refused(Error::InvalidName, || client_lib::seg_find(name))?;
        refused(Error::InvalidName, || {
            client_lib::vas_list(Some(name)).map(Iterator::count)
        })?;
        refused(Error::InvalidName, || {
            client_lib::seg_list(Some(name)).map(Iterator::count)
        })?;
    }
    Ok(())
}

fn row_12_a_listing_of_many_pages_has_every_vas_once_in_order_of_name() -> Outcome {
    // 24 fill three pages exactly; 13 is prime to it, so they are not made in order.
    for count in [24, 25] {
        let mut vases = Vec::new();
        for index in 0..count {
            let name = format!("tree {:02}", index * 13 % count);
            vases.push(client_lib::vas_create(&name, EVERYONE)?);
        }
        let listed: Vec<String> = state::all_vases()?
            .iter()
            .map(|entry| String::from(entry.name.as_str()))
            .collect();
        let expected: Vec<String> = (0..count).map(|index| format!("tree {index:02}")).collect();
        check_equal("the list", listed, expected)?;
        // The name after which to go on need not exist.
        let rest = client_lib::vas_list(Some("tree 21 and a half"))?.count();
        check_equal("VASes behind a name", rest, count - 22)?;
        for vas in vases {
            client_lib::vas_delete(&vas)?;
        }
    }
    Ok(())
}

fn row_13_a_vas_outlives_the_process_that_made_it() -> Outcome {
    fixture::succeeds(actor::OTHER, &format!("create orchard {BASE} 4711"))?;
    let entry = &state::all_vases()?[0];
    check_equal("owner", entry.owner, 2000)?;
    check_equal("attachments", entry.attachments, 0)?;
    let vas = client_lib::vas_find("orchard")?;
    visit(&vas, || check_equal("word", load(BASE), 4711))?;
    // Only its owner's processes may remove it, but any of them.
    fixture::answered(actor::OTHER, "delete-vas orchard", Ok(Rights::empty()))?;
    fixture::answered(actor::OTHER, "free-segment orchard", Ok(Rights::empty()))
}

fn a_process_may_attach_for_reading_and_for_writing_at_once() -> Outcome {
    let place = Place::new("orchard")?;
    let writing = client_lib::vas_attach(&place.vas, Access::ReadWrite)?;
    let reading = client_lib::vas_attach(&place.vas, Access::ReadOnly)?;
    check(
        writing.id() != reading.id(),
        "two attachments with one number",
    )?;
    check_equal("attachments", state::all_vases()?[0].attachments, 2)?;
    for value in 1..100 {
        inside(&writing, || {
            store(BASE, value);
            Ok(())
        })?;
        inside(&reading, || check_equal("word", load(BASE), value))?;
    }
    detach(writing)?;
    inside(&reading, || check_equal("word", load(BASE), 99))?;
    detach(reading)?;
    Ok(place.remove()?)
}

fn attachments_of_all_processes_are_counted() -> Outcome {
    let place = Place::with("orchard", BASE, 16 * 4096, client_lib::PageSize::Small)?;
    let attachment = attach(&place.vas)?;
    let words: Vec<u64> = (0..6).map(|index| BASE + index * 4096).collect();
    let mut holders = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let actor = [actor::OWNER, actor::GROUP, actor::OTHER][index % 3];
        holders.push(fixture::start(actor, &format!("hold orchard {word}"))?);
    }
    for (index, (&word, holder)) in words.iter().zip(holders).enumerate() {
        inside(&attachment, || wait_for(word, 1))?;
        if index == 0 {
            for &word in &words {
                inside(&attachment, || wait_for(word, 1))?;
            }
        }
        // This process's own, and those that have not been let go yet.
        let expected = 1 + words.len() - index;
        check_equal(
            "attachments",
            state::all_vases()?[0].attachments,
            expected as u32,
        )?;
        check_equal(
            "attachments",
            client_lib::server_stat()?.attachments,
            expected as u32,
        )?;
        inside(&attachment, || {
            store(word, 2);
            Ok(())
        })?;
        fixture::ends_with(holder, ExitStatus::Exited(0))?;
    }
    detach(attachment)?;
    Ok(place.remove()?)
}

fn detaching_one_process_leaves_the_others_attached() -> Outcome {
    let place = Place::new("orchard")?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || {
        store(BASE + 8, 77);
        Ok(())
    })?;
    for actor in [actor::OWNER, actor::OTHER] {
        fixture::succeeds(actor, &format!("load orchard {} 77", BASE + 8))?;
        inside(&attachment, || check_equal("word", load(BASE + 8), 77))?;
    }
    detach(attachment)?;
    Ok(place.remove()?)
}

fn an_attachment_can_be_made_again_after_detaching() -> Outcome {
    let place = Place::new("orchard")?;
    for round in 0..20 {
        let before = client_lib::settle()?;
        visit(&place.vas, || {
            check_equal("word", load(BASE), round)?;
            store(BASE, round + 1);
            Ok(())
        })?;
        let after = client_lib::settle()?;
        check_equal(
            "what an attachment leaves",
            state::difference(&before, &after),
            None,
        )?;
    }
    Ok(place.remove()?)
}

fn a_deleted_vas_leaves_its_segments() -> Outcome {
    let place = Place::new("orchard")?;
    visit(&place.vas, || {
        store(BASE, 0xfeed);
        Ok(())
    })?;
    check_equal("VASes that have it", state::all_segments()?[0].vases, 1)?;
    client_lib::vas_delete(&place.vas)?;
    check_equal("VASes that have it", state::all_segments()?[0].vases, 0)?;

    let meadow = client_lib::vas_create("meadow", OWNER)?;
    client_lib::seg_attach(&meadow, &place.segment, Access::ReadOnly)?;
    visit(&meadow, || check_equal("word", load(BASE), 0xfeed))?;
    client_lib::vas_delete(&meadow)?;
    Ok(client_lib::seg_free(&place.segment)?)
}

fn a_vas_tells_what_it_is_and_what_it_has() -> Outcome {
    let place = Place::new("orchard")?;
    let empty = client_lib::vas_stat(&place.vas)?;
    check_equal("name", empty.object.name.as_str(), "orchard")?;
    check_equal("owner", empty.object.owner, 1000)?;
    check_equal("group", empty.object.group, Some(100))?;
    check_equal("mode", empty.object.mode, EVERYONE)?;
    check_equal("segments", empty.segments, 1)?;
    check_equal("bytes", empty.bytes, place.segment.size())?;
    check_equal("attachments", empty.attachments, 0)?;

    // What an attachment takes shows here as it does in the server's free memory.
    let free = client_lib::server_stat()?.memory_free;
    let attachment = attach(&place.vas)?;
    let attached = client_lib::vas_stat(&place.vas)?;
    check_equal("attachments", attached.attachments, 1)?;
    let taken = free - client_lib::server_stat()?.memory_free;
    check_equal(
        "bytes of page tables",
        attached.table_bytes - empty.table_bytes,
        taken,
    )?;
    detach(attachment)?;
    check_equal("a VAS", client_lib::vas_stat(&place.vas)?, empty)?;
    let policies = client_lib::server_stat()?;
    check_equal(
        "policy",
        client_lib::vas_stat(&place.vas)?.page_tables,
        policies.page_tables,
    )?;
    check_equal("policy", policies.page_size.as_str(), "small")?;
    Ok(place.remove()?)
}
