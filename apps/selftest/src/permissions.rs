// SPDX-License-Identifier: MIT OR Apache-2.0

//! Who may do what: mode bits, rights of handles, read-only memory.

use alloc::format;

use client_lib::{Access, Error, Mode, PageSize, Rights};
use common::Outcome;
use common::calls::{detach, inside, visit};
use common::failure::check_equal;
use common::segment_memory::{load, store};
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, EVERYONE, OWNER, Place, SIZE, actor, segment};
use crate::harness::tests;

tests! {
    row_15_mode_bits_decide_what_a_found_handle_of_a_vas_allows,
    row_15_mode_bits_decide_what_a_found_handle_of_a_segment_allows,
    a_listing_shows_only_what_may_be_looked_up,
    without_write_permission_a_vas_cannot_be_attached_for_writing,
    only_the_owner_may_delete_and_free,
    adding_a_segment_needs_write_permission_for_the_vas,
    adding_a_segment_needs_the_permission_for_the_segment_that_it_is_added_with,
    a_store_through_a_read_only_attachment_faults_and_a_load_does_not,
    a_store_to_a_segment_attached_read_only_faults_and_a_load_does_not,
    read_only_memory_shows_what_others_write,
}

/// Mode bits, and what they allow: to the owner, to the group, to all others. `None` is a
/// handle refused.
const MODES: [(u16, [Option<Rights>; 3]); 7] = {
    const READ: Rights = Rights::READ.union(Rights::ATTACH);
    const WRITE: Rights = Rights::WRITE.union(Rights::ATTACH);
    const BOTH: Rights = READ.union(WRITE);
    const OWN: Rights = Rights::CONTROL.union(Rights::GRANT);
    [
        (0o666, [Some(OWN.union(BOTH)), Some(BOTH), Some(BOTH)]),
        (0o640, [Some(OWN.union(BOTH)), Some(READ), None]),
        (0o604, [Some(OWN.union(BOTH)), None, Some(READ)]),
        (0o420, [Some(OWN.union(READ)), Some(WRITE), None]),
        (0o066, [Some(OWN), Some(BOTH), Some(BOTH)]),
        (0o600, [Some(OWN.union(BOTH)), None, None]),
        // Execute bits mean nothing.
        (0o111, [Some(OWN), None, None]),
    ]
};

/// The answer to who looks for it.
fn found(rights: Option<Rights>) -> Result<Rights, Error> {
    rights.ok_or(Error::PermissionDenied {
        needs: Rights::READ | Rights::ATTACH,
    })
}

fn row_15_mode_bits_decide_what_a_found_handle_of_a_vas_allows() -> Outcome {
    for (mode, allowed) in MODES {
        let vas = client_lib::vas_create("gate", Mode(mode))?;
        for (actor, rights) in [actor::OWNER, actor::GROUP, actor::OTHER]
            .iter()
            .zip(allowed)
        {
            fixture::answered(actor, "find-vas gate", found(rights))?;
        }
        client_lib::vas_delete(&vas)?;
    }
    Ok(())
}

