// SPDX-License-Identifier: MIT OR Apache-2.0

//! What can be changed of VASes and segments, named roots, and when objects die.

use alloc::format;

use client_lib::{Access, Command, Error, Lifetime, Mode, Rights, VasCommand};
use common::Outcome;
use common::calls::{attach, detach, inside, visit};
use common::failure::check_equal;
use common::segment_memory::{load, store, wait_for};
use protocol::process::ExitStatus;

use crate::fixture::{self, BASE, OWNER, Place, SIZE, actor, segment};
use crate::harness::tests;
use crate::state::refused;

tests! {
    row_15_a_mode_that_is_changed_decides_who_finds_the_object,
    an_object_that_is_given_away_belongs_to_the_other_user,
    only_who_may_control_an_object_changes_it,
    revoked_handles_are_gone_and_the_object_is_found_again,
    row_28_an_evicted_process_faults_and_others_go_on,
    one_process_is_evicted_and_another_stays_attached,
    a_segment_that_is_taken_from_all_is_seen_by_none,
    a_root_that_one_process_names_leads_another_to_the_data,
    what_dies_with_its_creator_is_gone_when_that_has_ended,
    what_dies_with_its_last_attacher_is_gone_when_that_has_ended,
}

fn denied(needs: Rights) -> Result<Rights, Error> {
    Err(Error::PermissionDenied { needs })
}

fn row_15_a_mode_that_is_changed_decides_who_finds_the_object() -> Outcome {
    let place = Place::new("gate")?;
    let reading = Rights::READ | Rights::ATTACH;
    for (mode, answer) in [
        (Mode(0o600), denied(reading)),
        (Mode(0o604), Ok(reading)),
        (Mode(0o602), Ok(Rights::WRITE | Rights::ATTACH)),
    ] {
        client_lib::vas_ctl(&place.vas, Command::Mode(mode))?;
        client_lib::seg_ctl(&place.segment, Command::Mode(mode))?;
        fixture::answered(actor::OTHER, "find-vas gate", answer.clone())?;
        fixture::answered(actor::OTHER, "find-segment gate", answer)?;
    }
    Ok(place.remove()?)
}

fn an_object_that_is_given_away_belongs_to_the_other_user() -> Outcome {
    let vas = client_lib::vas_create("gate", OWNER)?;
    let (user, group) = (2000, None);
    client_lib::vas_ctl(&vas, Command::Owner { user, group })?;
    fixture::answered(actor::OTHER, "find-vas gate", Ok(Rights::all()))?;
    refused(
        Error::PermissionDenied {
            needs: Rights::READ | Rights::ATTACH,
        },
        || client_lib::vas_find("gate"),
    )?;
    fixture::answered(actor::OTHER, "delete-vas gate", Ok(Rights::empty()))
}

fn only_who_may_control_an_object_changes_it() -> Outcome {
    let place = Place::new("gate")?;
    let control = denied(Rights::CONTROL);
    fixture::answered(actor::OTHER, "chmod-vas gate", control.clone())?;
    fixture::answered(actor::OTHER, "chmod-segment gate", control)?;
    fixture::answered(actor::OWNER, "chmod-vas gate", Ok(Rights::empty()))?;
    fixture::answered(actor::OWNER, "chmod-segment gate", Ok(Rights::empty()))?;
    check_equal(
        "mode",
        client_lib::vas_stat(&place.vas)?.object.mode,
        Mode(0o640),
    )?;
    Ok(place.remove()?)
}

fn revoked_handles_are_gone_and_the_object_is_found_again() -> Outcome {
    let place = Place::new("gate")?;
    client_lib::vas_ctl(&place.vas, Command::RevokeHandles)?;
    client_lib::seg_ctl(&place.segment, Command::RevokeHandles)?;
    refused(Error::StaleHandle { position: 0 }, || attach(&place.vas))?;
    refused(Error::StaleHandle { position: 0 }, || {
        client_lib::seg_free(&place.segment)
    })?;
    let vas = client_lib::vas_find("gate")?;
    let segment = client_lib::seg_find("gate")?;
    visit(&vas, || {
        store(BASE, 1);
        Ok(())
    })?;
    Ok(Place { vas, segment }.remove()?)
}

fn row_28_an_evicted_process_faults_and_others_go_on() -> Outcome {
    let place = Place::new("gate")?;
    let other = Place::with("other", BASE + SIZE, SIZE, client_lib::PageSize::Small)?;
    client_lib::seg_attach(&other.vas, &place.segment, Access::ReadWrite)?;
    let stays = attach(&other.vas)?;
    let process = fixture::start(actor::OTHER, &format!("hold gate {BASE}"))?;
    inside(&stays, || wait_for(BASE, 1))?;
    client_lib::vas_ctl(&place.vas, Command::Evict)?;
    // Nothing of it is mapped any longer, not even what it would run next.
    let reason = "VAS gate was active: it was evicted from the VAS";
    fixture::faults_with(process, reason)?;
    inside(&stays, || {
        store(BASE, 2);
        Ok(())
    })?;
    detach(stays)?;
    client_lib::vas_delete(&other.vas)?;
    client_lib::seg_free(&other.segment)?;
    Ok(place.remove()?)
}

