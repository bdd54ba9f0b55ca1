// SPDX-License-Identifier: MIT OR Apache-2.0

//! Makes calls and compares their answers with the specification's.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::hash::Hasher;

use fastrand::Rng;
use fnv::FnvHasher;
use protocol::message::{self, Attached, HandleStat, SegFind, SegFree, VasDelete, VasFind};
use protocol::wire::{self, WORDS};
use protocol::{AttachmentId, Error, Rights};

use crate::{
    Action, Answer, Call, Expected, Number, PROCESSES, Reply, Request, Specification, Touch,
};

/// Processes that the calls are made by.
pub trait Client {
    /// A process asks the service, with the caps that it keeps under these numbers. A cap that
    /// comes with the reply it keeps under `new`.
    ///
    /// # Errors
    /// What the service answers.
    fn ask<R: message::Request>(
        &mut self,
        process: usize,
        request: &R,
        handles: &[Number],
        new: Number,
    ) -> Result<R::Reply, Error>;

    /// A process switches into an attachment, whose root it keeps under that number, touches
    /// memory and switches back. `None`: it died, and another was begun in its place. Whether it
    /// will is told, since it is dear to find out.
    ///
    /// # Errors
    /// [`Error::StaleAttachment`] if the root is gone.
    fn touch(
        &mut self,
        process: usize,
        attachment: (Number, AttachmentId),
        touch: Touch,
        dies: bool,
    ) -> Result<Option<u64>, Error>;

    /// A process gives the other a copy of the cap that it keeps under `handle`, if that is
    /// still there; the other keeps it under `new`.
    fn pass(&mut self, from: usize, to: usize, handle: Number, new: Number);

    /// A process is ended, and another begun in its place.
    fn restart(&mut self, process: usize);
}

/// A call, and the right answer.
#[derive(Debug)]
pub struct Played {
    /// What was called.
    pub call: Call,
    /// What was answered.
    pub answer: Answer,
}

/// An answer that is not the specification's.
#[derive(Debug)]
pub struct Difference {
    /// How many calls came before it.
    pub after: u64,
    /// To what.
    pub call: Call,
    /// What was answered.
    pub answer: Answer,
    /// What was right.
    pub expected: Expected,
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference {
            after,
            call,
            answer,
            expected,
        } = self;
        write!(
            out,
            "after {after} calls, {call:?}: answered {answer:?}, expected {expected:?}"
        )
    }
}

impl core::error::Error for Difference {}

/// The words that choose the calls of a seed. Any word is good in any place, so a sequence stays
/// one when words are left out.
pub fn words(seed: u64, steps: u64) -> Vec<u64> {
    let mut random = Rng::with_seed(seed);
    (0..steps).map(|_| random.u64(..)).collect()
}

/// Plays a sequence of calls.
#[derive(Default)]
pub struct Player {
    specification: Specification,
    /// What the service calls the attachments.
    attachments: BTreeMap<Number, AttachmentId>,
    answers: FnvHasher,
    calls: u64,
    scarce: bool,
}

impl Player {
    /// Nothing is there yet, and all processes have just begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same where memory or slots may be missing.
    #[must_use]
    pub fn scarce() -> Self {
        Player {
            scarce: true,
            ..Self::default()
        }
    }

    /// What must be there now.
    pub const fn specification(&self) -> &Specification {
        &self.specification
    }

    /// A digest of all answers so far.
    pub fn answers(&self) -> u64 {
        self.answers.finish()
    }

    /// Makes the call that the word chooses.
    ///
    /// # Errors
    /// If the answer is not the specification's.
    pub fn step(&mut self, client: &mut impl Client, word: u64) -> Result<Played, Box<Difference>> {
        let call = self.specification.choose(&mut Rng::with_seed(word));
        self.call(client, call)
    }

