// SPDX-License-Identifier: MIT OR Apache-2.0

//! Rules of safe programming (paper section 3.3) that types cannot show: what stops at run time, and
//! what is told then. The list of all rules is `docs/rules.md`.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use client_lib::{
    Command, DataError, DataVas, Error, PageSize, SegmentOptions, Space, vas_switch, vas_switch_try,
};
use common::calls::inside;
use common::data::{self, OPTIONS};
use common::failure::{check, check_equal};
use common::segment_memory::{store, wait_for};
use common::{Outcome, verdict};
use protocol::address_map::{SLOT_BYTES, START_INFO};
use protocol::process::ExitStatus;
use storage::{CheckedPtr, HeapError, Inside, OutOfVas, Reading, VasPtr, WrongVas};

use crate::fixture::{self, BASE, EVERYONE, Place, actor};
use crate::harness::tests;

tests! {
    row_18_a_pointer_is_refused_in_another_vas_that_has_something_at_its_address,
    row_18_an_address_of_the_common_region_or_of_another_vas_is_no_pointer_of_a_vas,
    row_18_a_pointer_that_is_followed_after_the_stay_faults_outside,
    a_pointer_of_a_reader_that_is_written_through_faults,
    a_thread_does_not_leave_a_stay_but_by_its_end,
    a_vas_is_not_deleted_while_somebody_is_inside,
    a_segment_that_is_detached_while_it_is_used_faults,
    a_heap_that_is_half_changed_is_refused,
    a_visit_does_not_return_to_what_is_gone,
}

fn number(name: &str, base: u64, value: u64) -> Result<DataVas<u64>, DataError> {
    let options = SegmentOptions {
        base: base.into(),
        ..OPTIONS
    };
    DataVas::create(name, options, |_| value)
}

fn row_18_a_pointer_is_refused_in_another_vas_that_has_something_at_its_address() -> Outcome {
    let (one, other) = (number("one", BASE, 1)?, number("other", BASE, 2)?);
    let (in_one, in_other) = (one.reader()?, other.reader()?);
    let point = |inside: Inside<'_, u64, Reading>| {
        let here = inside.here();
        VasPtr::new(inside.root(), here).map(|pointer| CheckedPtr::<u64>::new(pointer, here))
    };
    let follow = |pointer: CheckedPtr<u64>| {
        move |inside: Inside<'_, u64, Reading>| {
            let pointer = pointer.check(inside.here())?;
            // SAFETY: the root is alive, and nobody writes.
            Ok::<u64, WrongVas>(unsafe { *pointer.as_ref() })
        }
    };
    let (to_one, to_other) = (in_one.enter(point)??, in_other.enter(point)??);
    check_equal("in its VAS", in_one.enter(follow(to_one))?, Ok(1))?;
    check_equal("in its VAS", in_other.enter(follow(to_other))?, Ok(2))?;

    let refused = in_other.enter(follow(to_one))?;
    let mirrored = in_one.enter(follow(to_other))?;
    let (Err(refused), Err(mirrored)) = (refused, mirrored) else {
        return Err(common::Failure::new("followed in the other VAS"));
    };
    let WrongVas {
        address,
        expected,
        found,
    } = refused;
    check(expected != found, "both VASes have the same tag")?;
    let exchanged = WrongVas {
        address,
        expected: found,
        found: expected,
    };
    check_equal("the other way round", mirrored, exchanged)?;
    let told = format!(
        "{address:#x} is an address of the VAS with tag {expected:#x}, \
         but the active one has tag {found:#x}"
    );
    check_equal("what is told", refused.to_string(), told)?;
    // Without the check it would be taken for what lies there.
    let unchecked = in_other.enter(|inside| {
        // SAFETY: the root of this VAS has the same address, is alive, and nobody writes.
        unsafe { VasPtr::vcast(address, inside.here()).map(|pointer| *pointer.as_ref()) }
    })?;
    check_equal("unchecked", unchecked, Ok(2u64))?;
    drop((in_one, in_other));
    one.delete()?;
    Ok(other.delete()?)
}

static GLOBAL_VALUE: u64 = 3;

fn row_18_an_address_of_the_common_region_or_of_another_vas_is_no_pointer_of_a_vas() -> Outcome {
    let (one, other) = (number("one", BASE, 1)?, number("other", 2 * SLOT_BYTES, 2)?);
    let elsewhere = other
        .reader()?
        .enter(|inside| core::ptr::from_ref(inside.root()).addr())?;
    let reader = one.reader()?;
    let (on_the_stack, on_the_heap) = (1u64, Box::new(2u64));
    let values = [&on_the_stack, &*on_the_heap, &GLOBAL_VALUE];
    for value in values {
        let address = core::ptr::from_ref(value).addr();
        let refused = reader.enter(|inside| VasPtr::new(value, inside.here()).err())?;
        check_equal("a reference", refused, Some(OutOfVas { address }))?;
        let told = OutOfVas { address }.to_string();
        let expected = format!("{address:#x} is no address in the heap of the VAS");
        check_equal("what is told", told, expected)?;
    }
    let function = number as fn(&str, u64, u64) -> Result<DataVas<u64>, DataError> as usize;
    for address in [0, function, START_INFO as usize, elsewhere] {
        let refused = reader.enter(|inside| {
            // SAFETY: not followed.
            unsafe { VasPtr::<u8>::vcast(address, inside.here()) }.err()
        })?;
        check_equal("an address", refused, Some(OutOfVas { address }))?;
    }
    drop(reader);
    one.delete()?;
    Ok(other.delete()?)
}

