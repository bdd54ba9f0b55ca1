// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads of one process: each in a VAS of its own choice, all in the same private memory.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use client_lib::{
    Access, Attachment, Error, LockMode, Mode, PageSize, Space, vas_switch, vas_switch_try,
};
use common::calls::{attach, detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{fetch_add, load, store, wait_for};
use common::{Failure, Outcome, verdict};
use protocol::address_map::{PAGE_BYTES, SLOT_BYTES, stack_top};
use protocol::process::{ExitStatus, InitError};
use runtime::process;
use runtime::thread::{self, JoinError, JoinHandle, SpawnError};

use crate::fixture::{self, BASE, EVERYONE, Place, SIZE, actor};
use crate::harness::tests;
use crate::locks::{BOARD, DONE, FREE, LOCKED, Room, lockable, others_try};
use crate::state::{State, unchanged};

tests! {
    row_9_threads_of_a_process_are_in_different_vases_at_once_and_share_its_private_memory,
    row_9_processes_and_their_threads_are_in_one_vas_at_once,
    threads_are_started_and_joined_many_times,
    no_more_threads_run_than_the_system_description_gives,
    a_thread_whose_handle_is_dropped_ends_by_itself_and_can_be_used_again,
    a_component_with_one_thread_has_no_other,
    what_does_not_fit_on_a_stack_is_refused,
    a_thread_does_not_wait_for_itself,
    a_thread_that_overflows_its_stack_faults_in_its_own_guard_page,
    a_thread_that_ends_inside_a_vas_ends_its_process,
    a_thread_that_faults_is_reported_with_its_own_attachment,
    a_thread_faults_when_another_detaches_what_it_is_in,
    threads_read_together_through_one_attachment,
    threads_write_in_turn_through_one_attachment,
    a_thread_does_not_join_those_that_read_while_a_writer_waits,
    a_thread_waits_for_locks_that_another_of_its_process_holds,
    a_lock_that_comes_while_a_thread_is_inside_is_not_the_threads_to_give_back,
    requests_of_threads_that_take_many_steps_do_not_disturb_each_other,
    one_thread_at_a_time_waits_for_a_process,
    a_process_that_ends_with_threads_everywhere_leaves_nothing_behind,
}

/// Threads that this process can start.
fn others() -> usize {
    usize::from(runtime::start_info().threads) - 1
}

/// Takes the attachment back from threads that have ended.
fn detach_shared(attachment: Arc<Attachment>) -> Outcome {
    let alone = Arc::try_unwrap(attachment);
    let attachment = alone.map_err(|_| Failure::new("a thread still has the attachment"))?;
    Ok(detach(attachment)?)
}

/// Lets others run until the word is at least `value`.
fn await_at_least(word: &AtomicU64, value: u64) -> Outcome {
    for _ in 0..1_000_000 {
        if word.load(Ordering::Acquire) >= value {
            return Ok(());
        }
        sel4::yield_now();
    }
    Err(Failure::new(format!("waited in vain for {value}")))
}

/// Lets others run for long.
fn linger() {
    for _ in 0..200 {
        sel4::yield_now();
    }
}

fn row_9_threads_of_a_process_are_in_different_vases_at_once_and_share_its_private_memory()
-> Outcome {
    const ROUNDS: u64 = 300;
    static SUM: AtomicU64 = AtomicU64::new(0);
    let places = [Place::new("north")?, Place::new("south")?];
    let mut attachments = Vec::new();
    for place in &places {
        attachments.push(Arc::new(attach(&place.vas)?));
    }
    // How far each thread is, on the heap.
    let progress = Arc::new([const { AtomicU64::new(0) }; 2]);
    let mut handles = Vec::new();
    for own in 0..2 {
        let attachment = attachments[own].clone();
        let progress = progress.clone();
        handles.push(thread::spawn(move || -> Result<Vec<u64>, Failure> {
            let mut seen = Vec::new();
            inside(&attachment, || {
                for round in 1..=ROUNDS {
                    let value = round << 8 | own as u64;
                    store(BASE, value);
                    // The other has written its value to the same address, too.
                    progress[own].store(round, Ordering::Release);
                    await_at_least(&progress[1 - own], round)?;
                    check_equal("word", load(BASE), value)?;
                    check_equal("space", Space::current(), attachment.space())?;
                    SUM.fetch_add(1, Ordering::Relaxed);
                    seen.push(load(BASE));
                    sel4::yield_now();
                }
                Ok(())
            })?;
            Ok(seen)
        })?);
    }
    check_equal("space of the first thread", Space::current(), Space::OWN)?;
    for (own, handle) in handles.into_iter().enumerate() {
        let seen = handle.join()??;
        let expected: Vec<u64> = (1..=ROUNDS).map(|round| round << 8 | own as u64).collect();
        check_equal("values", seen, expected)?;
    }
    check_equal("sum", SUM.load(Ordering::Relaxed), 2 * ROUNDS)?;
    for (own, (place, attachment)) in places.into_iter().zip(attachments).enumerate() {
        let last = ROUNDS << 8 | own as u64;
        inside(&attachment, || check_equal("last word", load(BASE), last))?;
        detach_shared(attachment)?;
        place.remove()?;
    }
    Ok(())
}

fn row_9_processes_and_their_threads_are_in_one_vas_at_once() -> Outcome {
    const TIMES: u64 = 200;
    let place = Place::new("square")?;
    let attachment = Arc::new(attach(&place.vas)?);
    let arguments = format!("count square {BASE} {TIMES}");
    let mut actors = Vec::new();
    for name in [actor::OWNER, actor::OTHER] {
        actors.push(fixture::start(name, &arguments)?);
    }
    let mut handles = Vec::new();
    for _ in 0..2 {
        let attachment = attachment.clone();
        handles.push(thread::spawn(move || {
            inside(&attachment, || {
                // All threads of this process are inside before any leaves.
                fetch_add(BASE + 8, 1);
                wait_for(BASE + 8, 2)?;
                for _ in 0..TIMES {
                    fetch_add(BASE, 1);
                    sel4::yield_now();
                }
                Ok(())
            })
        })?);
    }
    for handle in handles {
        handle.join()??;
    }
    for actor in actors {
        fixture::ends_with(actor, DONE)?;
    }
    inside(&attachment, || check_equal("count", load(BASE), 4 * TIMES))?;
    detach_shared(attachment)?;
    Ok(place.remove()?)
}

fn threads_are_started_and_joined_many_times() -> Outcome {
    /// As strict about its place as memory can be.
    #[derive(Debug, PartialEq, Eq)]
    #[repr(align(256))]
    struct Aligned([u64; 40]);

    let dropped = Arc::new(());
    for round in 0..100u64 {
        let mut handles = Vec::new();
        for index in 0..others() as u64 {
            let captured = (dropped.clone(), format!("{round} of {index}"));
            handles.push(thread::spawn(move || {
                if (round + index).is_multiple_of(2) {
                    sel4::yield_now();
                }
                let number = thread::number() as u64;
                (captured, Aligned([round; 40]), number)
            })?);
        }
        // In one order and in the other.
        let count = handles.len();
        for turn in 0..count {
            let from_the_end = round.is_multiple_of(2);
            let handle = if from_the_end {
                handles.pop()
            } else {
                Some(handles.remove(0))
            };
            let handle = handle.ok_or_else(|| Failure::new("no handle"))?;
            let index = if from_the_end { count - 1 - turn } else { turn };
            let ((_, text), words, number) = handle.join()?;
            check_equal("text", text, format!("{round} of {index}"))?;
            check_equal("words", words, Aligned([round; 40]))?;
            check_equal("number of the thread", number, index as u64 + 1)?;
        }
        check_equal("number of this thread", thread::number(), 0)?;
        thread::spawn(|| ())?.join()?;
    }
    check_equal("values that are left", Arc::strong_count(&dropped), 1)
}

/// Starts all threads, which end when the word is 1.
fn start_all(word: &Arc<AtomicU64>) -> Result<Vec<JoinHandle<Outcome>>, SpawnError> {
    let start = |_| {
        let word = word.clone();
        thread::spawn(move || await_at_least(&word, 1))
    };
    (0..others()).map(start).collect()
}

/// One more is refused, and what the closure has is dropped.
fn refused() -> Outcome {
    let captured = Arc::new(());
    let copy = captured.clone();
    let answer = thread::spawn(move || drop(copy)).map(|_| ());
    check_equal("answer", answer, Err(SpawnError::NoneLeft))?;
    check_equal("values that are left", Arc::strong_count(&captured), 1)
}

fn no_more_threads_run_than_the_system_description_gives() -> Outcome {
    for _ in 0..3 {
        let word = Arc::new(AtomicU64::new(0));
        let handles = start_all(&word)?;
        refused()?;
        word.store(1, Ordering::Release);
        linger();
        // Those that have ended are not free before somebody has taken their results.
        refused()?;
        for handle in handles {
            check(handle.is_finished(), "it has not ended")?;
            handle.join()??;
        }
    }
    Ok(())
}

fn a_thread_whose_handle_is_dropped_ends_by_itself_and_can_be_used_again() -> Outcome {
    let captured = Arc::new(());
    for after_the_end in [false, true] {
        let word = Arc::new(AtomicU64::new(0));
        for handle in start_all(&word)? {
            if after_the_end {
                word.store(1, Ordering::Release);
                linger();
                check(handle.is_finished(), "it has not ended")?;
            }
            drop(handle);
        }
        if !after_the_end {
            refused()?;
            word.store(1, Ordering::Release);
            linger();
        }
        check_equal("values that are left", Arc::strong_count(&word), 1)?;
        // A result that nobody takes is dropped, too.
        let copy = captured.clone();
        drop(thread::spawn(move || copy)?);
        linger();
        check_equal("results that are left", Arc::strong_count(&captured), 1)?;
    }
    let word = Arc::new(AtomicU64::new(1));
    for handle in start_all(&word)? {
        handle.join()??;
    }
    Ok(())
}

fn a_component_with_one_thread_has_no_other() -> Outcome {
    fixture::succeeds(actor::OTHER, "start-a-thread")
}

fn what_does_not_fit_on_a_stack_is_refused() -> Outcome {
    const LARGE: usize = 33 << 10;
    let answer = thread::spawn(|| [0u8; LARGE]).map(|_| ());
    check_equal("answer", answer, Err(SpawnError::TooLarge))?;
    let closure = Box::new([7u8; LARGE]);
    let sum = thread::spawn(move || closure.iter().map(|&byte| u64::from(byte)).sum::<u64>())?;
    check_equal("sum", sum.join()?, 7 * LARGE as u64)
}

fn a_thread_does_not_wait_for_itself() -> Outcome {
    type Handle = JoinHandle<Result<(), JoinError>>;
    static HANDLE: AtomicPtr<Handle> = AtomicPtr::new(ptr::null_mut());
    static ANSWER: AtomicU64 = AtomicU64::new(0);
    let handle = thread::spawn(|| {
        while HANDLE.load(Ordering::Acquire).is_null() {
            sel4::yield_now();
        }
        // SAFETY: it was leaked below, and is taken once.
        let own = unsafe { Box::from_raw(HANDLE.load(Ordering::Acquire)) };
        let answer = own.join().map(|_| ());
        let told = 1 + u64::from(answer == Err(JoinError::Itself));
        ANSWER.store(told, Ordering::Release);
        answer
    })?;
    HANDLE.store(Box::into_raw(Box::new(handle)), Ordering::Release);
    await_at_least(&ANSWER, 1)?;
    check_equal("answer", ANSWER.load(Ordering::Acquire), 2)?;
    linger();
    // It has ended without anybody, and can be used again.
    let word = Arc::new(AtomicU64::new(1));
    for handle in start_all(&word)? {
        handle.join()??;
    }
    Ok(())
}

/// Bytes of a stack of an actor.
const STACK_BYTES: u64 = 64 << 10;

fn a_thread_that_overflows_its_stack_faults_in_its_own_guard_page() -> Outcome {
    let process = fixture::start(actor::THREADS, "overflow-in-a-thread")?;
    let ended = process::wait_for_report(process)?;
    let address = stack_top(1, STACK_BYTES) - STACK_BYTES - 8;
    check_equal("end", ended.status, ExitStatus::Faulted { address })?;
    let reason = "the guard page of the stack: stack overflow";
    check(ended.report.ends_with(reason), &ended.report)?;
    // No page is between the stacks but the guard.
    let first = stack_top(0, STACK_BYTES) - STACK_BYTES;
    check_equal("top", stack_top(1, STACK_BYTES), first - PAGE_BYTES)
}

fn a_thread_that_ends_inside_a_vas_ends_its_process() -> Outcome {
    let place = Place::new("ridge")?;
    fixture::expect(actor::THREADS, "end-inside ridge", ExitStatus::Panicked)?;
    Ok(place.remove()?)
}

fn a_thread_that_faults_is_reported_with_its_own_attachment() -> Outcome {
    let ridge = Place::new("ridge")?;
    let valley = client_lib::vas_create("valley", EVERYONE)?;
    let nowhere = BASE + SLOT_BYTES;
    for (thread, vas) in [(0, "ridge"), (1, "valley")] {
        let arguments = format!("fault-in {thread} ridge valley {nowhere}");
        let process = fixture::start(actor::THREADS, &arguments)?;
        fixture::faults_with(process, &format!("VAS {vas} active: no segment here"))?;
    }
    client_lib::vas_delete(&valley)?;
    Ok(ridge.remove()?)
}

fn a_thread_faults_when_another_detaches_what_it_is_in() -> Outcome {
    let place = Place::new("ridge")?;
    let process = fixture::start(actor::THREADS, "detach-under-a-thread ridge")?;
    let reason = "VAS ridge was active: the attachment was detached";
    fixture::faults_with(process, reason)?;
    Ok(place.remove()?)
}

/// A thread that enters, says so, and stays until it is told to leave.
struct Guest {
    handle: JoinHandle<Outcome>,
    /// 1: it is inside; 2: it is to leave.
    word: Arc<AtomicU64>,
}

impl Guest {
    fn start(attachment: &Arc<Attachment>) -> Result<Self, Failure> {
        let word = Arc::new(AtomicU64::new(0));
        let (attachment, told) = (attachment.clone(), word.clone());
        let handle = thread::spawn(move || {
            inside(&attachment, || {
                told.store(1, Ordering::Release);
                await_at_least(&told, 2)
            })
        })?;
        Ok(Guest { handle, word })
    }

    #[track_caller]
    fn has_entered(&self) -> Outcome {
        await_at_least(&self.word, 1)
    }

    #[track_caller]
    fn stays_outside(&self) -> Outcome {
        linger();
        check_equal("word", self.word.load(Ordering::Acquire), 0)
    }

    fn leave(self) -> Outcome {
        self.word.store(2, Ordering::Release);
        self.handle.join()?
    }
}

fn threads_read_together_through_one_attachment() -> Outcome {
    let room = Room::new()?;
    let attachment = Arc::new(client_lib::vas_attach(&room.reading, Access::ReadOnly)?);
    for _ in 0..3 {
        let guests = [Guest::start(&attachment)?, Guest::start(&attachment)?];
        for guest in &guests {
            guest.has_entered()?;
        }
        // The first thread comes and goes, too.
        vas_switch_try(attachment.space())?;
        others_try("room", "read-write", LOCKED)?;
        vas_switch(Space::OWN)?;
        let [first, second] = guests;
        first.leave()?;
        others_try("room", "read-write", LOCKED)?;
        others_try("reading", "read-only", FREE)?;
        second.leave()?;
        others_try("room", "read-write", FREE)?;
    }
    // The server lets one at a time in where it is the one that locks.
    detach_shared(attachment)?;
    room.set_mode(LockMode::Enforced)?;
    let attachment = Arc::new(client_lib::vas_attach(&room.reading, Access::ReadOnly)?);
    let first = Guest::start(&attachment)?;
    first.has_entered()?;
    let second = Guest::start(&attachment)?;
    second.stays_outside()?;
    first.leave()?;
    second.has_entered()?;
    second.leave()?;
    detach_shared(attachment)?;
    room.remove()
}

fn threads_write_in_turn_through_one_attachment() -> Outcome {
    const TURNS: u64 = 60;
    let room = Room::new()?;
    let mut expected = 0;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let attachment = Arc::new(attach(&room.vas)?);
        let mut handles = Vec::new();
        for _ in 0..others() {
            let attachment = attachment.clone();
            handles.push(thread::spawn(move || {
                for _ in 0..TURNS {
                    inside(&attachment, || {
                        let before = load(BASE);
                        sel4::yield_now();
                        store(BASE, before + 1);
                        Ok(())
                    })?;
                }
                Ok::<(), Failure>(())
            })?);
        }
        for handle in handles {
            handle.join()??;
        }
        expected += TURNS * others() as u64;
        inside(&attachment, || check_equal("count", load(BASE), expected))?;

        // Who does not wait is told.
        let guest = Guest::start(&attachment)?;
        guest.has_entered()?;
        let answer = vas_switch_try(attachment.space());
        check_equal("answer", answer, Err(Error::Locked))?;
        check_equal("space", Space::current(), Space::OWN)?;
        guest.leave()?;
        vas_switch_try(attachment.space())?;
        vas_switch(Space::OWN)?;
        detach_shared(attachment)?;
    }
    room.remove()
}

