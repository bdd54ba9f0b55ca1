// SPDX-License-Identifier: MIT OR Apache-2.0

//! Processes that send whatever the kernel lets them, beside one that works.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use libfuzzer_sys::arbitrary::Unstructured;
use protocol::address_map::{GLOBAL, LOCAL, PAGE_BYTES, SLOT_BYTES};
use protocol::generate::Generator;
use protocol::handle::Handle;
use protocol::message::{
    Attached, Counts, Explain, Operation, Quota, Request, SegCtl, SegStatistics, Statistics,
    VasCommand, VasCtl, VasStatistics, Visitor,
};
use protocol::wire::{self, WORDS, Words};
use protocol::{Access, Badge, Command, Error, Kind, Limit, Mode, PageSize, Rights};
use vas_server::fake::{Fake, Held, INJECTED};

use crate::support::{self, Process, SMALL, World};

/// Users of the hostile processes.
const ATTACKERS: [u32; 2] = [2000, 2001];
/// The user of the honest process.
const HONEST: u32 = 1000;
/// Caps that a message can carry.
const CAPS: usize = 3;
/// How often the counts of answers are told.
const TOLD_EVERY: u64 = 100_000;
/// What the honest process leaves in memory.
const WORD: u64 = 0x600d_600d_600d_600d;
/// Where the segments are that the honest process keeps, and where it works.
const KEPT: u64 = GLOBAL.start;
const WORKS_AT: u64 = GLOBAL.start + SLOT_BYTES;

const NAMES: &[&str] = &["a", "b", "c", "d", "open", "closed"];
const BASES: &[u64] = &[
    KEPT,
    KEPT + PAGE_BYTES,
    KEPT + PageSize::Large.bytes(),
    GLOBAL.end - PAGE_BYTES,
    LOCAL.start,
];
const SIZES: &[u64] = &[0, PAGE_BYTES, 3 * PAGE_BYTES, PageSize::Large.bytes()];
/// How long somebody waits.
const TIMES: &[u64] = &[0, 1, 100_000, u64::MAX];
const MODES: &[u64] = &[0o666, 0o644, 0o600];
/// Sets of rights.
const RIGHTS: &[u64] = &[0b11111, 0b10111, 0b00101];
const USERS: &[u64] = &[ATTACKERS[0] as u64, ATTACKERS[1] as u64, HONEST as u64];

/// Does what the input says, and checks all that must hold.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    let mut scene = Scene::new();
    loop {
        scene.step(&mut input);
        if input.is_empty() {
            break;
        }
    }
    scene.end();
}

/// A number below `bound`, or 0 when nothing is left to choose by.
fn below(input: &mut Unstructured<'_>, bound: usize) -> usize {
    input.int_in_range(0..=bound - 1).unwrap_or(0)
}

/// How many messages were answered with each label so far, 0 for those that were served.
static ANSWERS: [AtomicU64; LABELS] = [const { AtomicU64::new(0) }; LABELS];
/// Labels of answers are below that.
const LABELS: usize = 128;

/// Counts an answer, and now and then tells all counts.
fn count(label: u64) {
    ANSWERS[label as usize].fetch_add(1, Relaxed);
    let counts = ANSWERS.each_ref().map(|count| count.load(Relaxed));
    let sum: u64 = counts.iter().sum();
    if sum.is_multiple_of(TOLD_EVERY) {
        let counts = counts.into_iter().enumerate();
        let counts: Vec<_> = counts.filter(|&(_, count)| count > 0).collect();
        eprintln!("{sum} messages; label and how many of them: {counts:?}");
    }
}

struct Scene {
    world: World,
    before: (Statistics, usize),
    attackers: [Process; 2],
    /// Every cap that they were given: they may share them.
    caps: Vec<Held>,
    /// Badges of all these, also when the caps are gone.
    badges: Vec<Badge>,
    /// Attachments that there are or were.
    attachments: Vec<u64>,
    /// Who may have come to own something.
    owners: BTreeSet<u32>,
    honest: Honest,
}

/// A process that keeps two VASes, one that others may read and one that they may not.
struct Honest {
    process: Process,
    open: Place,
    closed: Place,
    /// As they were when they were made.
    closed_statistics: (VasStatistics, SegStatistics),
    pages: [Vec<(u64, u64, PageSize, Access)>; 2],
}

struct Place {
    name: &'static str,
    base: u64,
    vas: Held,
    segment: Held,
    attached: support::Attached,
}

/// More than any request here takes.
const MOST_STEPS: u32 = 10_000;

