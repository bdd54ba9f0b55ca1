// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is refused, with which error, and that nothing changes by it.

use alloc::format;
use alloc::vec::Vec;

use client_lib::{Access, AttachmentId, Error, Name, PageSize, Space};
use common::calls::{attach, detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Outcome, raw};
use protocol::Kind;
use protocol::address_map::{GLOBAL, LOCAL, PRIVATE, SLOT_BYTES};
use protocol::message::{
    SegAttach, SegDetach, SegFind, SegFree, VasAttach, VasDelete, VasDetach, VasFind,
};
use protocol::process::{ExitStatus, slot};
use sel4::{CapRights, cap};

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state::refused;

tests! {
    an_unknown_name_is_refused,
    a_name_that_is_taken_is_refused,
    a_size_of_zero_is_refused,
    a_base_that_is_no_multiple_of_the_page_size_is_refused,
    row_21_a_range_outside_of_the_addresses_for_segments_is_refused,
    row_5_a_segment_that_overlaps_another_in_the_vas_is_refused,
    a_segment_that_only_touches_another_is_accepted,
    a_segment_larger_than_memory_is_refused,
    attaching_twice_with_the_same_access_is_refused,
    adding_a_segment_twice_is_refused,
    detaching_a_segment_that_is_not_attached_is_refused,
    freeing_a_segment_that_is_attached_is_refused,
    deleting_a_vas_that_processes_are_attached_to_is_refused,
    detaching_while_inside_is_refused,
    detaching_twice_is_refused,
    an_attachment_of_another_process_cannot_be_detached,
    row_28_switching_to_an_attachment_that_is_gone_is_refused,
    a_handle_of_what_is_deleted_is_refused_even_when_the_name_is_used_again,
    a_handle_of_the_wrong_kind_is_refused,
    a_cap_that_is_no_handle_is_refused,
    a_handle_that_is_not_passed_is_refused,
    a_handle_cannot_be_given_another_badge,
    a_cap_pointer_beyond_the_cnode_ends_only_the_caller,
}

fn an_unknown_name_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    for name in ["wei", "weirs", "Weir", "mill"] {
        refused(Error::NotFound, || client_lib::vas_find(name))?;
        refused(Error::NotFound, || client_lib::seg_find(name))?;
    }
    Ok(place.remove()?)
}

fn a_name_that_is_taken_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    refused(Error::NameExists, || {
        client_lib::vas_create("weir", EVERYONE)
    })?;
    refused(Error::NameExists, || segment("weir", BASE))?;
    refused(Error::NameExists, || segment("weir", 9 * SLOT_BYTES))?;
    // Nor may another user take it.
    fixture::answered(actor::OTHER, "create-vas weir", Err(Error::NameExists))?;
    Ok(place.remove()?)
}

fn a_size_of_zero_is_refused() -> Outcome {
    for page_size in [
        None,
        Some(PageSize::Small),
        Some(PageSize::Large),
        Some(PageSize::Huge),
    ] {
        refused(Error::ZeroSize, || {
            client_lib::seg_alloc("weir", BASE, 0, page_size, EVERYONE)
        })?;
    }
    Ok(())
}

fn a_base_that_is_no_multiple_of_the_page_size_is_refused() -> Outcome {
    for page_size in PageSize::ALL {
        let alignment = page_size.bytes();
        for offset in [1, 8, alignment / 2, alignment - 1, alignment + 1] {
            let base = BASE + offset;
            refused(Error::Unaligned { base, alignment }, || {
                client_lib::seg_alloc("weir", base, 1, Some(page_size), EVERYONE)
            })?;
        }
    }
    Ok(())
}

fn row_21_a_range_outside_of_the_addresses_for_segments_is_refused() -> Outcome {
    let page = 4096;
    for (base, size) in [
        (0, page),
        (PRIVATE.start + (1 << 30), page),
        (GLOBAL.start - page, page),
        (GLOBAL.start - page, 2 * page),
        (GLOBAL.end - page, 2 * page),
        (GLOBAL.end - page, page + 1),
        (LOCAL.end - page, 2 * page),
        (LOCAL.end, page),
        (1 << 47, page),
        (0xffff_8000_0000_0000, page),
        (u64::MAX - page + 1, page),
        (BASE, u64::MAX),
        (BASE, u64::MAX - page + 1),
        (BASE, u64::MAX - BASE),
        (BASE, u64::MAX - BASE + 1),
        (BASE, 1 << 47),
    ] {
        let small = Some(PageSize::Small);
        refused(Error::OutOfRange { base, size }, || {
            client_lib::seg_alloc("weir", base, size, small, EVERYONE)
        })?;
    }
    Ok(())
}