fn row_18_a_pointer_that_is_followed_after_the_stay_faults_outside() -> Outcome {
    let data = data::create("notes")?;
    for (attachment, reason) in [
        (
            "kept",
            "no VAS active, segment notes is in VAS notes: the segment is in another VAS",
        ),
        ("dropped", "no VAS active: no segment here"),
    ] {
        let arguments = format!("follow-outside notes {attachment}");
        let process = fixture::start(actor::OTHER, &arguments)?;
        fixture::faults_with(process, reason)?;
    }
    Ok(data.delete()?)
}

fn a_pointer_of_a_reader_that_is_written_through_faults() -> Outcome {
    let data = data::create("notes")?;
    let process = fixture::start(actor::OTHER, "store-as-reader notes")?;
    fixture::faults_with(process, "VAS notes active, segment notes: read-only")?;
    fixture::succeeds(actor::OTHER, "read-notes notes 0")?;
    Ok(data.delete()?)
}

fn a_thread_does_not_leave_a_stay_but_by_its_end() -> Outcome {
    let data = number("one", BASE, 1)?;
    let (place, writer) = (
        Place::with("two", BASE, 4096, PageSize::Small)?,
        data.writer()?,
    );
    let attachment = common::calls::attach(&place.vas)?;
    let (answers, value, here) = writer.enter(|mut inside| {
        let root = inside.root_mut();
        let spaces = [Space::OWN, attachment.space(), Space::current()];
        let answers = spaces.map(|space| [vas_switch(space), vas_switch_try(space)]);
        *root += 1;
        (answers, *root, Space::current())
    })?;
    for answer in answers.into_iter().flatten() {
        check_equal("answer", answer, Err(Error::Inside))?;
    }
    check_equal("value", value, 2)?;
    check_equal("space", Space::current(), Space::OWN)?;
    // The space as it was then is one to switch to, and to leave again.
    vas_switch(here)?;
    vas_switch(Space::OWN)?;
    check_equal("again", writer.enter(|inside| *inside.root()), Ok(2))?;
    drop(writer);
    common::calls::detach(attachment)?;
    place.remove()?;
    Ok(data.delete()?)
}

fn a_vas_is_not_deleted_while_somebody_is_inside() -> Outcome {
    let data = number("one", BASE, 1)?;
    let writer = data.writer()?;
    let (refused, value) = writer.enter(|inside| {
        let root = inside.root();
        (data.delete(), *root)
    })?;
    check_equal("deleting", refused, Err(Error::InUse { attachments: 1 }))?;
    check_equal("value", value, 1)?;
    drop(writer);
    Ok(data.delete()?)
}

fn a_segment_that_is_detached_while_it_is_used_faults() -> Outcome {
    let place = Place::new("gate")?;
    let attachment = common::calls::attach(&place.vas)?;
    let process = fixture::start(actor::OTHER, &format!("hold gate {BASE}"))?;
    inside(&attachment, || wait_for(BASE, 1))?;
    client_lib::seg_detach(&place.vas, &place.segment)?;
    let reason = "VAS gate active, segment gate: the segment was detached";
    fixture::faults_with(process, reason)?;
    common::calls::detach(attachment)?;
    Ok(place.remove()?)
}

fn a_heap_that_is_half_changed_is_refused() -> Outcome {
    let data = data::create("notes")?;
    // The mark of who changes the heap: a process that died then had the lock, so who comes next
    // and says that the data are in order would find it.
    let mark = BASE + 5 * size_of::<u64>() as u64;
    let attachment = common::calls::attach(data.vas())?;
    inside(&attachment, || {
        store(mark, 1);
        Ok(())
    })?;
    common::calls::detach(attachment)?;
    let refused = Err(DataError::Heap(HeapError::HalfChanged));
    check_equal("reading", data.reader()?.enter(|_| ()), refused.clone())?;
    let writer = data.writer()?;
    check_equal("writing", writer.enter(|_| ()), refused)?;
    let told = HeapError::HalfChanged.to_string();
    let expected = "the heap is half changed: who changed it has died";
    check_equal("what is told", &*told, expected)?;
    writer.rebuild(data::none)?;
    check_equal("rebuilt", writer.enter(|_| ()), Ok(()))?;
    drop(writer);
    Ok(data.delete()?)
}

fn a_visit_does_not_return_to_what_is_gone() -> Outcome {
    for evicted in [false, true] {
        let (one, other) = (data::create("one")?, data::create("other")?);
        let (writer, reader) = (one.writer()?, other.reader()?);
        let visitor = fixture::start(actor::OWNER, "visit one other go")?;
        // It is in the other VAS as soon as nobody else can be.
        while reader.try_enter(|_| ()).is_ok() {
            sel4::yield_now();
        }
        if !evicted {
            writer.rebuild(data::none)?;
        }
        drop(writer);
        if evicted {
            client_lib::vas_ctl(one.vas(), Command::Evict)?;
        }
        let go = client_lib::vas_create("go", EVERYONE)?;
        fixture::ends_with(visitor, ExitStatus::Panicked)?;
        check_equal("where it was", reader.enter(|_| ()), Ok(()))?;
        drop(reader);
        other.delete()?;
        // When it found that the data are others, it was back, and had the lock.
        let expected = if evicted {
            Ok(())
        } else {
            Err(DataError::Inconsistent)
        };
        let answer = one.reader()?.enter(|_| ());
        check_equal("where it came from", answer, expected)?;
        one.delete()?;
        client_lib::vas_delete(&go)?;
    }
    // If nothing has changed, it returns.
    let (one, other) = (data::create("one")?, data::create("other")?);
    let go = client_lib::vas_create("go", EVERYONE)?;
    let returned = ExitStatus::Exited(verdict::DONE);
    fixture::expect(actor::OWNER, "visit one other go", returned)?;
    client_lib::vas_delete(&go)?;
    one.delete()?;
    Ok(other.delete()?)
}
