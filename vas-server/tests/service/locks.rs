// SPDX-License-Identifier: MIT OR Apache-2.0

//! Locks as the server keeps them, and as clients see them.

use std::sync::atomic::Ordering;

use protocol::address_map::{LOCAL, LOCK_SET, LOCKS, PAGE_BYTES};
use protocol::limits::LOCKS_PER_VAS;
use protocol::lock::Entered;
use protocol::message::{Command, Locked, VasCommand, VasSetConsistent, Wait};
use protocol::{Access, Error, Limit, LockMode, Rights};
use vas_server::Kernel;
use vas_server::fake::{Fault, Held};
use vas_server::kernel::TIMER_HERTZ;

use crate::support::*;

/// Two processes, and two VASes that have the same two lockable segments, attached in opposite
/// order.
struct Scene {
    world: World,
    one: Process,
    other: Process,
    vases: [Held; 2],
    /// The first has the lower index.
    segments: [Held; 2],
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let one = world.process(1, &[]);
        let other = world.process(1, &[]);
        let segments = [("s", BASE), ("t", BASE + MIB)].map(|(text, base)| {
            let request = alloc_lockable(text, base, 8 * KIB);
            world.try_segment(&one, &request).unwrap().1
        });
        let vases = [("a", [0, 1]), ("b", [1, 0])].map(|(text, order)| {
            let vas = world.vas(&one, text);
            for index in order {
                world.add(&one, vas, segments[index], READ_WRITE).unwrap();
            }
            vas
        });
        Scene {
            world,
            one,
            other,
            vases,
            segments,
        }
    }

    fn set_mode(&mut self, mode: LockMode) {
        for vas in self.vases {
            let command = VasCommand::LockMode(mode);
            self.world.control_vas(&self.one, vas, command).unwrap();
        }
    }

    /// A further process that is attached to a VAS.
    fn attach(&mut self, vas: usize, access: Access) -> (Process, Attached) {
        let process = self.world.process(1, &[]);
        let attached = self.world.attach(&process, self.vases[vas], access);
        (process, attached.unwrap())
    }

    /// Whether an attachment holds the lock of a segment for this access.
    fn holds(&mut self, attached: Attached, segment: usize, access: Access) -> bool {
        let segment = self.world.fake().badge(self.segments[segment]).unwrap();
        let lock = self.world.server.kernel().lock(segment.handle().index);
        lock.is_held(index(attached), access)
    }

    /// Takes all locks of a VAS as the client library does.
    fn enter(&mut self, vas: usize, attached: Attached, access: Access) -> Entered {
        let vas = self.world.fake().badge(self.vases[vas]).unwrap();
        let kernel = self.world.server.kernel();
        let set = kernel.lock_set(vas.handle().index);
        set.enter(index(attached), access, |segment| kernel.lock(segment))
    }

    /// Gives them back, and answers whether the server is to be told.
    fn leave(&mut self, vas: usize, attached: Attached) -> bool {
        let vas = self.world.fake().badge(self.vases[vas]).unwrap();
        let kernel = self.world.server.kernel();
        let set = kernel.lock_set(vas.handle().index);
        set.leave(index(attached), |segment| kernel.lock(segment))
    }

    /// Whether the client is told that it must take locks.
    fn must_lock(&mut self, attached: Attached) -> bool {
        let word = self.world.server.kernel().locking(index(attached));
        word.load(Ordering::Relaxed) == attached.id.0
    }
}

fn index(attached: Attached) -> u16 {
    (attached.id.0 - 1) as u16
}

const CONSISTENT: Locked = Locked {
    inconsistent: false,
};
const INCONSISTENT: Locked = Locked { inconsistent: true };
const BOTH: [usize; 2] = [0, 1];

/// The locks were had at once, and no root with them.
fn at_once(locked: Locked) -> Result<Answered<Locked>, u32> {
    Ok(Ok((locked, None)))
}