fn row_5_a_segment_that_overlaps_another_in_the_vas_is_refused() -> Outcome {
    let page = 4096;
    let vas = client_lib::vas_create("weir", EVERYONE)?;
    let base = BASE + (1 << 21);
    let first = client_lib::seg_alloc("first", base, 4 * page, Some(PageSize::Small), EVERYONE)?;
    client_lib::seg_attach(&vas, &first, Access::ReadWrite)?;
    let attachment = attach(&vas)?;
    inside(&attachment, || {
        store(base, 5);
        Ok(())
    })?;
    let overlap = || {
        Ok::<_, Error>(Error::Overlap {
            with: Name::new("first")?,
            base,
            size: 4 * page,
        })
    };
    for (other_base, pages, page_size) in [
        (base, 4, PageSize::Small),
        (base + page, 1, PageSize::Small),
        (base + 3 * page, 1, PageSize::Small),
        (base + 3 * page, 8, PageSize::Small),
        (base - 8 * page, 9, PageSize::Small),
        (base - page, 6, PageSize::Small),
        (base, 1, PageSize::Large),
        (BASE, 2, PageSize::Large),
    ] {
        let size = pages * page_size.bytes();
        let other = client_lib::seg_alloc("other", other_base, size, Some(page_size), EVERYONE)?;
        for access in [Access::ReadOnly, Access::ReadWrite] {
            refused(overlap()?, || client_lib::seg_attach(&vas, &other, access))?;
        }
        client_lib::seg_free(&other)?;
    }
    inside(&attachment, || check_equal("word", load(base), 5))?;
    detach(attachment)?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&first)?)
}

fn a_segment_that_only_touches_another_is_accepted() -> Outcome {
    let vas = client_lib::vas_create("weir", EVERYONE)?;
    let middle = segment("middle", BASE + SIZE)?;
    let before = segment("before", BASE)?;
    let behind = segment("behind", BASE + 2 * SIZE)?;
    for segment in [&middle, &before, &behind] {
        client_lib::seg_attach(&vas, segment, Access::ReadWrite)?;
    }
    client_lib::vas_delete(&vas)?;
    for segment in [&middle, &before, &behind] {
        client_lib::seg_free(segment)?;
    }
    Ok(())
}

fn a_segment_larger_than_memory_is_refused() -> Outcome {
    let statistics = client_lib::server_stat()?;
    for page_size in PageSize::ALL {
        let page = page_size.bytes();
        let just_too_large = (statistics.memory_free / page + 1) * page;
        for size in [
            just_too_large,
            statistics.memory_total.next_multiple_of(page) + page,
            1 << 44,
        ] {
            refused(Error::OutOfMemory, || {
                client_lib::seg_alloc("weir", BASE, size, Some(page_size), EVERYONE)
            })?;
        }
    }
    // And then there still is as much as before.
    let segment = client_lib::seg_alloc("weir", BASE, 32 << 20, Some(PageSize::Large), EVERYONE)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn attaching_twice_with_the_same_access_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let attachment = client_lib::vas_attach(&place.vas, access)?;
        refused(Error::AlreadyAttached, || {
            client_lib::vas_attach(&place.vas, access)
        })?;
        // Nor through another handle, nor while inside.
        let other = client_lib::vas_find("weir")?;
        inside(&attachment, || {
            refused(Error::AlreadyAttached, || {
                client_lib::vas_attach(&other, access)
            })
        })?;
        detach(attachment)?;
    }
    Ok(place.remove()?)
}

fn adding_a_segment_twice_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    for access in [Access::ReadWrite, Access::ReadOnly] {
        refused(Error::AlreadyAttached, || {
            client_lib::seg_attach(&place.vas, &place.segment, access)
        })?;
    }
    Ok(place.remove()?)
}

