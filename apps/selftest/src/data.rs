// SPDX-License-Identifier: MIT OR Apache-2.0

//! VASes with data of known types: who finds what, who is let in, what is refused.

use alloc::format;

use client_lib::raw::{NotHere, free, malloc};
use client_lib::{
    Access, DataError, DataVas, Error, LockMode, Mode, Rights, SegmentOptions, VasCommand, raw,
    vas_ctl,
};
use common::data::{self, Notes, OPTIONS, none};
use common::failure::{check, check_equal};
use common::{Failure, Outcome, verdict};
use protocol::address_map::{PRIVATE, SLOT_BYTES};
use protocol::process::ExitStatus;
use runtime::process;
use storage::{HeapError, LEAST_BYTES, Shape, VasBox, VasVec};

use crate::fixture::{self, actor};
use crate::harness::tests;

tests! {
    data_outlive_the_process_that_has_stored_them,
    one_process_goes_on_where_another_has_stopped,
    data_are_read_by_who_may_not_write_them,
    who_may_not_find_the_vas_does_not_get_its_data,
    a_root_of_another_type_is_refused,
    a_vas_without_a_heap_has_no_data,
    a_vas_whose_making_fails_leaves_nothing,
    of_several_that_make_the_same_vas_one_does,
    a_heap_grows_with_its_segment_for_all,
    a_heap_that_may_not_grow_says_so,
    who_writes_is_alone,
    who_returns_early_has_given_the_lock_back,
    data_are_refused_after_a_process_ended_while_it_wrote,
    data_that_were_inconsistent_are_rebuilt_or_repaired,
    who_rebuilds_after_another_did_discards_nothing,
    without_locks_data_are_refused,
    a_thread_in_a_vas_enters_another_only_from_there,
    row_1_the_same_address_has_other_data_in_each_vas,
    allocating_through_what_may_only_be_read_is_a_fault,
    row_23_malloc_takes_memory_of_the_active_vas_and_free_gives_it_back_only_there,
    a_vas_that_may_only_be_read_has_scratch_memory,
    malloc_in_data_of_a_known_type_uses_their_heap,
}

fn data_outlive_the_process_that_has_stored_them() -> Outcome {
    fixture::succeeds(actor::OWNER, "create-notes notes 100")?;
    let data = data::find("notes")?;
    let reader = data.reader()?;
    let numbers = reader.enter(|inside| {
        let notes = inside.root();
        (notes.numbers.len(), notes.chain().sum::<u64>())
    })?;
    check_equal("numbers", numbers, (100, 4950))?;
    drop(reader);
    Ok(data.delete()?)
}

fn one_process_goes_on_where_another_has_stopped() -> Outcome {
    let data = data::create("notes")?;
    for _ in 0..3 {
        fixture::succeeds(actor::OWNER, "add-notes notes 50")?;
    }
    let writer = data.writer()?;
    let (before, after) = writer.enter(|mut inside| {
        let before = inside.here().statistics();
        let empty = none(inside.heap());
        drop(core::mem::replace(inside.root_mut(), empty));
        (before, inside.here().statistics())
    })?;
    // The root, the vector and the links are there; in the end the root alone.
    check_equal("allocations", before.allocations, 1 + 1 + 150)?;
    check_equal("allocations", after.allocations, 1)?;
    drop(writer);
    Ok(data.delete()?)
}

fn data_are_read_by_who_may_not_write_them() -> Outcome {
    let options = SegmentOptions {
        mode: Mode(0o640),
        ..OPTIONS
    };
    let data = DataVas::<Notes>::create("notes", options, none)?;
    fixture::succeeds(actor::OWNER, "add-notes notes 20")?;
    fixture::succeeds(actor::GROUP, "read-notes notes 20")?;
    let refused = verdict::of(Err(Error::PermissionDenied {
        needs: Rights::READ | Rights::WRITE | Rights::ATTACH,
    }));
    fixture::expect(
        actor::GROUP,
        "attach-vas notes read-write",
        ExitStatus::Exited(refused),
    )?;
    Ok(data.delete()?)
}

fn who_may_not_find_the_vas_does_not_get_its_data() -> Outcome {
    let options = SegmentOptions {
        mode: Mode(0o600),
        ..OPTIONS
    };
    let data = DataVas::<Notes>::create("notes", options, none)?;
    fixture::expect(
        actor::OTHER,
        "read-notes notes 0",
        ExitStatus::Exited(verdict::CONFUSED),
    )?;
    let answer = DataVas::<Notes>::find("note").map(|_| ());
    check_equal("answer", answer, Err(DataError::Service(Error::NotFound)))?;
    Ok(data.delete()?)
}

