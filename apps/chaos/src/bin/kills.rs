// SPDX-License-Identifier: MIT OR Apache-2.0

//! Kills processes at points that a seed chooses, and sees what they leave.
//!
//! There is one core. A victim never gives it up by itself, so it runs until its time slice
//! ends: at an instruction that depends on how long it spins meanwhile. Then this process, of the
//! same priority, runs and has it killed. The server and init, of higher priority, are always
//! done by then with what the victim asked of them: a victim dies before a request, after it,
//! or while it waits for another process.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;

use chaos::record;
use chaos::stage::{self, Deed, Phase};
use client_lib::{
    Access, Attachment, Command, Error, Mode, PageSize, Rights, Segment, Vas, vas_create,
};
use common::calls::{detach, inside};
use common::failure::{check, check_equal};
use common::segment_memory::{load, store};
use common::statistics::difference;
use common::{Failure, Outcome};
use fastrand::Rng;
use protocol::address_map::LOCAL;
use protocol::message::Statistics;
use protocol::process::{ExitStatus, InitError, ProcessId};
use runtime::process;

runtime::heap!(256 << 10);
runtime::main!(main);

/// Kills of each deed.
const KILLS: u64 = 12;

/// A test and its name.
type Test = (&'static str, fn(&mut Stage) -> Outcome);

const TESTS: [Test; 4] = [
    (
        "a_process_killed_anywhere_in_any_operation_leaves_only_what_lives_on",
        killed_anywhere,
    ),
    (
        "a_process_killed_at_the_moment_it_ends_ends_once",
        killed_while_ending,
    ),
    (
        "a_process_evicted_while_another_waits_for_it_ends_and_the_other_hears_of_it",
        evicted_while_waited_for,
    ),
    ("nobody_else_was_disturbed", undisturbed),
];

fn main() -> i32 {
    let mut failed = false;
    let before = client_lib::settle();
    let outcome = Stage::build().map(|mut stage| {
        for (name, test) in TESTS {
            match test(&mut stage) {
                Ok(()) => runtime::println!("test {name} ... ok"),
                Err(failure) => {
                    runtime::println!("test {name} ... FAILED: {failure}");
                    failed = true;
                }
            }
        }
        stage
    });
    let end = outcome.and_then(|stage| {
        stage.strike()?;
        match difference(&before?, &client_lib::settle()?) {
            Some(leak) => Err(Failure::new(leak)),
            None => Ok(()),
        }
    });
    let name = "what_was_there_before_is_there_at_the_end_and_nothing_else";
    match end {
        Ok(()) => runtime::println!("test {name} ... ok"),
        Err(failure) => {
            runtime::println!("test {name} ... FAILED: {failure}");
            failed = true;
        }
    }
    i32::from(failed)
}

/// What victims find.
struct Stage {
    random: Rng,
    attachment: Attachment,
    vases: [Vas; 3],
    segments: [Segment; 4],
    bystander: ProcessId,
}

impl Stage {
    fn build() -> Result<Self, Failure> {
        let segment = |name, base| {
            let small = Some(PageSize::Small);
            client_lib::seg_alloc(name, base, stage::SIZE, small, Mode(0o600))
        };
        let [stage, scene, spare] =
            [stage::STAGE, stage::SCENE, stage::SPARE].map(|name| vas_create(name, Mode(0o600)));
        let vases = [stage?, scene?, spare?];
        let segments = [
            segment(stage::STAGE, stage::STAGE_BASE)?,
            segment(stage::SCENE, stage::SCENE_BASE)?,
            segment(stage::LOCAL, LOCAL.start)?,
            segment(stage::SPARE, stage::SCENE_BASE + stage::SIZE)?,
        ];
        client_lib::seg_attach(&vases[0], &segments[0], Access::ReadWrite)?;
        client_lib::seg_attach(&vases[1], &segments[0], Access::ReadWrite)?;
        client_lib::seg_attach(&vases[1], &segments[1], Access::ReadWrite)?;
        // The server keeps one handle for each set of rights.
        drop(client_lib::vas_restrict(&vases[2], Rights::READ)?);
        drop(client_lib::seg_restrict(&segments[3], Rights::READ)?);
        let attachment = client_lib::vas_attach(&vases[0], Access::ReadWrite)?;
        let bystander = process::spawn("victim", "stand-by")?;
        let stage = Stage {
            random: Rng::with_seed(1),
            attachment,
            vases,
            segments,
            bystander,
        };
        stage.until(|| load(stage::BYSTANDER) > 0)?;
        Ok(stage)
    }

    /// Takes everything away again.
    fn strike(self) -> Outcome {
        detach(self.attachment)?;
        for vas in &self.vases {
            client_lib::vas_delete(vas)?;
        }
        for segment in &self.segments {
            client_lib::seg_free(segment)?;
        }
        Ok(())
    }

    fn inside<T>(&self, action: impl FnOnce() -> T) -> Result<T, Failure> {
        inside(&self.attachment, || Ok(action()))
    }

    /// Lets others run until something is so.
    fn until(&self, is_so: impl Fn() -> bool) -> Outcome {
        for _ in 0..100_000 {
            if self.inside(&is_so)? {
                return Ok(());
            }
            sel4::yield_now();
        }
        Err(Failure::new("it has never become so"))
    }

    /// Lets others run until no more processes are there than before.
    fn until_alone(&self, before: &Statistics) -> Outcome {
        for _ in 0..100_000 {
            if client_lib::settle()?.sessions <= before.sessions {
                return Ok(());
            }
            sel4::yield_now();
        }
        Err(Failure::new("a session is left"))
    }

    /// Deletes what a victim may have left, as its lifetime says: it was asked to persist.
    fn sweep(&self, deed: Deed) -> Outcome {
        let gone = |answer: Result<(), Error>, but: fn(&Error) -> bool| match answer {
            Err(error) if !but(&error) => Err(Failure::from(error)),
            _ => Ok(()),
        };
        let not_found: fn(&Error) -> bool = |error| matches!(error, Error::NotFound);
        let vas = client_lib::vas_find(stage::NEW).and_then(|vas| client_lib::vas_delete(&vas));
        gone(vas, not_found)?;
        let segment = client_lib::seg_find(stage::NEW);
        gone(
            segment.and_then(|segment| client_lib::seg_free(&segment)),
            not_found,
        )?;
        match deed {
            Deed::SegAttachAndDetach => {
                let answer = client_lib::seg_detach(&self.vases[1], &self.segments[3]);
                gone(answer, |error| matches!(error, Error::NotAttached))
            }
            Deed::VasRoots => gone(
                client_lib::vas_set_root(&self.vases[2], "root", None),
                not_found,
            ),
            _ => Ok(()),
        }
    }

    /// The records in the scene are whole, or one is torn.
    fn check_content(&self) -> Outcome {
        let look = client_lib::vas_attach(&self.vases[1], Access::ReadOnly)?;
        let end = stage::SCENE_BASE + stage::SIZE;
        let torn = inside(&look, || {
            let mut torn = 0;
            for address in (stage::SCENE_BASE..end).step_by(record::BYTES as usize) {
                let found = record::read(address);
                check(found.is_sound(), "what is in the scene is no record")?;
                torn += u32::from(found.is_torn());
            }
            Ok(torn)
        })?;
        detach(look)?;
        // Each killed in the middle left one, at another place.
        check(u64::from(torn) <= 2 * KILLS, "more torn records than kills")
    }
}

fn killed_anywhere(stage: &mut Stage) -> Outcome {
    let mut phases: BTreeMap<u64, u32> = BTreeMap::new();
    let mut points = BTreeSet::new();
    let mut kills = 0;
    for (number, &deed) in Deed::ALL.iter().enumerate() {
        let mut turns = 0;
        // Of the deeds only this one is in several spaces.
        let times = if deed == Deed::VasSwitch {
            2 * KILLS
        } else {
            KILLS
        };
        for _ in 0..times {
            let before = client_lib::settle()?;
            stage.inside(stage::reset)?;
            let seed = stage.random.u64(..);
            let victim = process::spawn("victim", &format!("{number} {seed}"))?;
            let begun = || stage::phase() != Some(Phase::Start);
            stage.until(begun)?;
            if deed == Deed::Wait {
                stage.until(|| stage::phase() == Some(Phase::Waiting))?;
            }
            process::kill(victim)?;
            if stage.random.bool() {
                process::kill(victim)?;
            }
            check_equal("end", process::wait(victim)?, ExitStatus::Killed)?;
            check_equal("wait", process::wait(victim), Err(InitError::NotFound))?;
            kills += 1;

            let (phase, done) = stage.inside(|| (stage::phase(), stage::turns()))?;
            let phase = phase.ok_or_else(|| Failure::new("no such phase"))?;
            *phases.entry(phase as u64).or_default() += 1;
            points.insert((number, phase as u64, done));
            turns += done;
            if deed == Deed::Wait {
                // The sleeper goes on without its parent until it is told to end.
                let sessions = client_lib::settle()?.sessions;
                check_equal("sessions", sessions, before.sessions + 1)?;
                stage.inside(|| store(stage::WAKE, 1))?;
                stage.until_alone(&before)?;
                stage.inside(|| store(stage::WAKE, 0))?;
            }
            stage.sweep(deed)?;
            if deed == Deed::VasSwitch {
                stage.check_content()?;
            }
            if let Some(leak) = difference(&before, &client_lib::settle()?) {
                return Err(Failure::new(format!(
                    "{deed:?}, killed in {phase:?}: {leak}"
                )));
            }
        }
        runtime::println!("kills: {deed:?}: {times} kills in {turns} turns");
    }
    runtime::println!("kills: {kills} kills at {} points", points.len());
    for phase in [
        Phase::Asking,
        Phase::Answered,
        Phase::Inside,
        Phase::Own,
        Phase::Waiting,
    ] {
        let times = phases.get(&(phase as u64)).unwrap_or(&0);
        runtime::println!("kills: {phase:?}: {times} times");
        check(*times > 0, &format!("nobody was killed in {phase:?}"))?;
    }
    check(kills >= 200, "too few kills")?;
    check(points.len() >= 50, "too few points of death")
}

fn killed_while_ending(stage: &mut Stage) -> Outcome {
    let [mut killed, mut exited] = [0, 0];
    let before = client_lib::settle()?;
    // About as long as its time slices: so the end of one is before its own end, or not.
    for round in 0..24 {
        stage.inside(stage::reset)?;
        let spin = stage.random.u64(..16_000_000);
        let victim = process::spawn("victim", &format!("leave {spin}"))?;
        stage.until(|| stage::phase() == Some(Phase::Leaving))?;
        for _ in 0..round % 3 {
            process::kill(victim)?;
        }
        process::kill(victim)?;
        match process::wait(victim)? {
            ExitStatus::Killed => killed += 1,
            ExitStatus::Exited(0) => exited += 1,
            status => return Err(Failure::new(format!("it ended with {status:x?}"))),
        }
        check_equal("wait", process::wait(victim), Err(InitError::NotFound))?;
        check_equal("kill", process::kill(victim), Err(InitError::NotFound))?;
        check_equal(
            "difference",
            difference(&before, &client_lib::settle()?),
            None,
        )?;
    }
    runtime::println!("kills: {killed} killed before they ended, {exited} not");
    check(killed > 0 && exited > 0, "all ended in the same way")
}

fn evicted_while_waited_for(stage: &mut Stage) -> Outcome {
    let before = client_lib::settle()?;
    for _ in 0..5 {
        stage.inside(stage::reset)?;
        let watcher = process::spawn("victim", "watch")?;
        stage.until(|| stage::phase() == Some(Phase::Inside) && stage::turns() > 1)?;
        // The bystander is in that VAS too, and does not need the segment.
        client_lib::seg_ctl(&stage.segments[1], Command::Evict)?;
        check_equal("end", process::wait(watcher)?, ExitStatus::Exited(0))?;
        client_lib::seg_attach(&stage.vases[1], &stage.segments[1], Access::ReadWrite)?;
        // Where tables are kept for each attachment, the bystander has new ones: how many slots
        // it takes to divide memory for them depends on where they lie.
        let mut after = client_lib::settle()?;
        after.slots_free = before.slots_free;
        check_equal("difference", difference(&before, &after), None)?;
    }
    Ok(())
}

fn undisturbed(stage: &mut Stage) -> Outcome {
    let value = || load(stage::BYSTANDER);
    let before = stage.inside(value)?;
    stage.until(|| value() > before)?;
    stage.inside(|| store(stage::CURTAIN, 1))?;
    let status = process::wait(stage.bystander)?;
    check_equal("end of the bystander", status, ExitStatus::Exited(0))
}
