// SPDX-License-Identifier: MIT OR Apache-2.0

//! Any sequence of operations of several processes, against a simple model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use protocol::{Access, Command, Error, Lifetime, Mode, PageSize, Rights};
use vas_server::fake::Held;

use crate::support::*;

const PROCESSES: usize = 3;
const NAMES: [&str; 3] = ["a", "b", "c"];

/// What a process does. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Step {
    VasCreate(usize, usize, u16),
    VasFind(usize, usize),
    VasAttach(usize, usize, Access),
    VasDetach(usize, usize),
    VasDelete(usize, usize),
    SegAlloc(usize, usize, u16, u64, u64, PageSize),
    SegFind(usize, usize),
    SegAttach(usize, usize, usize, Access),
    SegDetach(usize, usize, usize),
    SegFree(usize, usize),
    VasClone(usize, usize, usize, Access),
    VasCtl(usize, usize, Change),
    SegCtl(usize, usize, Change),
    SegGrow(usize, usize, u64),
    /// A handle of a VAS with some of its rights.
    Restrict(usize, usize, u8),
    /// The process ends and another begins in its place.
    Restart(usize),
}

/// What is changed of an object.
#[derive(Clone, Copy, Debug)]
enum Change {
    Mode(u16),
    Lifetime(Lifetime),
    RevokeHandles,
    Evict,
}

