// SPDX-License-Identifier: MIT OR Apache-2.0

//! One of the processes that do anything, as the seed says: `rounds WORKER LIFE SEED`. It ends
//! when it has done enough, if it is not killed before, and leaves everything as it is.
//!
//! `clear` looks through all segments that the user owns, and deletes everything of the user's.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use chaos::board::{self, Target, Visit};
use chaos::operation::Operation::{self, *};
use chaos::record::{self, Found, Stamp};
use chaos::{WORKERS, WRONG, pool};
use client_lib::{
    Access, Attachment, Command, Error, Lifetime, Mode, Name, PageSize, Rights, Segment, Space,
    Vas, VasCommand,
};
use common::calls::{detach, inside};
use common::failure::check_equal;
use common::segment_memory::load;
use common::{Failure, Outcome};
use fastrand::Rng;
use protocol::address_map::PAGE_BYTES;

runtime::heap!(128 << 10);
runtime::main!(main);

/// Rounds after which a worker ends by itself, at most.
const MOST_ROUNDS: u32 = 300;
/// Records that are read and written in a visit.
const READS: usize = 12;
const WRITES: u8 = 3;
/// Who finds an object, mostly.
const OPEN: Mode = Mode(0o666);
/// Users and groups that objects are given to: those of the workers.
const OWNERS: [(u32, Option<u32>); 3] = [(1000, Some(100)), (1001, Some(100)), (2000, None)];

fn main() -> i32 {
    let info = runtime::start_info();
    let words: Vec<&str> = info.arguments.split_ascii_whitespace().collect();
    let outcome = match *words {
        ["rounds", worker, life, seed] => rounds(worker, life, seed),
        ["clear"] => clear(),
        _ => Err(Failure::new("no such behaviour")),
    };
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("worker {}: {failure}", info.arguments);
            WRONG
        }
    }
}

/// A VAS as this worker knows it.
struct Known {
    number: usize,
    vas: Vas,
    /// Whether this process made it.
    made: bool,
    attachment: Option<(Attachment, Access)>,
}

struct Worker {
    random: Rng,
    board: Attachment,
    worker: u64,
    life: u64,
    /// Records written or announced so far.
    records: u64,
    /// A VAS of its own, to look into what is new.
    own: (Vas, Attachment),
    vases: [Option<Known>; pool::VASES],
    /// Segments, and whether this process made them.
    segments: [Option<(Segment, bool)>; pool::SEGMENTS],
}

/// An operation that the service did or refused.
type Answer = Result<(), Error>;

fn rounds(worker: &str, life: &str, seed: &str) -> Outcome {
    let (worker, life) = (worker.parse()?, life.parse()?);
    let vas = client_lib::vas_find(board::NAME)?;
    let board = client_lib::vas_attach(&vas, Access::ReadWrite)?;
    // It goes when this process does, however that ends.
    let own = client_lib::vas_create(&format!("own {life}"), Mode(0))?;
    client_lib::vas_ctl(&own, Command::Lifetime(Lifetime::Creator))?;
    let inside_own = client_lib::vas_attach(&own, Access::ReadOnly)?;
    let mut worker = Worker {
        random: Rng::with_seed(seed.parse()?),
        board,
        worker,
        life,
        records: 0,
        own: (own, inside_own),
        vases: [const { None }; pool::VASES],
        segments: [const { None }; pool::SEGMENTS],
    };
    for _ in 0..worker.random.u32(1..MOST_ROUNDS) {
        let enough = worker.on_board(|_| Ok(board::rounds() >= board::target()))?;
        if enough {
            break;
        }
        worker.round()?;
    }
    worker.end()
}

impl Worker {
    fn on_board<T>(&self, action: impl FnOnce(&Self) -> Result<T, Failure>) -> Result<T, Failure> {
        inside(&self.board, || action(self))
    }

