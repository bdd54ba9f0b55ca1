// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether anybody waits long for a small request while another process asks for something large.
//!
//! Prints `test NAME ... ok` or `test NAME ... FAILED: reason` for each kind of large request, and for
//! the beginning and the end of processes. There is one core, and the server is of higher priority than its clients: whatever it does for one is
//! what another waits for that wants something now. So the other process is told to send one request
//! after the other, and each time a small one is sent at once behind it; counted is from the one to
//! the answer of the other.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bench::count::Counter;
use bench::failure::Failure;
use bench::large::{self, OPERATIONS};
use client_lib::{
    Access, Error, Mode, PageSize, Segment, Vas, rpc, seg_alloc_lockable, seg_attach, seg_free,
    vas_attach, vas_create, vas_delete, vas_detach,
};
use protocol::address_map::{GLOBAL, PAGE_BYTES};
use protocol::limits::LOCKS_PER_VAS;
use protocol::message::{ServerStat, Statistics, VasLock, VasUnlock, Wait};
use protocol::process::ProcessId;
use runtime::{println, process};

runtime::heap!(64 << 10);
runtime::main!(main);

/// Instructions that anybody waits at most.
const MOST: u64 = 2_000_000;
/// Processes that wait for locks.
const LOCKERS: usize = 48;
/// Enough that all of them wait.
const YIELDS: u32 = 2000;

fn main() -> Result<i32, Failure> {
    let mut waits = Waits {
        counter: Counter::new()?,
        failed: false,
    };
    let before = waits.settle()?.1;
    let idle = waits.begin()?;
    waits.end(idle, "the_end_of_a_process")?;
    let other = process::spawn("large", "")?;
    for (number, &(name, _)) in OPERATIONS.iter().enumerate() {
        waits.operation(number, name)?;
    }
    waits.end(other, "the_end_of_a_process_with_much")?;
    waits.locks()?;
    let after = waits.settle()?.1;
    let same = if before == after {
        Ok(())
    } else {
        Err(format!("{before:?} before, {after:?} after"))
    };
    waits.judge("what_was_there_before_is_there_at_the_end", same);
    Ok(i32::from(waits.failed))
}

struct Waits {
    counter: Counter,
    failed: bool,
}

impl Waits {
    /// The other process does an operation, request by request; then it is waited for that all is
    /// free that was deleted.
    fn operation(&mut self, number: usize, name: &str) -> Result<(), Failure> {
        let mut longest = 0;
        let mut requests = 0;
        loop {
            let (count, answer) = self.counter.count(|| {
                let answer = large::tell(number);
                rpc::once(&ServerStat, []).map(|_| answer)
            });
            longest = longest.max(count);
            requests += 1;
            match answer? {
                Ok(()) => break,
                Err(Error::Again) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let settled = self.settle()?.0;
        self.tell(name, requests, longest, settled);
        Ok(())
    }

    /// The longest that a small request took until all was free, and what then is left.
    fn settle(&self) -> Result<(u64, Statistics), Error> {
        let mut longest = 0;
        loop {
            let (count, answer) = self.counter.count(|| rpc::once(&ServerStat, []));
            longest = longest.max(count);
            let statistics = answer?;
            if statistics.pending == 0 {
                return Ok((longest, statistics));
            }
        }
    }

    fn tell(&mut self, name: &str, requests: u32, longest: u64, settled: u64) {
        println!("{name}: {requests} requests, {longest} at most, and {settled} after them");
        let waited = longest.max(settled);
        let outcome = match waited <= MOST {
            true => Ok(()),
            false => Err(format!("{waited} instructions, more than {MOST}")),
        };
        self.judge(&format!("nobody_waits_long_for_{name}"), outcome);
    }

    fn judge(&mut self, name: &str, outcome: Result<(), String>) {
        match outcome {
            Ok(()) => println!("test {name} ... ok"),
            Err(reason) => {
                println!("test {name} ... FAILED: {reason}");
                self.failed = true;
            }
        }
    }

    /// Starts the other process. init's work is counted, too.
    fn begin(&mut self) -> Result<ProcessId, Failure> {
        let (count, id) = self.counter.count(|| process::spawn("large", ""));
        self.tell("the_beginning_of_a_process", 1, count, 0);
        Ok(id?)
    }

    /// Ends it, whatever it has.
    fn end(&mut self, id: ProcessId, name: &str) -> Result<(), Failure> {
        let (count, killed) = self.counter.count(|| process::kill(id));
        killed?;
        let settled = self.settle()?.0;
        self.tell(name, 1, count, settled);
        Ok(())
    }

    /// Many wait for many locks, and are let in.
    fn locks(&mut self) -> Result<(), Failure> {
        let (vas, segments) = lockable("locks")?;
        let attached = vas_attach(&vas, Access::ReadWrite)?;
        let attachment = attached.id();
        let wait = Wait::No;
        let (count, locked) = self
            .counter
            .count(|| rpc::once(&VasLock { attachment, wait }, []));
        locked?;
        self.tell("many_locks", 1, count, 0);
        let lockers: Vec<_> = (0..LOCKERS)
            .map(|_| process::spawn("locker", "locks"))
            .collect();
        // They run while this process does not.
        for _ in 0..YIELDS {
            sel4::yield_now();
        }
        let (count, unlocked) = self
            .counter
            .count(|| rpc::once(&VasUnlock { attachment }, []));
        unlocked?;
        self.tell("the_locks_that_many_wait_for", 1, count, 0);
        for locker in lockers {
            process::wait(locker?)?;
        }
        vas_detach(attached).map_err(|(_, error)| error)?;
        vas_delete(&vas)?;
        for segment in &segments {
            seg_free(segment)?;
        }
        Ok(())
    }
}

/// A VAS with as many lockable segments as there may be.
fn lockable(name: &str) -> Result<(Vas, Vec<Segment>), Error> {
    let mode = Mode(0o600);
    let vas = vas_create(name, mode)?;
    let mut segments = Vec::new();
    for number in 0..LOCKS_PER_VAS as u64 {
        let base = GLOBAL.start + number * PAGE_BYTES;
        let small = Some(PageSize::Small);
        let segment = seg_alloc_lockable(&format!("lock {number}"), base, PAGE_BYTES, small, mode)?;
        seg_attach(&vas, &segment, Access::ReadWrite)?;
        segments.push(segment);
    }
    Ok((vas, segments))
}
