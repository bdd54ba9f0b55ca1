// SPDX-License-Identifier: MIT OR Apache-2.0

//! Locks of segments: who is let in when, and what becomes of a lock when its holder ends.

use alloc::format;

use client_lib::{
    Access, Attachment, Error, LockMode, PageSize, Rights, Segment, Space, Vas, VasCommand,
    vas_inconsistent, vas_set_consistent, vas_switch, vas_switch_try,
};
use common::calls::{attach, detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store, wait_for};
use common::{Failure, Outcome, raw};
use protocol::Name;
use protocol::message::{VasAttach, VasDetach, VasFind, VasLock, VasUnlock, Wait};
use protocol::process::{ExitStatus, ProcessId, slot};
use runtime::process;
use sel4::cap;

use crate::fixture::{self, BASE, EVERYONE, SIZE, actor, segment as segment_of_all};
use crate::harness::tests;
use crate::state::refused;

tests! {
    row_7_switching_takes_every_lock_of_the_vas,
    locks_that_are_free_are_taken_without_asking_the_server,
    row_8_readers_are_inside_together_and_a_writer_alone,
    row_8_a_lock_passes_on_when_its_holder_dies,
    row_8_who_waits_and_is_killed_stops_nobody,
    row_8_who_waits_and_is_evicted_is_told_so,
    row_8_two_vases_with_the_same_segments_do_not_wait_for_each_other,
    a_lock_is_given_back_by_detaching,
    a_segment_that_is_added_while_others_are_inside_is_locked_from_the_next_switch_on,
    a_segment_that_is_taken_away_is_locked_no_longer,
    without_locks_all_are_inside_together,
    an_enforced_lock_is_what_the_root_comes_with,
    who_gives_an_enforced_lock_back_while_inside_faults,
    how_locks_are_taken_is_not_changed_while_in_use,
    who_waits_for_a_time_is_refused_when_it_has_passed_and_not_before,
    who_waits_for_a_time_is_let_in_as_soon_as_the_lock_is_free,
    who_has_waited_in_vain_keeps_out_nobody_behind_it,
    who_waits_for_a_time_and_is_killed_or_evicted_leaves_nothing_to_come,
}

/// A word of the board for each actor, to be seen without the lock.
pub const BOARD: u64 = BASE + SIZE;

/// A lockable segment at [`BASE`], in a VAS for writing and in another for reading, and a board in
/// both, which this process is attached to also through a third, without a lock.
pub struct Room {
    pub vas: Vas,
    pub reading: Vas,
    pub segment: Segment,
    pub board: Segment,
    view: Vas,
    watch: Attachment,
}

pub fn lockable(name: &str, base: u64) -> Result<Segment, Error> {
    client_lib::seg_alloc_lockable(name, base, SIZE, Some(PageSize::Small), EVERYONE)
}

impl Room {
    pub fn new() -> Result<Self, Error> {
        let vas = client_lib::vas_create("room", EVERYONE)?;
        let reading = client_lib::vas_create("reading", EVERYONE)?;
        let view = client_lib::vas_create("view", EVERYONE)?;
        let segment = lockable("room", BASE)?;
        let board = segment_of_all("board", BOARD)?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        client_lib::seg_attach(&reading, &segment, Access::ReadOnly)?;
        for vas in [&vas, &reading, &view] {
            client_lib::seg_attach(vas, &board, Access::ReadWrite)?;
        }
        let watch = attach(&view)?;
        Ok(Room {
            vas,
            reading,
            segment,
            board,
            view,
            watch,
        })
    }

    pub fn set_mode(&self, mode: LockMode) -> Result<(), Error> {
        let command = || VasCommand::LockMode(mode);
        client_lib::vas_ctl(&self.vas, command())?;
        client_lib::vas_ctl(&self.reading, command())
    }