fn row_15_mode_bits_decide_what_a_found_handle_of_a_segment_allows() -> Outcome {
    for (mode, allowed) in MODES {
        let segment = client_lib::seg_alloc("gate", BASE, 1, None, Mode(mode))?;
        for (actor, rights) in [actor::OWNER, actor::GROUP, actor::OTHER]
            .iter()
            .zip(allowed)
        {
            fixture::answered(actor, "find-segment gate", found(rights))?;
        }
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn a_listing_shows_only_what_may_be_looked_up() -> Outcome {
    for (vas_mode, segment_mode, group_sees, others_see) in [
        (0o644, 0o644, 3, 3),
        (0o640, 0o604, 1, 2),
        (0o600, 0o660, 2, 0),
        (0o604, 0o600, 0, 1),
    ] {
        let vas = client_lib::vas_create("gate", Mode(vas_mode))?;
        let segment = client_lib::seg_alloc("gate", BASE, 1, None, Mode(segment_mode))?;
        for (actor, sees) in [
            (actor::OWNER, 3),
            (actor::GROUP, group_sees),
            (actor::OTHER, others_see),
        ] {
            fixture::expect(actor, "sees gate gate", ExitStatus::Exited(4 | sees))?;
        }
        client_lib::vas_delete(&vas)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn without_write_permission_a_vas_cannot_be_attached_for_writing() -> Outcome {
    let vas = client_lib::vas_create("gate", Mode(0o642))?;
    let denied = |access: Access| {
        Err(Error::PermissionDenied {
            needs: access.needs(),
        })
    };
    let attached = Ok(Rights::empty());
    fixture::answered(actor::OWNER, "attach-vas gate read-write", attached.clone())?;
    fixture::answered(actor::GROUP, "attach-vas gate read-only", attached)?;
    fixture::answered(
        actor::GROUP,
        "attach-vas gate read-write",
        denied(Access::ReadWrite),
    )?;
    // Write permission alone is not enough for either.
    fixture::answered(
        actor::OTHER,
        "attach-vas gate read-only",
        denied(Access::ReadOnly),
    )?;
    fixture::answered(
        actor::OTHER,
        "attach-vas gate read-write",
        denied(Access::ReadWrite),
    )?;
    Ok(client_lib::vas_delete(&vas)?)
}

fn only_the_owner_may_delete_and_free() -> Outcome {
    let place = Place::new("gate")?;
    client_lib::seg_detach(&place.vas, &place.segment)?;
    let denied = Err(Error::PermissionDenied {
        needs: Rights::CONTROL,
    });
    for actor in [actor::GROUP, actor::OTHER] {
        let before = client_lib::server_stat()?;
        fixture::answered(actor, "delete-vas gate", denied.clone())?;
        fixture::answered(actor, "free-segment gate", denied.clone())?;
        let after = client_lib::server_stat()?;
        check_equal("VASes", after.vases, before.vases)?;
        check_equal("segments", after.segments, before.segments)?;
        check_equal("free bytes", after.memory_free, before.memory_free)?;
    }
    fixture::answered(actor::OWNER, "delete-vas gate", Ok(Rights::empty()))?;
    fixture::answered(actor::OWNER, "free-segment gate", Ok(Rights::empty()))
}

fn adding_a_segment_needs_write_permission_for_the_vas() -> Outcome {
    let vas = client_lib::vas_create("gate", Mode(0o644))?;
    let segment = segment("gate", BASE)?;
    let denied = Err(Error::PermissionDenied {
        needs: Rights::WRITE,
    });
    let attach = "attach-segment gate gate read-only";
    for actor in [actor::GROUP, actor::OTHER] {
        fixture::answered(actor, attach, denied.clone())?;
    }
    client_lib::seg_attach(&vas, &segment, Access::ReadOnly)?;
    for actor in [actor::GROUP, actor::OTHER] {
        fixture::answered(actor, "detach-segment gate gate", denied.clone())?;
    }
    // The right to write to the segment is not needed to take it out of a VAS.
    fixture::answered(
        actor::OWNER,
        "detach-segment gate gate",
        Ok(Rights::empty()),
    )?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn adding_a_segment_needs_the_permission_for_the_segment_that_it_is_added_with() -> Outcome {
    let vas = client_lib::vas_create("gate", EVERYONE)?;
    let segment = client_lib::seg_alloc("gate", BASE, 1, Some(PageSize::Small), Mode(0o642))?;
    let denied = |access: Access| {
        Err(Error::PermissionDenied {
            needs: access.needs(),
        })
    };
    let writing = "attach-segment gate gate read-write";
    let reading = "attach-segment gate gate read-only";
    fixture::answered(actor::GROUP, writing, denied(Access::ReadWrite))?;
    fixture::answered(actor::OTHER, writing, denied(Access::ReadWrite))?;
    fixture::answered(actor::OTHER, reading, denied(Access::ReadOnly))?;
    fixture::answered(actor::GROUP, reading, Ok(Rights::empty()))?;
    client_lib::vas_delete(&vas)?;
    Ok(client_lib::seg_free(&segment)?)
}

fn a_store_through_a_read_only_attachment_faults_and_a_load_does_not() -> Outcome {
    for (page_size, size) in [(PageSize::Small, SIZE), (PageSize::Large, 1 << 21)] {
        let place = Place::with("gate", BASE, size, page_size)?;
        for actor in [actor::OWNER, actor::OTHER] {
            let word = BASE + size - 16;
            let arguments = format!("load-then-store gate read-only {word}");
            // The load is at another address than the store.
            fixture::expect(actor, &arguments, ExitStatus::Faulted { address: word + 8 })?;
        }
        visit(&place.vas, || check_equal("word", load(BASE + size - 8), 0))?;
        place.remove()?;
    }
    Ok(())
}

fn a_store_to_a_segment_attached_read_only_faults_and_a_load_does_not() -> Outcome {
    let vas = client_lib::vas_create("gate", EVERYONE)?;
    let reading = segment("reading", BASE)?;
    let writing = segment("writing", BASE + SIZE)?;
    client_lib::seg_attach(&vas, &reading, Access::ReadOnly)?;
    client_lib::seg_attach(&vas, &writing, Access::ReadWrite)?;
    let refused = ExitStatus::Faulted { address: BASE + 8 };
    for actor in [actor::OWNER, actor::OTHER] {
        fixture::expect(
            actor,
            &format!("load-then-store gate read-write {BASE}"),
            refused,
        )?;
        // Its neighbour is not read-only.
        let neighbour = BASE + SIZE;
        fixture::succeeds(
            actor,
            &format!("load-then-store gate read-write {neighbour}"),
        )?;
    }
    client_lib::vas_delete(&vas)?;
    client_lib::seg_free(&reading)?;
    Ok(client_lib::seg_free(&writing)?)
}

fn read_only_memory_shows_what_others_write() -> Outcome {
    let place = Place::new("gate")?;
    let view = client_lib::vas_create("view", OWNER)?;
    client_lib::seg_attach(&view, &place.segment, Access::ReadOnly)?;
    let reading = client_lib::vas_attach(&place.vas, Access::ReadOnly)?;
    for round in 1..5 {
        visit(&place.vas, || {
            store(BASE, round);
            Ok(())
        })?;
        inside(&reading, || check_equal("word", load(BASE), round))?;
        visit(&view, || check_equal("word", load(BASE), round))?;
    }
    detach(reading)?;
    client_lib::vas_delete(&view)?;
    Ok(place.remove()?)
}