fn a_root_of_another_type_is_refused() -> Outcome {
    let data = data::create("notes")?;
    let other = DataVas::<VasVec<'_, u32>>::find("notes")?;
    let expected = Shape::of::<VasVec<'_, u32>>();
    let found = Shape::of::<Notes>();
    let refused = Err(DataError::Heap(HeapError::OtherRoot { expected, found }));
    check_equal("reading", other.reader()?.enter(|_| ()), refused.clone())?;
    let writer = other.writer()?;
    check_equal("writing", writer.enter(|_| ()), refused)?;
    // Who wants the VAS for other data can have it.
    writer.rebuild(|heap| VasVec::new_in(heap))?;
    check_equal("numbers", writer.enter(|inside| inside.root().len()), Ok(0))?;
    let answer = data.reader()?.enter(|_| ());
    let (expected, found) = (found, expected);
    let refused = Err(DataError::Heap(HeapError::OtherRoot { expected, found }));
    check_equal("the first type", answer, refused)?;
    drop(writer);
    Ok(data.delete()?)
}

fn a_vas_without_a_heap_has_no_data() -> Outcome {
    let place = fixture::Place::new("plain")?;
    let answer = data::find("plain").map(|_| ());
    let none = Err(DataError::Heap(HeapError::NoHeap));
    check_equal("answer", answer, none.clone())?;
    // A root that some process has set at random.
    for address in [0, 4096, fixture::BASE + 8, u64::MAX] {
        client_lib::vas_set_root(&place.vas, "heap", Some(address))?;
        let answer = data::find("plain").map(|_| ());
        check_equal("answer", answer, none.clone())?;
    }
    Ok(place.remove()?)
}

fn a_vas_whose_making_fails_leaves_nothing() -> Outcome {
    let data = data::create("notes")?;
    let answer = data::create("notes").map(|_| ());
    let exists = Err(DataError::Service(Error::NameExists));
    check_equal("the same name", answer, exists.clone())?;
    data.delete()?;

    let segment = fixture::segment("notes", fixture::BASE)?;
    let answer = data::create("notes").map(|_| ());
    check_equal("the segment's name", answer, exists)?;
    client_lib::seg_free(&segment)?;

    let options = SegmentOptions {
        bytes: 4096,
        ..OPTIONS
    };
    let answer = DataVas::<u64>::create("notes", options, |_| 0).map(|_| ());
    let small = Err(DataError::Heap(HeapError::TooSmall));
    check_equal("too small a segment", answer, small)?;
    let answer = client_lib::vas_find("notes").map(|_| ());
    check_equal("the VAS", answer, Err(Error::NotFound))?;
    let answer = client_lib::seg_find("notes").map(|_| ());
    check_equal("the segment", answer, Err(Error::NotFound))
}

fn of_several_that_make_the_same_vas_one_does() -> Outcome {
    let mut actors = alloc::vec::Vec::new();
    for _ in 0..6 {
        actors.push(fixture::start(actor::OWNER, "find-or-create-notes notes")?);
    }
    for actor in actors {
        fixture::ends_with(actor, ExitStatus::Exited(verdict::DONE))?;
    }
    let data = data::find("notes")?;
    let count = data
        .reader()?
        .enter(|inside| inside.root().chain().count())?;
    check_equal("notes", count, 6)?;
    Ok(data.delete()?)
}

fn a_heap_grows_with_its_segment_for_all() -> Outcome {
    const COUNT: u64 = 10_000;
    // For its root as well.
    let large = DataVas::<[u64; 4096]>::create("large", OPTIONS, |_| [7; 4096])?;
    let last = large.reader()?.enter(|inside| inside.root()[4095])?;
    check_equal("the last number", last, 7)?;
    large.delete()?;
    let data = data::create("notes")?;
    let reader = data.reader()?;
    check_equal(
        "numbers",
        reader.enter(|inside| inside.root().numbers.len()),
        Ok(0),
    )?;
    fixture::succeeds(actor::OWNER, &format!("add-notes notes {COUNT}"))?;
    let bytes = reader.enter(|inside| inside.here().statistics().bytes)?;
    check(bytes > 20 * LEAST_BYTES, "the heap has not grown")?;
    let segment = client_lib::seg_find("notes")?;
    check_equal("bytes of the segment", segment.size(), bytes as u64)?;
    fixture::succeeds(actor::GROUP, &format!("read-notes notes {COUNT}"))?;
    drop(reader);
    Ok(data.delete()?)
}

