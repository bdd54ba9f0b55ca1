// SPDX-License-Identifier: MIT OR Apache-2.0

//! Keeps workers running, kills them, and sees what they leave.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use chaos::board::{self, State, Target, Visit};
use chaos::operation::Operation;
use chaos::{WORKERS, WRONG};
use client_lib::{Access, Attachment, Mode, PageSize, Rights};
use common::calls::{detach, inside};
use common::failure::{check, check_equal};
use common::statistics::difference;
use common::{Failure, Outcome};
use fastrand::Rng;
use protocol::address_map::{GLOBAL, LOCAL};
use protocol::process::{ExitStatus, ProcessId};
use runtime::process;

runtime::heap!(256 << 10);
runtime::main!(main);

/// By whom the workers run as; those that follow one another share the work.
const COMPONENTS: [&str; 4] = ["worker-a", "worker-a", "worker-b", "worker-c"];
/// The components that together own everything.
const OWNERS: [&str; 3] = ["worker-a", "worker-b", "worker-c"];

/// A worker is killed at one in so many looks at it.
const KILL_ONE_IN: u32 = 12;
/// Looks at a worker that does nothing before it is taken for dead.
const IDLE: u32 = 40;

/// A test and its name.
type Test = (&'static str, fn() -> Outcome);

const TESTS: [Test; 2] = [
    ("a_leak_of_one_slot_is_found", a_leak_of_one_slot_is_found),
    (
        "ten_thousand_rounds_and_more_of_eight_processes_leave_nothing_behind",
        ten_thousand_rounds_and_more_of_eight_processes_leave_nothing_behind,
    ),
];

fn main() -> i32 {
    let mut failed = false;
    for (name, test) in TESTS {
        match test() {
            Ok(()) => runtime::println!("test {name} ... ok"),
            Err(failure) => {
                runtime::println!("test {name} ... FAILED: {failure}");
                failed = true;
            }
        }
    }
    i32::from(failed)
}

fn ten_thousand_rounds_and_more_of_eight_processes_leave_nothing_behind() -> Outcome {
    let before = client_lib::settle()?;
    let done = Chaos::run(1, 40_000)?;
    let after = client_lib::settle()?;
    if let Some(leak) = difference(&before, &after) {
        return Err(Failure::new(leak));
    }
    done.is_worth_something()
}

/// The same, shorter, but for a handle that somebody is given and the server keeps.
fn a_leak_of_one_slot_is_found() -> Outcome {
    let kept = client_lib::vas_create("kept", Mode(0))?;
    let before = client_lib::settle()?;
    Chaos::run(2, 500)?;
    check_equal(
        "difference before the leak",
        difference(&before, &client_lib::settle()?),
        None,
    )?;
    drop(client_lib::vas_restrict(&kept, Rights::READ)?);
    let after = client_lib::settle()?;
    check(
        difference(&before, &after).is_some(),
        "the leak was not found",
    )?;
    let mut mended = after.clone();
    mended.slots_free += 1;
    check_equal("what else is missing", difference(&before, &mended), None)?;
    Ok(client_lib::vas_delete(&kept)?)
}

/// A worker's process.
struct Runs {
    process: ProcessId,
    life: u64,
    /// [`board::beats`] when it was looked at.
    beats: u64,
    /// How often it was looked at since.
    idle: u32,
}

/// How a worker died that was not killed.
struct Death {
    life: u64,
    address: u64,
    visit: Option<Visit>,
    /// Of the VAS and the segment that it was in, when it was found dead.
    takings: [u64; 2],
    mortal: [u64; 2],
}

struct Chaos {
    random: Rng,
    board: Attachment,
    workers: Vec<Runs>,
    next_life: u64,
    done: Done,
}

/// What was done.
#[derive(Default)]
struct Done {
    kills: usize,
    exits: usize,
    deaths: Vec<Death>,
    /// Of each operation: how often it was done, and how often refused.
    counts: Vec<(Operation, [u64; 2])>,
}

impl Chaos {
    /// Runs so many rounds and deletes everything.
    fn run(seed: u64, rounds: u64) -> Result<Done, Failure> {
        let vas = client_lib::vas_create(board::NAME, Mode(0o666))?;
        let small = Some(PageSize::Small);
        let segment =
            client_lib::seg_alloc(board::NAME, board::BASE, board::SIZE, small, Mode(0o600))?;
        client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        let mut chaos = Chaos {
            random: Rng::with_seed(seed),
            board: client_lib::vas_attach(&vas, Access::ReadWrite)?,
            workers: Vec::new(),
            next_life: 1,
            done: Done::default(),
        };
        chaos.on_board(|| board::set_target(rounds))?;
        for worker in 0..WORKERS {
            let runs = chaos.start(worker)?;
            chaos.workers.push(runs);
        }
        while chaos.on_board(board::rounds)? < rounds {
            chaos.turn()?;
        }
        for worker in 0..WORKERS {
            // Half of them end by themselves.
            chaos.end(worker as usize, worker % 2 == 0)?;
        }
        for owner in OWNERS {
            let status = process::wait(process::spawn(owner, "clear")?)?;
            check_equal("end of clearing", status, ExitStatus::Exited(0))?;
        }
        chaos.judge()?;
        chaos.done.counts = chaos.on_board(|| {
            let all = Operation::ALL.iter();
            all.map(|&one| (one, board::counts(one))).collect()
        })?;
        detach(chaos.board)?;
        client_lib::vas_delete(&vas)?;
        client_lib::seg_free(&segment)?;
        Ok(chaos.done)
    }

    fn on_board<T>(&self, action: impl FnOnce() -> T) -> Result<T, Failure> {
        inside(&self.board, || Ok(action()))
    }

    /// Starts a worker's next life.
    fn start(&mut self, worker: u64) -> Result<Runs, Failure> {
        let life = self.next_life;
        check(life < board::LIVES, "too many lives for the board")?;
        self.next_life += 1;
        let beats = self.on_board(|| {
            board::set_visit(worker, None);
            board::set_state(life, worker, State::Lives);
            board::beats(worker)
        })?;
        let seed = self.random.u64(..);
        let component = COMPONENTS[worker as usize % COMPONENTS.len()];
        let arguments = format!("rounds {worker} {life} {seed}");
        Ok(Runs {
            process: process::spawn(component, &arguments)?,
            life,
            beats,
            idle: 0,
        })
    }

    /// Lets the workers go on; kills one, perhaps, and one that does nothing any longer, which
    /// may be dead.
    fn turn(&mut self) -> Outcome {
        for _ in 0..self.random.u32(1..12) {
            sel4::yield_now();
        }
        let mut ending = Vec::new();
        for worker in 0..self.workers.len() {
            let beats = self.on_board(|| board::beats(worker as u64))?;
            let runs = &mut self.workers[worker];
            runs.idle = if beats == runs.beats {
                runs.idle + 1
            } else {
                0
            };
            runs.beats = beats;
            if runs.idle > IDLE || self.random.u32(..KILL_ONE_IN) == 0 {
                ending.push(worker);
            }
        }
        for worker in ending {
            self.end(worker, true)?;
            self.workers[worker] = self.start(worker as u64)?;
        }
        Ok(())
    }

    /// Ends a worker's life, by killing it if it has not ended before, or by waiting.
    fn end(&mut self, worker: usize, kill: bool) -> Outcome {
        let Runs { process, life, .. } = self.workers[worker];
        if kill {
            // What dies with it is taken from others.
            self.on_board(|| {
                let mortal = Target::all().filter(|target| target.mortal() == life);
                mortal.for_each(Target::take);
            })?;
            process::kill(process)?;
        }
        let status = process::wait(process)?;
        let visit = self.on_board(|| {
            let state = match status {
                ExitStatus::Exited(_) => State::Exited,
                _ => State::Cut,
            };
            board::set_state(life, worker as u64, state);
            board::visit(worker as u64)
        })?;
        match status {
            ExitStatus::Exited(0) => self.done.exits += 1,
            ExitStatus::Killed if kill => self.done.kills += 1,
            ExitStatus::Faulted { address } => {
                let targets = visit
                    .map(|Visit { vas, segment, .. }| [Target::Vas(vas), Target::Segment(segment)]);
                let (takings, mortal) = self.on_board(|| {
                    let of =
                        |what: fn(Target) -> u64| targets.map_or([0; 2], |both| both.map(what));
                    (of(Target::takings), of(Target::mortal))
                })?;
                self.done.deaths.push(Death {
                    life,
                    address,
                    visit,
                    takings,
                    mortal,
                });
            }
            ExitStatus::Exited(WRONG) => return Err(Failure::new("a worker saw what must not be")),
            status => return Err(Failure::new(format!("a worker ended with {status:x?}"))),
        }
        Ok(())
    }

    /// Fails unless every worker that faulted was in a VAS, and that or the segment was taken
    /// from it, or may have been.
    fn judge(&self) -> Outcome {
        for death in &self.done.deaths {
            let faulted = |life: u64| self.done.deaths.iter().any(|other| other.life == life);
            let excused = death.visit.is_some_and(|Visit { takings, .. }| {
                let of_vas = takings[0] < death.takings[0] || faulted(death.mortal[0]);
                let of_segment = takings[1] < death.takings[1] || faulted(death.mortal[1]);
                let in_segment = GLOBAL.contains(&death.address) || LOCAL.contains(&death.address);
                of_vas || of_segment && in_segment
            });
            if !excused {
                let Death {
                    life,
                    address,
                    visit,
                    ..
                } = death;
                return Err(Failure::new(format!(
                    "life {life} faulted at {address:#x}, and nobody had taken anything: {visit:?}"
                )));
            }
        }
        Ok(())
    }
}

impl Done {
    /// Tells what was done, and fails if too little of anything was.
    fn is_worth_something(&self) -> Outcome {
        let rounds: u64 = self.counts.iter().flat_map(|(_, counts)| counts).sum();
        runtime::println!(
            "chaos: {rounds} rounds; {} kills, {} exits, {} deaths by eviction",
            self.kills,
            self.exits,
            self.deaths.len()
        );
        for (operation, [done, refused]) in &self.counts {
            runtime::println!("chaos: {operation:?}: {done} done, {refused} refused");
        }
        check(rounds >= 10_000, "too few rounds")?;
        check(self.kills >= 100, "too few kills")?;
        check(self.deaths.len() >= 10, "too few deaths by eviction")?;
        check(self.exits >= 50, "too few exits")?;
        for (operation, [done, _]) in &self.counts {
            check(*done >= 10, &format!("{operation:?} was hardly ever done"))?;
        }
        Ok(())
    }
}