    fn call(&mut self, client: &mut impl Client, call: Call) -> Result<Played, Box<Difference>> {
        let mut after = self.specification.clone();
        let expected = after.perform(&call);
        let dies = expected == Ok(Reply::Died);
        let answer = self.make(client, &call, dies);
        let missing = [Error::OutOfMemory, Error::OutOfSlots, Error::OutOfAsids];
        let right = match (&answer, &expected) {
            (Ok(answer), Ok(expected)) => answer == expected,
            // What is missing may be found out before another reason to refuse.
            (Err(error), _) if self.scarce && missing.contains(error) => true,
            (Err(error), Err(refusal)) => refusal.allows(error),
            (Err(_), Ok(_)) => false,
            (Ok(_), Err(_)) => false,
        };
        if !right {
            let difference = Difference {
                after: self.calls,
                call,
                answer,
                expected,
            };
            return Err(difference.into());
        }
        if answer.is_ok() {
            self.specification = after;
        }
        let mut words = [0; WORDS];
        let length = wire::encode(&answer, &mut words).expect("answers fit into messages");
        for &word in &words[..length] {
            self.answers.write_u64(word);
        }
        self.calls += 1;
        Ok(Played { call, answer })
    }

    fn make(&mut self, client: &mut impl Client, call: &Call, dies: bool) -> Answer {
        let (process, new) = (call.process, call.new);
        match &call.action {
            Action::Ask(request, handles) => {
                let mut request = request.clone();
                if let Some(attachment) = request.attachment() {
                    *attachment = self.id_of(attachment.0 as Number);
                }
                let reply = request.ask(client, process, handles, new)?;
                if let Reply::VasAttach(attached) = reply {
                    self.attachments.insert(new, attached.attachment);
                    let attachment = AttachmentId(new.into());
                    return Ok(Reply::VasAttach(Attached {
                        attachment,
                        ..attached
                    }));
                }
                Ok(reply.specified())
            }
            &Action::Touch(attachment, touch) => {
                let attachment = (attachment, self.id_of(attachment));
                let touched = client.touch(process, attachment, touch, dies)?;
                Ok(touched.map_or(Reply::Died, Reply::Touched))
            }
            &Action::Pass(handle, to) => {
                client.pass(process, to, handle, new);
                let described = client.ask(to, &HandleStat, &[new], new);
                described.map(Reply::HandleStat)
            }
            Action::Restart => {
                client.restart(process);
                Ok(Reply::Restarted)
            }
        }
    }

    fn id_of(&self, attachment: Number) -> AttachmentId {
        let id = self.attachments.get(&attachment);
        *id.expect("calls name attachments that were made")
    }

    /// Looks at all memory that is seen, ends all processes, and has all VASes and segments
    /// deleted by their owners.
    ///
    /// # Errors
    /// If an answer is not the specification's.
    pub fn end(&mut self, client: &mut impl Client) -> Result<(), Box<Difference>> {
        for scan in self.specification.scans() {
            self.call(client, scan)?;
        }
        // Another in every sequence.
        let mut random = Rng::with_seed(self.answers());
        for process in 0..PROCESSES {
            let end = self.specification.choose_end(process, &mut random);
            self.call(client, end)?;
            let restart = self.specification.call(process, Action::Restart);
            self.call(client, restart)?;
        }
        // Where slots are scarce a handle may have to wait until others are gone.
        while self.specification.objects() > 0 {
            let before = self.specification.objects();
            for (owner, name) in self.specification.vases() {
                self.find_and(client, owner, VasFind { name }, VasDelete)?;
            }
            for (owner, name) in self.specification.segments() {
                self.find_and(client, owner, SegFind { name }, SegFree)?;
            }
            assert!(
                self.specification.objects() < before,
                "nothing can be deleted"
            );
        }
        Ok(())
    }

    fn find_and(
        &mut self,
        client: &mut impl Client,
        owner: usize,
        find: impl Into<Request>,
        delete: impl Into<Request>,
    ) -> Result<(), Box<Difference>> {
        let find = self.specification.ask(owner, find, vec![]);
        let handle = find.new;
        if self.call(client, find)?.answer.is_ok() {
            let delete = self.specification.ask(owner, delete, vec![handle]);
            self.call(client, delete)?;
        }
        Ok(())
    }
}

/// All rights, as makers have them.
pub(crate) const ALL: Rights = Rights::all();
