// SPDX-License-Identifier: MIT OR Apache-2.0

//! The running system: processes by number, and what they ask of init.

use alloc::vec::Vec;
use core::fmt::Write;

use image::Image;
use protocol::Name;
use protocol::address_map::{FILES, PAGE_BYTES, ipc_buffer};
use protocol::limits;
use protocol::message::{Principal, PrivateForm, SessionCreated};
use protocol::process::{
    ActiveSpace, CNODE_BITS, Ended, ExitStatus, File, InitError, InitOperation, ProcessId, Spawn,
    StartInfo, slot,
};
use protocol::wire::{self, WORDS, Words};
use runtime::println;
use sel4::{BADGE_BITS, CapRights, Fault, MessageInfo, cap};

use crate::console;
use crate::fault::Report;
use crate::memory::{Objects, first};
use crate::process::{Layout, Process, Threads};
use crate::server::Server;

const DEPTH: u8 = u64::BITS as u8;

/// Who sends a message to init.
#[derive(Clone, Copy)]
pub enum Sender {
    /// A process.
    Process(ProcessId),
    /// The kernel, because this thread faulted.
    Fault(ProcessId, usize),
}

/// Bits of a badge that say that it is a fault, and of which thread.
const THREAD_BITS: u32 = (2 * limits::THREADS as u32 - 1).ilog2() + 1;

impl Sender {
    /// The badge of its cap to init.
    pub fn badge(self) -> u64 {
        let (process, thread) = match self {
            Sender::Process(process) => (process, 0),
            Sender::Fault(process, thread) => (process, thread as u64 * 2 + 1),
        };
        u64::from(process.0) << THREAD_BITS | thread
    }

    /// Who has the cap with this badge.
    fn of(badge: u64) -> Self {
        let process = ProcessId((badge >> THREAD_BITS) as u32);
        let thread = badge % (1 << THREAD_BITS);
        match thread % 2 {
            0 => Sender::Process(process),
            _ => Sender::Fault(process, thread as usize / 2),
        }
    }
}

/// Highest process number that fits a badge.
const LAST_PROCESS: u32 = (1 << (BADGE_BITS as u32 - THREAD_BITS)) - 1;

/// All that init knows.
pub struct System {
    /// What the builder put into the image.
    pub image: Image<'static>,
    /// Memory and slots.
    pub objects: Objects,
    /// The VAS server.
    pub server: Server,
    /// Where processes and the kernel send to.
    pub endpoint: cap::Endpoint,
    /// Slots of the endpoints that components talk to each other through.
    pub endpoints: Vec<u64>,
    /// Processes that run, or whose parent may still ask how they ended.
    pub processes: Vec<Process>,
    /// The number of the next process.
    pub next: u32,
}

/// What init answers a request.
enum Answer {
    Reply { label: u64, length: usize },
    None,
}

impl System {
    /// Serves until the main component ends.
    pub fn run(mut self) -> ! {
        let main = self.image.system().main.to_native() as usize;
        let main = match self.spawn(main, None, None) {
            Ok(process) => process,
            Err(error) => {
                println!("init: cannot start the main component: {error}");
                console::power_off(false)
            }
        };

        let mut words = [0; WORDS];
        let mut message = sel4::recv(self.endpoint);
        loop {
            let (info, badge, registers) = message;
            let length = (info.length() as usize).min(WORDS);
            sel4::read_message(&mut words[..length], registers);
            let answer = match Sender::of(badge) {
                Sender::Fault(process, thread) => {
                    let fault = Fault::from_message(info, registers);
                    self.fault(process, thread, fault.unwrap_or(Fault::NullFault));
                    Answer::None
                }
                Sender::Process(process) => self.request(process, info.label(), length, &mut words),
            };
            if let Some(ended) = self.ended(main) {
                self.finish(main, ended.status);
            }
            message = match answer {
                Answer::Reply { label, length } => {
                    let registers = sel4::write_message(&words[..length]);
                    let info = MessageInfo::new(label, 0, 0, length as u64);
                    sel4::reply_recv(self.endpoint, info, registers)
                }
                Answer::None => sel4::recv(self.endpoint),
            };
        }
    }

    fn finish(&self, main: ProcessId, status: ExitStatus) -> ! {
        let passed = status == ExitStatus::Exited(0);
        if !passed {
            println!("init: {} ended: {status:?}", self.name(main));
        }
        console::power_off(passed)
    }

