// SPDX-License-Identifier: MIT OR Apache-2.0

//! The processes that the calls are made by.

use alloc::format;

use common::proxy::{Command, endpoint_of, slot_of};
use common::raw::{self, Reply};
use model::{Client, Number, PROCESSES, Touch};
use protocol::message::Request;
use protocol::process::{ExitStatus, InitError, ProcessId, slot};
use protocol::wire::{self, WORDS, Words};
use protocol::{AttachmentId, Error};
use runtime::process;
use sel4::{MessageInfo, cap};

/// Proxies, by whose user they run as.
pub struct Processes([ProcessId; PROCESSES]);

impl Processes {
    /// Starts them.
    pub fn begin() -> Result<Self, InitError> {
        Ok(Processes([spawn(0)?, spawn(1)?, spawn(2)?]))
    }

    /// Tells a proxy what to do, and waits for what comes of it.
    fn tell(&self, process: usize, command: &Command) -> Reply {
        let mut words = [0; WORDS];
        let length = encode(command, &mut words);
        raw::call(endpoint(process), 0, &words[..length], &[], raw::EMPTY)
    }

    /// Tells a proxy to do what it dies of, and says whether it did, at that address.
    fn dies(&mut self, process: usize, command: &Command, address: u64) -> bool {
        let mut words = [0; WORDS];
        let length = encode(command, &mut words);
        let registers = sel4::write_message(&words[..length]);
        let info = MessageInfo::new(0, 0, 0, length as u64);
        sel4::send(cap::Endpoint::from_bits(endpoint(process)), info, registers);
        let status = process::wait(self.0[process]);
        self.0[process] = spawn(process).expect("init has memory for the processes");
        status == Ok(ExitStatus::Faulted { address })
    }
}

/// The endpoint of a proxy.
const fn endpoint(process: usize) -> u64 {
    slot::ENDPOINTS + process as u64
}

fn encode(command: &Command, words: &mut Words) -> usize {
    wire::encode(command, words).expect("commands fit into messages")
}

fn spawn(process: usize) -> Result<ProcessId, InitError> {
    process::spawn(&format!("proxy-{process}"), "")
}

impl Client for Processes {
    fn ask<R: Request>(
        &mut self,
        process: usize,
        request: &R,
        handles: &[Number],
        new: Number,
    ) -> Result<R::Reply, Error> {
        let mut words = [0; WORDS];
        let length = wire::encode(request, &mut words)?;
        let command = Command::Ask {
            label: R::OPERATION as u64,
            body: words[..length].iter().copied().collect(),
            handles: handles.iter().map(|&number| slot_of(number)).collect(),
            receive: slot_of(new),
        };
        // As the client library does.
        loop {
            match self.tell(process, &command).decode() {
                Err(Error::Again) => {}
                answer => return answer,
            }
        }
    }

    fn touch(
        &mut self,
        process: usize,
        (root, attachment): (Number, AttachmentId),
        touch: Touch,
        dies: bool,
    ) -> Result<Option<u64>, Error> {
        let root = slot_of(root);
        if !dies {
            let command = Command::Touch {
                root,
                attachment,
                touch,
            };
            let touched: Result<u64, Error> = self.tell(process, &command).decode()?;
            return touched.map(Some);
        }
        let command = Command::TouchAndExit {
            root,
            attachment,
            touch,
        };
        let (Touch::Load(address) | Touch::Store(address, _) | Touch::Scan { base: address, .. }) =
            touch;
        match self.dies(process, &command, address) {
            true => Ok(None),
            false => Ok(Some(0)),
        }
    }

    fn pass(&mut self, from: usize, to: usize, handle: Number, new: Number) {
        self.tell(to, &Command::Take(slot_of(new)));
        let give = Command::Give {
            handle: slot_of(handle),
            endpoint: endpoint_of(from, to),
        };
        self.tell(from, &give);
    }

    fn restart(&mut self, process: usize) {
        let ended = process::kill(self.0[process]).and_then(|()| process::wait(self.0[process]));
        assert_eq!(ended, Ok(ExitStatus::Killed));
        self.0[process] = spawn(process).expect("init has memory for the processes");
    }
}
