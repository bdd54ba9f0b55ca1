// SPDX-License-Identifier: MIT OR Apache-2.0

//! The paper's calls on plain ids (`client_lib::raw`): what they choose where the paper leaves it
//! open, and what becomes of ids that were given back.

use alloc::format;

use client_lib::raw::{
    VasHandle, seg_alloc, seg_attach, seg_clone, seg_ctl, seg_detach, seg_find, seg_free,
    vas_attach, vas_clone, vas_create, vas_ctl, vas_delete, vas_detach, vas_find, vas_switch,
};
use client_lib::{Access, Command, Error, Mode, Rights};
use common::Outcome;
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use protocol::address_map::LOCAL;
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, SIZE, actor};
use crate::harness::tests;
use crate::state::refused;

tests! {
    a_segment_is_attached_by_one_name_to_a_vas_or_to_one_attachment,
    a_clone_on_ids_has_the_permissions_of_the_other_until_ctl_changes_them,
    an_id_is_attached_for_what_it_allows,
    an_id_that_was_given_back_is_refused,
    an_id_that_was_given_back_names_what_is_in_its_place_next,
}

/// All may read and write.
const EVERYONE: u16 = 0o666;
/// All but the owner may write, who may read.
const OWNER_READS: u16 = 0o466;

/// Another process reads through the VAS, and then writes; it ends so.
fn other_accesses(vas: &str, address: u64, end: ExitStatus) -> Outcome {
    let arguments = format!("load-then-store {vas} read-write {address}");
    fixture::expect(actor::OTHER, &arguments, end)
}

const DONE: ExitStatus = ExitStatus::Exited(common::verdict::DONE);

fn a_segment_is_attached_by_one_name_to_a_vas_or_to_one_attachment() -> Outcome {
    let local_base = LOCAL.start;
    let vid = vas_create("weir", EVERYONE)?;
    let shared = seg_alloc("weir", BASE, SIZE, EVERYONE)?;
    let local = seg_alloc("pond", local_base, SIZE, EVERYONE)?;
    let vh = vas_attach(vas_find("weir")?)?;

    seg_attach(vid, shared)?;
    seg_attach(vh, local)?;
    check_equal("space left", vas_switch(vh)?, VasHandle::OWN)?;
    store(BASE, 1);
    store(local_base, 2);
    refused(Error::Inside, || vas_detach(vh))?;
    check_equal("space left", vas_switch(VasHandle::OWN)?, vh)?;
    other_accesses("weir", BASE, DONE)?;
    let address = local_base;
    other_accesses("weir", address, ExitStatus::Faulted { address })?;

    for (wrong, base) in [
        (seg_attach(vh, shared), BASE),
        (seg_attach(vid, local), local_base),
    ] {
        check_equal("answer", wrong, Err(Error::OutOfRange { base, size: SIZE }))?;
    }
    seg_detach(vid, shared)?;
    seg_detach(vh, local)?;
    refused(Error::NotAttached, || seg_detach(vid, shared))?;
    refused(Error::NotAttached, || seg_detach(vh, local))?;
    let address = BASE;
    other_accesses("weir", address, ExitStatus::Faulted { address })?;

    vas_detach(vh)?;
    vas_delete(vid)?;
    seg_free(shared)?;
    Ok(seg_free(local)?)
}

fn a_clone_on_ids_has_the_permissions_of_the_other_until_ctl_changes_them() -> Outcome {
    let vid = vas_create("weir", EVERYONE)?;
    let sid = seg_alloc("weir", BASE, SIZE, EVERYONE)?;
    seg_attach(vid, sid)?;
    let vh = vas_attach(vid)?;
    vas_switch(vh)?;
    store(BASE, 3);
    vas_switch(VasHandle::OWN)?;

    let vas_copy = vas_clone(vid, "mill")?;
    let seg_copy = seg_clone(sid, "mill")?;
    seg_detach(vas_copy, sid)?;
    seg_attach(vas_copy, seg_copy)?;
    other_accesses("mill", BASE, DONE)?;
    let in_copy = vas_attach(vas_copy)?;
    vas_switch(in_copy)?;
    let found = [load(BASE), load(BASE + 8)];
    vas_switch(VasHandle::OWN)?;
    check_equal("words in the copy, one copied by the other", found, [3, 3])?;

    let needs = Rights::READ | Rights::ATTACH;
    let denied = || Err(Error::PermissionDenied { needs });
    let all = Ok(needs | Rights::WRITE);
    fixture::answered(actor::OTHER, "find-vas mill", all.clone())?;
    fixture::answered(actor::OTHER, "find-segment mill", all)?;
    vas_ctl(Command::Mode(Mode(0o600)), vas_copy)?;
    seg_ctl(seg_copy, Command::Mode(Mode(0o600)))?;
    fixture::answered(actor::OTHER, "find-vas mill", denied())?;
    fixture::answered(actor::OTHER, "find-segment mill", denied())?;

    for vh in [vh, in_copy] {
        vas_detach(vh)?;
    }
    for vid in [vid, vas_copy] {
        vas_delete(vid)?;
    }
    for sid in [sid, seg_copy] {
        seg_free(sid)?;
    }
    Ok(())
}

