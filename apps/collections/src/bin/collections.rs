// SPDX-License-Identifier: MIT OR Apache-2.0

//! Starts processes that share collections, kills some, and judges.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;
use core::hint::black_box;
use core::ptr::{self, NonNull};

use client_lib::{
    Access, Attachment, DataError, DataVas, Error, Mode, Segment, SegmentOptions, Vas,
};
use collections::board::{self, State};
use collections::content::{self, Content};
use collections::{DATA, WORKERS, table};
use common::calls::{detach, inside};
use common::failure::{check, check_equal};
use common::statistics::difference;
use common::{Failure, Outcome};
use fastrand::Rng;
use protocol::address_map::GLOBAL;
use protocol::process::{ExitStatus, ProcessId};
use runtime::process;
use storage::{HeapError, LEAST_BYTES, Place, Shape};

runtime::heap!(256 << 10);
runtime::main!(main);

/// Operations that all workers do together.
const OPERATIONS: u64 = 1_000_000;
/// Workers that are killed.
const KILLS: u64 = 60;

/// A test and its name.
type Test = (&'static str, fn() -> Outcome);

/// Makes tests of functions, named as these are.
macro_rules! tests {
    ($($function:ident),* $(,)?) => {
        &[$((stringify!($function), $function)),*]
    };
}

const TESTS: &[Test] = tests![
    row_3_a_million_operations_of_three_processes_have_the_results_of_the_standard_library,
    who_is_killed_among_the_data_is_noticed_and_the_others_rebuild_them,
    row_2_programs_with_other_code_addresses_share_collections,
];

fn main() -> i32 {
    let mut failed = false;
    // With an argument, only the tests whose names have it.
    let chosen = runtime::start_info().arguments;
    for &(name, test) in TESTS.iter().filter(|(name, _)| name.contains(&*chosen)) {
        match leaves_nothing(test) {
            Ok(()) => runtime::println!("test {name} ... ok"),
            Err(failure) => {
                runtime::println!("test {name} ... FAILED: {failure}");
                failed = true;
            }
        }
    }
    i32::from(failed)
}

/// Runs a test, and compares what the server has before and after.
fn leaves_nothing(test: fn() -> Outcome) -> Outcome {
    let before = client_lib::settle()?;
    test()?;
    match difference(&before, &client_lib::settle()?) {
        Some(leak) => Err(Failure::new(leak)),
        None => Ok(()),
    }
}

/// The board, and this process attached to it.
struct Board {
    vas: Vas,
    segment: Segment,
    attachment: Attachment,
}

impl Board {
    fn new() -> Result<Self, Failure> {
        let (vas, segment) = board::make()?;
        let attachment = board::attach()?;
        Ok(Board {
            vas,
            segment,
            attachment,
        })
    }

    fn ask<T>(&self, question: impl FnOnce() -> T) -> Result<T, Failure> {
        inside(&self.attachment, || Ok(question()))
    }

    /// Puts it among the data, too.
    fn attach_to(&self, vas: &Vas) -> Result<(), Error> {
        client_lib::seg_attach(vas, &self.segment, Access::ReadWrite)
    }

    fn remove(self, vas: &Vas) -> Outcome {
        client_lib::seg_detach(vas, &self.segment)?;
        detach(self.attachment)?;
        client_lib::vas_delete(&self.vas)?;
        Ok(client_lib::seg_free(&self.segment)?)
    }
}

fn make_data(board: &Board, end: u64) -> Result<DataVas<Content<'static>>, Failure> {
    board.ask(|| board::set_end(end))?;
    let options = SegmentOptions::new(LEAST_BYTES as u64, Mode(0o640));
    let data = DataVas::<Content>::create(DATA, options, content::empty)?;
    board.attach_to(data.vas())?;
    Ok(data)
}

fn start(worker: u64, seed: u64, how: &str) -> Result<ProcessId, Failure> {
    Ok(process::spawn(
        "worker",
        &format!("work {worker} {seed} {how}"),
    )?)
}

fn ends(process: ProcessId) -> Outcome {
    check_equal("end", process::wait(process)?, ExitStatus::Exited(0))
}

