// SPDX-License-Identifier: MIT OR Apache-2.0

//! Segments with root-table slots of their own, and segments of one attachment alone.

use alloc::format;

use client_lib::{Access, Base, Error, PageSize, Segment};
use common::calls::{attach, detach, inside, tables_of};
use common::failure::check_equal;
use common::segment_memory::{load, store};
use common::{Outcome, raw};
use protocol::Name;
use protocol::address_map::{LOCAL, SLOT_BYTES};
use protocol::message::{SegAttachLocal, SegDetachLocal, SegFind};
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state::refused;

tests! {
    a_segment_with_its_own_slots_is_the_same_memory_in_every_vas_that_has_it,
    nothing_else_fits_into_the_slots_that_a_segment_has_for_itself,
    a_segment_with_its_own_slots_is_read_only_where_a_vas_has_it_so,
    a_segment_with_its_own_slots_may_span_several,
    row_14_a_local_segment_is_seen_through_its_attachment_alone,
    a_local_segment_goes_with_its_attachment,
    a_local_segment_is_read_only_through_a_read_only_attachment,
    a_local_segment_may_have_its_own_slots,
    row_21_local_segments_and_those_of_a_vas_are_not_exchanged,
    nothing_is_added_to_the_attachment_of_another_process,
    row_32_8_kib_across_a_boundary_of_slots_take_7_tables,
    where_bases_are_as_asked_a_segment_without_one_is_refused,
}

/// In the middle of a slot, so that there is room before and behind.
const MIDDLE: u64 = 5 * SLOT_BYTES + (1 << 30);

fn own(name: &str, base: u64, size: u64) -> Result<Segment, Error> {
    client_lib::seg_alloc_own_slots(name, base, size, Some(PageSize::Small), EVERYONE)
}

fn a_segment_with_its_own_slots_is_the_same_memory_in_every_vas_that_has_it() -> Outcome {
    let own = own("island", MIDDLE, SIZE)?;
    let (north, south) = (Place::new("north")?, Place::new("south")?);
    client_lib::seg_attach(&north.vas, &own, Access::ReadWrite)?;
    let in_north = attach(&north.vas)?;
    let in_south = attach(&south.vas)?;
    // Added while someone is attached.
    client_lib::seg_attach(&south.vas, &own, Access::ReadWrite)?;
    inside(&in_north, || {
        store(MIDDLE, 11);
        store(MIDDLE + SIZE - 8, 12);
        store(BASE, 1);
        Ok(())
    })?;
    inside(&in_south, || {
        check_equal("first", load(MIDDLE), 11)?;
        check_equal("last", load(MIDDLE + SIZE - 8), 12)?;
        check_equal("the other segment", load(BASE), 0)
    })?;
    client_lib::seg_detach(&north.vas, &own)?;
    let arguments = format!("load-then-store north read-write {MIDDLE}");
    let gone = ExitStatus::Faulted { address: MIDDLE };
    fixture::expect(actor::OTHER, &arguments, gone)?;
    inside(&in_south, || check_equal("still there", load(MIDDLE), 11))?;
    refused(Error::InUse { attachments: 1 }, || {
        client_lib::seg_free(&own)
    })?;
    detach(in_north)?;
    detach(in_south)?;
    client_lib::seg_detach(&south.vas, &own)?;
    client_lib::seg_free(&own)?;
    north.remove()?;
    Ok(south.remove()?)
}

fn nothing_else_fits_into_the_slots_that_a_segment_has_for_itself() -> Outcome {
    let own = own("island", MIDDLE, SIZE)?;
    let slot = MIDDLE & !(SLOT_BYTES - 1);
    let vas = client_lib::vas_create("sea", EVERYONE)?;
    let overlap = |with: &str, base| -> Result<Error, Error> {
        Ok(Error::Overlap {
            with: Name::new(with)?,
            base,
            size: SIZE,
        })
    };
    for base in [slot, MIDDLE + SIZE, slot + SLOT_BYTES - SIZE] {
        let other = segment("boat", base)?;
        client_lib::seg_attach(&vas, &own, Access::ReadWrite)?;
        refused(overlap("island", MIDDLE)?, || {
            client_lib::seg_attach(&vas, &other, Access::ReadWrite)
        })?;
        client_lib::seg_detach(&vas, &own)?;
        client_lib::seg_attach(&vas, &other, Access::ReadWrite)?;
        refused(overlap("boat", base)?, || {
            client_lib::seg_attach(&vas, &own, Access::ReadWrite)
        })?;
        client_lib::seg_detach(&vas, &other)?;
        client_lib::seg_free(&other)?;
    }
    for base in [slot - SIZE, slot + SLOT_BYTES] {
        let other = segment("boat", base)?;
        client_lib::seg_attach(&vas, &own, Access::ReadWrite)?;
        client_lib::seg_attach(&vas, &other, Access::ReadWrite)?;
        client_lib::seg_detach(&vas, &own)?;
        client_lib::seg_detach(&vas, &other)?;
        client_lib::seg_free(&other)?;
    }
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&own)?)
}