    /// Starts an actor that enters one of the VASes and says so in the word of the board, and
    /// leaves when told.
    #[track_caller]
    pub fn start(&self, vas: &str, word: u64) -> Result<ProcessId, Failure> {
        let word = BOARD + 8 * word;
        fixture::start(actor::OTHER, &format!("stay {vas} {word}"))
    }

    /// Clears the board.
    pub fn clear(&self) -> Outcome {
        inside(&self.watch, || {
            (0..5).for_each(|word| store(BOARD + 8 * word, 0));
            Ok(())
        })
    }

    /// Waits until the actor of this word has entered.
    #[track_caller]
    pub fn entered(&self, word: u64) -> Outcome {
        inside(&self.watch, || wait_for(BOARD + 8 * word, 1))
    }

    /// Tells the actor of this word to leave.
    #[track_caller]
    pub fn leave(&self, word: u64) -> Outcome {
        inside(&self.watch, || {
            store(BOARD + 8 * word, 2);
            Ok(())
        })
    }

    /// Fails if the actor of this word enters although it has all the time for it.
    #[track_caller]
    pub fn stays_outside(&self, word: u64) -> Outcome {
        give_way();
        inside(&self.watch, || {
            check_equal("word of who waits", load(BOARD + 8 * word), 0)
        })
    }

    pub fn remove(self) -> Outcome {
        detach(self.watch)?;
        for vas in [&self.vas, &self.reading, &self.view] {
            client_lib::vas_delete(vas)?;
        }
        client_lib::seg_free(&self.segment)?;
        Ok(client_lib::seg_free(&self.board)?)
    }
}

pub const DONE: ExitStatus = ExitStatus::Exited(common::verdict::DONE);

/// What a process of another user is answered that tries to enter.
#[track_caller]
pub fn others_try(vas: &str, access: &str, expected: Result<Rights, Error>) -> Outcome {
    fixture::answered(
        actor::OTHER,
        &format!("try-switch {vas} {access}"),
        expected,
    )
}

pub const FREE: Result<Rights, Error> = Ok(Rights::empty());
pub const LOCKED: Result<Rights, Error> = Err(Error::Locked);

fn row_7_switching_takes_every_lock_of_the_vas() -> Outcome {
    let all = client_lib::vas_create("all", EVERYONE)?;
    let mut alone = alloc::vec::Vec::new();
    for (index, (name, access)) in [
        ("written", Access::ReadWrite),
        ("read", Access::ReadOnly),
        ("also-written", Access::ReadWrite),
    ]
    .into_iter()
    .enumerate()
    {
        let segment = lockable(name, BASE + index as u64 * SIZE)?;
        let vas = client_lib::vas_create(name, EVERYONE)?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        client_lib::seg_attach(&all, &segment, access)?;
        alone.push((vas, segment));
    }
    for (mode, most) in [
        (LockMode::Cooperative, Access::ReadWrite),
        (LockMode::Cooperative, Access::ReadOnly),
        (LockMode::Enforced, Access::ReadWrite),
        (LockMode::Enforced, Access::ReadOnly),
    ] {
        client_lib::vas_ctl(&all, VasCommand::LockMode(mode))?;
        let attachment = client_lib::vas_attach(&all, most)?;
        inside(&attachment, || {
            let reads_written = match most {
                Access::ReadWrite => LOCKED,
                Access::ReadOnly => FREE,
            };
            for (name, readers) in [
                ("written", reads_written.clone()),
                ("read", FREE),
                ("also-written", reads_written),
            ] {
                others_try(name, "read-only", readers)?;
                others_try(name, "read-write", LOCKED)?;
            }
            Ok(())
        })?;
        for name in ["written", "read", "also-written"] {
            others_try(name, "read-write", FREE)?;
        }
        detach(attachment)?;
    }
    client_lib::vas_delete(&all)?;
    for (vas, segment) in alone {
        client_lib::vas_delete(&vas)?;
        client_lib::seg_free(&segment)?;
    }
    Ok(())
}