    fn find(&mut self, id: ProcessId) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.id == id)
    }

    fn ended(&self, id: ProcessId) -> Option<&Ended> {
        let mut processes = self.processes.iter();
        processes.find(|process| process.id == id)?.ended.as_ref()
    }

    /// The component's name, for messages.
    fn name(&self, id: ProcessId) -> &str {
        self.processes
            .iter()
            .find(|process| process.id == id)
            .map_or("?", |process| {
                &*self.image.system().components[process.component].name
            })
    }

    fn request(
        &mut self,
        sender: ProcessId,
        label: u64,
        length: usize,
        words: &mut Words,
    ) -> Answer {
        let body = &words[..length];
        let result = match InitOperation::from_label(label) {
            Some(InitOperation::Print) => print(body).map(|()| 0),
            Some(InitOperation::Spawn) => self
                .spawn_request(sender, body)
                .and_then(|child| wire::encode(&child, words).map_err(|_| InitError::Malformed)),
            Some(InitOperation::Wait) => match self.wait(sender, body) {
                Ok(Some(ended)) => wire::encode(&ended, words).map_err(|_| InitError::Malformed),
                Ok(None) => return Answer::None,
                Err(error) => Err(error),
            },
            Some(InitOperation::Kill) => self.kill(sender, body).map(|()| 0),
            Some(InitOperation::Exit) => {
                // A process that cannot say how it ends ends all the same.
                let status = wire::decode(body).unwrap_or(ExitStatus::Killed);
                self.end(sender, status.into());
                return Answer::None;
            }
            None => Err(InitError::Malformed),
        };
        match result {
            Ok(length) => Answer::Reply { label: 0, length },
            Err(error) => Answer::Reply {
                label: error.number(),
                length: 0,
            },
        }
    }

    fn spawn_request(&mut self, parent: ProcessId, body: &[u64]) -> Result<ProcessId, InitError> {
        let request: Spawn = wire::decode(body).map_err(|_| InitError::Malformed)?;
        let components = &self.image.system().components;
        let caller = self.find(parent).ok_or(InitError::NotFound)?.component;
        if !components[caller].may_spawn {
            return Err(InitError::NotAllowed);
        }
        let component = components
            .iter()
            .position(|component| {
                component.name.as_bytes() == request.component.as_str().as_bytes()
            })
            .ok_or(InitError::NotFound)?;
        let arguments = (!request.arguments.is_empty()).then_some(request.arguments.as_str());
        self.spawn(component, Some(parent), arguments)
    }

    /// Starts a component. On an error nothing of it is left.
    fn spawn(
        &mut self,
        component: usize,
        parent: Option<ProcessId>,
        arguments: Option<&str>,
    ) -> Result<ProcessId, InitError> {
        if self.processes.len() >= limits::PROCESSES || self.next > LAST_PROCESS {
            return Err(InitError::OutOfMemory);
        }
        let id = ProcessId(self.next);
        let mut process = Process::new(id, parent, component);
        match self.build(&mut process, arguments) {
            Ok(()) => {
                self.next += 1;
                self.processes.push(process);
                Ok(id)
            }
            Err(error) => {
                self.take_apart(&mut process);
                Err(error)
            }
        }
    }

    fn build(&mut self, process: &mut Process, arguments: Option<&str>) -> Result<(), InitError> {
        let image = self.image;
        let component = &image.system().components[process.component];
        let mut info = StartInfo {
            component: name(&component.name)?,
            process: process.id,
            arguments: arguments
                .unwrap_or(&component.arguments)
                .try_into()
                .map_err(|_| InitError::Malformed)?,
            files: heapless::Vec::new(),
            threads: component.threads,
            stack_bytes: component.stack_bytes.to_native(),
        };
        let mut contents = Vec::new();
        let mut base = FILES;
        for file in component.files.iter() {
            let file = &image.system().files[file.to_native() as usize];
            let bytes = image.file_bytes(file);
            let size = bytes.len() as u64;
            let entry = File {
                name: name(&file.name)?,
                base,
                size,
            };
            info.files.push(entry).map_err(|_| InitError::OutOfMemory)?;
            contents.push(bytes);
            base += size.next_multiple_of(PAGE_BYTES);
        }
        let mut start_page = [0; PAGE_BYTES as usize];
        let start_page =
            postcard::to_slice(&info, &mut start_page).map_err(|_| InitError::Malformed)?;

        let layout = Layout::new(
            &component.program,
            Threads {
                count: component.threads.into(),
                stack_bytes: info.stack_bytes,
            },
            image,
            start_page,
            Some(self.server.locking),
            &contents,
        )?;
        process.build(&mut self.objects, &layout, CNODE_BITS)?;

        let principal = Principal {
            user: component.user.to_native(),
            groups: component
                .groups
                .iter()
                .map(|group| group.to_native())
                .collect(),
        };
        let session = self
            .server
            .session_create(principal, &process.extents)
            .map_err(|_| InitError::NoSession)?;
        process.session = Some(session.session);
        let endpoints = component
            .endpoints
            .iter()
            .map(|index| index.to_native() as usize);
        self.equip(process, &session, endpoints)
            .map_err(|_| InitError::OutOfMemory)?;

        process
            .start(
                component.program.entry.to_native(),
                component.priority,
                CNODE_BITS,
            )
            .map_err(|_| InitError::OutOfMemory)
    }

    /// Gives a process its caps, and the server those of its private memory.
    fn equip(
        &self,
        process: &Process,
        session: &SessionCreated,
        endpoints: impl Iterator<Item = usize>,
    ) -> Result<(), sel4::Error> {
        let root = Objects::CNODE;
        let cnode = process.cnode();
        let all = CapRights::ALL;
        let guard = sel4::cnode_guard(0, DEPTH - CNODE_BITS);
        let copy = |to: u64, cap: u64| cnode.copy(to, CNODE_BITS, root, cap, DEPTH, all);
        let mint = |to: u64, sender: Sender| {
            let endpoint = self.endpoint.bits();
            cnode.mint(to, CNODE_BITS, root, endpoint, DEPTH, all, sender.badge())
        };
        mint(slot::INIT, Sender::Process(process.id))?;
        for thread in 0..process.threads.count {
            copy(slot::tcb(thread), process.tcb(thread).bits())?;
            mint(slot::fault(thread), Sender::Fault(process.id, thread))?;
        }
        for (thread, notification) in process.notifications().enumerate() {
            copy(slot::notification(thread), notification)?;
        }
        cnode.mint(
            slot::CNODE,
            CNODE_BITS,
            root,
            cnode.bits(),
            DEPTH,
            all,
            guard,
        )?;
        cnode.copy(
            slot::VSPACE,
            CNODE_BITS,
            root,
            process.root().bits(),
            DEPTH,
            // It may run there and come back, and map nothing.
            CapRights::READ,
        )?;
        for (to, index) in (slot::ENDPOINTS..).zip(endpoints) {
            copy(to, self.endpoints[index])?;
        }
        cnode.move_(
            slot::SESSION,
            CNODE_BITS,
            root,
            self.server.receive_slot,
            DEPTH,
        )?;

        let give = |slot: u64, cap: u64, rights| {
            let first = session.first_slot;
            let Server {
                cnode, cnode_bits, ..
            } = self.server;
            cnode.copy(first + slot, cnode_bits, root, cap, DEPTH, rights)
        };
        match session.private {
            PrivateForm::Table => give(0, process.pdpt(), all)?,
            PrivateForm::Frames => {
                let accesses = process
                    .extents
                    .iter()
                    .flat_map(|extent| (0..extent.pages).map(|_| extent.access));
                for (page, access) in accesses.enumerate() {
                    let frame = process.frame(page);
                    give(page as u64, frame, crate::vspace::rights(access))?;
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, sender: ProcessId, body: &[u64]) -> Result<Option<Ended>, InitError> {
        let child = self.child(sender, body)?;
        if let Some(ended) = self.ended(child).cloned() {
            self.processes.retain(|process| process.id != child);
            return Ok(Some(ended));
        }
        if self.find(child).is_some_and(|child| child.waiter.is_some()) {
            return Err(InitError::NotFound);
        }
        let reply = self.objects.slots(1).map_err(|_| InitError::OutOfMemory)?;
        let saved = Objects::CNODE.save_caller(first(&reply), DEPTH);
        if saved.is_err() {
            self.objects.release_slots(reply);
            return Err(InitError::OutOfMemory);
        }
        if let Some(process) = self.find(child) {
            process.waiter = Some(reply);
        }
        Ok(None)
    }

    fn kill(&mut self, sender: ProcessId, body: &[u64]) -> Result<(), InitError> {
        let child = self.child(sender, body)?;
        if self.ended(child).is_none() {
            self.end(child, ExitStatus::Killed.into());
        }
        Ok(())
    }

    /// The child of `sender` that the body names.
    fn child(&mut self, sender: ProcessId, body: &[u64]) -> Result<ProcessId, InitError> {
        let child: ProcessId = wire::decode(body).map_err(|_| InitError::Malformed)?;
        match self.find(child) {
            Some(process) if process.parent == Some(sender) => Ok(child),
            _ => Err(InitError::NotFound),
        }
    }

    fn fault(&mut self, sender: ProcessId, thread: usize, fault: Fault) {
        let Some(process) = self.processes.iter().find(|process| process.id == sender) else {
            return;
        };
        let active = process
            .frame_at(ipc_buffer(thread))
            .and_then(|frame| self.objects.read_word(frame, sel4::USER_DATA_OFFSET).ok())
            .map_or(ActiveSpace::OWN, ActiveSpace::from_word);
        let report = Report::new(fault, process, active, &self.server);
        let name = self.name(sender);
        match thread {
            0 => println!("init: {name} ({}) faulted: {report}", sender.0),
            _ => println!(
                "init: {name} ({}) faulted in thread {thread}: {report}",
                sender.0
            ),
        }
        let address = report.address;
        let mut ended = Ended::from(ExitStatus::Faulted { address });
        // What does not fit is told on the console only.
        let _ = write!(ended.report, "{report}");
        self.end(sender, ended);
    }

    /// Ends a process and releases all that it held.
    fn end(&mut self, id: ProcessId, ended: Ended) {
        let Some(position) = self.processes.iter().position(|process| process.id == id) else {
            return;
        };
        let mut process = self.processes.swap_remove(position);
        self.take_apart(&mut process);

        // Its children go on without a parent; those that have ended are forgotten.
        self.processes
            .retain(|child| child.parent != Some(id) || child.ended.is_none());
        for child in self
            .processes
            .iter_mut()
            .filter(|child| child.parent == Some(id))
        {
            child.parent = None;
            if let Some(reply) = child.waiter.take() {
                self.objects.release_slots(reply);
            }
        }

        match process.waiter.take() {
            Some(reply) => {
                let mut words = [0; WORDS];
                let length = wire::encode(&ended, &mut words).unwrap_or(0);
                let registers = sel4::write_message(&words[..length]);
                let info = MessageInfo::new(0, 0, 0, length as u64);
                sel4::send(cap::Endpoint::from_bits(first(&reply)), info, registers);
                self.objects.release_slots(reply);
            }
            // The first process is asked for by init itself.
            None if process.parent.is_some() || process.id == ProcessId(FIRST_PROCESS) => {
                process.ended = Some(ended);
                self.processes.push(process);
            }
            None => {}
        }
    }

    fn take_apart(&mut self, process: &mut Process) {
        if let Some(session) = process.session.take()
            && let Err(error) = self.server.session_end(session)
        {
            println!("init: the VAS server kept a session: {error}");
        }
        process.dismantle(&mut self.objects);
        self.objects.delete(self.server.receive_slot);
    }
}

/// The VAS server's number, which no process has.
pub const SERVER: ProcessId = ProcessId(0);
/// The number of the main component's process.
const FIRST_PROCESS: u32 = 1;

/// A name of the image as the protocol has it. The builder and the reader of the image have
/// checked it.
fn name(text: &str) -> Result<Name, InitError> {
    Name::new(text).map_err(|_| InitError::Malformed)
}

/// Writes the bytes of a print request: how many, then the bytes, little-endian in words.
fn print(body: &[u64]) -> Result<(), InitError> {
    let (&count, words) = body.split_first().ok_or(InitError::Malformed)?;
    let mut bytes = [0; wire::BYTES];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    let text = bytes[..words.len() * 8]
        .get(..count as usize)
        .ok_or(InitError::Malformed)?;
    console::write(text);
    Ok(())
}