impl Scene {
    fn new() -> Self {
        let counts = Counts {
            sessions: 2,
            vases: 4,
            segments: 4,
            attachments: 4,
            handles: 16,
        };
        let quota = Quota {
            user: HONEST,
            memory: 1 << 20,
            slots: 512,
            counts,
        };
        let mut world = World::promising(&[22], &[quota]).unwrap();
        let before = (world.statistics(), world.fake().caps_of_objects());
        let honest = Honest::new(&mut world);
        let attackers = ATTACKERS.map(|user| world.process(user, &[]));
        let mut scene = Scene {
            world,
            before,
            attackers,
            caps: Vec::new(),
            badges: Vec::new(),
            attachments: Vec::new(),
            owners: ATTACKERS.into(),
            honest,
        };
        for process in scene.attackers.clone() {
            scene.given(process.cap);
        }
        scene
    }

    fn given(&mut self, cap: Held) {
        self.caps.push(cap);
        self.badges.extend(self.world.fake().badge(cap));
    }

    fn step(&mut self, input: &mut Unstructured<'_>) {
        match below(input, 32) {
            0 => self.honest.works(&mut self.world),
            1 => {
                let attacker = below(input, self.attackers.len());
                self.world.end(&self.attackers[attacker]);
                let process = self.world.process(ATTACKERS[attacker], &[]);
                self.given(process.cap);
                self.attackers[attacker] = process;
            }
            2 if !self.caps.is_empty() => {
                let cap = self.caps.remove(below(input, self.caps.len()));
                if self.attackers.iter().all(|attacker| attacker.cap != cap) {
                    self.world.fake().drop_cap(cap);
                }
            }
            3 => {
                // A fault, about which init asks.
                let made = self.generate(input, |generator| generator.value());
                let mut body: Explain = made.unwrap();
                body.session = self.attackers[below(input, self.attackers.len())].session;
                self.world.control(&body).unwrap();
            }
            4 => {
                // So much of the longest but one that there is something in all.
                let time = below(input, TIMES[2] as usize) as u64;
                self.world.pass(time);
            }
            _ => self.message(input),
        }
        self.world.fake().check();
        self.honest.check(&self.world);
    }

    fn body(&self, input: &mut Unstructured<'_>, operation: Operation) -> (Words, usize) {
        let mut words = [0; WORDS];
        let length = self.generate(input, |generator| generator.body(operation, &mut words));
        (words, length.unwrap())
    }