fn locks_that_are_free_are_taken_without_asking_the_server() -> Outcome {
    let room = Room::new()?;
    let attachments = [attach(&room.vas)?, attach(&room.reading)?];
    let cnode = cap::CNode::from_bits(slot::CNODE);
    let depth = u64::BITS as u8;
    // Nobody can ask without a session.
    let [hidden, ..] = raw::SCRATCH;
    cnode.move_(hidden, depth, cnode, slot::SESSION, depth)?;
    let switched: Outcome = (|| {
        for turn in 0..100 {
            for attachment in &attachments {
                vas_switch(attachment.space())?;
                check_equal("word", load(BASE), turn)?;
            }
            vas_switch(attachments[0].space())?;
            store(BASE, turn + 1);
            vas_switch(Space::OWN)?;
        }
        vas_switch(attachments[0].space())?;
        Ok(())
    })();
    cnode.move_(slot::SESSION, depth, cnode, hidden, depth)?;
    switched?;
    others_try("reading", "read-only", LOCKED)?;
    vas_switch(Space::OWN)?;
    others_try("room", "read-write", FREE)?;
    for attachment in attachments {
        detach(attachment)?;
    }
    room.remove()
}

fn row_8_readers_are_inside_together_and_a_writer_alone() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let readers = [room.start("reading", 0)?, room.start("reading", 1)?];
        room.entered(0)?;
        room.entered(1)?;
        let writer = room.start("room", 2)?;
        room.stays_outside(2)?;
        // Who comes later is let in later, or the writer could wait for ever.
        let late = [room.start("reading", 3)?, room.start("reading", 4)?];
        room.stays_outside(3)?;
        room.leave(0)?;
        room.stays_outside(2)?;
        room.leave(1)?;
        room.entered(2)?;
        room.stays_outside(3)?;
        room.stays_outside(4)?;
        room.leave(2)?;
        room.entered(3)?;
        room.entered(4)?;
        room.leave(3)?;
        room.leave(4)?;
        for process in readers.into_iter().chain([writer]).chain(late) {
            fixture::ends_with(process, DONE)?;
        }
        others_try("room", "read-write", FREE)?;
        room.clear()?;
    }
    room.remove()
}

fn row_8_a_lock_passes_on_when_its_holder_dies() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        for how in ["exit", "panic", "fault", "live"] {
            let holder = fixture::start(actor::OTHER, &format!("die-inside room {BOARD} {how}"))?;
            room.entered(0)?;
            if how == "live" {
                let waiting = room.start("room", 1)?;
                room.stays_outside(1)?;
                process::kill(holder)?;
                room.entered(1)?;
                room.leave(1)?;
                fixture::ends_with(waiting, DONE)?;
            }
            process::wait(holder)?;
            let attachment = attach(&room.vas)?;
            check(!vas_inconsistent(), "told before it can be known")?;
            vas_switch(attachment.space())?;
            check(vas_inconsistent(), "the next holder is not told")?;
            vas_switch(Space::OWN)?;
            vas_switch(attachment.space())?;
            check(vas_inconsistent(), "forgotten before it was put in order")?;
            vas_set_consistent()?;
            check(!vas_inconsistent(), "not put in order")?;
            vas_switch(Space::OWN)?;
            vas_switch(attachment.space())?;
            check(!vas_inconsistent(), "told again")?;
            vas_switch(Space::OWN)?;
            detach(attachment)?;
            room.clear()?;
        }
    }
    room.remove()
}

fn row_8_who_waits_and_is_killed_stops_nobody() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let holder = room.start("reading", 0)?;
        room.entered(0)?;
        let killed = room.start("room", 1)?;
        room.stays_outside(1)?;
        let reader = room.start("reading", 2)?;
        room.stays_outside(2)?;
        process::kill(killed)?;
        fixture::ends_with(killed, ExitStatus::Killed)?;
        // Nobody writes before it any longer.
        room.entered(2)?;
        room.leave(0)?;
        room.leave(2)?;
        fixture::ends_with(holder, DONE)?;
        fixture::ends_with(reader, DONE)?;
        others_try("room", "read-write", FREE)?;
        room.clear()?;
    }
    room.remove()
}