fn an_id_is_attached_for_what_it_allows() -> Outcome {
    let vid = vas_create("weir", OWNER_READS)?;
    let sid = seg_alloc("weir", BASE, SIZE, OWNER_READS)?;
    let (reading_vid, reading_sid) = (vas_find("weir")?, seg_find("weir")?);
    let vas = client_lib::vas_find("weir")?;
    for (vid, access) in [(vid, Access::ReadWrite), (reading_vid, Access::ReadOnly)] {
        let vh = vas_attach(vid)?;
        let made = client_lib::vas_attachments(&vas, None)?.map(|attachment| attachment.access);
        check(made.eq([access]), "the attachment has another access")?;
        vas_detach(vh)?;
    }
    let address = BASE + 8;
    let read_only = ExitStatus::Faulted { address };
    for (sid, end) in [(sid, DONE), (reading_sid, read_only)] {
        seg_attach(vid, sid)?;
        other_accesses("weir", BASE, end)?;
        seg_detach(vid, sid)?;
    }
    seg_attach(vid, sid)?;
    for (vid, end) in [(vid, DONE), (reading_vid, read_only)] {
        let clone = vas_clone(vid, "mill")?;
        other_accesses("mill", BASE, end)?;
        vas_delete(clone)?;
    }
    vas_delete(vid)?;
    Ok(seg_free(sid)?)
}

fn an_id_that_was_given_back_is_refused() -> Outcome {
    let vid = vas_create("weir", EVERYONE)?;
    let same_vid = vas_find("weir")?;
    let sid = seg_alloc("weir", BASE, SIZE, EVERYONE)?;
    let same_sid = seg_find("weir")?;
    let vh = vas_attach(vid)?;
    vas_detach(vh)?;
    for vh in [vh, VasHandle::OWN] {
        refused(Error::StaleAttachment, || vas_detach(vh))?;
        refused(Error::StaleAttachment, || seg_attach(vh, sid))?;
        refused(Error::StaleAttachment, || seg_detach(vh, sid))?;
    }
    refused(Error::StaleAttachment, || vas_switch(vh))?;
    vas_delete(vid)?;
    for vid in [vid, same_vid] {
        let stale = || Error::StaleHandle { position: 0 };
        refused(stale(), || vas_delete(vid))?;
        refused(stale(), || vas_attach(vid))?;
        refused(stale(), || vas_clone(vid, "mill"))?;
        refused(stale(), || vas_ctl(Command::Evict, vid))?;
        refused(stale(), || seg_attach(vid, sid))?;
        refused(stale(), || seg_detach(vid, sid))?;
    }
    seg_free(sid)?;
    let vid = vas_create("weir", EVERYONE)?;
    for sid in [sid, same_sid] {
        // The new VAS has the place of the old one, which is the first.
        let stale = |position| Error::StaleHandle { position };
        refused(stale(0), || seg_free(sid))?;
        refused(stale(0), || seg_clone(sid, "mill"))?;
        refused(stale(0), || seg_ctl(sid, Command::Evict))?;
        refused(stale(1), || seg_attach(vid, sid))?;
    }
    Ok(vas_delete(vid)?)
}

fn an_id_that_was_given_back_names_what_is_in_its_place_next() -> Outcome {
    let vid = vas_create("weir", EVERYONE)?;
    let vh = vas_attach(vid)?;
    let sid = seg_alloc("weir", BASE, SIZE, EVERYONE)?;
    vas_detach(vh)?;
    vas_delete(vid)?;
    seg_free(sid)?;

    // The same places, in the same order.
    let next_vid = vas_create("mill", EVERYONE)?;
    let in_place_of_vh = vas_create("dam", EVERYONE)?;
    let next_sid = seg_alloc("mill", BASE, SIZE, EVERYONE)?;
    check_equal("VAS in the same place", next_vid, vid)?;
    check_equal("segment in the same place", next_sid, sid)?;
    refused(Error::StaleAttachment, || vas_switch(vh))?;
    refused(Error::StaleAttachment, || vas_detach(vh))?;
    vas_delete(vid)?;
    refused(Error::NotFound, || vas_find("mill"))?;
    seg_free(sid)?;
    refused(Error::NotFound, || seg_find("mill"))?;

    // Nothing has come to harm by it.
    let vh = vas_attach(in_place_of_vh)?;
    check_equal("space left", vas_switch(vh)?, VasHandle::OWN)?;
    check_equal("space left", vas_switch(VasHandle::OWN)?, vh)?;
    vas_detach(vh)?;
    Ok(vas_delete(in_place_of_vh)?)
}
