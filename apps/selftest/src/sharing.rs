// SPDX-License-Identifier: MIT OR Apache-2.0

//! Clones of VASes and segments, weaker handles, and handles passed between processes.

use alloc::format;

use client_lib::{Access, Command, Endpoint, Error, PageSize, Rights, Vas};
use common::calls::{attach, detach, inside, visit};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use common::{Failure, Outcome};
use protocol::limits::COPY_BYTES;

use crate::fixture::{self, BASE, EVERYONE, OWNER, Place, SIZE, actor};
use crate::harness::tests;
use crate::state::{State, refused, unchanged};

tests! {
    row_15_a_clone_of_a_vas_shares_its_memory_under_other_permissions,
    a_clone_of_a_segment_has_its_content_and_memory_of_its_own,
    a_clone_that_is_refused_leaves_nothing_behind,
    row_15_a_handle_passed_to_another_process_allows_what_it_was_restricted_to,
    a_handle_that_was_passed_on_is_revoked_like_any_other,
    a_handle_that_was_passed_on_is_revoked_alone,
    what_is_passed_as_a_handle_and_is_none_is_refused,
}

fn handover() -> Result<Endpoint, Failure> {
    Endpoint::new(0).ok_or(Failure::new("there are no endpoints"))
}

fn row_15_a_clone_of_a_vas_shares_its_memory_under_other_permissions() -> Outcome {
    let place = Place::new("meadow")?;
    client_lib::vas_ctl(&place.vas, Command::Mode(OWNER))?;
    client_lib::vas_set_root(&place.vas, "data", Some(BASE + 8))?;
    let clone = client_lib::vas_clone(&place.vas, "open", EVERYONE, Access::ReadOnly)?;
    visit(&place.vas, || {
        store(BASE + 8, 21);
        Ok(())
    })?;
    fixture::succeeds(actor::OTHER, "load-root open data 21")?;
    // It cannot be written through the clone.
    let arguments = format!("load-then-store open read-write {BASE}");
    let fault = protocol::process::ExitStatus::Faulted { address: BASE + 8 };
    fixture::expect(actor::OTHER, &arguments, fault)?;
    client_lib::vas_delete(&clone)?;
    Ok(place.remove()?)
}

fn a_clone_of_a_segment_has_its_content_and_memory_of_its_own() -> Outcome {
    for (page_size, size) in [
        (PageSize::Small, COPY_BYTES + 3 * 4096),
        (PageSize::Large, 4 << 20),
    ] {
        let before = State::now()?;
        let place = Place::with("meadow", BASE, size, page_size)?;
        let words = || (BASE..BASE + size).step_by(4096 - 8);
        visit(&place.vas, || {
            words().for_each(|address| store(address, address * 3));
            Ok(())
        })?;
        let clone = client_lib::seg_clone(&place.segment, "copy", EVERYONE)?;
        check_equal("size", clone.size(), size)?;
        check_equal("page size", clone.page_size(), page_size)?;
        let other = client_lib::vas_create("other", EVERYONE)?;
        client_lib::seg_attach(&other, &clone, Access::ReadWrite)?;
        visit(&other, || {
            for address in words() {
                check_equal("copied word", load(address), address * 3)?;
                store(address, 1);
            }
            Ok(())
        })?;
        visit(&place.vas, || {
            words().try_for_each(|address| check_equal("word", load(address), address * 3))
        })?;
        client_lib::vas_delete(&other)?;
        client_lib::seg_free(&clone)?;
        place.remove()?;
        unchanged(&before, &State::now()?)?;
    }
    Ok(())
}

fn a_clone_that_is_refused_leaves_nothing_behind() -> Outcome {
    let place = Place::new("meadow")?;
    refused(Error::NameExists, || {
        client_lib::vas_clone(&place.vas, "meadow", EVERYONE, Access::ReadWrite)
    })?;
    refused(Error::NameExists, || {
        client_lib::seg_clone(&place.segment, "meadow", EVERYONE)
    })?;
    let blind = client_lib::seg_restrict(&place.segment, Rights::WRITE)?;
    let needs = Rights::READ;
    refused(Error::PermissionDenied { needs }, || {
        client_lib::seg_clone(&blind, "copy", EVERYONE)
    })?;
    Ok(place.remove()?)
}