#[test]
fn row_7_locking_takes_every_lock_of_the_vas_as_its_mapping_allows() {
    let mut scene = Scene::new();
    let (process, writing) = scene.attach(0, READ_WRITE);
    let (reader, reading) = scene.attach(0, READ_ONLY);
    let answer = scene.world.lock(&process, writing, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    assert!(
        BOTH.map(|s| scene.holds(writing, s, READ_WRITE))
            .iter()
            .all(|&held| held)
    );
    scene.world.unlock(&process, writing).unwrap();
    assert!(
        !BOTH
            .map(|s| scene.holds(writing, s, READ_ONLY))
            .iter()
            .any(|&held| held)
    );
    let answer = scene.world.lock(&reader, reading, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    for segment in BOTH {
        assert!(scene.holds(reading, segment, READ_ONLY));
        assert!(!scene.holds(reading, segment, READ_WRITE));
    }
    assert_eq!(
        scene.enter(0, reading, READ_ONLY),
        Entered::All {
            inconsistent: false
        }
    );
}

#[test]
fn a_segment_that_a_vas_only_reads_is_locked_to_read() {
    let mut scene = Scene::new();
    let vas = scene.world.vas(&scene.one, "c");
    let [s, t] = scene.segments;
    scene.world.add(&scene.one, vas, s, READ_ONLY).unwrap();
    scene.world.add(&scene.one, vas, t, READ_WRITE).unwrap();
    let attached = scene.world.attach(&scene.one, vas, READ_WRITE).unwrap();
    let answer = scene.world.lock(&scene.one, attached, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    assert!(scene.holds(attached, 0, READ_ONLY));
    assert!(!scene.holds(attached, 0, READ_WRITE));
    assert!(scene.holds(attached, 1, READ_WRITE));
}

#[test]
fn row_8_readers_hold_a_lock_together_and_a_writer_alone_in_the_order_in_which_they_asked() {
    let mut scene = Scene::new();
    let readers: Vec<_> = (0..4).map(|vas| scene.attach(vas % 2, READ_ONLY)).collect();
    let (writer, writing) = scene.attach(0, READ_WRITE);
    for (process, reading) in &readers[..2] {
        let answer = scene.world.lock(process, *reading, Wait::Forever);
        assert_eq!(answer, at_once(CONSISTENT));
    }
    let waiting = scene
        .world
        .lock(&writer, writing, Wait::Forever)
        .unwrap_err();
    // Who comes later waits behind the writer, on the fast way, too.
    let entered = scene.enter(1, readers[3].1, READ_ONLY);
    assert_eq!(entered, Entered::Not);
    let late: Vec<_> = readers[2..]
        .iter()
        .map(|(process, reading)| {
            scene
                .world
                .lock(process, *reading, Wait::Forever)
                .unwrap_err()
        })
        .collect();
    for (process, reading) in &readers[..2] {
        assert_eq!(scene.world.locked_later(waiting), None);
        scene.world.unlock(process, *reading).unwrap();
    }
    assert_eq!(
        scene.world.locked_later(waiting),
        Some(Ok((CONSISTENT, None)))
    );
    assert_eq!(scene.world.locked_later(late[0]), None);
    assert_eq!(scene.world.locked_later(late[1]), None);
    scene.world.unlock(&writer, writing).unwrap();
    for &number in &late {
        assert_eq!(
            scene.world.locked_later(number),
            Some(Ok((CONSISTENT, None)))
        );
    }
    for (process, reading) in &readers[2..] {
        scene.world.unlock(process, *reading).unwrap();
    }
    // Nobody waits, so the fast way is free again.
    let entered = scene.enter(0, writing, READ_WRITE);
    assert_eq!(
        entered,
        Entered::All {
            inconsistent: false
        }
    );
    assert!(!scene.leave(0, writing));
}

#[test]
fn who_leaves_on_the_fast_way_tells_the_server_if_and_only_if_somebody_waits() {
    let mut scene = Scene::new();
    let (holder, holding) = scene.attach(0, READ_WRITE);
    let (waiter, waiting) = scene.attach(1, READ_WRITE);
    let all = Entered::All {
        inconsistent: false,
    };
    assert_eq!(scene.enter(0, holding, READ_WRITE), all);
    assert!(!scene.leave(0, holding));
    assert_eq!(scene.enter(0, holding, READ_WRITE), all);
    assert_eq!(scene.enter(1, waiting, READ_WRITE), Entered::Not);
    let number = scene
        .world
        .lock(&waiter, waiting, Wait::Forever)
        .unwrap_err();
    assert!(scene.leave(0, holding));
    assert_eq!(scene.world.locked_later(number), None);
    scene.world.unlock(&holder, holding).unwrap();
    assert_eq!(
        scene.world.locked_later(number),
        Some(Ok((CONSISTENT, None)))
    );
    assert!(!scene.leave(1, waiting));
}

#[test]
fn who_does_not_wait_is_refused_and_nothing_has_changed() {
    let mut scene = Scene::new();
    let (holder, holding) = scene.attach(0, READ_ONLY);
    let (process, attached) = scene.attach(0, READ_WRITE);
    let answer = scene.world.lock(&holder, holding, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    let before = scene.world.picture(&scene.one);
    let answer = scene.world.lock(&process, attached, Wait::No);
    assert_eq!(answer, Ok(Err(Error::Locked)));
    assert_eq!(scene.world.picture(&scene.one), before);
    let (_, another) = scene.attach(1, READ_ONLY);
    assert_eq!(
        scene.enter(1, another, READ_ONLY),
        Entered::All {
            inconsistent: false
        }
    );
}

#[test]
fn row_8_the_lock_of_a_holder_that_dies_passes_on_and_the_next_are_told() {
    let mut scene = Scene::new();
    let (dying, attached) = scene.attach(0, READ_WRITE);
    scene.enter(0, attached, READ_WRITE);
    let (process, next) = scene.attach(1, READ_WRITE);
    let number = scene.world.lock(&process, next, Wait::Forever).unwrap_err();
    scene.world.end(&dying);
    assert_eq!(
        scene.world.locked_later(number),
        Some(Ok((INCONSISTENT, None)))
    );
    scene.world.unlock(&process, next).unwrap();
    assert_eq!(
        scene.enter(1, next, READ_WRITE),
        Entered::All { inconsistent: true }
    );
    let attachment = next.id;
    let request = VasSetConsistent { attachment };
    scene.world.call(&process, &request, &[]).unwrap();
    assert!(!scene.leave(1, next));
    assert_eq!(
        scene.enter(1, next, READ_WRITE),
        Entered::All {
            inconsistent: false
        }
    );
}

#[test]
fn a_reader_that_dies_leaves_the_data_as_they_are_and_cannot_say_that_they_are_in_order() {
    let mut scene = Scene::new();
    let (dying, writing) = scene.attach(0, READ_WRITE);
    scene.enter(0, writing, READ_WRITE);
    scene.world.end(&dying);
    for _ in 0..2 {
        let (reader, reading) = scene.attach(0, READ_ONLY);
        let answer = scene.world.lock(&reader, reading, Wait::No);
        assert_eq!(answer, at_once(INCONSISTENT));
        let attachment = reading.id;
        let request = VasSetConsistent { attachment };
        scene.world.call(&reader, &request, &[]).unwrap();
        scene.world.end(&reader);
    }
    let (writer, writing) = scene.attach(0, READ_WRITE);
    let answer = scene.world.lock(&writer, writing, Wait::No);
    assert_eq!(answer, at_once(INCONSISTENT));
    scene.world.unlock(&writer, writing).unwrap();
    scene.world.end(&writer);
    // It had given the locks back.
    let (_, reading) = scene.attach(1, READ_ONLY);
    scene.enter(1, reading, READ_ONLY);
    let request = VasSetConsistent {
        attachment: reading.id,
    };
    let answer = scene.world.call(&scene.other, &request, &[]);
    assert_eq!(answer.map(|_| ()), Err(Error::StaleAttachment));
}

#[test]
fn who_waits_and_ends_leaves_the_queue_and_no_slot_is_lost() {
    let mut scene = Scene::new();
    let (holder, holding) = scene.attach(0, READ_WRITE);
    scene
        .world
        .lock(&holder, holding, Wait::No)
        .unwrap()
        .unwrap();
    let before = scene.world.statistics();
    let (first, one) = scene.attach(0, READ_WRITE);
    let (second, two) = scene.attach(1, READ_WRITE);
    let slots = scene.world.statistics().slots_free;
    let numbers = [
        scene.world.lock(&first, one, Wait::Forever).unwrap_err(),
        scene.world.lock(&second, two, Wait::Forever).unwrap_err(),
    ];
    assert_eq!(scene.world.statistics().slots_free, slots - 2);
    // A thread that waits cannot ask; another one of its process can.
    assert_eq!(scene.world.unlock(&first, one), Err(Error::Locked));
    let answer = scene.world.lock(&first, one, Wait::Forever);
    assert_eq!(answer, Ok(Err(Error::Locked)));
    scene.world.end(&first);
    let told = scene.world.locked_later(numbers[0]);
    assert_eq!(told, Some(Err(Error::StaleAttachment)));
    let evict = Command::Evict;
    scene
        .world
        .control_vas(&scene.one, scene.vases[1], evict)
        .unwrap();
    let told = scene.world.locked_later(numbers[1]);
    assert_eq!(told, Some(Err(Error::StaleAttachment)));
    scene.world.end(&second);
    assert_eq!(scene.world.statistics(), before);
    assert!(!scene.leave(0, holding));
}

#[test]
fn a_thread_waits_for_locks_while_another_of_its_process_holds_them() {
    let mut scene = Scene::new();
    let (process, reading) = scene.attach(0, READ_ONLY);
    let vas = scene.vases[1];
    let writing = scene.world.attach(&process, vas, READ_WRITE).unwrap();
    let world = &mut scene.world;
    world.lock(&process, reading, Wait::No).unwrap().unwrap();
    let number = world.lock(&process, writing, Wait::Forever).unwrap_err();
    assert_eq!(world.locked_later(number), None);
    world.unlock(&process, reading).unwrap();
    assert_eq!(world.locked_later(number), Some(Ok((CONSISTENT, None))));
}

#[test]
fn row_8_vases_with_the_same_segments_in_opposite_order_are_locked_in_the_same_order() {
    let mut scene = Scene::new();
    let (first, one) = scene.attach(0, READ_WRITE);
    let (second, two) = scene.attach(1, READ_WRITE);
    // One lock of each is free, so that either would take one if they began at different ends.
    let (blocker, blocking) = scene.attach(0, READ_ONLY);
    scene
        .world
        .lock(&blocker, blocking, Wait::No)
        .unwrap()
        .unwrap();
    let numbers = [
        scene.world.lock(&first, one, Wait::Forever).unwrap_err(),
        scene.world.lock(&second, two, Wait::Forever).unwrap_err(),
    ];
    for attached in [one, two] {
        assert!(!scene.holds(attached, 1, READ_ONLY));
    }
    scene.world.unlock(&blocker, blocking).unwrap();
    let free = Some(Ok((CONSISTENT, None)));
    assert_eq!(scene.world.locked_later(numbers[0]), free);
    assert_eq!(scene.world.locked_later(numbers[1]), None);
    scene.world.unlock(&first, one).unwrap();
    assert_eq!(scene.world.locked_later(numbers[1]), free);
}

#[test]
fn with_an_enforced_lock_there_is_a_root_only_while_it_is_held() {
    let mut scene = Scene::new();
    scene.set_mode(LockMode::Enforced);
    let (process, attached) = scene.attach(0, READ_WRITE);
    assert_eq!(attached.root, Held::NONE);
    let (locked, root) = scene
        .world
        .lock(&process, attached, Wait::No)
        .unwrap()
        .unwrap();
    assert_eq!(locked, CONSISTENT);
    let root = root.unwrap();
    scene.world.fake().store(root, BASE, 1).unwrap();
    assert!(scene.world.fake().translate(root, LOCK_SET).is_err());

    let (reader, reading) = scene.attach(1, READ_ONLY);
    let number = scene
        .world
        .lock(&reader, reading, Wait::Forever)
        .unwrap_err();
    scene.world.unlock(&process, attached).unwrap();
    assert!(!scene.world.fake().exists(root));
    let (_, cap) = scene.world.locked_later(number).unwrap().unwrap();
    let cap = cap.unwrap();
    assert_eq!(scene.world.fake().load(cap, BASE), Ok(1));
    assert_eq!(scene.world.fake().store(cap, BASE, 1), Err(Fault::ReadOnly));
    scene.world.detach(&reader, reading).unwrap();
    assert!(!scene.world.fake().exists(cap));
    // It can be had again.
    let (_, root) = scene
        .world
        .lock(&process, attached, Wait::No)
        .unwrap()
        .unwrap();
    scene.world.fake().store(root.unwrap(), BASE, 2).unwrap();
    scene.world.end(&process);
    assert!(!scene.world.fake().exists(root.unwrap()));
}

#[test]
fn clients_see_their_locks_and_only_those() {
    let mut scene = Scene::new();
    let (_, attached) = scene.attach(0, READ_ONLY);
    assert!(scene.must_lock(attached));
    let fake = scene.world.fake();
    let pages: Vec<_> = fake
        .pages(attached.root)
        .into_iter()
        .filter(|&(address, ..)| address >= LOCKS)
        .map(|(address, _, _, access)| (address, access))
        .collect();
    // To read under a lock is to write to the lock.
    let expected = [
        (LOCKS, READ_WRITE),
        (LOCKS + PAGE_BYTES, READ_WRITE),
        (LOCK_SET, READ_ONLY),
    ];
    assert_eq!(pages, expected);
    for mode in [LockMode::None, LockMode::Enforced] {
        let mut scene = Scene::new();
        scene.set_mode(mode);
        let (process, attached) = scene.attach(0, READ_WRITE);
        let root = match scene
            .world
            .lock(&process, attached, Wait::No)
            .unwrap()
            .unwrap()
        {
            (_, Some(root)) => root,
            (_, None) => attached.root,
        };
        let pages = scene.world.fake().pages(root);
        assert!(pages.iter().all(|&(address, ..)| address < LOCKS));
        assert!(!scene.must_lock(attached));
    }
}

#[test]
fn a_change_of_the_mode_and_back_leaves_nothing_behind_and_none_happens_while_in_use() {
    let mut scene = Scene::new();
    let before = scene.world.picture(&scene.one);
    scene.set_mode(LockMode::None);
    let none = scene.world.picture(&scene.one);
    scene.set_mode(LockMode::Enforced);
    scene.set_mode(LockMode::None);
    assert_eq!(scene.world.picture(&scene.one), none);
    scene.set_mode(LockMode::Cooperative);
    assert_eq!(scene.world.picture(&scene.one), before);
    scene.attach(0, READ_WRITE);
    let before = scene.world.picture(&scene.one);
    let command = VasCommand::LockMode(LockMode::Enforced);
    let answer = scene.world.control_vas(&scene.one, scene.vases[0], command);
    assert_eq!(answer, Err(Error::InUse { attachments: 1 }));
    assert_eq!(scene.world.picture(&scene.one), before);
}

#[test]
fn a_clone_takes_locks_as_the_other_does() {
    for mode in [LockMode::Cooperative, LockMode::Enforced, LockMode::None] {
        let mut scene = Scene::new();
        scene.set_mode(mode);
        let (holder, holding) = scene.attach(0, READ_WRITE);
        scene
            .world
            .lock(&holder, holding, Wait::No)
            .unwrap()
            .unwrap();
        let (world, one) = (&mut scene.world, scene.one.clone());
        let clone = world.clone_vas(&one, scene.vases[0], "clone", OPEN, READ_WRITE);
        let clone = clone.unwrap();
        assert_eq!(world.stat_vas(&one, clone).unwrap().lock_mode, mode);
        let attached = world.attach(&one, clone, READ_ONLY).unwrap();
        let answer = world.lock(&one, attached, Wait::No);
        let is_locked = answer == Ok(Err(Error::Locked));
        assert_eq!(is_locked, mode != LockMode::None);
        assert_eq!(scene.must_lock(attached), mode == LockMode::Cooperative);
    }
}

#[test]
fn a_segment_that_leaves_a_vas_is_locked_no_longer_by_those_inside() {
    let mut scene = Scene::new();
    let (_, inside) = scene.attach(0, READ_WRITE);
    scene.enter(0, inside, READ_WRITE);
    let (process, waiting) = scene.attach(1, READ_WRITE);
    let number = scene
        .world
        .lock(&process, waiting, Wait::Forever)
        .unwrap_err();
    let [s, t] = scene.segments;
    scene.world.remove(&scene.one, scene.vases[0], s).unwrap();
    assert_eq!(scene.world.locked_later(number), None);
    assert!(scene.holds(waiting, 0, READ_WRITE));
    // A thread that has read the set before does not fault, but what it finds is no lock of any.
    let place = scene.world.fake().translate(inside.root, LOCKS).unwrap();
    let other = scene.world.fake().translate(waiting.root, LOCKS).unwrap();
    assert_ne!(place, other);
    assert_eq!(place.1, READ_WRITE);
    scene
        .world
        .control_segment(&scene.one, t, Command::Evict)
        .unwrap();
    // Who waits needs it no longer either; what it has was written to by one that was stopped.
    assert_eq!(
        scene.world.locked_later(number),
        Some(Ok((INCONSISTENT, None)))
    );
    assert!(!scene.must_lock(inside));
    assert!(scene.must_lock(waiting));
    // It comes back in its place.
    scene
        .world
        .add(&scene.one, scene.vases[0], s, READ_WRITE)
        .unwrap();
    assert!(scene.must_lock(inside));
    let place = scene.world.fake().translate(inside.root, LOCKS).unwrap();
    assert_eq!(place, other);
}

#[test]
fn a_segment_that_is_added_is_locked_from_then_on() {
    let mut scene = Scene::new();
    let vas = scene.world.vas(&scene.one, "later");
    let before = scene.world.statistics();
    let attached = scene.world.attach(&scene.other, vas, READ_WRITE).unwrap();
    assert!(!scene.must_lock(attached));
    scene
        .world
        .add(&scene.one, vas, scene.segments[0], READ_WRITE)
        .unwrap();
    assert!(scene.must_lock(attached));
    let answer = scene.world.lock(&scene.other, attached, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    assert!(scene.holds(attached, 0, READ_WRITE));
    scene
        .world
        .remove(&scene.one, vas, scene.segments[0])
        .unwrap();
    assert!(!scene.must_lock(attached));
    scene.world.detach(&scene.other, attached).unwrap();
    assert_eq!(scene.world.statistics(), before);
}

#[test]
fn a_segment_of_a_single_attachment_has_no_lock() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let (base, size) = (LOCAL.start, 4 * KIB);
    let answer = world.try_segment(&process, &alloc_lockable("local", base, size));
    let refused = answer.map(|_| ());
    assert_eq!(refused, Err(Error::OutOfRange { base, size }));
}

#[test]
fn whoever_may_not_control_a_vas_does_not_change_how_it_is_locked() {
    let mut scene = Scene::new();
    let rights = Rights::all() - Rights::CONTROL;
    let [vas, _] = scene.vases;
    let weak = scene.world.restrict(&scene.one, vas, rights).unwrap();
    let command = VasCommand::LockMode(LockMode::None);
    let answer = scene.world.control_vas(&scene.one, weak, command);
    let needs = Rights::CONTROL;
    assert_eq!(answer, Err(Error::PermissionDenied { needs }));
}

type Operation = fn(&mut Scene, Attached) -> Result<(), Error>;

/// Asked by the other process, which is attached to the first VAS; that has no locks yet.
const OPERATIONS: [(&str, Operation); 8] = [
    ("seg_alloc", |scene, _| {
        let request = alloc_lockable("new", BASE, 4 * KIB);
        let answer = scene.world.try_segment(&scene.other, &request);
        answer.map(|_| ())
    }),
    ("seg_attach of the first to be locked", |scene, _| {
        let [_, t] = scene.segments;
        let vas = scene.world.find_vas(&scene.one, "later").unwrap().1;
        scene.world.add(&scene.one, vas, t, READ_WRITE)
    }),
    ("seg_attach of another", |scene, _| {
        let request = alloc_lockable("new", BASE + GIB, 4 * KIB);
        let (_, new) = scene.world.try_segment(&scene.other, &request)?;
        let answer = scene.world.add(&scene.one, scene.vases[0], new, READ_WRITE);
        if answer.is_err() {
            scene.world.free(&scene.other, new)?;
        }
        answer
    }),
    ("vas_clone", |scene, _| {
        let (one, vas) = (&scene.one, scene.vases[0]);
        let answer = scene.world.clone_vas(one, vas, "clone", OPEN, READ_WRITE);
        answer.map(|_| ())
    }),
    ("vas_ctl", |scene, _| {
        let later = scene.world.find_vas(&scene.one, "unlocked").unwrap().1;
        let command = VasCommand::LockMode(LockMode::Cooperative);
        scene.world.control_vas(&scene.one, later, command)
    }),
    ("vas_lock with a root", |scene, _| {
        let enforced = scene.world.find_vas(&scene.one, "enforced").unwrap().1;
        let attached = scene.world.attach(&scene.other, enforced, READ_ONLY)?;
        let answer = scene.world.lock(&scene.other, attached, Wait::No).unwrap();
        if answer.is_err() {
            scene.world.detach(&scene.other, attached)?;
        }
        answer.map(|_| ())
    }),
    ("vas_lock that waits", |scene, attached| {
        match scene.world.lock(&scene.other, attached, Wait::Forever) {
            Err(_) => Ok(()),
            Ok(answer) => answer.map(|_| ()),
        }
    }),
    (
        "vas_lock that waits for a time",
        |scene, attached| match scene.world.lock(&scene.other, attached, at_most(1)) {
            Err(_) => Ok(()),
            Ok(answer) => answer.map(|_| ()),
        },
    ),
];

#[test]
fn an_operation_on_locks_that_the_kernel_refuses_at_any_call_changes_nothing() {
    for (name, operation) in OPERATIONS {
        for call in 1.. {
            let mut scene = Scene::new();
            let one = scene.one.clone();
            let [s, t] = scene.segments;
            scene.world.vas(&one, "later");
            for (text, mode) in [
                ("unlocked", LockMode::None),
                ("enforced", LockMode::Enforced),
            ] {
                let vas = scene.world.vas(&one, text);
                scene.world.add(&one, vas, s, READ_WRITE).unwrap();
                scene.world.add(&one, vas, t, READ_ONLY).unwrap();
                let command = VasCommand::LockMode(mode);
                scene.world.control_vas(&one, vas, command).unwrap();
            }
            // Found before, so that finding takes nothing.
            for text in ["later", "unlocked", "enforced"] {
                scene.world.find_vas(&one, text).unwrap();
            }
            let (holder, holding) = scene.attach(0, READ_ONLY);
            scene
                .world
                .lock(&holder, holding, Wait::No)
                .unwrap()
                .unwrap();
            let attached = scene.world.attach(&scene.other, scene.vases[0], READ_WRITE);
            let attached = attached.unwrap();
            let before = scene.world.statistics();
            let calls = scene.world.fake().calls();
            scene.world.fake().fail_at(Some(calls + call));
            let answer = operation(&mut scene, attached);
            if scene.world.fake().calls() < calls + call {
                assert_eq!(answer, Ok(()), "{name}");
                assert!(call > 1, "{name} makes no calls");
                break;
            }
            let kernel = vas_server::fake::INJECTED.0;
            assert_eq!(
                answer,
                Err(Error::Internal { kernel }),
                "{name}, call {call}"
            );
            assert_eq!(scene.world.statistics(), before, "{name}, call {call}");
            assert_eq!(scene.world.fake().wakes_in(), None, "{name}, call {call}");
            // Nobody waits, and the lock is free for readers as it was.
            let (_, reading) = scene.attach(1, READ_ONLY);
            let entered = scene.enter(1, reading, READ_ONLY);
            assert_eq!(
                entered,
                Entered::All {
                    inconsistent: false
                },
                "{name}"
            );
            assert_eq!(operation(&mut scene, attached), Ok(()), "{name}");
        }
    }
}

const fn at_most(microseconds: u64) -> Wait {
    Wait::AtMost { microseconds }
}

/// Two processes of which one holds the locks to read and the other is to write, and the attachments.
fn held_to_read(mode: LockMode) -> (Scene, (Process, Attached), (Process, Attached)) {
    let mut scene = Scene::new();
    scene.set_mode(mode);
    let holder = scene.attach(0, READ_ONLY);
    scene
        .world
        .lock(&holder.0, holder.1, Wait::No)
        .unwrap()
        .unwrap();
    let writer = scene.attach(0, READ_WRITE);
    (scene, holder, writer)
}

const TOLD: Option<Answered<Locked>> = Some(Err(Error::Locked));

#[test]
fn who_waits_for_a_time_is_told_when_it_has_passed_and_not_before() {
    for mode in [LockMode::Cooperative, LockMode::Enforced] {
        for time in [1, 1000, 54_925, 10_000_000] {
            let (mut scene, (holder, holding), (writer, writing)) = held_to_read(mode);
            let before = scene.world.picture(&scene.one);
            let waiting = scene.world.lock(&writer, writing, at_most(time));
            let waiting = waiting.unwrap_err();
            scene.world.pass(time);
            assert_eq!(scene.world.locked_later(waiting), None, "{time}");
            scene.world.pass(2);
            assert_eq!(scene.world.locked_later(waiting), TOLD, "{time}");
            // Nothing is left of it.
            assert_eq!(scene.world.picture(&scene.one), before);
            assert_eq!(scene.world.fake().wakes_in(), None);
            scene.world.unlock(&holder, holding).unwrap();
            let answer = scene.world.lock(&writer, writing, Wait::No);
            assert!(matches!(answer, Ok(Ok(_))));
        }
    }
}

#[test]
fn the_timer_runs_only_as_long_as_somebody_waits_until_a_time() {
    let (mut scene, (holder, holding), (writer, writing)) = held_to_read(LockMode::Cooperative);
    let (other, second) = scene.attach(1, READ_WRITE);
    scene
        .world
        .lock(&writer, writing, Wait::Forever)
        .unwrap_err();
    assert_eq!(scene.world.fake().wakes_in(), None);
    let waiting = scene.world.lock(&other, second, at_most(u64::MAX));
    let waiting = waiting.unwrap_err();
    // As ticks, this has one bit more than a word.
    let long = (1 << 64) * 1_000_000 / u128::from(TIMER_HERTZ) + 1;
    let (other, third) = scene.attach(1, READ_WRITE);
    let long = scene.world.lock(&other, third, at_most(long as u64));
    let long = long.unwrap_err();
    scene.world.pass(1_000_000);
    assert_eq!(scene.world.locked_later(waiting), None);
    assert_eq!(scene.world.locked_later(long), None);
    // They wait for ever.
    assert_eq!(scene.world.fake().wakes_in(), None);
    scene.world.unlock(&holder, holding).unwrap();
    scene.world.unlock(&writer, writing).unwrap();
    let let_in = Some(Ok((CONSISTENT, None)));
    assert_eq!(scene.world.locked_later(waiting), let_in);
    scene.world.pass(100_000);
    assert_eq!(scene.world.fake().wakes_in(), None);
}

#[test]
fn no_time_is_as_not_waiting_and_what_is_free_is_had_at_once() {
    let (mut scene, (holder, holding), (writer, writing)) = held_to_read(LockMode::Cooperative);
    let answer = scene.world.lock(&writer, writing, at_most(0));
    assert_eq!(answer, Ok(Err(Error::Locked)));
    scene.world.unlock(&holder, holding).unwrap();
    for time in [0, 1, u64::MAX] {
        let answer = scene.world.lock(&writer, writing, at_most(time));
        assert_eq!(answer, at_once(CONSISTENT));
    }
    assert_eq!(scene.world.fake().wakes_in(), None);
}

#[test]
fn everybody_is_told_at_its_own_time() {
    let (mut scene, ..) = held_to_read(LockMode::Cooperative);
    // In order of asking: how long, and how long after the one before.
    let asked = [
        (900_000, 0),
        (30_000, 10_000),
        (5_000, 10_000),
        (2_000_000, 0),
    ];
    let mut now = 0;
    let mut waiting = Vec::new();
    for (time, after) in asked {
        scene.world.pass(after);
        now += after;
        let (process, attached) = scene.attach(1, READ_WRITE);
        let number = scene.world.lock(&process, attached, at_most(time));
        waiting.push((now + time, number.unwrap_err()));
    }
    waiting.sort_unstable();
    for index in 0..waiting.len() {
        let (deadline, _) = waiting[index];
        for (passes, told) in [(deadline - now, index), (10, index + 1)] {
            scene.world.pass(passes);
            now += passes;
            for (position, &(_, number)) in waiting.iter().enumerate() {
                let expected = if position < told { TOLD } else { None };
                assert_eq!(scene.world.locked_later(number), expected);
            }
        }
    }
}

#[test]
fn who_has_waited_in_vain_keeps_nobody_out() {
    let (mut scene, (holder, holding), (writer, writing)) = held_to_read(LockMode::Cooperative);
    let number = scene.world.lock(&writer, writing, at_most(50));
    let number = number.unwrap_err();
    let (reader, reading) = scene.attach(1, READ_ONLY);
    let behind = scene.world.lock(&reader, reading, Wait::Forever);
    let behind = behind.unwrap_err();
    assert_eq!(scene.world.locked_later(behind), None);
    scene.world.pass(60);
    assert_eq!(scene.world.locked_later(number), TOLD);
    let let_in = Some(Ok((CONSISTENT, None)));
    assert_eq!(scene.world.locked_later(behind), let_in);
    // The lock is not contended any longer.
    assert!(!scene.leave(1, reading));
    assert!(!scene.leave(0, holding));
    scene.world.unlock(&holder, holding).unwrap();
    assert!(matches!(
        scene.enter(1, writing, READ_WRITE),
        Entered::All { .. }
    ));
}

#[test]
fn what_it_had_already_goes_to_those_behind() {
    let mut scene = Scene::new();
    // The second lock is held, so that who writes to both gets the first.
    let vas = scene.world.vas(&scene.one, "second alone");
    let [_, t] = scene.segments;
    scene.world.add(&scene.one, vas, t, READ_WRITE).unwrap();
    let holding = scene.world.attach(&scene.one, vas, READ_WRITE).unwrap();
    let answer = scene.world.lock(&scene.one, holding, Wait::No);
    assert_eq!(answer, at_once(CONSISTENT));
    let (writer, writing) = scene.attach(0, READ_WRITE);
    let number = scene.world.lock(&writer, writing, at_most(50));
    let number = number.unwrap_err();
    assert!(scene.holds(writing, 0, READ_WRITE));
    let vas = scene.world.vas(&scene.one, "first alone");
    let [s, _] = scene.segments;
    scene.world.add(&scene.one, vas, s, READ_ONLY).unwrap();
    let reading = scene.world.attach(&scene.other, vas, READ_ONLY).unwrap();
    let behind = scene.world.lock(&scene.other, reading, Wait::Forever);
    let behind = behind.unwrap_err();
    scene.world.pass(60);
    assert_eq!(scene.world.locked_later(number), TOLD);
    let let_in = Some(Ok((CONSISTENT, None)));
    assert_eq!(scene.world.locked_later(behind), let_in);
    assert!(!scene.holds(writing, 0, READ_ONLY));
}

#[test]
fn who_is_let_in_late_is_let_in_and_who_was_told_in_time_is_not() {
    for is_woken_first in [false, true] {
        let (mut scene, (holder, holding), (writer, writing)) = held_to_read(LockMode::Cooperative);
        let number = scene.world.lock(&writer, writing, at_most(50));
        let number = number.unwrap_err();
        // The server is busy meanwhile.
        assert!(scene.world.fake().pass(100));
        if is_woken_first {
            scene.world.wake();
        }
        scene.world.unlock(&holder, holding).unwrap();
        if !is_woken_first {
            scene.world.wake();
        }
        let let_in = Some(Ok((CONSISTENT, None)));
        let expected = if is_woken_first { TOLD } else { let_in };
        assert_eq!(scene.world.locked_later(number), expected);
        let holds = scene.holds(writing, 0, READ_WRITE) && scene.holds(writing, 1, READ_WRITE);
        assert_eq!(holds, !is_woken_first);
        assert_eq!(scene.world.fake().wakes_in(), None);
    }
}

#[test]
fn who_waits_for_a_time_and_ends_is_told_no_more_and_leaves_nothing() {
    let (mut scene, _, _) = held_to_read(LockMode::Cooperative);
    let before = scene.world.statistics();
    let (dies, one) = scene.attach(0, READ_WRITE);
    let (evicted, two) = scene.attach(1, READ_WRITE);
    let numbers = [(&dies, one), (&evicted, two)].map(|(process, attached)| {
        let answer = scene.world.lock(process, attached, at_most(50));
        answer.unwrap_err()
    });
    scene.world.end(&dies);
    let vas = scene.vases[1];
    let one = scene.one.clone();
    scene.world.control_vas(&one, vas, Command::Evict).unwrap();
    scene.world.end(&evicted);
    scene.world.pass(100);
    for number in numbers {
        let told = scene.world.locked_later(number);
        assert_eq!(told, Some(Err(Error::StaleAttachment)));
    }
    assert_eq!(scene.world.fake().wakes_in(), None);
    assert_eq!(scene.world.statistics(), before);
}

#[test]
fn a_server_that_comes_late_is_never_too_early_and_half_a_round_late_loses_nothing() {
    const TIME: u64 = 1_000_000;
    const TICKS: u64 = TIMER_HERTZ;
    for late in [0, 1, (1 << 15) - 1, 1 << 16, 1 << 20] {
        let (mut scene, _, (writer, writing)) = held_to_read(LockMode::Cooperative);
        let number = scene.world.lock(&writer, writing, at_most(TIME));
        let number = number.unwrap_err();
        let mut passed = 0;
        while let Some(wakes_in) = scene.world.fake().wakes_in() {
            assert_eq!(scene.world.locked_later(number), None);
            let step = u64::from(wakes_in) + late;
            assert!(scene.world.fake().pass(step));
            passed += step;
            assert!(passed < 100 * TICKS, "late by {late}: no end");
            scene.world.wake();
        }
        assert_eq!(scene.world.locked_later(number), TOLD);
        assert!(passed > TICKS, "late by {late}: {passed}");
        if late < 1 << 15 {
            assert!(passed <= TICKS + 2 + late, "late by {late}: {passed}");
        }
    }
}

#[test]
fn a_notification_that_is_one_too_many_does_no_harm() {
    let (mut scene, (holder, holding), (writer, writing)) = held_to_read(LockMode::Cooperative);
    scene.world.wake();
    let number = scene.world.lock(&writer, writing, at_most(1000));
    let number = number.unwrap_err();
    for _ in 0..9 {
        scene.world.pass(100);
        scene.world.wake();
        assert_eq!(scene.world.locked_later(number), None);
    }
    scene.world.pass(110);
    assert_eq!(scene.world.locked_later(number), TOLD);
    scene.world.wake();
    assert_eq!(scene.world.fake().wakes_in(), None);
    scene.world.unlock(&holder, holding).unwrap();
}

#[test]
fn hundreds_whose_time_has_come_are_told_in_parts() {
    const MANY: usize = 200;
    let (mut scene, (holder, holding), _) = held_to_read(LockMode::Cooperative);
    let waiting: Vec<_> = (0..MANY)
        .map(|index| {
            let process = scene.world.bare_process(1);
            let vas = scene.vases[index % 2];
            let attached = scene.world.attach(&process, vas, READ_WRITE).unwrap();
            let number = scene.world.lock(&process, attached, at_most(5000));
            (number.unwrap_err(), process, attached)
        })
        .collect();
    let mut told = Vec::new();
    while let Some(wakes_in) = scene.world.fake().wakes_in() {
        // Others are served meanwhile.
        assert!(u64::from(wakes_in) > TIMER_HERTZ / 1000, "{wakes_in} ticks");
        assert!(scene.world.fake().pass(wakes_in.into()));
        scene.world.wake();
        let numbers = waiting.iter().map(|&(number, ..)| number);
        told.push(
            numbers
                .filter(|&number| scene.world.locked_later(number) == TOLD)
                .count(),
        );
    }
    assert_eq!(told, [64, 128, 192, MANY]);
    scene.world.unlock(&holder, holding).unwrap();
    for (_, process, attached) in waiting {
        let answer = scene.world.lock(&process, attached, Wait::No);
        assert_eq!(answer, at_once(CONSISTENT));
        scene.world.unlock(&process, attached).unwrap();
    }
}

#[test]
fn a_vas_has_so_many_lockable_segments_and_no_more() {
    let mut world = World::with(20_000, &[27]);
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let mut segments = Vec::new();
    for number in 0..=LOCKS_PER_VAS as u64 {
        let base = BASE + number * 4 * KIB;
        let request = alloc_lockable(&number.to_string(), base, 4 * KIB);
        segments.push(world.try_segment(&process, &request).unwrap().1);
    }
    let last = segments.pop().unwrap();
    for &segment in &segments {
        world.add(&process, vas, segment, READ_WRITE).unwrap();
    }
    let before = world.picture(&process);
    let reached = Err(Error::LimitReached(Limit::LocksPerVas));
    assert_eq!(world.add(&process, vas, last, READ_WRITE), reached);
    assert_eq!(world.picture(&process), before);
    // One without a lock is not too many, nor is one in the place of another.
    let other = world.segment(&process, "other", BASE + GIB, 4 * KIB);
    world.add(&process, vas, other, READ_WRITE).unwrap();
    world.remove(&process, vas, segments[0]).unwrap();
    world.add(&process, vas, last, READ_WRITE).unwrap();
}