fn detaching_a_segment_that_is_not_attached_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    let other = segment("other", BASE)?;
    refused(Error::NotAttached, || {
        client_lib::seg_detach(&place.vas, &other)
    })?;
    client_lib::seg_detach(&place.vas, &place.segment)?;
    refused(Error::NotAttached, || {
        client_lib::seg_detach(&place.vas, &place.segment)
    })?;
    client_lib::seg_free(&other)?;
    Ok(place.remove()?)
}

fn freeing_a_segment_that_is_attached_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::seg_free(&place.segment)
    })?;
    let other = client_lib::vas_create("other", EVERYONE)?;
    client_lib::seg_attach(&other, &place.segment, Access::ReadOnly)?;
    let attachment = attach(&other)?;
    inside(&attachment, || {
        refused(Error::InUse { attachments: 2 }, || {
            client_lib::seg_free(&place.segment)
        })
    })?;
    detach(attachment)?;
    client_lib::vas_delete(&other)?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::seg_free(&place.segment)
    })?;
    Ok(place.remove()?)
}

fn deleting_a_vas_that_processes_are_attached_to_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    let attachment = attach(&place.vas)?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::vas_delete(&place.vas)
    })?;
    let holder = fixture::start(actor::OTHER, &format!("hold weir {BASE}"))?;
    inside(&attachment, || {
        wait_for(BASE, 1)?;
        refused(Error::InUse { attachments: 2 }, || {
            client_lib::vas_delete(&place.vas)
        })
    })?;
    // Another process's attachment is enough.
    inside(&attachment, || {
        store(BASE + 8, 3);
        Ok(())
    })?;
    detach(attachment)?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::vas_delete(&place.vas)
    })?;
    let attachment = attach(&place.vas)?;
    inside(&attachment, || {
        check_equal("word", load(BASE + 8), 3)?;
        store(BASE, 2);
        Ok(())
    })?;
    detach(attachment)?;
    fixture::ends_with(holder, ExitStatus::Exited(0))?;
    Ok(place.remove()?)
}

fn detaching_while_inside_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    let attachment = attach(&place.vas)?;
    client_lib::vas_switch(attachment.space())?;
    store(BASE, 9);
    let attachment = match client_lib::vas_detach(attachment) {
        Err((attachment, error)) => {
            check_equal("error", error, Error::Inside)?;
            attachment
        }
        Ok(()) => return check(false, "detached while inside"),
    };
    check_equal("word", load(BASE), 9)?;
    check_equal("attachments", client_lib::server_stat()?.attachments, 1)?;
    client_lib::vas_switch(Space::OWN)?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn detaching_twice_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    let attachment = attach(&place.vas)?;
    let request = VasDetach {
        attachment: attachment.id(),
    };
    detach(attachment)?;
    refused(Error::StaleAttachment, || {
        raw::request(&request, &[], raw::SCRATCH[0])
    })?;
    // Not even when the place of the attachment in the server's table is used again.
    let attachment = attach(&place.vas)?;
    refused(Error::StaleAttachment, || {
        raw::request(&request, &[], raw::SCRATCH[0])
    })?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn an_attachment_of_another_process_cannot_be_detached() -> Outcome {
    let place = Place::new("weir")?;
    let attachment = attach(&place.vas)?;
    let holder = fixture::start(actor::OTHER, &format!("hold weir {BASE}"))?;
    inside(&attachment, || wait_for(BASE, 1))?;
    let own = attachment.id().0;
    let strange = [u64::MAX, 1 << 63, 1 << 48, 1 << 32 | own];
    refused(Error::StaleAttachment, || {
        // Numbers are given to all processes alike, so the other's is among the near ones.
        let near = (0..64)
            .chain(own.saturating_sub(5000)..own + 5000)
            .filter(|&id| id != own);
        for id in near.chain(strange) {
            let request = VasDetach {
                attachment: AttachmentId(id),
            };
            match raw::request(&request, &[], raw::SCRATCH[0]) {
                Err(Error::StaleAttachment) => {}
                other => return other,
            }
        }
        Err::<(), _>(Error::StaleAttachment)
    })?;
    inside(&attachment, || {
        store(BASE, 2);
        Ok(())
    })?;
    fixture::ends_with(holder, ExitStatus::Exited(0))?;
    detach(attachment)?;
    Ok(place.remove()?)
}