    /// One operation, counted.
    fn round(&mut self) -> Outcome {
        let operation = self.choose();
        let (operation, answer) = match operation {
            VasCreate | VasFind | VasAttach | VasSwitch | VasDetach | VasDelete | VasClone
            | VasCtl | VasEvict => self.on_vas(operation)?,
            SegAlloc | SegFind | SegFree | SegClone | SegGrow | SegCtl | SegEvict => {
                self.on_segment(operation)?
            }
            SegAttach | SegDetach | SegAttachLocal | SegDetachLocal => self.on_both(operation)?,
        };
        let refused = match answer {
            Ok(()) => false,
            Err(error) if operation.may_be_refused_with(&error) => {
                if matches!(error, Error::StaleHandle { .. }) {
                    self.forget();
                }
                true
            }
            Err(error) => {
                return Err(Failure::new(format!("{operation:?}: {error:?}")));
            }
        };
        self.on_board(|this| {
            board::beat(this.worker);
            board::count(operation, refused);
            Ok(())
        })?;
        if self.random.u8(..) < 64 {
            sel4::yield_now();
        }
        Ok(())
    }

    /// Looks everything up again when it is needed, but where it is attached.
    fn forget(&mut self) {
        for known in &mut self.vases {
            known.take_if(|known| known.attachment.is_none());
        }
        self.segments = [const { None }; pool::SEGMENTS];
    }

    /// What takes from many others is seldom, or there would be nothing.
    fn choose(&mut self) -> Operation {
        loop {
            if self.random.u8(..) < 64 {
                return VasSwitch;
            }
            let operation = Operation::ALL[self.random.usize(..Operation::ALL.len())];
            let chance = match operation {
                VasEvict | SegEvict => 48,
                SegDetach => 128,
                _ => u8::MAX,
            };
            if self.random.u8(..) < chance {
                return operation;
            }
        }
    }

    fn access(&mut self) -> Access {
        if self.random.u8(..) < 64 {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        }
    }

    fn mode(&mut self) -> Mode {
        *self
            .random
            .choice(&[OPEN, OPEN, OPEN, OPEN, Mode(0o664), Mode(0o600)])
            .unwrap_or(&OPEN)
    }

    /// A change of an object; `made`: by this process.
    fn command(&mut self, made: bool) -> Command {
        match self.random.u8(..10) {
            0 => Command::RevokeHandles,
            1 => {
                let (user, group) = OWNERS[self.random.usize(..OWNERS.len())];
                Command::Owner { user, group }
            }
            2 => Command::Lifetime(Lifetime::LastAttacher),
            // What another made would die when that ends.
            3 if made => Command::Lifetime(Lifetime::Creator),
            4 | 5 => Command::Lifetime(Lifetime::Persistent),
            _ => Command::Mode(self.mode()),
        }
    }

    /// Says, before it is done, that a command may end something for others.
    fn foretell(&self, target: Target, command: &Command) -> Outcome {
        let life = match command {
            Command::Lifetime(Lifetime::Creator) => self.life,
            _ => return Ok(()),
        };
        self.on_board(|_| {
            target.dies_with(life);
            Ok(())
        })
    }

    fn take(&self, target: Target) -> Outcome {
        self.on_board(|_| {
            target.take();
            Ok(())
        })
    }