/// All is as many as at the beginning once everything is taken out.
fn nothing_is_left(data: &DataVas<Content<'static>>) -> Outcome {
    let writer = data.writer()?;
    let (before, after) = writer.enter(|mut inside| {
        let empty = content::empty(inside.heap());
        drop(core::mem::replace(inside.root_mut(), empty));
        let before = inside.here().statistics();
        let empty = content::empty(inside.heap());
        drop(core::mem::replace(inside.root_mut(), empty));
        (before, inside.here().statistics())
    })?;
    check_equal("statistics", before, after)?;
    // The root, and the table that a hash map always has.
    check_equal("allocations", after.allocations, 2)
}

fn row_3_a_million_operations_of_three_processes_have_the_results_of_the_standard_library()
-> Outcome {
    let board = Board::new()?;
    let data = make_data(&board, OPERATIONS)?;
    let mut processes = Vec::new();
    for worker in 0..WORKERS {
        processes.push(start(worker, worker, "yields")?);
    }
    processes.push(process::spawn("reader", "read")?);
    for process in processes {
        ends(process)?;
    }
    let (done, shares, turns, statistics) = data.reader()?.enter(|inside| {
        let content = inside.root();
        let statistics = inside.here().statistics();
        (content.done, content.shares, content.turns, statistics)
    })?;
    runtime::println!(
        "collections: {done} operations, {shares:?} by each process, {turns} turns, heap of {} bytes",
        statistics.bytes
    );
    check_equal("operations", done, OPERATIONS)?;
    check_equal("operations of all", shares.iter().sum(), OPERATIONS)?;
    check(
        shares.iter().all(|&share| share > OPERATIONS / 10),
        "one did nearly nothing",
    )?;
    check(turns > OPERATIONS / 1000, "they took few turns")?;
    check(statistics.bytes > 2 * LEAST_BYTES, "the heap has not grown")?;
    check_equal("rebuilt", board.ask(board::rebuilt)?, 0)?;
    nothing_is_left(&data)?;
    board.remove(data.vas())?;
    Ok(data.delete()?)
}

/// In what way a worker was found to have died.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Death {
    /// It held no lock, and the data are in order.
    Outside,
    /// It was among the data, outside of the allocator.
    Inside,
    /// It was in the allocator: the heap is half changed.
    InAllocator,
    /// It was rebuilding: there is no heap.
    Rebuilding,
    /// It was among the data, and another has rebuilt them before it could be seen how they were.
    Rebuilt,
}

/// Looks at the data as they are.
fn look(data: &Attachment) -> Result<Death, Failure> {
    let base = ptr::with_exposed_provenance_mut(GLOBAL.start as usize);
    let base = NonNull::new(base).ok_or_else(|| Failure::new("no address"))?;
    inside(data, || {
        if !client_lib::vas_inconsistent() {
            return Ok(Death::Outside);
        }
        // SAFETY: the segment of the data begins there, and this process has its lock to read. All
        // that was written there was written by safe functions, up to where one was cut off.
        let heap = unsafe { Place::new(base).check(Shape::of::<Content>()) };
        match heap {
            Ok(()) => Ok(Death::Inside),
            Err(HeapError::HalfChanged) => Ok(Death::InAllocator),
            Err(HeapError::NoHeap) => Ok(Death::Rebuilding),
            Err(error) => Err(error.into()),
        }
    })
}

