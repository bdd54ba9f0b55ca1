// SPDX-License-Identifier: MIT OR Apache-2.0

//! What takes long is done in steps. That no request makes the kernel do more than so much is
//! asserted of every request of every test (`World::send_once`).

use protocol::address_map::IMAGE_BASE;
use protocol::limits::RECLAIM_UNITS;
use protocol::message::{
    Command, Counts, Lifetime, PrivateExtent, Quota, Request, SegAlloc, SegAttach, SegAttachLocal,
    SegDetach, SegDetachLocal, SegFree, SegGrow, ServerStat, SessionEnd, VasAttach, VasClone,
    VasCommand, VasDetach, VasLock, VasUnlock, Wait,
};
use protocol::{Access, AttachmentId, Badge, Error};
use vas_server::fake::{Held, INJECTED};

use crate::support::*;

/// More pages than are made, mapped or unmapped in two steps.
const SIZE: u64 = 2800 * 4 * KIB;

/// A process with a large segment in one VAS, another VAS, and somebody else.
struct Scene {
    world: World,
    process: Process,
    other: Process,
    vas: Held,
    attached: Attached,
    /// Has nothing.
    spare: Held,
    segment: Held,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::with(60_000, &[27, 16]);
        let process = world.process(1, &[]);
        let other = world.process(2, &[]);
        let vas = world.vas(&process, "data");
        let spare = world.vas(&process, "spare");
        let segment = world.segment(&process, "large", BASE, SIZE);
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        Scene {
            world,
            process,
            other,
            vas,
            attached,
            spare,
            segment,
        }
    }

    fn once<R: Request>(&mut self, request: &R, caps: &[Held]) -> Result<(), Error> {
        let badge = self.world.fake().badge(self.process.cap).unwrap();
        let badges: Vec<_> = caps
            .iter()
            .map(|&cap| self.world.fake().badge(cap))
            .collect();
        let answer = self.world.send_once(badge, request, &badges);
        answer.map(|_| ())
    }
}

type Step = fn(&mut Scene) -> Result<(), Error>;

/// One step of each operation.
const OPERATIONS: [(&str, Step); 7] = [
    ("seg_alloc", |scene| {
        scene.once(&alloc("new", BASE, SIZE, SMALL), &[])
    }),
    ("seg_alloc, slots of its own", |scene| {
        let request = SegAlloc {
            own_slots: true,
            ..alloc("new", BASE, SIZE, SMALL)
        };
        scene.once(&request, &[])
    }),
    ("seg_attach", |scene| {
        let access = READ_WRITE;
        scene.once(&SegAttach { access }, &[scene.spare, scene.segment])
    }),
    ("seg_detach", |scene| {
        scene.once(&SegDetach, &[scene.vas, scene.segment])
    }),
    ("seg_grow", |scene| {
        scene.once(&SegGrow { size: 2 * SIZE }, &[scene.segment])
    }),
    ("vas_clone", |scene| {
        let request = VasClone {
            name: name("clone"),
            mode: OPEN,
            access: READ_WRITE,
        };
        scene.once(&request, &[scene.vas])
    }),
    ("vas_attach", |scene| {
        let access = READ_ONLY;
        scene.once(&VasAttach { access }, &[scene.vas])
    }),
];

/// Steps until it is done.
fn steps(step: Step) -> u32 {
    let mut scene = Scene::new();
    let mut steps = 1;
    while step(&mut scene) == Err(Error::Again) {
        steps += 1;
    }
    steps
}

#[test]
fn locks_that_another_thread_takes_meanwhile_give_up_nothing() {
    for (name, step, steps) in long() {
        let mut scene = Scene::new();
        for _ in 1..steps {
            assert_eq!(step(&mut scene), Err(Error::Again), "{name}");
            let Scene {
                world,
                process,
                attached,
                ..
            } = &mut scene;
            world.lock(process, *attached, Wait::No).unwrap().unwrap();
            world.unlock(process, *attached).unwrap();
        }
        assert_eq!(step(&mut scene), Ok(()), "{name}");
    }
}