    fn on_vas(&mut self, operation: Operation) -> Result<(Operation, Answer), Failure> {
        let number = self.random.usize(..pool::VASES);
        let suitable = |known: &&Known| match operation {
            VasSwitch | VasDetach => known.attachment.is_some(),
            VasDelete | VasCtl | VasEvict => known.vas.rights().contains(Rights::CONTROL),
            _ => false,
        };
        let (before, behind) = self.vases.split_at(number);
        let mut known = behind.iter().chain(before).flatten();
        let number = known.find(suitable).map_or(number, |known| known.number);
        let name = pool::vas_name(number);
        if operation == VasCreate {
            let answer = client_lib::vas_create(name, self.mode());
            return Ok((VasCreate, answer.map(|vas| self.know(number, vas, true))));
        }
        let Some(mut known) = self.vases[number].take() else {
            let answer = client_lib::vas_find(name);
            return Ok((VasFind, answer.map(|vas| self.know(number, vas, false))));
        };
        let answer = match (operation, known.attachment.take()) {
            (VasAttach, None) | (VasSwitch | VasDetach, None) => {
                let access = self.access();
                let attached = client_lib::vas_attach(&known.vas, access);
                let answer = attached.map(|new| known.attachment = Some((new, access)));
                self.vases[number] = Some(known);
                return Ok((VasAttach, answer));
            }
            // The handle may be of a VAS of the past: then it is looked up again.
            (VasFind, None) => {
                let answer = client_lib::vas_find(name);
                return Ok((VasFind, answer.map(|vas| self.know(number, vas, false))));
            }
            (VasDetach, Some((attachment, _))) => {
                let answer = detach(attachment);
                self.vases[number] = Some(known);
                return Ok((VasDetach, answer));
            }
            (VasSwitch, Some((attachment, access))) => {
                let answer = self.visit(&known, &attachment, access)?;
                if answer.is_ok() {
                    known.attachment = Some((attachment, access));
                }
                self.vases[number] = Some(known);
                return Ok((VasSwitch, answer));
            }
            (operation, attachment) => {
                known.attachment = attachment;
                match operation {
                    VasDelete => client_lib::vas_delete(&known.vas),
                    VasEvict => {
                        self.take(Target::Vas(number))?;
                        if self.random.bool() {
                            client_lib::vas_ctl(&known.vas, Command::Evict)
                        } else {
                            evict_first(&known.vas)
                        }
                    }
                    VasClone => {
                        let to = self.random.usize(..pool::VASES);
                        let (mode, access) = (self.mode(), self.access());
                        let name = pool::vas_name(to);
                        let cloned = client_lib::vas_clone(&known.vas, name, mode, access);
                        // If it is this one's name, this one is of the past.
                        if to != number {
                            let answer = cloned.map(|vas| self.know(to, vas, true));
                            self.vases[number] = Some(known);
                            return Ok((VasClone, answer));
                        }
                        cloned.map(drop)
                    }
                    _ => {
                        let command = self.command(known.made);
                        self.foretell(Target::Vas(number), &command)?;
                        let answer = client_lib::vas_ctl(&known.vas, command);
                        self.vases[number] = Some(known);
                        return Ok((VasCtl, answer));
                    }
                }
            }
        };
        if answer.is_err() || operation == VasEvict {
            self.vases[number] = Some(known);
        }
        Ok((operation, answer))
    }

    /// Remembers a handle; an attachment of a VAS of that name in the past is let go.
    fn know(&mut self, number: usize, vas: Vas, made: bool) {
        let before = self.vases[number].replace(Known {
            number,
            vas,
            made,
            attachment: None,
        });
        if let Some((attachment, _)) = before.and_then(|known| known.attachment) {
            let _ = detach(attachment);
        }
    }

    fn on_segment(&mut self, operation: Operation) -> Result<(Operation, Answer), Failure> {
        if operation == SegAlloc {
            return Ok((SegAlloc, self.alloc()?));
        }
        let number = self.random.usize(..pool::SEGMENTS);
        let suitable = |number: &usize| match (operation, &self.segments[*number]) {
            (SegFree | SegCtl | SegEvict, Some((segment, _))) => {
                segment.rights().contains(Rights::CONTROL)
            }
            _ => false,
        };
        let number = (number..pool::SEGMENTS)
            .chain(0..number)
            .find(suitable)
            .unwrap_or(number);
        let name = pool::segment_name(number);
        let Some((mut segment, made)) = self.segments[number].take() else {
            let answer = client_lib::seg_find(name);
            let answer = answer.map(|segment| self.segments[number] = Some((segment, false)));
            return Ok((SegFind, answer));
        };
        let answer = match operation {
            SegFind => {
                let answer = client_lib::seg_find(name);
                let answer = answer.map(|segment| self.segments[number] = Some((segment, false)));
                return Ok((SegFind, answer));
            }
            SegFree => client_lib::seg_free(&segment),
            SegEvict => {
                self.take(Target::Segment(number))?;
                client_lib::seg_ctl(&segment, Command::Evict)
            }
            SegClone => {
                let to = self.random.usize(pool::MADE..pool::SEGMENTS);
                let mode = self.mode();
                let cloned = client_lib::seg_clone(&segment, pool::segment_name(to), mode);
                let answer = cloned.map(|clone| {
                    if to != number {
                        self.segments[to] = Some((clone, true));
                    }
                });
                self.segments[number] = Some((segment, made));
                return Ok((SegClone, answer));
            }
            SegGrow => {
                let size = segment.size() + PAGE_BYTES;
                client_lib::seg_grow(&mut segment, size)
            }
            _ => {
                let command = self.command(made);
                self.foretell(Target::Segment(number), &command)?;
                client_lib::seg_ctl(&segment, command)
            }
        };
        if operation != SegFree || answer.is_err() {
            self.segments[number] = Some((segment, made));
        }
        Ok((operation, answer))
    }