fn row_28_switching_to_an_attachment_that_is_gone_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    let other = Place::new("other")?;
    let gone = attach(&place.vas)?;
    let space = gone.space();
    raw::request(
        &VasDetach {
            attachment: gone.id(),
        },
        &[],
        raw::SCRATCH[0],
    )?;
    let stay = attach(&other.vas)?;
    inside(&stay, || {
        store(BASE, 6);
        refused(Error::StaleAttachment, || client_lib::vas_switch(space))?;
        check_equal("space", Space::current(), stay.space())?;
        check_equal("word", load(BASE), 6)
    })?;
    refused(Error::StaleAttachment, || client_lib::vas_switch(space))?;
    check_equal("space", Space::current(), Space::OWN)?;
    detach(stay)?;
    refused(Error::StaleAttachment, || detach(gone))?;
    place.remove()?;
    Ok(other.remove()?)
}

/// An operation that takes handles.
struct Operation {
    takes: &'static [Kind],
    ask: fn(&[u64]) -> Result<(), Error>,
}

/// Asks with whatever caps there are; a cap in the reply would arrive in a scratch slot.
fn ask<R: protocol::message::Request>(request: &R, caps: &[u64]) -> Result<(), Error> {
    raw::request(request, caps, raw::SCRATCH[2]).map(|_| ())
}

/// All operations that take handles.
const OPERATIONS: [Operation; 5] = [
    Operation {
        takes: &[Kind::Vas],
        ask: |caps| {
            ask(
                &VasAttach {
                    access: Access::ReadWrite,
                },
                caps,
            )
        },
    },
    Operation {
        takes: &[Kind::Vas],
        ask: |caps| ask(&VasDelete, caps),
    },
    Operation {
        takes: &[Kind::Vas, Kind::Segment],
        ask: |caps| {
            ask(
                &SegAttach {
                    access: Access::ReadWrite,
                },
                caps,
            )
        },
    },
    Operation {
        takes: &[Kind::Vas, Kind::Segment],
        ask: |caps| ask(&SegDetach, caps),
    },
    Operation {
        takes: &[Kind::Segment],
        ask: |caps| ask(&SegFree, caps),
    },
];

/// Where the good handles of these tests are.
const VAS: u64 = raw::SCRATCH[0];
const SEGMENT: u64 = raw::SCRATCH[1];

/// Puts good handles of `place` there.
fn take_handles(name: &str) -> Result<(), Error> {
    raw::empty(VAS);
    raw::empty(SEGMENT);
    raw::request(
        &VasFind {
            name: Name::new(name)?,
        },
        &[],
        VAS,
    )?;
    raw::request(
        &SegFind {
            name: Name::new(name)?,
        },
        &[],
        SEGMENT,
    )?;
    Ok(())
}

/// Asks for every operation with good handles but for each position in turn, where `bad` is.
fn with_bad_cap(bad: u64, expected: impl Fn(u8, Kind) -> Option<Error>) -> Outcome {
    for operation in &OPERATIONS {
        for (position, &kind) in operation.takes.iter().enumerate() {
            let Some(expected) = expected(position as u8, kind) else {
                continue;
            };
            let mut caps: Vec<u64> = operation
                .takes
                .iter()
                .map(|kind| if *kind == Kind::Vas { VAS } else { SEGMENT })
                .collect();
            caps[position] = bad;
            refused(expected, || (operation.ask)(&caps))?;
        }
    }
    Ok(())
}