/// Operations that take many steps on this kernel.
fn long() -> impl Iterator<Item = (&'static str, Step, u32)> {
    let counted = OPERATIONS.map(|(name, step)| (name, step, steps(step)));
    // Where tables are not shared, a VAS that nobody is attached to has none, and each attachment
    // has its own.
    let long = |name: &str| match name {
        "seg_attach" | "vas_clone" => crate::EXTENDED,
        "vas_attach" => !crate::EXTENDED,
        _ => true,
    };
    counted.into_iter().filter(move |&(name, _, steps)| {
        assert_eq!(steps > 2, long(name), "{name} takes {steps} steps");
        steps > 1
    })
}

#[test]
fn what_is_large_takes_many_requests_and_others_are_served_in_between() {
    for (name, step, count) in long() {
        let mut scene = Scene::new();
        for _ in 1..count {
            assert_eq!(step(&mut scene), Err(Error::Again), "{name}");
            let other = scene.other.clone();
            scene.world.call(&other, &ServerStat, &[]).unwrap();
            scene.world.vas(&other, "small");
            let (_, small) = scene.world.find_vas(&other, "small").unwrap();
            scene.world.delete_vas(&other, small).unwrap();
        }
        assert_eq!(step(&mut scene), Ok(()), "{name}");
    }
}

#[test]
fn what_is_given_up_after_any_step_is_undone_and_a_detach_is_done() {
    for (name, step, count) in long() {
        for given_up_after in [1, count - 1] {
            let mut scene = Scene::new();
            if name == "seg_detach" {
                let mut detached = Scene::new();
                while step(&mut detached).is_err() {}
                let expected = detached.world.picture(&detached.process);
                for _ in 0..given_up_after {
                    assert_eq!(step(&mut scene), Err(Error::Again));
                }
                scene.once(&ServerStat, &[]).unwrap();
                assert_eq!(scene.world.picture(&scene.process), expected);
                continue;
            }
            let before = scene.world.picture(&scene.process);
            for _ in 0..given_up_after {
                assert_eq!(step(&mut scene), Err(Error::Again), "{name}");
            }
            // Any other request gives it up.
            scene.once(&ServerStat, &[]).unwrap();
            assert_eq!(scene.world.picture(&scene.process), before, "{name}");
            while step(&mut scene) == Err(Error::Again) {}
        }
    }
}

#[test]
fn what_a_process_was_doing_when_it_ended_is_undone() {
    for (name, step, count) in long() {
        let mut idle = Scene::new();
        idle.world.end(&idle.process);
        let mut expected = idle.world.statistics();
        if name == "seg_detach" {
            // The pages are not in the VAS any longer.
            let mut detached = Scene::new();
            while step(&mut detached).is_err() {}
            detached.world.end(&detached.process);
            expected = detached.world.statistics();
        }
        let mut scene = Scene::new();
        for _ in 0..count / 2 {
            assert_eq!(step(&mut scene), Err(Error::Again), "{name}");
        }
        scene.world.end(&scene.process);
        assert_eq!(scene.world.statistics(), expected, "{name}");
    }
}

#[test]
fn what_the_kernel_refuses_in_a_later_step_has_changed_nothing() {
    for (name, step, _) in long() {
        let mut refused = 0;
        for call in (300..).step_by(3001) {
            let mut scene = Scene::new();
            let before = scene.world.picture(&scene.process);
            let calls = scene.world.fake().calls();
            scene.world.fake().fail_at(Some(calls + call));
            let answer = loop {
                match step(&mut scene) {
                    Err(Error::Again) => {}
                    answer => break answer,
                }
            };
            if answer == Ok(()) {
                break;
            }
            let kernel = INJECTED.0;
            assert_eq!(answer, Err(Error::Internal { kernel }), "{name}");
            assert_eq!(scene.world.picture(&scene.process), before, "{name}");
            refused += 1;
        }
        // What only takes away is not refused; frames are made many with one call.
        let few = matches!(name, "seg_detach" | "seg_alloc")
            || !crate::EXTENDED && name == "seg_alloc, slots of its own";
        assert!(few || refused > 0, "{name}: {refused}");
    }
}