    fn generate<T>(
        &self,
        input: &mut Unstructured<'_>,
        make: impl FnOnce(&mut Generator<'_, &mut dyn FnMut(u64) -> u64>) -> T,
    ) -> T {
        let numbers: &[(&str, &[u64])] = &[
            ("base", BASES),
            ("size", SIZES),
            ("Mode", MODES),
            ("rights", RIGHTS),
            ("user", USERS),
            ("microseconds", TIMES),
            ("AttachmentId", &self.attachments),
        ];
        let mut below = |bound: u64| input.int_in_range(0..=bound - 1).unwrap_or(0);
        make(&mut Generator::new(&mut below, NAMES, numbers))
    }

    fn message(&mut self, input: &mut Unstructured<'_>) {
        let operation = Operation::ALL[below(input, Operation::ALL.len())];
        let (mut words, mut length) = self.body(input, operation);
        let mut label = operation as u64;
        match below(input, 16) {
            0 => label = input.arbitrary().unwrap_or(0),
            4 => label = input.arbitrary::<u8>().unwrap_or(0).into(),
            1 => {
                length = below(input, WORDS + 1);
                for word in &mut words[..length] {
                    *word = input.arbitrary().unwrap_or(0);
                }
            }
            2 => length = below(input, WORDS + 1),
            3 if length > 0 => words[below(input, length)] ^= 1 << below(input, 64),
            _ => {}
        }
        let badge = match below(input, 16) {
            0 => self.any_badge(input),
            attacker => {
                let process = &self.attackers[attacker % self.attackers.len()];
                self.world.server.kernel().badge(process.cap)
            }
        };
        // Mostly as many as there can be: those that are too many are ignored.
        let handles: Vec<Option<Badge>> = (0..below(input, 8).min(CAPS))
            .map(|position| self.handle(input, operation, position))
            .collect();
        // The kernel refuses one of the calls that the server makes, if it makes so many.
        if below(input, 16) == 1 {
            let calls = self.world.fake().calls();
            let call = calls + 1 + below(input, 32) as u32;
            self.world.fake().fail_at(Some(call));
        }
        if let Some(badge) = badge {
            self.send(badge, label, &words[..length], &handles);
        }
        self.world.fake().fail_at(None);
    }

    /// What the kernel makes of a cap in a message: a badge, or nothing.
    fn handle(
        &self,
        input: &mut Unstructured<'_>,
        operation: Operation,
        position: usize,
    ) -> Option<Badge> {
        let choice = below(input, 16);
        let wanted = match (choice, operation as u64, position) {
            (0, ..) => return None,
            (1, ..) => return self.any_badge(input),
            (2, ..) => None,
            (_, ..16, 0) => Some(Kind::Vas),
            // Some of these take a VAS first.
            (3..9, _, 0) => Some(Kind::Vas),
            _ => Some(Kind::Segment),
        };
        let fake = self.world.server.kernel();
        // The latest ones first.
        let live = self.caps.iter().rev().filter_map(|&cap| fake.badge(cap));
        let of_kind: Vec<_> = live
            .filter(|badge| wanted.is_none_or(|kind| badge.handle().kind == kind))
            .collect();
        of_kind.get(below(input, of_kind.len().max(1))).copied()
    }

    /// A badge that there was, or one that is made up: a second line of defence, for the kernel
    /// lets nobody make one up. So those are left out that only others have.
    fn any_badge(&self, input: &mut Unstructured<'_>) -> Option<Badge> {
        let badge = match below(input, 2) {
            0 => *self.badges.get(below(input, self.badges.len().max(1)))?,
            _ => Badge::from_bits(input.arbitrary().unwrap_or(0)),
        };
        let held = |cap: Held| self.world.server.kernel().badge(cap);
        let same_object = |of: Badge| {
            let of = of.handle();
            Handle {
                rights: Rights::empty(),
                ..badge.handle()
            } == Handle {
                rights: Rights::empty(),
                ..of
            }
        };
        let Honest {
            process,
            open,
            closed,
            ..
        } = &self.honest;
        let of_others = [
            process.cap,
            open.vas,
            open.segment,
            closed.vas,
            closed.segment,
        ];
        let foreign =
            badge == Badge::CONTROL || of_others.into_iter().filter_map(held).any(same_object);
        (!foreign).then_some(badge)
    }

    fn send(&mut self, badge: Badge, label: u64, words: &[u64], handles: &[Option<Badge>]) {
        let before = self.world.statistics();
        let caps = self.world.fake().caps_of_objects();
        let mut reply: Words = [0; WORDS];
        let server = &mut self.world.server;
        let mut steps = 0;
        let answer = loop {
            let Some(answer) = server.handle(badge, label, words, handles, &mut reply) else {
                // It waits for a lock.
                return;
            };
            count(answer.label);
            if answer.label != Error::Again.number() {
                break answer;
            }
            // What is begun has changed something, until it is done or refused.
            steps += 1;
            assert!(steps < MOST_STEPS, "label {label:#x} is never done");
        };
        let body = &reply[..answer.length];
        if answer.label == 0 {
            let operation = Operation::from_label(label).expect("it is none");
            assert!(operation.visit(ReplyDecodes(body)), "{operation:?}");
            if let Some(slot) = answer.cap {
                let cap = self.world.fake().transfer(slot).unwrap();
                self.given(cap);
            }
            self.remember(operation, words, body);
            return;
        }
        let error: Error = wire::decode(body).expect("an error follows its number");
        assert_eq!(error.number(), answer.label);
        assert_eq!(answer.cap, None, "{error}");
        match error {
            Error::Internal { kernel } => assert_eq!(u32::from(kernel), INJECTED.0 as u32),
            Error::BadReply => panic!("the library's own error: {error}"),
            _ => {}
        }
        assert_eq!(self.world.statistics(), before, "{error}");
        assert_eq!(self.world.fake().caps_of_objects(), caps, "{error}");
    }

    /// What may matter later of a request that was served.
    fn remember(&mut self, operation: Operation, words: &[u64], reply: &[u64]) {
        let command = match operation {
            Operation::VasAttach => {
                let Attached { attachment, .. } = wire::decode(reply).unwrap();
                self.attachments.push(attachment.0);
                return;
            }
            Operation::VasCtl => match wire::decode(words) {
                Ok(VasCtl {
                    command: VasCommand::Object(command),
                }) => command,
                _ => return,
            },
            Operation::SegCtl => match wire::decode(words) {
                Ok(SegCtl { command }) => command,
                Err(_) => return,
            },
            _ => return,
        };
        if let Command::Owner { user, .. } = command {
            self.owners.insert(user);
        }
    }

    /// All end, and everything is deleted by whoever owns it: then all is there again.
    fn end(mut self) {
        self.honest.works(&mut self.world);
        for attacker in self.attackers {
            self.world.end(&attacker);
        }
        self.honest.check(&self.world);
        self.world.end(&self.honest.process);
        self.owners.insert(HONEST);
        for user in self.owners {
            delete_all_of(&mut self.world, user);
        }
        assert_eq!(self.world.statistics(), self.before.0, "something is lost");
        assert_eq!(self.world.fake().caps_of_objects(), self.before.1);
    }
}

struct ReplyDecodes<'a>(&'a [u64]);