fn a_segment_with_its_own_slots_is_read_only_where_a_vas_has_it_so() -> Outcome {
    let own = own("island", MIDDLE, SIZE)?;
    let north = client_lib::vas_create("north", EVERYONE)?;
    let south = client_lib::vas_create("south", EVERYONE)?;
    client_lib::seg_attach(&north, &own, Access::ReadWrite)?;
    client_lib::seg_attach(&south, &own, Access::ReadOnly)?;
    // It loads the word there and stores the next.
    let faults = ExitStatus::Faulted {
        address: MIDDLE + 8,
    };
    let arguments = format!("load-then-store south read-write {MIDDLE}");
    fixture::expect(actor::OTHER, &arguments, faults)?;
    let arguments = format!("load-then-store north read-only {MIDDLE}");
    fixture::expect(actor::OTHER, &arguments, faults)?;
    let arguments = format!("load-then-store north read-write {MIDDLE}");
    fixture::succeeds(actor::OTHER, &arguments)?;
    client_lib::vas_delete(&north)?;
    client_lib::vas_delete(&south)?;
    Ok(client_lib::seg_free(&own)?)
}

fn a_segment_with_its_own_slots_may_span_several() -> Outcome {
    let base = 7 * SLOT_BYTES - SIZE / 2;
    let own = own("bridge", base, SIZE)?;
    let vas = client_lib::vas_create("river", EVERYONE)?;
    client_lib::seg_attach(&vas, &own, Access::ReadWrite)?;
    for value in [0, 1] {
        let attachment = attach(&vas)?;
        inside(&attachment, || {
            check_equal("first", load(base), value)?;
            check_equal("last", load(base + SIZE - 8), value)?;
            store(base, 1);
            store(base + SIZE - 8, 1);
            Ok(())
        })?;
        detach(attachment)?;
    }
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&own)?)
}