#[test]
fn memory_that_is_not_given_back_yet_is_waited_for() {
    let mut scene = Scene::new();
    let (process, segment) = (scene.process.clone(), scene.segment);
    scene.world.remove(&process, scene.vas, segment).unwrap();
    let free = scene.world.statistics().memory_free;
    let badge = scene.world.fake().badge(process.cap).unwrap();
    let handle = scene.world.fake().badge(segment);
    let freed = scene.world.send_once(badge, &SegFree, &[handle]);
    freed.unwrap();
    assert!(scene.world.server.statistics().pending > 0);
    let all = alloc("all", BASE, free + SIZE, SMALL);
    assert_eq!(scene.once(&all, &[]), Err(Error::Again));
    scene.world.try_segment(&process, &all).unwrap();
    // What there is not at all is not waited for.
    let more = alloc("more", BASE, SIZE, SMALL);
    assert_eq!(scene.once(&more, &[]), Err(Error::OutOfMemory));
}

#[test]
fn a_segment_that_comes_to_a_vas_is_in_use_and_can_be_evicted() {
    let (_, attach) = OPERATIONS[2];
    let mut scene = Scene::new();
    if attach(&mut scene) == Ok(()) {
        return;
    }
    let (process, other) = (scene.process.clone(), scene.other.clone());
    let (_, theirs) = scene.world.find_segment(&other, "large").unwrap();
    let (_, vas) = scene.world.find_vas(&other, "spare").unwrap();
    let answer = scene.world.add(&other, vas, theirs, READ_WRITE);
    assert_eq!(answer, Err(Error::AlreadyAttached));
    // Somebody else takes it out; who attaches it begins again.
    scene.world.remove(&other, vas, theirs).unwrap();
    let (spare, segment) = (scene.spare, scene.segment);
    scene
        .world
        .add(&process, spare, segment, READ_WRITE)
        .unwrap();
    scene.world.remove(&process, spare, segment).unwrap();
    assert_eq!(attach(&mut scene), Err(Error::Again));
    let evict = Command::Evict;
    scene
        .world
        .control_segment(&process, segment, evict)
        .unwrap();
    scene.world.free(&process, segment).unwrap();
}

#[test]
fn a_segment_does_not_die_with_an_attachment_that_was_never_complete() {
    let (_, attach) = OPERATIONS[2];
    let mut scene = Scene::new();
    let (process, segment) = (scene.process.clone(), scene.segment);
    scene.world.remove(&process, scene.vas, segment).unwrap();
    let command = lives(Lifetime::LastAttacher);
    scene
        .world
        .control_segment(&process, segment, command)
        .unwrap();
    if attach(&mut scene) == Err(Error::Again) {
        scene.world.stat_segment(&process, segment).unwrap();
    }
    while attach(&mut scene) == Err(Error::Again) {}
    scene.world.remove(&process, scene.spare, segment).unwrap();
    let stale = Err(Error::StaleHandle { position: 0 });
    assert_eq!(scene.world.stat_segment(&process, segment), stale);
}

#[test]
fn who_wants_a_segment_larger_that_grows_already_helps() {
    let (_, grow) = OPERATIONS[4];
    let mut scene = Scene::new();
    for _ in 0..2 {
        assert_eq!(grow(&mut scene), Err(Error::Again));
    }
    // Nothing else may come to where it grows.
    let (process, other) = (scene.process.clone(), scene.other.clone());
    let behind = scene.world.segment(&other, "behind", BASE + SIZE, 4 * KIB);
    let (_, vas) = scene.world.find_vas(&other, "data").unwrap();
    let answer = scene.world.add(&other, vas, behind, READ_WRITE);
    assert!(matches!(answer, Err(Error::Overlap { .. })), "{answer:?}");
    let (_, segment) = scene.world.find_segment(&other, "large").unwrap();
    let more = 2 * SIZE + 4 * KIB;
    assert_eq!(scene.world.grow(&other, segment, more), Ok(more));
    assert_eq!(grow(&mut scene), Ok(()));
    let size = scene.world.stat_segment(&process, segment).unwrap().size;
    assert_eq!(size, more);
}