fn a_handle_of_what_is_deleted_is_refused_even_when_the_name_is_used_again() -> Outcome {
    let old = Place::new("weir")?;
    let dead_vas = client_lib::vas_find("weir")?;
    let dead_segment = client_lib::seg_find("weir")?;
    take_handles("weir")?;
    // The caps of the dead, in slots of their own.
    let cnode = cap::CNode::from_bits(slot::CNODE);
    let depth = u64::BITS as u8;
    let copy = raw::SCRATCH[3];
    cnode.copy(copy, depth, cnode, VAS, depth, CapRights::ALL)?;
    old.remove()?;

    let new = Place::new("weir")?;
    let stale = |position| Error::StaleHandle { position };
    for name_in_use in [true, false] {
        refused(stale(0), || client_lib::vas_delete(&dead_vas))?;
        refused(stale(0), || attach(&dead_vas))?;
        refused(stale(0), || {
            client_lib::seg_attach(&dead_vas, &new.segment, Access::ReadOnly)
        })?;
        refused(stale(0), || client_lib::seg_detach(&dead_vas, &new.segment))?;
        refused(stale(1), || {
            client_lib::seg_attach(&new.vas, &dead_segment, Access::ReadOnly)
        })?;
        refused(stale(1), || client_lib::seg_detach(&new.vas, &dead_segment))?;
        refused(stale(0), || client_lib::seg_free(&dead_segment))?;
        for slot in [VAS, SEGMENT, copy] {
            refused(stale(0), || ask(&VasDelete, &[slot]))?;
        }
        if name_in_use {
            client_lib::seg_detach(&new.vas, &new.segment)?;
        }
    }
    Ok(new.remove()?)
}

fn a_handle_of_the_wrong_kind_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    take_handles("weir")?;
    for (bad, found) in [
        (VAS, Kind::Vas),
        (SEGMENT, Kind::Segment),
        (slot::SESSION, Kind::Session),
    ] {
        with_bad_cap(bad, |position, expected| {
            let wrong = Error::WrongKind {
                position,
                expected,
                found,
            };
            (expected != found).then_some(wrong)
        })?;
    }
    Ok(place.remove()?)
}

fn a_cap_that_is_no_handle_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    take_handles("weir")?;
    // The root of an attachment is no handle either.
    let root = raw::SCRATCH[3];
    let attached = raw::request(
        &VasAttach {
            access: Access::ReadOnly,
        },
        &[VAS],
        root,
    )?;
    let none = 0;
    for bad in [
        none,
        raw::EMPTY,
        slot::TCB,
        slot::CNODE,
        slot::VSPACE,
        slot::INIT,
        slot::FAULT,
        root,
    ] {
        with_bad_cap(bad, |position, _| Some(Error::StaleHandle { position }))?;
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

fn a_handle_that_is_not_passed_is_refused() -> Outcome {
    let place = Place::new("weir")?;
    take_handles("weir")?;
    for operation in &OPERATIONS {
        refused(Error::StaleHandle { position: 0 }, || (operation.ask)(&[]))?;
        if operation.takes.len() == 2 {
            refused(Error::StaleHandle { position: 1 }, || {
                (operation.ask)(&[VAS])
            })?;
        }
    }
    Ok(place.remove()?)
}

fn a_handle_cannot_be_given_another_badge() -> Outcome {
    let place = Place::new("weir")?;
    take_handles("weir")?;
    let cnode = cap::CNode::from_bits(slot::CNODE);
    let depth = u64::BITS as u8;
    let forged = raw::SCRATCH[3];
    let all = protocol::Handle {
        kind: Kind::Vas,
        rights: protocol::Rights::all(),
        index: 0,
        number: 0,
        generation: 0,
    };
    for from in [slot::SESSION, slot::INIT, VAS, SEGMENT] {
        for badge in [protocol::Badge::CONTROL.bits(), all.badge().bits(), 2, 3] {
            let minted = cnode.mint(forged, depth, cnode, from, depth, CapRights::ALL, badge);
            check(
                minted.is_err(),
                "the kernel gave a badged cap another badge",
            )?;
            refused(Error::StaleHandle { position: 0 }, || {
                ask(&VasDelete, &[forged])
            })?;
        }
    }
    Ok(place.remove()?)
}

fn a_cap_pointer_beyond_the_cnode_ends_only_the_caller() -> Outcome {
    let place = Place::new("weir")?;
    let attachment = attach(&place.vas)?;
    match fixture::run(actor::OTHER, "handle-beyond-cnode")? {
        ExitStatus::Faulted { .. } => {}
        other => check_equal("end", other, ExitStatus::Faulted { address: 0 })?,
    }
    inside(&attachment, || {
        store(BASE, 1);
        Ok(())
    })?;
    detach(attachment)?;
    Ok(place.remove()?)
}