fn row_14_a_local_segment_is_seen_through_its_attachment_alone() -> Outcome {
    let place = Place::new("house")?;
    let local = segment("desk", LOCAL.start)?;
    let mine = attach(&place.vas)?;
    let other = client_lib::vas_attach(&place.vas, Access::ReadOnly)?;
    client_lib::seg_attach_local(&mine, &local, Access::ReadWrite)?;
    refused(Error::AlreadyAttached, || {
        client_lib::seg_attach_local(&mine, &local, Access::ReadWrite)
    })?;
    inside(&mine, || {
        store(LOCAL.start, 5);
        store(BASE, 6);
        Ok(())
    })?;
    let address = LOCAL.start;
    let arguments = format!("load-then-store house read-write {address}");
    fixture::expect(actor::OTHER, &arguments, ExitStatus::Faulted { address })?;
    // At another attachment it is the same memory.
    client_lib::seg_attach_local(&other, &local, Access::ReadWrite)?;
    inside(&other, || {
        check_equal("local", load(LOCAL.start), 5)?;
        check_equal("of the VAS", load(BASE), 6)
    })?;
    client_lib::seg_detach_local(&mine, &local)?;
    refused(Error::NotAttached, || {
        client_lib::seg_detach_local(&mine, &local)
    })?;
    inside(&other, || check_equal("local", load(LOCAL.start), 5))?;
    client_lib::seg_detach_local(&other, &local)?;
    detach(mine)?;
    detach(other)?;
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn a_local_segment_goes_with_its_attachment() -> Outcome {
    let place = Place::new("house")?;
    let local = segment("desk", LOCAL.end - SIZE)?;
    for round in 0..3 {
        let mine = attach(&place.vas)?;
        client_lib::seg_attach_local(&mine, &local, Access::ReadWrite)?;
        inside(&mine, || {
            check_equal("word", load(LOCAL.end - 8), round)?;
            store(LOCAL.end - 8, round + 1);
            Ok(())
        })?;
        refused(Error::InUse { attachments: 1 }, || {
            client_lib::seg_free(&local)
        })?;
        detach(mine)?;
    }
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn a_local_segment_is_read_only_through_a_read_only_attachment() -> Outcome {
    let place = Place::new("house")?;
    let name = "desk";
    let local = segment(name, LOCAL.start)?;
    for (attached, segment) in [("read-only", "read-write"), ("read-write", "read-only")] {
        let arguments = format!("store-local house {attached} {name} {segment}");
        let address = LOCAL.start;
        fixture::expect(actor::OTHER, &arguments, ExitStatus::Faulted { address })?;
    }
    fixture::succeeds(
        actor::OTHER,
        &format!("store-local house read-write {name} read-write"),
    )?;
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn a_local_segment_may_have_its_own_slots() -> Outcome {
    let place = Place::new("house")?;
    let local = own("desk", LOCAL.start + SLOT_BYTES, SIZE)?;
    let mine = attach(&place.vas)?;
    client_lib::seg_attach_local(&mine, &local, Access::ReadWrite)?;
    inside(&mine, || {
        store(local.base(), 5);
        check_equal("word", load(local.base()), 5)
    })?;
    client_lib::seg_detach_local(&mine, &local)?;
    client_lib::seg_attach_local(&mine, &local, Access::ReadWrite)?;
    inside(&mine, || check_equal("word", load(local.base()), 5))?;
    detach(mine)?;
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn row_21_local_segments_and_those_of_a_vas_are_not_exchanged() -> Outcome {
    let place = Place::new("house")?;
    let mine = attach(&place.vas)?;
    let local = segment("desk", LOCAL.start)?;
    let size = SIZE;
    let base = LOCAL.start;
    refused(Error::OutOfRange { base, size }, || {
        client_lib::seg_attach(&place.vas, &local, Access::ReadWrite)
    })?;
    let base = BASE;
    refused(Error::OutOfRange { base, size }, || {
        client_lib::seg_attach_local(&mine, &place.segment, Access::ReadWrite)
    })?;
    detach(mine)?;
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn nothing_is_added_to_the_attachment_of_another_process() -> Outcome {
    let place = Place::new("house")?;
    let local = segment("desk", LOCAL.start)?;
    let holder = fixture::start(actor::OTHER, &format!("hold house {BASE}"))?;
    let mine = attach(&place.vas)?;
    inside(&mine, || common::segment_memory::wait_for(BASE, 1))?;
    let handle = raw::SCRATCH[0];
    raw::request(
        &SegFind {
            name: Name::new("desk")?,
        },
        &[],
        handle,
    )?;
    let own = mine.id();
    for number in (0..64).chain([u64::MAX]) {
        let attachment = client_lib::AttachmentId(number);
        if attachment == own {
            continue;
        }
        let added = raw::request(
            &SegAttachLocal {
                attachment,
                access: Access::ReadWrite,
            },
            &[handle],
            raw::SCRATCH[1],
        );
        let removed = raw::request(&SegDetachLocal { attachment }, &[handle], raw::SCRATCH[1]);
        check_equal("adding", added, Err(Error::StaleAttachment))?;
        check_equal("removing", removed, Err(Error::StaleAttachment))?;
    }
    inside(&mine, || {
        store(BASE, 2);
        Ok(())
    })?;
    fixture::ends_with(holder, ExitStatus::Exited(common::verdict::DONE))?;
    raw::empty(handle);
    detach(mine)?;
    client_lib::seg_free(&local)?;
    Ok(place.remove()?)
}

fn row_32_8_kib_across_a_boundary_of_slots_take_7_tables() -> Outcome {
    let vas = client_lib::vas_create("meadow", EVERYONE)?;
    for (base, tables) in [(2 * SLOT_BYTES - 4096, 7), (2 * SLOT_BYTES - 8192, 4)] {
        let small = Some(PageSize::Small);
        let segment = client_lib::seg_alloc("meadow", base, 8192, small, EVERYONE)?;
        check_equal("base", segment.base(), base)?;
        check_equal("page tables", tables_of(&vas, &segment)?, tables)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(client_lib::vas_delete(&vas)?)
}

fn where_bases_are_as_asked_a_segment_without_one_is_refused() -> Outcome {
    for base in [Base::ForVases, Base::ForAttachments] {
        refused(Error::BaseNeeded, || {
            client_lib::seg_alloc("meadow", base, SIZE, None, EVERYONE)
        })?;
    }
    Ok(())
}