#[test]
fn the_end_of_a_process_with_much_takes_many_requests_of_others() {
    let mut world = World::start(40_000, &[27], "small", 3);
    let process = world.bare_process(1);
    let other = world.bare_process(2);
    for number in 0..200 {
        let vas = world.vas(&process, &number.to_string());
        world.attach(&process, vas, READ_WRITE).unwrap();
        let command = lives(Lifetime::Creator);
        world.control_vas(&process, vas, command).unwrap();
    }
    let taken = world.vas(&other, "taken");
    world.end(&process);
    assert!(world.server.statistics().vases > 1);
    // A name that is being given up is waited for.
    world.vas(&other, "199");
    assert_eq!(world.statistics().vases, 2);
    world.delete_vas(&other, taken).unwrap();
}

/// A scene in which somebody has begun to attach to the VAS: an index and a generation that tell
/// what the server calls the attachment, if it was not done at once.
fn begin_to_attach() -> Option<(Scene, AttachmentId)> {
    let attach = OPERATIONS[6].1;
    let mut scene = Scene::new();
    if attach(&mut scene) == Ok(()) {
        return None;
    }
    // In the middle.
    for _ in 0..2 {
        assert_eq!(attach(&mut scene), Err(Error::Again));
    }
    let (other, vas) = (scene.other.clone(), scene.vas);
    let listed = scene.world.attachments(&other, vas).unwrap();
    Some((scene, listed[1].attachment))
}

/// What is mapped at the root of the attachment that is then made.
fn attach_on(scene: &mut Scene) -> Vec<(u64, Access)> {
    let process = scene.process.clone();
    let attached = scene.world.attach(&process, scene.vas, READ_ONLY).unwrap();
    let pages = scene.world.fake().pages(attached.root);
    pages
        .into_iter()
        .map(|(address, _, _, access)| (address, access))
        .collect()
}

#[test]
fn an_attachment_in_the_making_has_all_segments_that_the_vas_has_when_it_is_made() {
    let Some((mut scene, _)) = begin_to_attach() else {
        return;
    };
    let (other, vas) = (scene.other.clone(), scene.vas);
    let base = |number: u64| BASE + number * GIB;
    // Whatever its index, it comes before or behind the place where attaching stands.
    for number in 1..=3 {
        let name = number.to_string();
        let segment = scene.world.segment(&other, &name, base(number), 8 * KIB);
        scene.world.add(&other, vas, segment, READ_WRITE).unwrap();
    }
    let (_, first) = scene.world.find_segment(&other, "1").unwrap();
    scene.world.remove(&other, vas, first).unwrap();
    let (_, second) = scene.world.find_segment(&other, "2").unwrap();
    scene.world.grow(&other, second, 16 * KIB).unwrap();
    // That which is being mapped grows, too.
    let (_, large) = scene.world.find_segment(&other, "large").unwrap();
    scene.world.grow(&other, large, SIZE + 8 * KIB).unwrap();

    let pages = attach_on(&mut scene);
    let small = |address, bytes| {
        (0..bytes / (4 * KIB)).map(move |page| (address + page * 4 * KIB, READ_ONLY))
    };
    let large = small(BASE, SIZE + 8 * KIB);
    let others = small(base(2), 16 * KIB).chain(small(base(3), 8 * KIB));
    let expected: Vec<_> = large.chain(others).collect();
    let of_vas = pages
        .into_iter()
        .filter(|&(address, _)| address >= BASE)
        .collect::<Vec<_>>();
    assert_eq!(of_vas, expected);
}