impl Change {
    fn command(self) -> Command {
        match self {
            Change::Mode(mode) => Command::Mode(Mode(mode)),
            Change::Lifetime(lifetime) => Command::Lifetime(lifetime),
            Change::RevokeHandles => Command::RevokeHandles,
            Change::Evict => Command::Evict,
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let process = || 0..PROCESSES;
    let name = || 0..NAMES.len();
    let mode = || prop_oneof![Just(0o600u16), Just(0o644), Just(0o660), Just(0o666)];
    let access = || prop_oneof![Just(READ_ONLY), Just(READ_WRITE)];
    let choice = || 0..8usize;
    let change = || {
        prop_oneof![
            mode().prop_map(Change::Mode),
            Just(Change::Lifetime(Lifetime::Persistent)),
            Just(Change::Lifetime(Lifetime::Creator)),
            Just(Change::Lifetime(Lifetime::LastAttacher)),
            Just(Change::RevokeHandles),
            Just(Change::Evict),
        ]
    };
    let page_size = prop_oneof![3 => Just(PageSize::Small), 1 => Just(PageSize::Large)];
    prop_oneof![
        3 => (process(), name(), mode()).prop_map(|(p, n, m)| Step::VasCreate(p, n, m)),
        2 => (process(), name()).prop_map(|(p, n)| Step::VasFind(p, n)),
        4 => (process(), choice(), access()).prop_map(|(p, v, a)| Step::VasAttach(p, v, a)),
        2 => (process(), choice()).prop_map(|(p, a)| Step::VasDetach(p, a)),
        1 => (process(), choice()).prop_map(|(p, v)| Step::VasDelete(p, v)),
        4 => (process(), name(), mode(), 0..4u64, 1..6u64, page_size)
            .prop_map(|(p, n, m, at, pages, size)| Step::SegAlloc(p, n, m, at, pages, size)),
        2 => (process(), name()).prop_map(|(p, n)| Step::SegFind(p, n)),
        5 => (process(), choice(), choice(), access())
            .prop_map(|(p, v, s, a)| Step::SegAttach(p, v, s, a)),
        2 => (process(), choice(), choice()).prop_map(|(p, v, s)| Step::SegDetach(p, v, s)),
        1 => (process(), choice()).prop_map(|(p, s)| Step::SegFree(p, s)),
        1 => (process(), choice(), name(), access())
            .prop_map(|(p, v, n, a)| Step::VasClone(p, v, n, a)),
        2 => (process(), choice(), change()).prop_map(|(p, v, c)| Step::VasCtl(p, v, c)),
        2 => (process(), choice(), change()).prop_map(|(p, s, c)| Step::SegCtl(p, s, c)),
        2 => (process(), choice(), 1..9u64).prop_map(|(p, s, pages)| Step::SegGrow(p, s, pages)),
        1 => (process(), choice(), 0..32u8).prop_map(|(p, v, r)| Step::Restrict(p, v, r)),
        1 => process().prop_map(Step::Restart),
    ]
}

/// A handle, and what the model knows of it.
#[derive(Clone, Copy)]
struct Handle {
    cap: Held,
    object: usize,
    rights: Rights,
}

struct Vas {
    /// The handle that its creator was given.
    made: Held,
    name: &'static str,
    owner: usize,
    mode: u16,
    lifetime: Lifetime,
    /// The process that made it, while that lasts.
    creator: Option<usize>,
    segments: BTreeMap<usize, Access>,
}

struct Segment {
    made: Held,
    name: &'static str,
    owner: usize,
    mode: u16,
    lifetime: Lifetime,
    creator: Option<usize>,
    base: u64,
    size: u64,
    page_size: PageSize,
}

struct Model {
    world: World,
    processes: Vec<Process>,
    vas_handles: Vec<Vec<Handle>>,
    segment_handles: Vec<Vec<Handle>>,
    vases: BTreeMap<usize, Vas>,
    segments: BTreeMap<usize, Segment>,
    /// By process, VAS and access.
    attachments: BTreeMap<(usize, usize, Access), Attached>,
    next: usize,
}

/// Users 0, 1, 2; the last two share the group 5.
fn begin(world: &mut World, process: usize) -> Process {
    let groups: &[u32] = if process == 0 { &[4] } else { &[5] };
    world.process(process as u32, groups)
}

fn allowed(process: usize, owner: usize, mode: u16) -> Rights {
    let shares_group = (process == 0) == (owner == 0);
    let mut rights = Rights::empty();
    let bits = if process == owner {
        rights |= Rights::CONTROL | Rights::GRANT;
        mode >> 6
    } else if shares_group {
        mode >> 3
    } else {
        mode
    };
    if bits & 4 != 0 {
        rights |= Rights::READ | Rights::ATTACH;
    }
    if bits & 2 != 0 {
        rights |= Rights::WRITE | Rights::ATTACH;
    }
    rights
}

fn denied(needs: Rights) -> Error {
    Error::PermissionDenied { needs }
}

fn stale(position: u8) -> Error {
    Error::StaleHandle { position }
}

impl Model {
    fn new(slots: u32, untyped_bits: &[u8]) -> Self {
        let mut world = World::with(slots, untyped_bits);
        Model {
            processes: (0..PROCESSES)
                .map(|process| begin(&mut world, process))
                .collect(),
            world,
            vas_handles: vec![Vec::new(); PROCESSES],
            segment_handles: vec![Vec::new(); PROCESSES],
            vases: BTreeMap::new(),
            segments: BTreeMap::new(),
            attachments: BTreeMap::new(),
            next: 0,
        }
    }

    fn fresh(&mut self) -> usize {
        self.next += 1;
        self.next
    }

    fn vas_handle(&self, process: usize, choice: usize) -> Option<Handle> {
        let handles = &self.vas_handles[process];
        handles.get(choice % handles.len().max(1)).copied()
    }

    fn segment_handle(&self, process: usize, choice: usize) -> Option<Handle> {
        let handles = &self.segment_handles[process];
        handles.get(choice % handles.len().max(1)).copied()
    }

    fn attached_to(&self, vas: usize) -> u32 {
        let keys = self.attachments.keys();
        keys.filter(|&&(_, other, _)| other == vas).count() as u32
    }

    fn vases_of(&self, segment: usize) -> u32 {
        let vases = self.vases.values();
        vases
            .filter(|vas| vas.segments.contains_key(&segment))
            .count() as u32
    }

    /// Does a step and compares the answer with the model's. Want of resources may be the
    /// answer to whatever takes some.
    fn step(&mut self, step: &Step) {
        let before = self.world.statistics();
        let (expected, answer) = match *step {
            Step::VasCreate(process, name, mode) => self.vas_create(process, NAMES[name], mode),
            Step::VasFind(process, name) => self.vas_find(process, NAMES[name]),
            Step::VasAttach(process, vas, access) => {
                let Some(handle) = self.vas_handle(process, vas) else {
                    return;
                };
                self.vas_attach(process, handle, access)
            }
            Step::VasDetach(process, choice) => return self.vas_detach(process, choice),
            Step::VasDelete(process, vas) => {
                let Some(handle) = self.vas_handle(process, vas) else {
                    return;
                };
                self.vas_delete(process, handle)
            }
            Step::SegAlloc(process, name, mode, at, pages, page_size) => {
                self.seg_alloc(process, NAMES[name], mode, at, pages, page_size)
            }
            Step::SegFind(process, name) => self.seg_find(process, NAMES[name]),
            Step::SegAttach(process, vas, segment, access) => {
                let (Some(vas), Some(segment)) = (
                    self.vas_handle(process, vas),
                    self.segment_handle(process, segment),
                ) else {
                    return;
                };
                self.seg_attach(process, vas, segment, access)
            }
            Step::SegDetach(process, vas, segment) => {
                let (Some(vas), Some(segment)) = (
                    self.vas_handle(process, vas),
                    self.segment_handle(process, segment),
                ) else {
                    return;
                };
                self.seg_detach(process, vas, segment)
            }
            Step::SegFree(process, segment) => {
                let Some(handle) = self.segment_handle(process, segment) else {
                    return;
                };
                self.seg_free(process, handle)
            }
            Step::VasClone(process, vas, name, access) => {
                let Some(handle) = self.vas_handle(process, vas) else {
                    return;
                };
                self.vas_clone(process, handle, NAMES[name], access)
            }
            Step::VasCtl(process, vas, change) => {
                let Some(handle) = self.vas_handle(process, vas) else {
                    return;
                };
                self.vas_ctl(process, handle, change)
            }
            Step::SegCtl(process, segment, change) => {
                let Some(handle) = self.segment_handle(process, segment) else {
                    return;
                };
                self.seg_ctl(process, handle, change)
            }
            Step::SegGrow(process, segment, pages) => {
                let Some(handle) = self.segment_handle(process, segment) else {
                    return;
                };
                return self.seg_grow(process, handle, pages);
            }
            Step::Restrict(process, vas, rights) => {
                let Some(handle) = self.vas_handle(process, vas) else {
                    return;
                };
                let rights = Rights::from_bits_truncate(rights);
                self.restrict(process, handle, rights)
            }
            Step::Restart(process) => return self.restart(process),
        };
        match answer {
            Err(Error::OutOfMemory | Error::OutOfSlots) => assert_eq!(expected, Ok(())),
            ref answer => assert_eq!(*answer, expected),
        }
        if answer.is_err() {
            assert_eq!(self.world.statistics(), before);
        }
    }

    fn vas_create(&mut self, process: usize, name: &'static str, mode: u16) -> Outcome {
        let taken = self.vases.values().any(|vas| vas.name == name);
        let expected = if taken {
            Err(Error::NameExists)
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.try_vas(&caller, name, Mode(mode)).map(|cap| {
            let object = self.fresh();
            let vas = Vas {
                made: cap,
                name,
                owner: process,
                mode,
                lifetime: Lifetime::Persistent,
                creator: Some(process),
                segments: BTreeMap::new(),
            };
            self.vases.insert(object, vas);
            let rights = Rights::all();
            self.vas_handles[process].push(Handle {
                cap,
                object,
                rights,
            });
        });
        (expected, answer)
    }

    fn vas_find(&mut self, process: usize, name: &'static str) -> Outcome {
        let found = self.vases.iter().find(|(_, vas)| vas.name == name);
        let found = found
            .map(|(&object, vas)| (object, allowed(process, vas.owner, vas.mode)))
            .ok_or(Error::NotFound);
        let expected = found.and_then(refuse_nothing);
        let caller = self.processes[process].clone();
        let answer = self.world.find_vas(&caller, name).map(|(granted, cap)| {
            let (object, rights) = expected.clone().unwrap();
            assert_eq!(granted.rights, rights);
            self.vas_handles[process].push(Handle {
                cap,
                object,
                rights,
            });
        });
        (expected.map(|_| ()), answer)
    }

    fn vas_attach(&mut self, process: usize, handle: Handle, access: Access) -> Outcome {
        let key = (process, handle.object, access);
        let expected = if !self.vases.contains_key(&handle.object) {
            Err(stale(0))
        } else if !handle.rights.contains(access.needs()) {
            Err(denied(access.needs()))
        } else if self.attachments.contains_key(&key) {
            Err(Error::AlreadyAttached)
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.attach(&caller, handle.cap, access);
        let answer = answer.map(|attached| {
            self.attachments.insert(key, attached);
        });
        (expected, answer)
    }

    fn vas_detach(&mut self, process: usize, choice: usize) {
        let caller = self.processes[process].clone();
        let own = self.attachments.keys().filter(|key| key.0 == process);
        let own: Vec<_> = own.copied().collect();
        if let Some(key) = own.get(choice % own.len().max(1)) {
            let attached = self.attachments.remove(key).unwrap();
            self.world.detach(&caller, attached).unwrap();
            assert!(!self.world.fake().exists(attached.root));
            self.vas_left(key.1);
        }
        let foreign = self.attachments.iter().find(|(key, _)| key.0 != process);
        if let Some((_, &attached)) = foreign {
            let answer = self.world.detach(&caller, attached);
            assert_eq!(answer, Err(Error::StaleAttachment));
        }
    }

    fn vas_delete(&mut self, process: usize, handle: Handle) -> Outcome {
        let attachments = self.attached_to(handle.object);
        let expected = if !self.vases.contains_key(&handle.object) {
            Err(stale(0))
        } else if !handle.rights.contains(Rights::CONTROL) {
            Err(denied(Rights::CONTROL))
        } else if attachments > 0 {
            Err(Error::InUse { attachments })
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.delete_vas(&caller, handle.cap);
        if answer.is_ok() {
            self.vas_dies(handle.object);
        }
        (expected, answer)
    }

    fn seg_alloc(
        &mut self,
        process: usize,
        name: &'static str,
        mode: u16,
        at: u64,
        pages: u64,
        page_size: PageSize,
    ) -> Outcome {
        // Around a border of page tables, so that they are shared and not shared.
        let base = match page_size {
            PageSize::Small => BASE + 512 * GIB - 8 * KIB + at * 4 * KIB,
            _ => BASE + 512 * GIB + at * page_size.bytes(),
        };
        let size = pages * page_size.bytes();
        let taken = self.segments.values().any(|segment| segment.name == name);
        let expected = if taken {
            Err(Error::NameExists)
        } else {
            Ok(())
        };
        let mut request = alloc(name, base, size, Some(page_size));
        request.mode = Mode(mode);
        let caller = self.processes[process].clone();
        let answer = self.world.try_segment(&caller, &request).map(|(_, cap)| {
            let object = self.fresh();
            let segment = Segment {
                made: cap,
                name,
                owner: process,
                mode,
                lifetime: Lifetime::Persistent,
                creator: Some(process),
                base,
                size,
                page_size,
            };
            self.segments.insert(object, segment);
            let rights = Rights::all();
            self.segment_handles[process].push(Handle {
                cap,
                object,
                rights,
            });
        });
        (expected, answer)
    }

    fn seg_find(&mut self, process: usize, name: &'static str) -> Outcome {
        let found = self
            .segments
            .iter()
            .find(|(_, segment)| segment.name == name);
        let found = found
            .map(|(&object, segment)| (object, allowed(process, segment.owner, segment.mode)))
            .ok_or(Error::NotFound);
        let expected = found.and_then(refuse_nothing);
        let caller = self.processes[process].clone();
        let answer = self
            .world
            .find_segment(&caller, name)
            .map(|(granted, cap)| {
                let (object, rights) = expected.clone().unwrap();
                assert_eq!(granted.rights, rights);
                self.segment_handles[process].push(Handle {
                    cap,
                    object,
                    rights,
                });
            });
        (expected.map(|_| ()), answer)
    }

    fn seg_attach(
        &mut self,
        process: usize,
        vas: Handle,
        segment: Handle,
        access: Access,
    ) -> Outcome {
        let expected = self.expect_seg_attach(vas, segment, access);
        let caller = self.processes[process].clone();
        let answer = self.world.add(&caller, vas.cap, segment.cap, access);
        if answer.is_ok() {
            let vas = self.vases.get_mut(&vas.object).unwrap();
            vas.segments.insert(segment.object, access);
        }
        // Which of several segments in the way is named does not matter.
        match (&answer, expected) {
            (Err(Error::Overlap { with, .. }), Err(ways)) if !ways.is_empty() => {
                assert!(ways.contains(with.as_str()));
                (answer.clone(), answer)
            }
            (_, Err(ways)) => panic!("{answer:?} although {ways:?} are in the way"),
            (_, Ok(expected)) => (expected, answer),
        }
    }

    /// The answer, or the segments in the way.
    fn expect_seg_attach(
        &self,
        vas: Handle,
        segment: Handle,
        access: Access,
    ) -> Result<Result<(), Error>, BTreeSet<&'static str>> {
        let Some(into) = self.vases.get(&vas.object) else {
            return Ok(Err(stale(0)));
        };
        let Some(new) = self.segments.get(&segment.object) else {
            return Ok(Err(stale(1)));
        };
        if !vas.rights.contains(Rights::WRITE) {
            return Ok(Err(denied(Rights::WRITE)));
        }
        if !segment.rights.contains(access.needs()) {
            return Ok(Err(denied(access.needs())));
        }
        if into.segments.contains_key(&segment.object) {
            return Ok(Err(Error::AlreadyAttached));
        }
        let there = into.segments.keys().map(|other| &self.segments[other]);
        let ways: BTreeSet<_> = there
            .filter(|other| {
                let end = |segment: &Segment| segment.base + segment.size;
                other.base < end(new) && new.base < end(other)
            })
            .map(|other| other.name)
            .collect();
        if ways.is_empty() {
            Ok(Ok(()))
        } else {
            Err(ways)
        }
    }

    fn seg_detach(&mut self, process: usize, vas: Handle, segment: Handle) -> Outcome {
        let into = self.vases.get(&vas.object);
        let there = into.is_some_and(|vas| vas.segments.contains_key(&segment.object));
        let expected = if into.is_none() {
            Err(stale(0))
        } else if !self.segments.contains_key(&segment.object) {
            Err(stale(1))
        } else if !vas.rights.contains(Rights::WRITE) {
            Err(denied(Rights::WRITE))
        } else if !there {
            Err(Error::NotAttached)
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.remove(&caller, vas.cap, segment.cap);
        if answer.is_ok() {
            let vas = self.vases.get_mut(&vas.object).unwrap();
            vas.segments.remove(&segment.object);
            self.segment_left(segment.object);
        }
        (expected, answer)
    }

    fn seg_free(&mut self, process: usize, handle: Handle) -> Outcome {
        let attachments = self.vases_of(handle.object);
        let expected = if !self.segments.contains_key(&handle.object) {
            Err(stale(0))
        } else if !handle.rights.contains(Rights::CONTROL) {
            Err(denied(Rights::CONTROL))
        } else if attachments > 0 {
            Err(Error::InUse { attachments })
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.free(&caller, handle.cap);
        if answer.is_ok() {
            self.segments.remove(&handle.object);
        }
        (expected, answer)
    }

    fn restart(&mut self, process: usize) {
        let ended = self.processes[process].clone();
        self.world.end(&ended);
        for cap in ended.memory {
            self.world.fake().revoke_and_drop(cap);
        }
        let attached: BTreeSet<usize> = self
            .attachments
            .keys()
            .filter(|key| key.0 == process)
            .map(|key| key.1)
            .collect();
        self.attachments.retain(|key, _| key.0 != process);
        for vas in attached {
            self.vas_left(vas);
        }
        let dying = |lifetime, creator| lifetime == Lifetime::Creator && creator == Some(process);
        let vases = self.vases.iter();
        let vases: Vec<usize> = vases
            .filter(|(_, vas)| dying(vas.lifetime, vas.creator))
            .map(|(&object, _)| object)
            .collect();
        for vas in vases {
            self.vas_dies(vas);
        }
        let segments = self.segments.iter();
        let segments: Vec<usize> = segments
            .filter(|(_, segment)| dying(segment.lifetime, segment.creator))
            .map(|(&object, _)| object)
            .collect();
        for segment in segments {
            self.segment_dies(segment);
        }
        for vas in self.vases.values_mut() {
            vas.creator = vas.creator.filter(|&creator| creator != process);
        }
        for segment in self.segments.values_mut() {
            segment.creator = segment.creator.filter(|&creator| creator != process);
        }
        self.vas_handles[process].clear();
        self.segment_handles[process].clear();
        self.processes[process] = begin(&mut self.world, process);
    }

    fn vas_clone(
        &mut self,
        process: usize,
        handle: Handle,
        name: &'static str,
        access: Access,
    ) -> Outcome {
        let taken = self.vases.values().any(|vas| vas.name == name);
        let expected = if !self.vases.contains_key(&handle.object) {
            Err(stale(0))
        } else if !handle.rights.contains(access.needs() | Rights::GRANT) {
            Err(denied(access.needs() | Rights::GRANT))
        } else if taken {
            Err(Error::NameExists)
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self
            .world
            .clone_vas(&caller, handle.cap, name, OPEN, access);
        let answer = answer.map(|cap| {
            let object = self.fresh();
            let segments = self.vases[&handle.object].segments.iter();
            let vas = Vas {
                made: cap,
                name,
                owner: process,
                mode: OPEN.0,
                lifetime: Lifetime::Persistent,
                creator: Some(process),
                segments: segments
                    .map(|(&segment, &most)| (segment, most.min(access)))
                    .collect(),
            };
            self.vases.insert(object, vas);
            let rights = Rights::all();
            self.vas_handles[process].push(Handle {
                cap,
                object,
                rights,
            });
        });
        (expected, answer)
    }

    fn vas_ctl(&mut self, process: usize, handle: Handle, change: Change) -> Outcome {
        let Handle { cap, object, .. } = handle;
        let creator = self.vases.get(&object).map(|vas| vas.creator);
        let expected = expect_ctl(creator, handle, change);
        let caller = self.processes[process].clone();
        let answer = self.world.control_vas(&caller, cap, change.command());
        if let (Ok(()), Some(vas)) = (&answer, self.vases.get_mut(&object)) {
            match change {
                Change::Mode(mode) => vas.mode = mode,
                Change::Lifetime(lifetime) => vas.lifetime = lifetime,
                Change::RevokeHandles => {
                    for handles in &mut self.vas_handles {
                        handles.retain(|handle| handle.object != object);
                    }
                }
                Change::Evict => {
                    let used = self.attached_to(object) > 0;
                    self.attachments.retain(|key, _| key.1 != object);
                    if used {
                        self.vas_left(object);
                    }
                }
            }
        }
        (expected, answer)
    }

    fn seg_ctl(&mut self, process: usize, handle: Handle, change: Change) -> Outcome {
        let Handle { cap, object, .. } = handle;
        let creator = self.segments.get(&object).map(|segment| segment.creator);
        let expected = expect_ctl(creator, handle, change);
        let caller = self.processes[process].clone();
        let answer = self.world.control_segment(&caller, cap, change.command());
        if let (Ok(()), Some(segment)) = (&answer, self.segments.get_mut(&object)) {
            match change {
                Change::Mode(mode) => segment.mode = mode,
                Change::Lifetime(lifetime) => segment.lifetime = lifetime,
                Change::RevokeHandles => {
                    for handles in &mut self.segment_handles {
                        handles.retain(|handle| handle.object != object);
                    }
                }
                Change::Evict => {
                    let used = self.vases_of(object) > 0;
                    for vas in self.vases.values_mut() {
                        vas.segments.remove(&object);
                    }
                    if used {
                        self.segment_left(object);
                    }
                }
            }
        }
        (expected, answer)
    }

    fn seg_grow(&mut self, process: usize, handle: Handle, pages: u64) {
        let Handle { cap, object, .. } = handle;
        let caller = self.processes[process].clone();
        let before = self.world.statistics();
        let Some(segment) = self.segments.get(&object) else {
            let answer = self.world.grow(&caller, cap, pages);
            assert_eq!(answer, Err(stale(0)));
            return;
        };
        let size = pages * segment.page_size.bytes();
        let (base, end) = (segment.base, segment.base + size);
        let neighbours = self
            .vases
            .values()
            .filter(|vas| vas.segments.contains_key(&object))
            .flat_map(|vas| vas.segments.keys())
            .filter(|&&other| other != object);
        let in_the_way = neighbours
            .map(|other| &self.segments[other])
            .any(|other| other.base < end && base < other.base + other.size);
        let old = segment.size;
        match self.world.grow(&caller, cap, size) {
            Ok(new) => {
                assert!(handle.rights.contains(Rights::WRITE));
                assert!(size <= old || !in_the_way);
                assert_eq!(new, old.max(size));
                if let Some(segment) = self.segments.get_mut(&object) {
                    segment.size = new;
                }
            }
            Err(error) => {
                match error {
                    Error::PermissionDenied { needs } => {
                        assert_eq!(needs, Rights::WRITE);
                        assert!(!handle.rights.contains(needs));
                    }
                    Error::Overlap { .. } => assert!(in_the_way),
                    Error::OutOfMemory | Error::OutOfSlots => assert!(size > old),
                    error => panic!("{error}"),
                }
                assert_eq!(self.world.statistics(), before);
            }
        }
    }

    fn restrict(&mut self, process: usize, handle: Handle, rights: Rights) -> Outcome {
        let needs = rights | Rights::GRANT;
        let expected = if !self.vases.contains_key(&handle.object) {
            Err(stale(0))
        } else if !handle.rights.contains(needs) {
            Err(denied(needs))
        } else {
            Ok(())
        };
        let caller = self.processes[process].clone();
        let answer = self.world.restrict(&caller, handle.cap, rights);
        let answer = answer.map(|cap| {
            self.vas_handles[process].push(Handle {
                cap,
                rights,
                ..handle
            });
        });
        (expected, answer)
    }

    /// An attachment of a VAS has ended.
    fn vas_left(&mut self, object: usize) {
        if self.attached_to(object) == 0 && self.vases[&object].lifetime == Lifetime::LastAttacher {
            self.vas_dies(object);
        }
    }

    fn vas_dies(&mut self, object: usize) {
        self.attachments.retain(|key, _| key.1 != object);
        let vas = self.vases.remove(&object).unwrap();
        for segment in vas.segments.into_keys() {
            self.segment_left(segment);
        }
    }

    /// A VAS has a segment no longer.
    fn segment_left(&mut self, object: usize) {
        let lifetime = self.segments[&object].lifetime;
        if self.vases_of(object) == 0 && lifetime == Lifetime::LastAttacher {
            self.segment_dies(object);
        }
    }

    fn segment_dies(&mut self, object: usize) {
        for vas in self.vases.values_mut() {
            vas.segments.remove(&object);
        }
        self.segments.remove(&object);
    }

    /// Every root maps exactly what the model says, and the same frames.
    fn compare(&mut self) {
        let statistics = self.world.statistics();
        assert_eq!(statistics.vases as usize, self.vases.len());
        assert_eq!(statistics.segments as usize, self.segments.len());
        assert_eq!(statistics.attachments as usize, self.attachments.len());
        let used = statistics.asids_total - statistics.asids_free;
        let masters = MASTER as usize * self.vases.len();
        assert_eq!(used as usize, self.attachments.len() + masters);

        let mut frames: BTreeMap<(usize, u64), u64> = BTreeMap::new();
        let mut owners: BTreeMap<u64, (usize, u64)> = BTreeMap::new();
        for (&(_, vas, access), attached) in &self.attachments {
            let mut pages: BTreeMap<u64, _> = self
                .world
                .server
                .kernel()
                .pages(attached.root)
                .into_iter()
                .filter(|&(address, ..)| address >= BASE)
                .map(|(address, frame, size, access)| (address, (frame, size, access)))
                .collect();
            for (&object, &of_vas) in &self.vases[&vas].segments {
                let segment = &self.segments[&object];
                let step = segment.page_size.bytes() as usize;
                for address in (segment.base..segment.base + segment.size).step_by(step) {
                    let (frame, size, found) = pages.remove(&address).expect("it is mapped");
                    assert_eq!((size, found), (segment.page_size, of_vas.min(access)));
                    let place = (object, address);
                    assert_eq!(*frames.entry(place).or_insert(frame), frame);
                    assert_eq!(*owners.entry(frame).or_insert(place), place);
                }
            }
            assert!(pages.is_empty(), "there is more than the model says");
        }
    }

    /// Everything is deleted, with the handles of the creators or those that owners find.
    fn clear(&mut self) {
        for process in 0..PROCESSES {
            self.restart(process);
        }
        let process = self.processes[0].clone();
        // Looking one up may need a slot: those come last whose handles were revoked.
        loop {
            let fake = &*self.world.fake();
            let revoked = |vas: &Vas| !fake.exists(vas.made);
            let vases = self.vases.iter();
            let Some((&object, vas)) = vases.min_by_key(|(_, vas)| revoked(vas)) else {
                break;
            };
            let mut handle = vas.made;
            if revoked(vas) {
                let owner = self.processes[vas.owner].clone();
                handle = self.world.find_vas(&owner, vas.name).unwrap().1;
            }
            self.world.delete_vas(&process, handle).unwrap();
            self.vas_dies(object);
        }
        while let Some((&object, segment)) = self.segments.first_key_value() {
            let mut handle = segment.made;
            if !self.world.fake().exists(handle) {
                let owner = self.processes[segment.owner].clone();
                handle = self.world.find_segment(&owner, segment.name).unwrap().1;
            }
            self.world.free(&process, handle).unwrap();
            self.segment_dies(object);
        }
    }
}

/// The answer to a change of an object with this creator, if it exists.
fn expect_ctl(creator: Option<Option<usize>>, handle: Handle, change: Change) -> Result<(), Error> {
    match (creator, change) {
        (None, _) => Err(stale(0)),
        _ if !handle.rights.contains(Rights::CONTROL) => Err(denied(Rights::CONTROL)),
        (Some(None), Change::Lifetime(Lifetime::Creator)) => Err(Error::CreatorEnded),
        _ => Ok(()),
    }
}

/// What the model expects, and what the server answered.
type Outcome = (Result<(), Error>, Result<(), Error>);

fn refuse_nothing((object, rights): (usize, Rights)) -> Result<(usize, Rights), Error> {
    if rights.is_empty() {
        return Err(denied(Rights::READ | Rights::ATTACH));
    }
    Ok((object, rights))
}

fn run(slots: u32, untyped_bits: &[u8], steps: &[Step]) {
    let mut model = Model::new(slots, untyped_bits);
    let before = model.world.statistics();
    let caps = model.world.fake().caps_of_objects();
    for step in steps {
        model.step(step);
        model.compare();
    }
    model.clear();
    assert_eq!(model.world.statistics(), before);
    assert_eq!(model.world.fake().caps_of_objects(), caps);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_operations_does_what_the_model_says(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(2000, &[26, 14], &steps);
    }

    #[test]
    fn any_sequence_of_operations_survives_want_of_slots(
        slots in 60..300u32,
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(slots, &[26, 14], &steps);
    }

    #[test]
    fn any_sequence_of_operations_survives_want_of_memory(
        bits in prop::collection::vec(12..18u8, 1..6),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        run(2000, &[&[12][..], &bits].concat(), &steps);
    }
}