fn row_15_a_handle_passed_to_another_process_allows_what_it_was_restricted_to() -> Outcome {
    let place = Place::new("meadow")?;
    client_lib::vas_ctl(&place.vas, Command::Mode(OWNER))?;
    visit(&place.vas, || {
        store(BASE, 31);
        Ok(())
    })?;
    let reading = Rights::READ | Rights::ATTACH;
    let weaker = client_lib::vas_restrict(&place.vas, reading)?;
    let process = fixture::start(actor::OTHER, &format!("use-passed-vas {BASE} 31"))?;
    handover()?.send_vas(&weaker);
    let denied = Err(Error::PermissionDenied {
        needs: Access::ReadWrite.needs(),
    });
    fixture::ends_with(
        process,
        protocol::process::ExitStatus::Exited(common::verdict::of(denied)),
    )?;
    refused(
        Error::PermissionDenied {
            needs: Rights::WRITE | Rights::GRANT,
        },
        || client_lib::vas_restrict(&weaker, Rights::WRITE),
    )?;
    Ok(place.remove()?)
}

/// Passes a handle to another process, which finds it gone after it was revoked.
fn revoked_when_passed(handle: &Vas, revoke: impl FnOnce() -> Result<(), Error>) -> Outcome {
    let place = Place::new("meadow")?;
    let process = fixture::start(actor::OTHER, &format!("keep-passed-vas meadow {BASE}"))?;
    handover()?.send_vas(handle);
    let attachment = attach(&place.vas)?;
    inside(&attachment, || common::segment_memory::wait_for(BASE, 1))?;
    revoke()?;
    inside(&attachment, || {
        store(BASE, 2);
        Ok(())
    })?;
    detach(attachment)?;
    let stale = Err(Error::StaleHandle { position: 0 });
    fixture::ends_with(
        process,
        protocol::process::ExitStatus::Exited(common::verdict::of(stale)),
    )?;
    Ok(place.remove()?)
}

fn a_handle_that_was_passed_on_is_revoked_like_any_other() -> Outcome {
    let secret = client_lib::vas_create("secret", OWNER)?;
    revoked_when_passed(&secret, || {
        client_lib::vas_ctl(&secret, Command::RevokeHandles)
    })?;
    client_lib::vas_delete(&client_lib::vas_find("secret")?)?;
    Ok(())
}

fn a_handle_that_was_passed_on_is_revoked_alone() -> Outcome {
    let secret = client_lib::vas_create("secret", OWNER)?;
    let reading = Access::ReadOnly.needs();
    let (passed, number) = client_lib::vas_restrict_revocable(&secret, reading)?;
    let (other, _) = client_lib::vas_restrict_revocable(&secret, reading)?;
    revoked_when_passed(&passed, || {
        client_lib::vas_ctl(&secret, Command::RevokeHandle(number))
    })?;
    refused(Error::StaleHandle { position: 0 }, || {
        client_lib::vas_stat(&passed)
    })?;
    client_lib::vas_stat(&other)?;
    client_lib::vas_delete(&secret)?;
    Ok(())
}

fn what_is_passed_as_a_handle_and_is_none_is_refused() -> Outcome {
    let place = Place::new("meadow")?;
    let process = fixture::start(actor::OTHER, &format!("use-passed-vas {BASE} 0"))?;
    handover()?.send_segment(&place.segment);
    let wrong = Error::WrongKind {
        position: 0,
        expected: protocol::Kind::Vas,
        found: protocol::Kind::Segment,
    };
    fixture::ends_with(
        process,
        protocol::process::ExitStatus::Exited(common::verdict::of(Err(wrong))),
    )?;
    check(
        SIZE <= place.segment.size(),
        "a segment that was passed on shrank",
    )?;
    Ok(place.remove()?)
}