#[test]
fn a_segment_that_is_being_mapped_for_an_attachment_in_the_making_can_be_taken_away() {
    let Some((mut scene, _)) = begin_to_attach() else {
        return;
    };
    let (other, vas) = (scene.other.clone(), scene.vas);
    let (_, large) = scene.world.find_segment(&other, "large").unwrap();
    let evict = Command::Evict;
    let owner = scene.process.clone();
    // By anybody else than its session, which would give attaching up.
    scene.world.remove(&other, vas, large).unwrap();
    let pages = attach_on(&mut scene);
    assert!(
        pages.iter().all(|&(address, _)| address < BASE),
        "{pages:?}"
    );
    scene
        .world
        .control_segment(&owner, scene.segment, evict)
        .unwrap();
    scene.world.free(&owner, scene.segment).unwrap();
}

#[test]
fn nobody_can_use_an_attachment_in_the_making() {
    let Some((mut scene, attachment)) = begin_to_attach() else {
        return;
    };
    let (vas, segment) = (scene.vas, scene.segment);
    let access = READ_ONLY;
    type Use<'a> = &'a dyn Fn(&mut Scene) -> Result<(), Error>;
    // Each, and how many attachments there are after it: what is asked about locks, which another
    // thread may ask, lets the making go on; all else gives it up.
    let uses: [(Use<'_>, usize); 5] = [
        (&|scene| scene.once(&VasDetach { attachment }, &[]), 1),
        (
            &|scene| {
                let wait = Wait::No;
                scene.once(&VasLock { attachment, wait }, &[])
            },
            2,
        ),
        (&|scene| scene.once(&VasUnlock { attachment }, &[]), 2),
        (
            &|scene| scene.once(&SegAttachLocal { attachment, access }, &[segment]),
            1,
        ),
        (
            &|scene| scene.once(&SegDetachLocal { attachment }, &[segment]),
            1,
        ),
    ];
    for (use_it, left) in uses {
        assert_eq!(use_it(&mut scene), Err(Error::StaleAttachment));
        let other = scene.other.clone();
        assert_eq!(scene.world.attachments(&other, vas).unwrap().len(), left);
        let (again, id) = begin_to_attach().unwrap();
        assert_eq!(id, attachment);
        scene = again;
    }
}

#[test]
fn an_attachment_in_the_making_is_in_use_and_can_be_evicted() {
    let Some((mut scene, attachment)) = begin_to_attach() else {
        return;
    };
    let (process, other, vas) = (scene.process.clone(), scene.other.clone(), scene.vas);
    let (_, theirs) = scene.world.find_vas(&other, "data").unwrap();
    let allowed = scene.world.delete_vas(&other, theirs);
    assert!(matches!(allowed, Err(Error::PermissionDenied { .. })));
    for command in [
        VasCommand::EvictAttachment(attachment),
        Command::Evict.into(),
    ] {
        // Its owner is another process of the same user.
        let owner = scene.world.bare_process(1);
        let (_, handle) = scene.world.find_vas(&owner, "data").unwrap();
        let in_use = scene.world.delete_vas(&owner, handle);
        assert_eq!(in_use, Err(Error::InUse { attachments: 2 }));
        scene.world.control_vas(&owner, handle, command).unwrap();
        scene.world.end(&owner);
        // It begins again.
        let attach = OPERATIONS[6].1;
        assert_eq!(attach(&mut scene), Err(Error::Again));
        let (mut anew, _) = begin_to_attach().unwrap();
        core::mem::swap(&mut scene, &mut anew);
    }
    let pages = attach_on(&mut scene);
    assert!(pages.len() as u64 >= SIZE / (4 * KIB));
    let command = Command::Evict;
    scene.world.control_vas(&process, vas, command).unwrap();
    scene.world.delete_vas(&process, vas).unwrap();
}

#[test]
fn a_vas_does_not_die_with_an_attachment_that_was_never_complete() {
    let Some((mut scene, _)) = begin_to_attach() else {
        return;
    };
    let (process, vas) = (scene.process.clone(), scene.vas);
    scene.once(&ServerStat, &[]).unwrap();
    let evict = Command::Evict;
    scene.world.control_vas(&process, vas, evict).unwrap();
    let command = lives(Lifetime::LastAttacher);
    scene.world.control_vas(&process, vas, command).unwrap();
    let attach = OPERATIONS[6].1;
    assert_eq!(attach(&mut scene), Err(Error::Again));
    scene.once(&ServerStat, &[]).unwrap();
    scene.world.stat_vas(&process, vas).unwrap();
    // Nor does it outlive the last that was, if another is given up after it.
    let owner = scene.world.bare_process(1);
    let attached = scene.world.attach(&owner, vas, READ_WRITE).unwrap();
    assert_eq!(attach(&mut scene), Err(Error::Again));
    scene.world.detach(&owner, attached).unwrap();
    scene.world.stat_vas(&owner, vas).unwrap();
    scene.once(&ServerStat, &[]).unwrap();
    let stale = Err(Error::StaleHandle { position: 0 });
    assert_eq!(scene.world.stat_vas(&process, vas), stale);
}

#[test]
fn an_attachment_in_the_making_counts_for_the_quota_until_it_is_given_up() {
    let quota = Quota {
        user: 1,
        memory: 24 * MIB,
        slots: 9_000,
        counts: Counts {
            sessions: 1,
            vases: 1,
            segments: 1,
            attachments: 1,
            handles: 4,
        },
    };
    let mut world = World::promising(&[27, 16], &[quota]).unwrap();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "large", BASE, SIZE);
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    let before = world.quota(&process);
    let badge = world.fake().badge(process.cap).unwrap();
    let handle = world.fake().badge(vas);
    let access = READ_WRITE;
    let begun = world.send_once(badge, &VasAttach { access }, &[handle]);
    if crate::EXTENDED {
        begun.unwrap();
        return;
    }
    assert_eq!(begun, Err(Error::Again));
    // Another attachment would be one too many if the first were not given up for it.
    let access = READ_ONLY;
    let other = world.send_once(badge, &VasAttach { access }, &[handle]);
    assert_eq!(other, Err(Error::Again));
    assert_eq!(world.quota(&process).used.attachments, 1);
    // To ask was another request.
    assert_eq!(world.quota(&process), before);
}