fn who_is_killed_among_the_data_is_noticed_and_the_others_rebuild_them() -> Outcome {
    let mut random = Rng::with_seed(3);
    let board = Board::new()?;
    let data = make_data(&board, u64::MAX)?;
    let look_in = client_lib::vas_attach(data.vas(), Access::ReadOnly)?;
    let reader = process::spawn("reader", "read")?;
    let mut workers = Vec::new();
    for worker in 0..WORKERS {
        workers.push(start(worker, random.u64(..), "runs")?);
    }
    let mut deaths: BTreeMap<Death, u64> = BTreeMap::new();
    let mut rebuilt = 0;
    for _ in 0..KILLS {
        // What the last one left is rebuilt, and more was done.
        let done = board.ask(board::committed)?;
        let mut looks = 0;
        while board.ask(|| board::rebuilt() < rebuilt || board::committed() <= done)? {
            sel4::yield_now();
            looks += 1;
            check(looks < 10_000, "nobody goes on")?;
        }
        // Slices of time end at ticks of a clock: this moves the points of death.
        for turn in 0..random.u64(..2_000_000) {
            black_box(turn);
        }
        sel4::yield_now();
        let states = board.ask(|| [0, 1, 2].map(board::state))?;
        let among = states.iter().position(|&state| state == State::Inside);
        let victim = match among {
            Some(worker) if random.u8(..4) > 0 => worker,
            _ => random.usize(..WORKERS as usize),
        };
        process::kill(workers[victim])?;
        check_equal("end", process::wait(workers[victim])?, ExitStatus::Killed)?;
        let state = board.ask(|| board::state(victim as u64))?;
        let mut death = look(&look_in)?;
        let now = board.ask(board::rebuilt)?;
        if death == Death::Outside && now > rebuilt {
            death = Death::Rebuilt;
        }
        let noticed = death != Death::Outside;
        match state {
            State::Inside => check(noticed, "who died among the data was not noticed")?,
            State::Outside => check(!noticed, "who died elsewhere has left its mark")?,
            State::Between => {}
        }
        rebuilt += u64::from(noticed);
        check(now <= rebuilt, "data in order were rebuilt")?;
        *deaths.entry(death).or_default() += 1;
        board.ask(|| board::enter(victim as u64, State::Between))?;
        workers[victim] = start(victim as u64, random.u64(..), "runs")?;
    }
    board.ask(|| board::set_end(board::committed()))?;
    for process in workers.into_iter().chain([reader]) {
        ends(process)?;
    }
    let done = board.ask(board::committed)?;
    runtime::println!("collections: {done} operations, and {KILLS} deaths: {deaths:?}");
    check_equal("rebuilt", board.ask(board::rebuilt)?, rebuilt)?;
    for (death, least) in [
        (Death::Outside, 8),
        (Death::Inside, 8),
        (Death::InAllocator, 5),
    ] {
        let count = deaths.get(&death).copied().unwrap_or_default();
        check(count >= least, &format!("few deaths: {death:?}"))?;
    }
    nothing_is_left(&data)?;
    detach(look_in)?;
    board.remove(data.vas())?;
    Ok(data.delete()?)
}

fn row_2_programs_with_other_code_addresses_share_collections() -> Outcome {
    let board = Board::new()?;
    let data = DataVas::<table::Table>::create(table::NAME, table::OPTIONS, table::empty)?;
    board.attach_to(data.vas())?;
    let (reader, writer) = (data.reader()?, data.writer()?);
    ends(process::spawn("early", "insert")?)?;
    ends(process::spawn("late", "change")?)?;
    let (functions, constants) = reader.enter(|inside| {
        let programs = || inside.root().programs();
        (
            programs()
                .map(|program| program.function)
                .collect::<Vec<_>>(),
            programs()
                .map(|program| program.constant)
                .collect::<Vec<_>>(),
        )
    })?;
    runtime::println!("collections: functions at {functions:x?}, constants at {constants:x?}");
    check(
        functions[0] != functions[1],
        "code lies at the same address",
    )?;
    check(
        constants[0] != constants[1],
        "constants lie at the same address",
    )?;

    let third = process::spawn("reader", "iterate")?;
    let locked = Err(DataError::Service(Error::Locked));
    until("it reads", || Ok(writer.try_enter(|_| ()) == locked))?;
    check_equal("reading, too", reader.try_enter(|_| ()), Ok(()))?;
    board.ask(board::unwrite)?;
    let fourth = process::spawn("early", "write")?;
    // Nobody is let in past who waits.
    until("another waits", || Ok(reader.try_enter(|_| ()) == locked))?;
    for _ in 0..1000 {
        check(board.ask(board::has_asked)?, "it waits and has not asked")?;
        check(
            !board.ask(board::has_written)?,
            "it was let in beside a reader",
        )?;
        check_equal("reading", reader.try_enter(|_| ()), locked.clone())?;
        sel4::yield_now();
    }
    board.ask(board::let_leave)?;
    ends(third)?;
    ends(fourth)?;
    check(board.ask(board::has_written)?, "it was not let in")?;
    reader.enter(|inside| inside.root().check(&table::expected(3)))??;
    drop((reader, writer));
    board.remove(data.vas())?;
    Ok(data.delete()?)
}

/// Lets others run until something is so.
fn until(what: &str, is_so: impl Fn() -> Result<bool, Failure>) -> Outcome {
    for _ in 0..100_000 {
        if is_so()? {
            return Ok(());
        }
        sel4::yield_now();
    }
    Err(Failure::new(format!("never: {what}")))
}