fn a_heap_that_may_not_grow_says_so() -> Outcome {
    let base = fixture::BASE;
    let options = SegmentOptions {
        base: base.into(),
        ..OPTIONS
    };
    let data = DataVas::<Notes>::create("notes", options, none)?;
    let behind = fixture::segment("behind", base + LEAST_BYTES as u64)?;
    client_lib::seg_attach(data.vas(), &behind, Access::ReadWrite)?;
    let writer = data.writer()?;
    let (refused, kept) = writer.enter(|mut inside| {
        let heap = inside.heap();
        inside.root_mut().add(1, heap);
        let refused = VasBox::try_new_in([0u8; LEAST_BYTES], heap).is_err();
        (refused, inside.root().chain().count())
    })?;
    check(refused, "more was allocated than there is room for")?;
    check_equal("notes", kept, 1)?;
    drop(writer);
    client_lib::seg_detach(data.vas(), &behind)?;
    client_lib::seg_free(&behind)?;
    Ok(data.delete()?)
}

fn who_writes_is_alone() -> Outcome {
    let data = data::create("notes")?;
    let writer = data.writer()?;
    writer.enter(|mut inside| inside.root_mut().numbers.push(0))?;
    let mut actors = alloc::vec::Vec::new();
    for _ in 0..3 {
        actors.push(fixture::start(actor::OWNER, "count-notes notes 200")?);
    }
    for actor in actors {
        fixture::ends_with(actor, ExitStatus::Exited(verdict::DONE))?;
    }
    let counted = writer.enter(|inside| inside.root().numbers[0])?;
    check_equal("counted", counted, 600)?;
    drop(writer);
    Ok(data.delete()?)
}

fn who_returns_early_has_given_the_lock_back() -> Outcome {
    let data = data::create("notes")?;
    let writer = data.writer()?;
    let returned = writer.enter(|mut inside| -> Result<(), Failure> {
        inside.root_mut().numbers.push(1);
        Err(Failure::new("early"))
    })?;
    check(returned.is_err(), "not returned early")?;
    let attachments = client_lib::vas_attachments(data.vas(), None)?.count();
    check_equal("attachments", attachments, 1)?;
    let reader = data.reader()?;
    let locked = writer.enter(|_| {
        fixture::expect(
            actor::OWNER,
            "try-switch notes read-only",
            ExitStatus::Exited(verdict::of(Err(Error::Locked))),
        )
    })?;
    locked?;
    check_equal(
        "reading",
        reader.try_enter(|inside| inside.root().numbers.len()),
        Ok(1),
    )?;
    drop((reader, writer));
    Ok(data.delete()?)
}

fn data_are_refused_after_a_process_ended_while_it_wrote() -> Outcome {
    let ends = [
        ("panic", ExitStatus::Panicked),
        ("exit", ExitStatus::Exited(0)),
        ("wait", ExitStatus::Killed),
    ];
    for (how, status) in ends {
        let data = data::create("notes")?;
        let reader = data.reader()?;
        let id = fixture::start(actor::OWNER, &format!("die-in-notes notes {how}"))?;
        if status == ExitStatus::Killed {
            // It is inside as soon as nobody else can be.
            while reader.try_enter(|_| ()).is_ok() {
                sel4::yield_now();
            }
            process::kill(id)?;
        }
        fixture::ends_with(id, status)?;
        let inconsistent = Err(DataError::Inconsistent);
        check_equal("reading", reader.enter(|_| ()), inconsistent.clone())?;
        check_equal(
            "writing",
            data.writer()?.enter(|_| ()),
            inconsistent.clone(),
        )?;
        check_equal("reading again", reader.enter(|_| ()), inconsistent)?;
        drop(reader);
        data.delete()?;
    }
    Ok(())
}

fn data_that_were_inconsistent_are_rebuilt_or_repaired() -> Outcome {
    let data = data::create("notes")?;
    let writer = data.writer()?;
    fixture::succeeds(actor::OWNER, "add-notes notes 10")?;
    fixture::expect(
        actor::OWNER,
        "die-in-notes notes panic",
        ExitStatus::Panicked,
    )?;
    let repair = |mut inside: storage::Inside<'_, Notes, storage::Writing>| {
        inside.root_mut().numbers.push(7);
        inside.root().chain().count()
    };
    // SAFETY: the actor has cleared the vector and nothing else.
    let chain = unsafe { writer.repair(repair) }?;
    check_equal("chain", chain, 10)?;
    let numbers = writer.enter(|inside| inside.root().numbers.len())?;
    check_equal("numbers", numbers, 1)?;

    fixture::expect(
        actor::OWNER,
        "die-in-notes notes panic",
        ExitStatus::Panicked,
    )?;
    writer.rebuild(none)?;
    let numbers = data
        .reader()?
        .enter(|inside| inside.root().chain().count())?;
    check_equal("chain", numbers, 0)?;
    drop(writer);
    Ok(data.delete()?)
}