#[test]
fn who_lacks_memory_in_a_later_step_is_told_so_though_others_delete_all_the_time() {
    let attach = OPERATIONS[6].1;
    let mut refused = 0;
    for tables in 0.. {
        let mut scene = Scene::new();
        let other = scene.other.clone();
        let free = scene.world.statistics().memory_free;
        let rest = alloc("rest", BASE + GIB, free - tables * 4 * KIB, SMALL);
        scene.world.try_segment(&other, &rest).unwrap();
        let before = scene.world.statistics();
        let mut attempts = 0;
        let answer = loop {
            match attach(&mut scene) {
                Err(Error::Again) => {}
                answer => break answer,
            }
            attempts += 1;
            assert!(attempts < 100, "it is answered `Again` for ever");
            // Between any two requests a process ends, and leaves what takes more than one.
            let private = [PrivateExtent {
                base: IMAGE_BASE,
                pages: 3 * RECLAIM_UNITS,
                access: READ_ONLY,
            }];
            let session = scene.world.try_process(3, &[], &private).unwrap().session;
            let badge = Badge::CONTROL;
            let ended = scene.world.send_once(badge, &SessionEnd { session }, &[]);
            ended.unwrap();
        };
        if answer == Ok(()) {
            break;
        }
        assert_eq!(answer, Err(Error::OutOfMemory), "{tables}");
        assert_eq!(scene.world.statistics(), before, "{tables}");
        refused += 1;
    }
    // Some in the first step, some in a later one.
    assert_eq!(refused > 8, !crate::EXTENDED, "{refused}");
}