fn row_8_who_waits_and_is_evicted_is_told_so() -> Outcome {
    let room = Room::new()?;
    let other = client_lib::vas_create("other", EVERYONE)?;
    client_lib::seg_attach(&other, &room.segment, Access::ReadWrite)?;
    let attachment = attach(&other)?;
    inside(&attachment, || {
        let arguments = "switch room read-write";
        let waiting = fixture::start(actor::OTHER, arguments)?;
        while client_lib::vas_stat(&room.vas)?.attachments == 0 {
            sel4::yield_now();
        }
        give_way();
        client_lib::vas_ctl(&room.vas, client_lib::Command::Evict)?;
        let told = common::verdict::of(Err(Error::StaleAttachment));
        fixture::ends_with(waiting, ExitStatus::Exited(told))
    })?;
    detach(attachment)?;
    client_lib::vas_delete(&other)?;
    room.remove()
}

fn row_8_two_vases_with_the_same_segments_do_not_wait_for_each_other() -> Outcome {
    const TURNS: u64 = 300;
    let segments = [lockable("first", BASE)?, lockable("second", BASE + SIZE)?];
    let vases = [
        client_lib::vas_create("north", EVERYONE)?,
        client_lib::vas_create("south", EVERYONE)?,
    ];
    for (vas, order) in vases.iter().zip([[0, 1], [1, 0]]) {
        for index in order {
            client_lib::seg_attach(vas, &segments[index], Access::ReadWrite)?;
        }
    }
    let actors = [
        fixture::start(
            actor::OTHER,
            &format!("alternate north south {BASE} {TURNS}"),
        )?,
        fixture::start(
            actor::GROUP,
            &format!("alternate south north {BASE} {TURNS}"),
        )?,
    ];
    for actor in actors {
        fixture::ends_with(actor, DONE)?;
    }
    let attachment = attach(&vases[0])?;
    inside(&attachment, || check_equal("turns", load(BASE), 4 * TURNS))?;
    detach(attachment)?;
    for vas in &vases {
        client_lib::vas_delete(vas)?;
    }
    Ok(segments.iter().try_for_each(client_lib::seg_free)?)
}

fn a_lock_is_given_back_by_detaching() -> Outcome {
    let room = Room::new()?;
    let attachment = attach(&room.vas)?;
    vas_switch(attachment.space())?;
    others_try("room", "read-only", LOCKED)?;
    vas_switch(Space::OWN)?;
    vas_switch(attachment.space())?;
    others_try("room", "read-only", LOCKED)?;
    // From one attachment into another, the locks of the first are free.
    let reading = client_lib::vas_attach(&room.vas, Access::ReadOnly)?;
    vas_switch(reading.space())?;
    others_try("room", "read-only", FREE)?;
    others_try("room", "read-write", LOCKED)?;
    vas_switch(Space::OWN)?;
    others_try("room", "read-write", FREE)?;
    detach(attachment)?;
    detach(reading)?;
    // A process that takes away what it is inside of ends, and its lock is free.
    let process = fixture::start(actor::OTHER, &format!("detach-inside room {BASE}"))?;
    let status = process::wait(process)?;
    check(
        matches!(status, ExitStatus::Faulted { .. }),
        "still running without a root",
    )?;
    others_try("room", "read-write", FREE)?;
    room.remove()
}

fn a_segment_that_is_added_while_others_are_inside_is_locked_from_the_next_switch_on() -> Outcome {
    let room = Room::new()?;
    let later = client_lib::vas_create("later", EVERYONE)?;
    client_lib::seg_attach(&later, &room.board, Access::ReadWrite)?;
    let process = fixture::start(actor::OTHER, &format!("enter-again later {BOARD}"))?;
    inside(&room.watch, || wait_for(BOARD, 1))?;
    client_lib::seg_attach(&later, &room.segment, Access::ReadWrite)?;
    others_try("room", "read-write", FREE)?;
    inside(&room.watch, || {
        store(BOARD, 2);
        wait_for(BOARD, 3)
    })?;
    others_try("room", "read-only", LOCKED)?;
    inside(&room.watch, || {
        store(BOARD, 4);
        Ok(())
    })?;
    fixture::ends_with(process, DONE)?;
    others_try("room", "read-write", FREE)?;
    client_lib::vas_delete(&later)?;
    room.remove()
}