    fn alloc(&mut self) -> Result<Answer, Failure> {
        if self.random.u8(..) < 64 {
            self.see_new_memory()?;
        }
        let number = self.random.usize(..pool::MADE);
        let size = self.random.u64(1..=5) * PAGE_BYTES;
        let mode = self.mode();
        Ok(
            match alloc(pool::segment_name(number), number, size, mode) {
                Ok(segment) => {
                    check_equal("size", segment.size(), size)?;
                    self.segments[number] = Some((segment, true));
                    Ok(())
                }
                Err(error) => Err(error),
            },
        )
    }

    /// A segment that nobody else looks for is empty, whatever its memory was before.
    fn see_new_memory(&mut self) -> Outcome {
        let number = self.random.usize(..pool::MADE);
        let size = self.random.u64(1..=9) * PAGE_BYTES;
        let segment = alloc(&format!("own {}", self.life), number, size, Mode(0))?;
        let (vas, attachment) = &self.own;
        let local = pool::is_local(segment.base());
        if local {
            client_lib::seg_attach_local(attachment, &segment, Access::ReadOnly)?;
        } else {
            client_lib::seg_attach(vas, &segment, Access::ReadOnly)?;
        }
        inside(attachment, || {
            (segment.base()..segment.base() + size)
                .step_by(64)
                .try_for_each(|word| check_equal("new word", load(word), 0))
        })?;
        if local {
            client_lib::seg_detach_local(attachment, &segment)?;
        } else {
            client_lib::seg_detach(vas, &segment)?;
        }
        Ok(client_lib::seg_free(&segment)?)
    }

    fn on_both(&mut self, operation: Operation) -> Result<(Operation, Answer), Failure> {
        let number = self.random.usize(..pool::VASES);
        let choice = self.random.usize(..);
        let Some(known) = self.vases[number].as_ref() else {
            return self.on_vas(VasFind);
        };
        let Some((segment_number, segment)) = self.some_segment(choice) else {
            return self.on_segment(SegFind);
        };
        let local = pool::is_local(segment.base());
        let taken = || self.take(Target::Segment(segment_number));
        Ok(match (operation, &known.attachment) {
            (SegAttach | SegAttachLocal, Some((attachment, access))) if local => {
                let answer = client_lib::seg_attach_local(attachment, segment, *access);
                (SegAttachLocal, answer)
            }
            (SegDetach | SegDetachLocal, Some((attachment, _))) if local => {
                let answer = client_lib::seg_detach_local(attachment, segment);
                (SegDetachLocal, answer)
            }
            (_, None) if local => return self.on_vas(VasFind),
            (SegAttach | SegAttachLocal, _) => {
                let answer = client_lib::seg_attach(&known.vas, segment, Access::ReadWrite);
                (SegAttach, answer)
            }
            _ => {
                taken()?;
                (SegDetach, client_lib::seg_detach(&known.vas, segment))
            }
        })
    }