fn a_thread_does_not_join_those_that_read_while_a_writer_waits() -> Outcome {
    let room = Room::new()?;
    let attachment = Arc::new(client_lib::vas_attach(&room.reading, Access::ReadOnly)?);
    let first = Guest::start(&attachment)?;
    first.has_entered()?;
    let writer = room.start("room", 0)?;
    room.stays_outside(0)?;
    let answer = vas_switch_try(attachment.space());
    check_equal("answer", answer, Err(Error::Locked))?;
    check_equal("space", Space::current(), Space::OWN)?;
    let second = Guest::start(&attachment)?;
    second.stays_outside()?;
    first.leave()?;
    room.entered(0)?;
    second.stays_outside()?;
    room.leave(0)?;
    second.has_entered()?;
    second.leave()?;
    fixture::ends_with(writer, DONE)?;
    others_try("room", "read-write", FREE)?;
    detach_shared(attachment)?;
    room.remove()
}

fn a_thread_waits_for_locks_that_another_of_its_process_holds() -> Outcome {
    let room = Room::new()?;
    let writing = Arc::new(attach(&room.vas)?);
    let reading = Arc::new(client_lib::vas_attach(&room.reading, Access::ReadOnly)?);
    for (first, second) in [(&writing, &reading), (&reading, &writing)] {
        let first = Guest::start(first)?;
        first.has_entered()?;
        let second = Guest::start(second)?;
        second.stays_outside()?;
        first.leave()?;
        second.has_entered()?;
        second.leave()?;
    }
    others_try("room", "read-write", FREE)?;
    detach_shared(writing)?;
    detach_shared(reading)?;
    room.remove()
}

