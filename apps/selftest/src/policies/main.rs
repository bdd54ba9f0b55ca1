// SPDX-License-Identifier: MIT OR Apache-2.0

//! What policies of the VAS server do that `selftest` does not run with: those of the system
//! description `policies`.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use core::fmt::Debug;

use client_lib::{Access, Base, Command, Error, Lifetime, Mode, PageSize, VasCommand};
use common::calls::tables_of;
use common::failure::check_equal;
use common::{Failure, Outcome, verdict};
use protocol::address_map::{LOCAL, SLOT_BYTES};
use protocol::message::LockMode;
use protocol::process::ExitStatus;
use runtime::process;

runtime::heap!(64 << 10);
runtime::main!(main);

/// All may read and write.
const EVERYONE: Mode = Mode(0o666);
/// The user to whom nothing is promised.
const STRANGER: u32 = 2000;
/// A boundary between root-table slots.
const BOUNDARY: u64 = 2 * SLOT_BYTES;

/// A test, and its name.
type Test = (&'static str, fn() -> Outcome);

macro_rules! tests {
    ($($function:ident),* $(,)?) => {
        const TESTS: &[Test] = &[$((stringify!($function), $function)),*];
    };
}

tests! {
    the_policies_of_the_description_are_in_force,
    row_29_pages_are_the_largest_that_fit,
    row_32_aligned_8_kib_take_4_tables_wherever_they_are_asked_for,
    segments_without_a_base_lie_side_by_side,
    a_clone_that_would_lie_elsewhere_is_refused,
    row_33_attachments_of_a_vas_should_have_tags_unless_vas_ctl_declines,
    a_new_vas_has_the_lock_mode_of_the_policy,
    what_is_made_dies_with_its_creator_unless_ctl_says_otherwise,
    who_is_promised_nothing_makes_nothing,
}

fn main() -> i32 {
    let info = runtime::start_info();
    match info.arguments.as_str() {
        "" => run_all(),
        "make" => told(make()),
        "try" => told(try_everything()),
        other => {
            runtime::println!("policies: arguments not understood: {other}");
            verdict::CONFUSED
        }
    }
}

fn run_all() -> i32 {
    let mut failed = 0;
    for (name, test) in TESTS {
        match test() {
            Ok(()) => runtime::println!("test {name} ... ok"),
            Err(failure) => {
                runtime::println!("test {name} ... FAILED: {failure}");
                failed += 1;
            }
        }
    }
    failed
}

/// What another process tells of itself.
fn told(outcome: Outcome) -> i32 {
    match outcome {
        Ok(()) => verdict::DONE,
        Err(failure) => {
            runtime::println!("policies: {failure}");
            verdict::CONFUSED
        }
    }
}

#[track_caller]
fn run(component: &str) -> Outcome {
    let status = process::wait(process::spawn(component, "")?)?;
    check_equal(component, status, ExitStatus::Exited(verdict::DONE))
}

/// Fails unless this is refused with this error and nothing has changed.
#[track_caller]
fn refused<T: Debug>(error: Error, operation: impl FnOnce() -> Result<T, Error>) -> Outcome {
    let before = client_lib::settle()?;
    let found = match operation() {
        Ok(done) => return Err(Failure::new(format!("not refused: {done:?}"))),
        Err(found) => found,
    };
    check_equal("error", found, error)?;
    check_equal("statistics", client_lib::settle()?, before)
}

fn the_policies_of_the_description_are_in_force() -> Outcome {
    let told = client_lib::settle()?;
    for (told, chosen) in [
        (told.page_size, "largest-fit"),
        (told.placement, "slot-aligned"),
        (told.locks, "none"),
        (told.tlb_tags, "per-attachment"),
        (told.admission, "promised-only"),
        (told.lifetime, "creator"),
    ] {
        check_equal("policy", told.as_str(), chosen)?;
    }
    Ok(())
}

fn row_29_pages_are_the_largest_that_fit() -> Outcome {
    let large = PageSize::Large.bytes();
    for (base, size, page_size) in [
        (Base::At(SLOT_BYTES), large, PageSize::Large),
        (Base::At(SLOT_BYTES + 4096), large, PageSize::Small),
        (Base::ForVases, large, PageSize::Large),
        (Base::ForVases, 4096, PageSize::Small),
    ] {
        let segment = client_lib::seg_alloc("pages", base, size, None, EVERYONE)?;
        check_equal("page size", segment.page_size(), page_size)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn row_32_aligned_8_kib_take_4_tables_wherever_they_are_asked_for() -> Outcome {
    let vas = client_lib::vas_create("tables", EVERYONE)?;
    for (asked, base) in [
        (BOUNDARY - 4096, BOUNDARY),
        (BOUNDARY - 8192, BOUNDARY - 8192),
        (BOUNDARY, BOUNDARY),
    ] {
        let segment = client_lib::seg_alloc("tables", asked, 8192, None, EVERYONE)?;
        check_equal("base", segment.base(), base)?;
        check_equal("page tables", tables_of(&vas, &segment)?, 4)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(client_lib::vas_delete(&vas)?)
}

fn segments_without_a_base_lie_side_by_side() -> Outcome {
    let size = 4096;
    let alloc = |name, base| client_lib::seg_alloc(name, base, size, None, EVERYONE);
    let first = alloc("first", Base::ForVases)?;
    let second = alloc("second", Base::ForVases)?;
    let local = alloc("local", Base::ForAttachments)?;
    check_equal("base", first.base(), SLOT_BYTES)?;
    check_equal("base", second.base(), SLOT_BYTES + size)?;
    check_equal("base", local.base(), LOCAL.start)?;
    let vas = client_lib::vas_create("neighbours", EVERYONE)?;
    for segment in [&first, &second] {
        client_lib::seg_attach(&vas, segment, Access::ReadWrite)?;
    }
    client_lib::vas_delete(&vas)?;
    for segment in [first, second, local] {
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn a_clone_that_would_lie_elsewhere_is_refused() -> Outcome {
    let base = BOUNDARY - 4096;
    let mut segment = client_lib::seg_alloc("original", base, 4096, None, EVERYONE)?;
    let clone = client_lib::seg_clone(&segment, "clone", EVERYONE)?;
    check_equal("base", clone.base(), base)?;
    let lifetime = client_lib::seg_stat(&clone)?.object.lifetime;
    check_equal("lifetime", lifetime, Lifetime::Creator)?;
    client_lib::seg_free(&clone)?;
    // Growing moves nothing.
    client_lib::seg_grow(&mut segment, 8192)?;
    check_equal("base", client_lib::seg_stat(&segment)?.base, base)?;
    refused(Error::Moved { base: BOUNDARY }, || {
        client_lib::seg_clone(&segment, "clone", EVERYONE).map(|_| ())
    })?;
    Ok(client_lib::seg_free(&segment)?)
}

fn row_33_attachments_of_a_vas_should_have_tags_unless_vas_ctl_declines() -> Outcome {
    let vas = client_lib::vas_create("tags", EVERYONE)?;
    check_equal("tags", client_lib::vas_stat(&vas)?.tlb_tag, true)?;
    for wanted in [false, true] {
        client_lib::vas_ctl(&vas, VasCommand::TlbTag(wanted))?;
        check_equal("tags", client_lib::vas_stat(&vas)?.tlb_tag, wanted)?;
    }
    Ok(client_lib::vas_delete(&vas)?)
}

fn a_new_vas_has_the_lock_mode_of_the_policy() -> Outcome {
    let vas = client_lib::vas_create("locks", EVERYONE)?;
    let told = client_lib::vas_stat(&vas)?.lock_mode;
    check_equal("lock mode", told, LockMode::None)?;
    Ok(client_lib::vas_delete(&vas)?)
}

fn what_is_made_dies_with_its_creator_unless_ctl_says_otherwise() -> Outcome {
    run("maker")?;
    let vas = found(client_lib::vas_find("vas goes"));
    check_equal("VAS", vas, Err(Error::NotFound))?;
    let segment = found(client_lib::seg_find("segment goes"));
    check_equal("segment", segment, Err(Error::NotFound))?;
    client_lib::vas_delete(&client_lib::vas_find("vas stays")?)?;
    Ok(client_lib::seg_free(&client_lib::seg_find(
        "segment stays",
    )?)?)
}

fn found<T>(answer: Result<T, Error>) -> Result<(), Error> {
    answer.map(|_| ())
}

/// What the maker does.
fn make() -> Outcome {
    client_lib::vas_create("vas goes", EVERYONE)?;
    client_lib::seg_alloc("segment goes", SLOT_BYTES, 1, None, EVERYONE)?;
    let persistent = Command::Lifetime(Lifetime::Persistent);
    let vas = client_lib::vas_create("vas stays", EVERYONE)?;
    client_lib::vas_ctl(&vas, persistent.clone())?;
    let segment = client_lib::seg_alloc("segment stays", SLOT_BYTES, 1, None, EVERYONE)?;
    Ok(client_lib::seg_ctl(&segment, persistent)?)
}

fn who_is_promised_nothing_makes_nothing() -> Outcome {
    let vas = client_lib::vas_create("common", EVERYONE)?;
    // All rights are of no help.
    let (user, group) = (STRANGER, None);
    client_lib::vas_ctl(&vas, Command::Owner { user, group })?;
    run("stranger")?;
    Ok(client_lib::vas_delete(&vas)?)
}

/// What the stranger does.
fn try_everything() -> Outcome {
    let vas = client_lib::vas_find("common")?;
    check_equal("segments", client_lib::vas_stat(&vas)?.segments, 0)?;
    let not_admitted = || Error::NotAdmitted;
    refused(not_admitted(), || {
        found(client_lib::vas_create("own", EVERYONE))
    })?;
    refused(not_admitted(), || {
        found(client_lib::seg_alloc("own", SLOT_BYTES, 1, None, EVERYONE))
    })?;
    refused(not_admitted(), || {
        found(client_lib::vas_clone(
            &vas,
            "own",
            EVERYONE,
            Access::ReadOnly,
        ))
    })?;
    refused(not_admitted(), || {
        found(client_lib::vas_attach(&vas, Access::ReadOnly))
    })
}