fn one_process_is_evicted_and_another_stays_attached() -> Outcome {
    let place = Place::new("gate")?;
    let stays = attach(&place.vas)?;
    let process = fixture::start(actor::OTHER, &format!("hold gate {BASE}"))?;
    inside(&stays, || wait_for(BASE, 1))?;
    let mut listed = client_lib::vas_attachments(&place.vas, None)?;
    let other = listed.find(|entry| entry.attachment != stays.id());
    let other = other.ok_or(common::Failure::new("the other process is not listed"))?;
    check_equal("user", other.user, 2000)?;
    let evict = VasCommand::EvictAttachment(other.attachment);
    client_lib::vas_ctl(&place.vas, evict)?;
    let reason = "VAS gate was active: it was evicted from the VAS";
    fixture::faults_with(process, reason)?;
    inside(&stays, || check_equal("word", load(BASE), 1))?;
    detach(stays)?;
    Ok(place.remove()?)
}

fn a_segment_that_is_taken_from_all_is_seen_by_none() -> Outcome {
    let place = Place::new("gate")?;
    let process = fixture::start(actor::OTHER, &format!("hold gate {BASE}"))?;
    visit(&place.vas, || wait_for(BASE, 1))?;
    client_lib::seg_ctl(&place.segment, Command::Evict)?;
    let reason = "VAS gate active, segment gate: the segment was evicted";
    fixture::faults_with(process, reason)?;
    check_equal("segments", client_lib::vas_stat(&place.vas)?.segments, 0)?;
    Ok(place.remove()?)
}

fn a_root_that_one_process_names_leads_another_to_the_data() -> Outcome {
    let place = Place::new("gate")?;
    refused(Error::NotFound, || client_lib::vas_root(&place.vas, "data"))?;
    let address = BASE + SIZE / 2;
    client_lib::vas_set_root(&place.vas, "data", Some(address))?;
    visit(&place.vas, || {
        store(address, 77);
        Ok(())
    })?;
    fixture::succeeds(actor::OTHER, "load-root gate data 77")?;
    check_equal("roots", client_lib::vas_stat(&place.vas)?.roots, 1)?;
    client_lib::vas_set_root(&place.vas, "data", None)?;
    refused(Error::NotFound, || client_lib::vas_root(&place.vas, "data"))?;
    Ok(place.remove()?)
}

fn what_dies_with_its_creator_is_gone_when_that_has_ended() -> Outcome {
    for (how, status) in [
        ("exit", ExitStatus::Exited(7)),
        ("panic", ExitStatus::Panicked),
        ("live", ExitStatus::Killed),
    ] {
        let place = Place::new("door")?;
        let before = client_lib::server_stat()?;
        let arguments = format!(
            "make-and-die gate {} creator {how} door {BASE}",
            BASE + SIZE
        );
        let process = fixture::start(actor::OTHER, &arguments)?;
        if how == "live" {
            visit(&place.vas, || wait_for(BASE, 1))?;
            check_equal("VASes", client_lib::server_stat()?.vases, before.vases + 1)?;
            runtime::process::kill(process)?;
        }
        fixture::ends_with(process, status)?;
        let after = client_lib::server_stat()?;
        check_equal("VASes", after.vases, before.vases)?;
        check_equal("segments", after.segments, before.segments)?;
        check_equal("free bytes", after.memory_free, before.memory_free)?;
        place.remove()?;
    }
    Ok(())
}

fn what_dies_with_its_last_attacher_is_gone_when_that_has_ended() -> Outcome {
    let place = Place::new("gate")?;
    client_lib::vas_ctl(&place.vas, Command::Lifetime(Lifetime::LastAttacher))?;
    client_lib::vas_ctl(&place.vas, VasCommand::TlbTag(true))?;
    client_lib::seg_ctl(&place.segment, Command::Lifetime(Lifetime::LastAttacher))?;
    let lasting = segment("lasting", BASE + SIZE)?;
    client_lib::seg_attach(&place.vas, &lasting, Access::ReadWrite)?;
    let attachment = attach(&place.vas)?;
    fixture::succeeds(actor::OTHER, "attach-and-exit gate")?;
    check_equal("VASes", client_lib::server_stat()?.vases, 1)?;
    detach(attachment)?;
    check_equal("VASes", client_lib::server_stat()?.vases, 0)?;
    refused(Error::StaleHandle { position: 0 }, || {
        client_lib::seg_free(&place.segment)
    })?;
    Ok(client_lib::seg_free(&lasting)?)
}