fn who_rebuilds_after_another_did_discards_nothing() -> Outcome {
    let data = data::create("notes")?;
    fixture::expect(
        actor::OWNER,
        "die-in-notes notes panic",
        ExitStatus::Panicked,
    )?;
    let writer = data.writer()?;
    // As if both had been told so before one rebuilds.
    let inconsistent = writer.enter(|_| ());
    check_equal("writing", inconsistent, Err(DataError::Inconsistent))?;
    check_equal("rebuilt", writer.rebuild_inconsistent(none)?, true)?;
    fixture::succeeds(actor::OWNER, "add-notes notes 10")?;
    check_equal("rebuilt again", writer.rebuild_inconsistent(none)?, false)?;
    let numbers = writer.enter(|inside| inside.root().chain().count())?;
    check_equal("chain", numbers, 10)?;
    drop(writer);
    Ok(data.delete()?)
}

fn without_locks_data_are_refused() -> Outcome {
    let data = data::create("notes")?;
    vas_ctl(data.vas(), VasCommand::LockMode(LockMode::None))?;
    let refused = Some(DataError::NotLocked);
    check_equal("reading", data.reader().err(), refused.clone())?;
    check_equal("writing", data.writer().err(), refused)?;
    vas_ctl(data.vas(), VasCommand::LockMode(LockMode::Enforced))?;
    fixture::succeeds(actor::OWNER, "add-notes notes 10")?;
    fixture::succeeds(actor::GROUP, "read-notes notes 10")?;
    Ok(data.delete()?)
}

fn a_thread_in_a_vas_enters_another_only_from_there() -> Outcome {
    let (one, other) = (data::create("one")?, data::create("other")?);
    let (writer, reader) = (one.writer()?, other.reader()?);
    fixture::succeeds(actor::OWNER, "add-notes other 5")?;
    let (refused, there, here) = writer.enter(|mut inside| {
        let refused = reader.enter(|_| ());
        let there = reader.enter_from(&mut inside, |inside| inside.root().chain().sum::<u64>());
        let heap = inside.heap();
        inside.root_mut().add(3, heap);
        (refused, there, inside.root().chain().sum::<u64>())
    })?;
    check_equal("entering", refused, Err(DataError::Nested))?;
    check_equal("there", there, Ok(10))?;
    check_equal("here", here, 3)?;
    // While a thread visits, others may be where it came from.
    let waited = writer.enter(|mut inside| {
        reader.enter_from(&mut inside, |_| {
            fixture::succeeds(actor::OWNER, "add-notes one 4").is_ok()
        })
    })?;
    check_equal("another was let in", waited, Ok(true))?;
    let sum = writer.enter(|inside| inside.root().chain().sum::<u64>())?;
    check_equal("here", sum, 3 + 6)?;
    drop((writer, reader));
    one.delete()?;
    Ok(other.delete()?)
}

fn row_1_the_same_address_has_other_data_in_each_vas() -> Outcome {
    const VASES: u64 = 4;
    let mut vases = alloc::vec::Vec::new();
    for index in 0..VASES {
        let options = SegmentOptions {
            base: SLOT_BYTES.into(),
            ..OPTIONS
        };
        let name = format!("notes{index}");
        let data = DataVas::<u64>::create(&name, options, |_| index)?;
        vases.push((data.writer()?, data));
    }
    let mut addresses = alloc::vec::Vec::new();
    for (index, (writer, _)) in vases.iter().enumerate() {
        let (value, address) =
            writer.enter(|inside| (*inside.root(), core::ptr::from_ref(inside.root()).addr()))?;
        check_equal("value", value, index as u64)?;
        addresses.push(address);
    }
    check(
        addresses.iter().all(|&address| address == addresses[0]),
        "the values lie at different addresses",
    )?;
    for (writer, data) in vases {
        drop(writer);
        data.delete()?;
    }
    Ok(())
}

fn allocating_through_what_may_only_be_read_is_a_fault() -> Outcome {
    fixture::succeeds(actor::OWNER, "create-notes notes 10")?;
    let process = fixture::start(actor::OWNER, "write-notes-read-only notes")?;
    fixture::faults_with(process, "VAS notes active, segment notes: read-only")?;
    let data = data::find("notes")?;
    fixture::succeeds(actor::OWNER, "read-notes notes 10")?;
    Ok(data.delete()?)
}

fn is_private(memory: *mut u8) -> bool {
    PRIVATE.contains(&(memory.addr() as u64))
}