    /// One of the segments that there is a handle of, and its number.
    fn some_segment(&self, choice: usize) -> Option<(usize, &Segment)> {
        let known = self.segments.iter().enumerate();
        let known: Vec<(usize, &Segment)> = known
            .filter_map(|(number, known)| known.as_ref().map(|(segment, _)| (number, segment)))
            .collect();
        known.get(choice.checked_rem(known.len())?).copied()
    }

    /// Sees to it that a segment is in a VAS, goes in, reads, and writes if that is allowed.
    fn visit(
        &mut self,
        known: &Known,
        attachment: &Attachment,
        access: Access,
    ) -> Result<Answer, Failure> {
        let mut random = self.random.fork();
        let chosen = self.some_segment(random.usize(..));
        let visited = chosen.map_or(0, |(number, _)| number);
        let own_records = self.records + u64::from(WRITES);
        self.on_board(|this| {
            let targets = [Target::Vas(known.number), Target::Segment(visited)];
            let visit = Visit {
                vas: known.number,
                segment: visited,
                takings: targets.map(Target::takings),
            };
            board::announce(this.life, own_records);
            board::set_visit(this.worker, Some(visit));
            Ok(())
        })?;
        let (mut readable, mut writable) = (false, false);
        if let Some((_, segment)) = chosen {
            let wanted = if random.bool() {
                Access::ReadWrite
            } else {
                Access::ReadOnly
            };
            let local = pool::is_local(segment.base());
            let (operation, added) = if local {
                (
                    SegAttachLocal,
                    client_lib::seg_attach_local(attachment, segment, wanted),
                )
            } else {
                (
                    SegAttach,
                    client_lib::seg_attach(&known.vas, segment, wanted),
                )
            };
            match &added {
                Ok(()) => {
                    readable = true;
                    writable = wanted.min(access) == Access::ReadWrite;
                }
                Err(Error::AlreadyAttached) => readable = true,
                Err(error) if operation.may_be_refused_with(error) => {}
                Err(error) => return Err(Failure::new(format!("{operation:?}: {error:?}"))),
            }
            self.on_board(|_| {
                board::count(operation, added.is_err());
                Ok(())
            })?;
        }
        let mut found: Vec<Found> = Vec::with_capacity(READS);
        let answer = client_lib::vas_switch(attachment.space()).map(drop);
        if answer.is_ok() {
            if let (Some((_, segment)), true) = (chosen, readable) {
                let records = segment.size() / record::BYTES;
                for _ in 0..READS {
                    let address = segment.base() + random.u64(..records) * record::BYTES;
                    found.push(record::read(address));
                    if random.u8(..) < 16 {
                        sel4::yield_now();
                    }
                }
                for number in (self.records + 1..=own_records).filter(|_| writable) {
                    let of_eight = random.u64(..records / WORKERS);
                    let address =
                        segment.base() + (of_eight * WORKERS + self.worker) * record::BYTES;
                    let pause = random.u64(..16);
                    // Somewhere in some of them others go on, or this is killed.
                    record::write(address, Stamp::new(self.life, number), |word| {
                        if word == pause {
                            sel4::yield_now();
                        }
                    });
                }
            }
            client_lib::vas_switch(Space::OWN)?;
        }
        self.records = own_records;
        self.on_board(|this| {
            board::set_visit(this.worker, None);
            found.iter().try_for_each(|found| match found.fault() {
                None => Ok(()),
                Some(fault) => Err(Failure::new(format!("{fault}: {found:x?}"))),
            })
        })?;
        Ok(answer)
    }

    /// Ends with everything as it is.
    fn end(mut self) -> Outcome {
        let abruptly = self.random.bool();
        let (life, worker) = (self.life, self.worker);
        self.on_board(|_| {
            Target::all()
                .filter(|target| target.mortal() == life)
                .for_each(Target::take);
            board::beat(worker);
            if abruptly {
                runtime::exit(0);
            }
            Ok(())
        })
    }
}