fn a_segment_that_is_taken_away_is_locked_no_longer() -> Outcome {
    let room = Room::new()?;
    let other = client_lib::vas_create("other", EVERYONE)?;
    client_lib::seg_attach(&other, &room.segment, Access::ReadWrite)?;
    let holder = room.start("room", 0)?;
    room.entered(0)?;
    others_try("other", "read-only", LOCKED)?;
    client_lib::seg_detach(&room.vas, &room.segment)?;
    others_try("other", "read-write", FREE)?;
    room.leave(0)?;
    fixture::ends_with(holder, DONE)?;
    client_lib::vas_delete(&other)?;
    room.remove()
}

fn without_locks_all_are_inside_together() -> Outcome {
    let room = Room::new()?;
    room.set_mode(LockMode::None)?;
    let actors = [room.start("room", 0)?, room.start("room", 1)?];
    room.entered(0)?;
    room.entered(1)?;
    room.leave(0)?;
    room.leave(1)?;
    for actor in actors {
        fixture::ends_with(actor, DONE)?;
    }
    room.remove()
}

/// Switches with nothing but the kernel.
fn set_space(root: u64) -> Result<(), sel4::Error> {
    let cnode = cap::CNode::from_bits(slot::CNODE);
    let root = cap::PML4::from_bits(root);
    cap::Tcb::from_bits(slot::TCB).set_space(slot::FAULT, cnode, 0, root, 0)
}

fn an_enforced_lock_is_what_the_root_comes_with() -> Outcome {
    let room = Room::new()?;
    room.set_mode(LockMode::Enforced)?;
    let [handle, root, ..] = raw::SCRATCH;
    let name = Name::new("room")?;
    raw::request(&VasFind { name }, &[], handle)?;
    let access = Access::ReadWrite;
    let attachment = raw::request(&VasAttach { access }, &[handle], root)?.attachment;
    let no_root = || {
        check(
            set_space(root).is_err(),
            "there is a root although the lock is not held",
        )
    };
    no_root()?;
    let wait = Wait::No;
    let locked = raw::request(&VasLock { attachment, wait }, &[], root)?;
    check(!locked.inconsistent, "inconsistent from the start")?;
    others_try("room", "read-only", LOCKED)?;
    set_space(root)?;
    store(BASE, 5);
    set_space(slot::VSPACE)?;
    raw::request(&VasUnlock { attachment }, &[], raw::SCRATCH[2])?;
    no_root()?;
    others_try("room", "read-write", FREE)?;
    raw::request(&VasDetach { attachment }, &[], raw::SCRATCH[2])?;
    room.remove()
}

fn who_gives_an_enforced_lock_back_while_inside_faults() -> Outcome {
    let room = Room::new()?;
    room.set_mode(LockMode::Enforced)?;
    let status = fixture::run(actor::OTHER, "unlock-inside room")?;
    check(
        matches!(status, ExitStatus::Faulted { .. }),
        "still inside without the lock",
    )?;
    others_try("room", "read-write", FREE)?;
    room.remove()
}