fn row_23_malloc_takes_memory_of_the_active_vas_and_free_gives_it_back_only_there() -> Outcome {
    let own = malloc(100);
    check(!own.is_null() && is_private(own), "not the process's own")?;
    let mut spaces = alloc::vec::Vec::new();
    for (index, name) in ["one", "other"].into_iter().enumerate() {
        let base = SLOT_BYTES * (1 + index as u64);
        let vid = raw::vas_create(name, 0o600)?;
        let sid = raw::seg_alloc(name, base, 16 * 4096, 0o600)?;
        raw::seg_attach(vid, sid)?;
        let vh = raw::vas_attach(vid)?;
        raw::vas_switch(vh)?;
        let memory = malloc(1000);
        check(memory.addr().is_multiple_of(16), "not aligned")?;
        let place = memory.addr() as u64;
        check(
            (base..base + 16 * 4096).contains(&place),
            "not in the VAS's segment",
        )?;
        check(malloc(1 << 40).is_null(), "more than there is")?;
        check(malloc(usize::MAX).is_null(), "more than there can be")?;
        spaces.push((vid, sid, vh, memory));
    }
    let [(_, _, one, in_one), (_, _, other, in_other)] = *spaces else {
        return Err(Failure::new("two"));
    };
    let not_here = |memory: *mut u8| {
        Err(NotHere {
            address: memory.addr(),
        })
    };
    // SAFETY: refused, or from `malloc` and not used afterwards.
    unsafe {
        check_equal("in the other VAS", free(in_one), not_here(in_one))?;
        raw::vas_switch(one)?;
        check_equal("in the first VAS", free(in_other), not_here(in_other))?;
        check_equal("where it is", free(in_one), Ok(()))?;
        check_equal("used again", malloc(1000), in_one)?;
        check_equal("its own", free(own), Ok(()))?;
        raw::vas_switch(raw::VasHandle::OWN)?;
        check_equal("outside", free(in_other), not_here(in_other))?;
        raw::vas_switch(other)?;
        check_equal("where it is", free(in_other), Ok(()))?;
        check_equal("nothing", free(core::ptr::null_mut()), Ok(()))?;
        raw::vas_switch(raw::VasHandle::OWN)?;
    }
    for (vid, sid, vh, _) in spaces {
        raw::vas_detach(vh)?;
        raw::vas_delete(vid)?;
        raw::seg_free(sid)?;
    }
    Ok(())
}

fn a_vas_that_may_only_be_read_has_scratch_memory() -> Outcome {
    let data = data::create("notes")?;
    fixture::succeeds(actor::OWNER, "add-notes notes 30")?;
    // In C's way.
    let reading = client_lib::vas_attach(data.vas(), Access::ReadOnly)?;
    client_lib::vas_switch(reading.space())?;
    let scratch = malloc(100);
    check(!scratch.is_null() && is_private(scratch), "not its own")?;
    // SAFETY: from `malloc`, of this size.
    unsafe {
        scratch.write_bytes(7, 100);
        check_equal("freed", free(scratch), Ok(()))?;
    }
    client_lib::vas_switch(client_lib::Space::OWN)?;
    client_lib::vas_detach(reading).map_err(|(_, error)| error)?;
    // And safely: private collections hold what is read, also references, during the stay.
    let sum = data.reader()?.enter(|inside| {
        let even: alloc::vec::Vec<&u64> = inside
            .root()
            .numbers
            .iter()
            .filter(|number| **number % 2 == 0)
            .collect();
        even.into_iter().sum::<u64>()
    })?;
    check_equal("sum", sum, 210)?;
    Ok(data.delete()?)
}

fn malloc_in_data_of_a_known_type_uses_their_heap() -> Outcome {
    let data = data::create("notes")?;
    let vid = raw::vas_find("notes")?;
    let vh = raw::vas_attach(vid)?;
    raw::vas_switch(vh)?;
    let memory = malloc(1 << 18);
    check(!memory.is_null() && !is_private(memory), "not in the heap")?;
    raw::vas_switch(raw::VasHandle::OWN)?;
    let count = |data: &DataVas<Notes>| {
        data.reader()?
            .enter(|inside| inside.here().statistics().allocations)
    };
    check_equal("allocations", count(&data)?, 2)?;
    raw::vas_switch(vh)?;
    // SAFETY: from `malloc` and not used afterwards.
    let freed = unsafe { free(memory) };
    raw::vas_switch(raw::VasHandle::OWN)?;
    check_equal("freed", freed, Ok(()))?;
    check_equal("allocations", count(&data)?, 1)?;
    raw::vas_detach(vh)?;
    Ok(data.delete()?)
}