impl Visitor for ReplyDecodes<'_> {
    type Output = bool;

    fn visit<R: Request>(self) -> bool {
        wire::decode::<R::Reply>(self.0).is_ok()
    }
}

/// Deletes all that a user owns, whoever is attached.
fn delete_all_of(world: &mut World, user: u32) {
    let process = world.bare_process(user);
    for entry in world.list_vases(&process) {
        if entry.owner == user {
            let name = entry.name.as_str();
            let (_, vas) = world.find_vas(&process, name).unwrap();
            world.control_vas(&process, vas, Command::Evict).unwrap();
            // If it was to live until its last attachment ends, it is gone now.
            if world.fake().exists(vas) {
                world.delete_vas(&process, vas).unwrap();
            }
        }
    }
    for entry in world.list_segments(&process) {
        if entry.owner == user {
            let name = entry.name.as_str();
            let (_, segment) = world.find_segment(&process, name).unwrap();
            world
                .control_segment(&process, segment, Command::Evict)
                .unwrap();
            if world.fake().exists(segment) {
                world.free(&process, segment).unwrap();
            }
        }
    }
    world.end(&process);
}

impl Honest {
    fn new(world: &mut World) -> Self {
        let process = world.process(HONEST, &[]);
        let open = Place::new(world, &process, "open", KEPT, Mode(0o644));
        let closed_at = KEPT + PageSize::Large.bytes();
        let closed = Place::new(world, &process, "closed", closed_at, Mode(0o600));
        let closed_statistics = closed.statistics(world, &process);
        let pages = [&open, &closed].map(|place| world.fake().pages(place.attached.root));
        Honest {
            process,
            open,
            closed,
            closed_statistics,
            pages,
        }
    }

    /// What it keeps in memory is as it was.
    fn check(&self, world: &World) {
        for (place, pages) in [&self.open, &self.closed].into_iter().zip(&self.pages) {
            let fake: &Fake = world.server.kernel();
            let root = place.attached.root;
            assert_eq!(&fake.pages(root), pages, "{}", place.name);
            assert_eq!(fake.load(root, place.base), Ok(WORD), "{}", place.name);
        }
    }

    /// Sees that nobody has touched what is closed; makes a VAS with a segment, uses it, and
    /// deletes both. Whatever others have taken, what
    /// was promised suffices for that.
    fn works(&self, world: &mut World) {
        let process = &self.process;
        let statistics = self.closed.statistics(world, process);
        assert_eq!(statistics, self.closed_statistics);
        let vas = match world.try_vas(process, "work", Mode(0o600)) {
            // Somebody has guessed the name.
            Err(Error::NameExists) => return,
            Err(Error::LimitReached(Limit::Vases)) => panic!("what was promised is not there"),
            other => other.unwrap(),
        };
        let request = support::alloc("work", WORKS_AT, 2 * PAGE_BYTES, SMALL);
        let segment = match world.try_segment(process, &request) {
            Err(Error::NameExists) => return world.delete_vas(process, vas).unwrap(),
            other => other.unwrap().1,
        };
        world.add(process, vas, segment, Access::ReadWrite).unwrap();
        let attached = world.attach(process, vas, Access::ReadWrite).unwrap();
        for page in 0..2 {
            let address = WORKS_AT + page * PAGE_BYTES;
            assert_eq!(world.fake().load(attached.root, address), Ok(0));
            world.fake().store(attached.root, address, WORD).unwrap();
            assert_eq!(world.fake().load(attached.root, address), Ok(WORD));
        }
        world.detach(process, attached).unwrap();
        world.remove(process, vas, segment).unwrap();
        world.free(process, segment).unwrap();
        world.delete_vas(process, vas).unwrap();
    }
}

impl Place {
    fn new(
        world: &mut World,
        process: &Process,
        name: &'static str,
        base: u64,
        mode: Mode,
    ) -> Self {
        let vas = world.try_vas(process, name, mode).unwrap();
        let mut request = support::alloc(name, base, PAGE_BYTES, SMALL);
        request.mode = mode;
        let (_, segment) = world.try_segment(process, &request).unwrap();
        world.add(process, vas, segment, Access::ReadWrite).unwrap();
        let attached = world.attach(process, vas, Access::ReadWrite).unwrap();
        world.fake().store(attached.root, base, WORD).unwrap();
        Place {
            name,
            base,
            vas,
            segment,
            attached,
        }
    }

    fn statistics(&self, world: &mut World, process: &Process) -> (VasStatistics, SegStatistics) {
        let vas = world.stat_vas(process, self.vas).unwrap();
        let segment = world.stat_segment(process, self.segment).unwrap();
        (vas, segment)
    }
}