fn a_lock_that_comes_while_a_thread_is_inside_is_not_the_threads_to_give_back() -> Outcome {
    let room = Room::new()?;
    let later = client_lib::vas_create("later", EVERYONE)?;
    client_lib::seg_attach(&later, &room.board, Access::ReadWrite)?;
    let attachment = Arc::new(attach(&later)?);
    let before = Guest::start(&attachment)?;
    before.has_entered()?;
    client_lib::seg_attach(&later, &room.segment, Access::ReadWrite)?;
    let after = Guest::start(&attachment)?;
    after.has_entered()?;
    others_try("room", "read-write", LOCKED)?;
    before.leave()?;
    others_try("room", "read-write", LOCKED)?;
    after.leave()?;
    others_try("room", "read-write", FREE)?;
    // And a lock that goes is not missed.
    let before = Guest::start(&attachment)?;
    before.has_entered()?;
    client_lib::seg_detach(&later, &room.segment)?;
    others_try("room", "read-write", FREE)?;
    before.leave()?;
    let again = Guest::start(&attachment)?;
    again.has_entered()?;
    again.leave()?;
    detach_shared(attachment)?;
    client_lib::vas_delete(&later)?;
    room.remove()
}

/// Makes a segment of many pages, attaches, grows and frees it, a few times.
fn work_in_steps(index: usize) -> Outcome {
    const BYTES: u64 = 6 << 20;
    let name: String = format!("steps{index}");
    let vas = client_lib::vas_create(&name, Mode(0o600))?;
    let attachment = attach(&vas)?;
    for round in 0..3 {
        let small = Some(PageSize::Small);
        let mut segment = client_lib::seg_alloc(&name, BASE, BYTES, small, Mode(0o600))?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        client_lib::seg_grow(&mut segment, 2 * BYTES)?;
        inside(&attachment, || {
            for word in [BASE, BASE + BYTES - 8, BASE + 2 * BYTES - 8] {
                check_equal("new word", load(word), 0)?;
                store(word, round + index as u64);
                check_equal("word", load(word), round + index as u64)?;
            }
            Ok(())
        })?;
        client_lib::seg_detach(&vas, &segment)?;
        client_lib::seg_free(&segment)?;
    }
    detach(attachment)?;
    Ok(client_lib::vas_delete(&vas)?)
}