/// Takes a VAS away from the first of those that are attached.
fn evict_first(vas: &Vas) -> Answer {
    match client_lib::vas_attachments(vas, None)?.next() {
        Some(entry) => client_lib::vas_ctl(vas, VasCommand::EvictAttachment(entry.attachment)),
        None => Ok(()),
    }
}

/// Makes a segment where the one of that number belongs. Some have locks, which whoever goes
/// into a VAS that has them takes, waits for, and takes along when it is killed.
fn alloc(name: &str, number: usize, size: u64, mode: Mode) -> Result<Segment, Error> {
    let (base, own_slots) = pool::place(number);
    let small = Some(PageSize::Small);
    match (own_slots, number.is_multiple_of(4) && !pool::is_local(base)) {
        (true, _) => client_lib::seg_alloc_own_slots(name, base, size, small, mode),
        (false, true) => client_lib::seg_alloc_lockable(name, base, size, small, mode),
        (false, false) => client_lib::seg_alloc(name, base, size, small, mode),
    }
}

/// Deletes all VASes and segments that the user owns but the board, after a look at all records.
fn clear() -> Outcome {
    let board = client_lib::vas_attach(&client_lib::vas_find(board::NAME)?, Access::ReadOnly)?;
    let owned = |rights: Rights| rights.contains(Rights::CONTROL);
    let mut after = None;
    loop {
        let mut rest = client_lib::vas_list(after.as_ref().map(Name::as_str))?;
        let Some(entry) = rest.next() else {
            break;
        };
        drop(rest);
        after = Some(entry.name.clone());
        let name = entry.name.as_str();
        if name == board::NAME {
            continue;
        }
        let vas = client_lib::vas_find(name)?;
        if owned(vas.rights()) {
            client_lib::vas_delete(&vas)?;
        }
    }
    let look = client_lib::vas_create("look", Mode(0))?;
    let mut after = None;
    let (mut records, mut torn) = (0, 0);
    loop {
        let mut rest = client_lib::seg_list(after.as_ref().map(Name::as_str))?;
        let Some(entry) = rest.next() else {
            break;
        };
        drop(rest);
        after = Some(entry.name.clone());
        let name = entry.name.as_str();
        let segment = client_lib::seg_find(name)?;
        if name == board::NAME || !owned(segment.rights()) {
            continue;
        }
        client_lib::seg_ctl(&segment, Command::Evict)?;
        // It dies so if nothing but that was attached to it.
        let Ok(()) = client_lib::seg_ctl(&segment, Command::Mode(OPEN)) else {
            continue;
        };
        client_lib::seg_ctl(&segment, Command::Lifetime(Lifetime::Persistent))?;
        let segment = client_lib::seg_find(name)?;
        let found = look_through(&look, &segment)?;
        inside(&board, || {
            found
                .iter()
                .try_for_each(|found| match found.fault_at_last(name.starts_with('c')) {
                    None => Ok(()),
                    Some(fault) => Err(Failure::new(format!("{name}: {fault}: {found:x?}"))),
                })
        })?;
        records += found.len();
        torn += found.iter().filter(|found| found.is_torn()).count();
        client_lib::seg_free(&segment)?;
    }
    client_lib::vas_delete(&look)?;
    let principal = runtime::start_info().component;
    runtime::println!("chaos: {principal} saw {records} records at last, {torn} of them torn");
    Ok(())
}

/// All records of a segment that were ever written.
fn look_through(look: &Vas, segment: &Segment) -> Result<Vec<Found>, Failure> {
    let access = Access::ReadOnly;
    let local = pool::is_local(segment.base());
    if !local {
        client_lib::seg_attach(look, segment, access)?;
    }
    let attachment = client_lib::vas_attach(look, access)?;
    if local {
        client_lib::seg_attach_local(&attachment, segment, access)?;
    }
    let records = segment.base()..segment.base() + segment.size();
    let found = inside(&attachment, || {
        let found = records.step_by(record::BYTES as usize).map(record::read);
        Ok(found.filter(|found| !found.is_empty()).collect())
    });
    detach(attachment)?;
    if !local {
        client_lib::seg_detach(look, segment)?;
    }
    found
}