fn how_locks_are_taken_is_not_changed_while_in_use() -> Outcome {
    let room = Room::new()?;
    let attachment = attach(&room.vas)?;
    let attachments = 1;
    for mode in [LockMode::None, LockMode::Enforced, LockMode::Cooperative] {
        refused(Error::InUse { attachments }, || {
            client_lib::vas_ctl(&room.vas, VasCommand::LockMode(mode))
        })?;
    }
    check_equal(
        "mode",
        client_lib::vas_stat(&room.vas)?.lock_mode,
        LockMode::Cooperative,
    )?;
    check_equal("space", vas_switch_try(attachment.space())?, Space::OWN)?;
    vas_switch_try(Space::OWN)?;
    detach(attachment)?;
    let base = protocol::address_map::LOCAL.start;
    refused(Error::OutOfRange { base, size: SIZE }, || {
        lockable("local", base)
    })?;
    // A segment without a lock is not locked.
    let plain = segment_of_all("plain", BASE + 2 * SIZE)?;
    check(!client_lib::seg_stat(&plain)?.lockable, "lockable")?;
    check(
        client_lib::seg_stat(&room.segment)?.lockable,
        "not lockable",
    )?;
    client_lib::seg_free(&plain)?;
    room.remove()
}

/// A time to wait for, in microseconds. The timer is started several times for it.
const TIME: u64 = 300_000;
/// More than any test takes.
const AGES: u64 = 1 << 40;

/// Has a process of another user wait for so many microseconds to write.
#[track_caller]
fn waits(microseconds: u64) -> Result<ProcessId, Failure> {
    let arguments = format!("timed-switch room read-write {microseconds}");
    fixture::start(actor::OTHER, &arguments)
}

/// Lets others run for long.
fn give_way() {
    for _ in 0..200 {
        sel4::yield_now();
    }
}

fn ends_told(expected: Result<Rights, Error>) -> ExitStatus {
    ExitStatus::Exited(common::verdict::of(expected))
}

fn who_waits_for_a_time_is_refused_when_it_has_passed_and_not_before() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let attachment = attach(&room.reading)?;
        inside(&attachment, || {
            fixture::succeeds(actor::OTHER, &format!("wait-in-vain room {TIME}"))
        })?;
        // Nobody waits, and the lock is free.
        others_try("room", "read-write", FREE)?;
        detach(attachment)?;
    }
    room.remove()
}

fn who_waits_for_a_time_is_let_in_as_soon_as_the_lock_is_free() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let attachment = attach(&room.reading)?;
        let mut waiting = alloc::vec::Vec::new();
        inside(&attachment, || {
            waiting.push(waits(AGES)?);
            waiting.push(waits(u64::MAX)?);
            give_way();
            Ok(())
        })?;
        for process in waiting {
            fixture::ends_with(process, ends_told(FREE))?;
        }
        detach(attachment)?;
    }
    room.remove()
}

fn who_has_waited_in_vain_keeps_out_nobody_behind_it() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let attachment = attach(&room.reading)?;
        inside(&attachment, || {
            let waiting = waits(TIME)?;
            give_way();
            let reader = room.start("reading", 0)?;
            fixture::ends_with(waiting, ends_told(LOCKED))?;
            wait_for(BOARD, 1)?;
            store(BOARD, 2);
            fixture::ends_with(reader, DONE)
        })?;
        detach(attachment)?;
        others_try("room", "read-write", FREE)?;
        room.clear()?;
    }
    room.remove()
}

fn who_waits_for_a_time_and_is_killed_or_evicted_leaves_nothing_to_come() -> Outcome {
    let room = Room::new()?;
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        room.set_mode(mode)?;
        let attachment = attach(&room.reading)?;
        inside(&attachment, || {
            let (killed, evicted) = (waits(TIME)?, waits(TIME)?);
            while client_lib::vas_stat(&room.vas)?.attachments < 2 {
                sel4::yield_now();
            }
            give_way();
            process::kill(killed)?;
            fixture::ends_with(killed, ExitStatus::Killed)?;
            client_lib::vas_ctl(&room.vas, client_lib::Command::Evict)?;
            fixture::ends_with(evicted, ends_told(Err(Error::StaleAttachment)))?;
            // Their time comes while another waits.
            fixture::ends_with(waits(2 * TIME)?, ends_told(LOCKED))
        })?;
        detach(attachment)?;
        others_try("room", "read-write", FREE)?;
    }
    room.remove()
}