fn requests_of_threads_that_take_many_steps_do_not_disturb_each_other() -> Outcome {
    let before = State::now()?;
    let mut handles = Vec::new();
    for index in 0..3 {
        handles.push(thread::spawn(move || work_in_steps(index))?);
    }
    // Short requests in between, and locks.
    let room = Room::new()?;
    let attachment = attach(&room.vas)?;
    while handles.iter().any(|handle| !handle.is_finished()) {
        client_lib::server_stat()?;
        inside(&attachment, || {
            others_try("room", "read-only", LOCKED)?;
            Ok(())
        })?;
        sel4::yield_now();
    }
    for handle in handles {
        handle.join()??;
    }
    detach(attachment)?;
    room.remove()?;
    unchanged(&before, &State::now()?)
}

fn one_thread_at_a_time_waits_for_a_process() -> Outcome {
    let child = fixture::start(actor::OTHER, "live")?;
    let handle = thread::spawn(move || process::wait(child))?;
    linger();
    check_equal("answer", process::wait(child), Err(InitError::NotFound))?;
    process::kill(child)?;
    check_equal("answer", handle.join()?, Ok(ExitStatus::Killed))
}

fn a_process_that_ends_with_threads_everywhere_leaves_nothing_behind() -> Outcome {
    let room = Room::new()?;
    let other = client_lib::vas_create("other", EVERYONE)?;
    let held = lockable("held", BOARD + SIZE)?;
    client_lib::seg_attach(&other, &held, Access::ReadWrite)?;
    client_lib::seg_attach(&other, &room.board, Access::ReadWrite)?;
    // What takes many steps to attach.
    let asking = client_lib::vas_create("asking", EVERYONE)?;
    let small = Some(PageSize::Small);
    let large = client_lib::seg_alloc("asking", BASE, 6 << 20, small, EVERYONE)?;
    let attachment = attach(&other)?;
    let faulted = ExitStatus::Faulted {
        address: 0x5a5_5a5a_5000,
    };
    // The server makes a handle when it is first asked for one with these rights.
    others_try("room", "read-write", FREE)?;
    others_try("other", "read-write", FREE)?;
    others_try("asking", "read-write", FREE)?;
    fixture::run(actor::OTHER, "find-segment asking")?;
    for (how, end) in [
        ("exit", ExitStatus::Exited(verdict::DONE)),
        ("panic", ExitStatus::Panicked),
        ("fault", faulted),
        ("live", ExitStatus::Killed),
    ] {
        let before = State::now()?;
        inside(&attachment, || {
            let arguments = format!("be-everywhere room other {BOARD} {how}");
            let process = fixture::start(actor::THREADS, &arguments)?;
            if how == "live" {
                wait_for(BOARD, 1)?;
                process::kill(process)?;
            }
            fixture::ends_with(process, end)
        })?;
        // It may have been attached when the process ended.
        match client_lib::seg_detach(&asking, &large) {
            Ok(()) | Err(Error::NotAttached) => {}
            Err(error) => return Err(error.into()),
        }
        unchanged(&before, &State::now()?)?;
        room.clear()?;
        // Nobody holds any lock.
        others_try("room", "read-write", FREE)?;
        others_try("other", "read-write", FREE)?;
    }
    detach(attachment)?;
    client_lib::vas_delete(&other)?;
    client_lib::seg_free(&held)?;
    client_lib::vas_delete(&asking)?;
    client_lib::seg_free(&large)?;
    room.remove()
}
