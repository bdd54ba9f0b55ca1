// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process dies while the server is anywhere in any of its requests, and between any two.
//!
//! The server does a request to its end, or undoes it, whatever becomes of who asked; then init
//! ends the session. So a death is: the kernel refuses a call, or the request is done and the
//! reply arrives nowhere; and then the end.

use protocol::address_map::{LOCAL, SLOT_BYTES};
use protocol::limits::COPY_BYTES;
use protocol::message::{
    Command, Explain, Lifetime, Operation, SegAttachLocal, SegDetachLocal, SegEntry, ServerStat,
    Statistics, VasCommand, VasEntry, VasSetConsistent, Wait,
};
use protocol::{Error, Mode, Rights};
use vas_server::fake::{Held, INJECTED};

use crate::support::*;

/// Bytes of the segment that is cloned: eight blocks in one page.
const ORIGINAL: u64 = 8 * COPY_BYTES;

/// The process that dies has two attachments, local segments, and objects that die with it;
/// others are attached to the same VAS.
struct Scene {
    world: World,
    /// What the server had with only the other processes there.
    empty: Statistics,
    /// Dies.
    process: Process,
    /// These die with it.
    children: Vec<Process>,
    /// Of the same user, so that it may delete what is left.
    heir: Process,
    others: Attached,
    vas: Held,
    inside: Held,
    large: Held,
    spare: Held,
    far: Held,
    near: Held,
    own_slots: Held,
    local: Held,
    other_local: Held,
    original: Held,
    clone: Option<Held>,
    attached: Attached,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::with(4000, &[32, 23, 12]);
        let heir = world.process(1, &[]);
        let other = world.process(2, &[]);
        let empty = world.statistics();
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let inside = world.segment(&process, "inside", BASE, 12 * KIB);
        let large = alloc("large", BASE + 2 * MIB, 4 * MIB, LARGE);
        let large = world.try_segment(&process, &large).unwrap().1;
        let far = BASE + 600 * GIB + 2 * MIB - 8 * KIB;
        let far = world.segment(&process, "far", far, 16 * KIB);
        let near = world.segment(&process, "near", BASE + 12 * KIB, 8 * KIB);
        let mut own_slots = alloc("island", 5 * SLOT_BYTES, 8 * KIB, SMALL);
        own_slots.own_slots = true;
        let own_slots = world.try_segment(&process, &own_slots).unwrap().1;
        let local = world.segment(&process, "local", LOCAL.start, 8 * KIB);
        let at = LOCAL.start + SLOT_BYTES;
        let other_local = world.segment(&process, "other local", at, 8 * KIB);
        let original = alloc("original", BASE + GIB, ORIGINAL, LARGE);
        let original = world.try_segment(&process, &original).unwrap().1;
        for segment in [inside, large] {
            world.add(&process, vas, segment, READ_WRITE).unwrap();
        }
        let spare = world.vas(&process, "spare");
        world.add(&process, spare, near, READ_ONLY).unwrap();
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        world.attach(&process, vas, READ_ONLY).unwrap();
        let others = world.attach(&other, vas, READ_WRITE).unwrap();
        world.fake().store(others.root, BASE, 77).unwrap();
        let child = world.process(3, &[]);
        world.attach(&child, vas, READ_WRITE).unwrap();

        let mortal = world.vas(&process, "mortal");
        let with_it = world.segment(&process, "mortal", BASE + 2 * GIB, 8 * KIB);
        world.add(&process, mortal, with_it, READ_WRITE).unwrap();
        world.add(&process, vas, with_it, READ_WRITE).unwrap();
        world.attach(&other, mortal, READ_ONLY).unwrap();
        let dies = lives(Lifetime::Creator);
        world.control_vas(&process, mortal, dies.clone()).unwrap();
        world.control_segment(&process, with_it, dies).unwrap();
        let last = world.vas(&process, "left alone");
        world.attach(&process, last, READ_WRITE).unwrap();
        let dies = lives(Lifetime::LastAttacher);
        world.control_vas(&process, last, dies).unwrap();

        let mut scene = Scene {
            world,
            empty,
            process,
            children: vec![child],
            heir,
            others,
            vas,
            inside,
            large,
            spare,
            far,
            near,
            own_slots,
            local,
            other_local,
            original,
            clone: None,
            attached,
        };
        scene.attach_local(other_local).unwrap();
        scene
    }

    fn attach_local(&mut self, segment: Held) -> Result<(), Error> {
        let (attachment, access) = (self.attached.id, READ_WRITE);
        let request = SegAttachLocal { attachment, access };
        self.world.call(&self.process, &request, &[segment])?;
        Ok(())
    }

    fn clone(&self) -> Held {
        self.clone.unwrap()
    }

    /// The process ends, and its children do.
    fn end(&mut self) {
        self.world.end(&self.process);
        for child in self.children.drain(..) {
            self.world.end(&child);
        }
    }

    /// What is left, as those see it that live on. What dies with the process must be gone.
    fn left(&mut self) -> Left {
        let left = Left {
            statistics: self.world.statistics(),
            vases: self.world.list_vases(&self.heir),
            segments: self.world.list_segments(&self.heir),
        };
        for name in ["mortal", "left alone"] {
            assert!(left.vases.iter().all(|vas| vas.name.as_str() != name));
            assert!(left.segments.iter().all(|one| one.name.as_str() != name));
        }
        left
    }

    /// Others delete everything; then the server must have what it had.
    fn clear(mut self) {
        let (world, heir) = (&mut self.world, &self.heir);
        for entry in world.list_vases(heir) {
            let (_, vas) = world.find_vas(heir, entry.name.as_str()).unwrap();
            world.control_vas(heir, vas, Command::Evict).unwrap();
            world.delete_vas(heir, vas).unwrap();
        }
        for entry in world.list_segments(heir) {
            let (_, segment) = world.find_segment(heir, entry.name.as_str()).unwrap();
            world.free(heir, segment).unwrap();
        }
        assert_eq!(world.statistics(), self.empty);
    }
}

#[derive(Debug, PartialEq)]
struct Left {
    statistics: Statistics,
    vases: Vec<VasEntry>,
    segments: Vec<SegEntry>,
}

impl Left {
    fn segment(&self, text: &str) -> Option<&SegEntry> {
        self.segments.iter().find(|one| one.name.as_str() == text)
    }
}

/// One request.
type Step = fn(&mut Scene) -> Result<(), Error>;
/// What a process does in one request or several.
type Deed = (&'static str, &'static [Step]);

fn make_locked(scene: &mut Scene) -> Result<(), Error> {
    let request = alloc_lockable("locked", BASE + 3 * GIB, 4 * KIB);
    scene.world.try_segment(&scene.process, &request).map(drop)
}

fn add_locked(scene: &mut Scene) -> Result<(), Error> {
    let (_, segment) = scene.world.find_segment(&scene.process, "locked")?;
    let (process, vas) = (&scene.process, scene.vas);
    scene.world.add(process, vas, segment, READ_WRITE)
}

fn lock(scene: &mut Scene) -> Result<(), Error> {
    let answer = scene.world.lock(&scene.process, scene.attached, Wait::No);
    answer.expect("answered at once").map(drop)
}

/// The requests of each operation that differ in what the server does. Without an entry here
/// a new operation does not compile.
fn deeds(operation: Operation) -> &'static [Deed] {
    match operation {
        Operation::VasCreate => &[(
            "vas_create",
            &[|scene| {
                let answer = scene.world.try_vas(&scene.process, "new", OPEN);
                answer.map(drop)
            }],
        )],
        Operation::VasFind => &[(
            "vas_find",
            &[|scene| {
                let mode = Command::Mode(Mode(0o640));
                let (world, process) = (&mut scene.world, &scene.process);
                world.control_vas(process, scene.spare, mode)?;
                world.find_vas(process, "spare").map(drop)
            }],
        )],
        Operation::VasAttach => &[(
            "vas_attach",
            &[|scene| {
                let answer = scene.world.attach(&scene.process, scene.spare, READ_WRITE);
                answer.map(drop)
            }],
        )],
        Operation::VasDetach => &[(
            "vas_detach",
            &[|scene| scene.world.detach(&scene.process, scene.attached)],
        )],
        Operation::VasDelete => &[(
            "vas_delete",
            &[|scene| scene.world.delete_vas(&scene.process, scene.spare)],
        )],
        Operation::VasList => &[(
            "vas_list",
            &[|scene| {
                scene.world.list_vases(&scene.process);
                Ok(())
            }],
        )],
        Operation::VasStat => &[(
            "vas_stat",
            &[|scene| {
                let answer = scene.world.stat_vas(&scene.process, scene.vas);
                answer.map(drop)
            }],
        )],
        Operation::VasAttachments => &[(
            "list of attachments",
            &[|scene| scene.world.attachments(&scene.process, scene.vas).map(drop)],
        )],
        Operation::VasCtl => &[
            (
                "vas_ctl of mode",
                &[|scene| on_vas(scene, Command::Mode(CLOSED))],
            ),
            (
                "vas_ctl of owner",
                &[|scene| {
                    let (user, group) = (1, Some(7));
                    on_vas(scene, Command::Owner { user, group })
                }],
            ),
            (
                "vas_ctl of lifetime",
                &[|scene| on_vas(scene, lives(Lifetime::Creator))],
            ),
            (
                "vas_ctl of handles",
                &[|scene| on_vas(scene, Command::RevokeHandles)],
            ),
            (
                "vas_ctl of one handle",
                &[revocable, |scene| on_vas(scene, Command::RevokeHandle(1))],
            ),
            (
                "vas_ctl of one attachment",
                &[|scene| {
                    let attachment = scene.attached.id;
                    on_vas(scene, VasCommand::EvictAttachment(attachment))
                }],
            ),
            (
                "vas_ctl of attachments",
                &[|scene| on_vas(scene, Command::Evict)],
            ),
        ],
        Operation::VasClone => &[(
            "vas_clone",
            &[|scene| {
                let (process, vas) = (&scene.process, scene.vas);
                let world = &mut scene.world;
                let answer = world.clone_vas(process, vas, "clone", OPEN, READ_WRITE);
                answer.map(drop)
            }],
        )],
        Operation::VasLock => &[("vas_lock", &[make_locked, add_locked, lock])],
        Operation::VasUnlock => &[(
            "vas_unlock",
            &[make_locked, add_locked, lock, |scene| {
                scene.world.unlock(&scene.process, scene.attached)
            }],
        )],
        Operation::VasSetConsistent => &[(
            "vas_set_consistent",
            &[|scene| {
                let attachment = scene.attached.id;
                let request = VasSetConsistent { attachment };
                scene.world.call(&scene.process, &request, &[]).map(drop)
            }],
        )],
        Operation::VasSetRoot => &[(
            "vas_set_root",
            &[|scene| {
                let (process, vas) = (&scene.process, scene.vas);
                scene.world.set_root(process, vas, "index", Some(BASE))
            }],
        )],
        Operation::VasRoot => &[(
            "vas_root",
            &[|scene| {
                let answer = scene.world.root(&scene.process, scene.vas, "index");
                assert_eq!(answer, Err(Error::NotFound));
                Ok(())
            }],
        )],
        Operation::SegAlloc => &[
            (
                "seg_alloc of small pages",
                &[|scene| new_segment(scene, 300 * 4 * KIB, SMALL, false)],
            ),
            (
                "seg_alloc of large pages",
                &[|scene| new_segment(scene, 10 * MIB, LARGE, false)],
            ),
            (
                "seg_alloc with slots of its own",
                &[|scene| new_segment(scene, 12 * KIB, SMALL, true)],
            ),
        ],
        Operation::SegFind => &[(
            "seg_find",
            &[|scene| scene.world.find_segment(&scene.process, "far").map(drop)],
        )],
        Operation::SegAt => &[(
            "seg_at",
            &[|scene| {
                let attachment = scene.attached.id;
                let (world, process) = (&mut scene.world, &scene.process);
                let granted = world.stat_segment(process, scene.inside)?;
                world
                    .segment_at(process, attachment, granted.base)
                    .map(drop)
            }],
        )],
        Operation::SegAttach => &[
            (
                "seg_attach with new tables",
                &[|scene| {
                    let (process, vas) = (&scene.process, scene.vas);
                    scene.world.add(process, vas, scene.far, READ_WRITE)
                }],
            ),
            (
                "seg_attach with tables that are there",
                &[|scene| {
                    let (process, vas) = (&scene.process, scene.vas);
                    scene.world.add(process, vas, scene.near, READ_ONLY)
                }],
            ),
            (
                "seg_attach with slots of its own",
                &[|scene| {
                    let (process, vas) = (&scene.process, scene.vas);
                    scene.world.add(process, vas, scene.own_slots, READ_WRITE)
                }],
            ),
        ],
        Operation::SegDetach => &[(
            "seg_detach",
            &[|scene| scene.world.remove(&scene.process, scene.vas, scene.inside)],
        )],
        Operation::SegFree => &[(
            "seg_free",
            &[|scene| scene.world.free(&scene.process, scene.far)],
        )],
        Operation::SegList => &[(
            "seg_list",
            &[|scene| {
                scene.world.list_segments(&scene.process);
                Ok(())
            }],
        )],
        Operation::SegAttachLocal => &[(
            "seg_attach_local",
            &[|scene| scene.attach_local(scene.local)],
        )],
        Operation::SegDetachLocal => &[(
            "seg_detach_local",
            &[|scene| {
                let attachment = scene.attached.id;
                let request = SegDetachLocal { attachment };
                let segment = scene.other_local;
                let answer = scene.world.call(&scene.process, &request, &[segment]);
                answer.map(drop)
            }],
        )],
        Operation::SegStat => &[(
            "seg_stat",
            &[|scene| {
                let answer = scene.world.stat_segment(&scene.process, scene.far);
                answer.map(drop)
            }],
        )],
        Operation::SegCtl => &[
            (
                "seg_ctl of mode",
                &[|scene| on_segment(scene, Command::Mode(CLOSED))],
            ),
            (
                "seg_ctl of lifetime",
                &[|scene| on_segment(scene, lives(Lifetime::Creator))],
            ),
            (
                "seg_ctl of handles",
                &[|scene| on_segment(scene, Command::RevokeHandles)],
            ),
            (
                "seg_ctl of attachments",
                &[|scene| on_segment(scene, Command::Evict)],
            ),
        ],
        Operation::SegCopy => &[(
            "seg_copy",
            &[|scene| scene.world.copy(&scene.process, scene.large, scene.far, 0)],
        )],
        Operation::SegGrow => &[(
            "seg_grow",
            &[|scene| {
                let answer = scene.world.grow(&scene.process, scene.near, 100 * KIB);
                answer.map(drop)
            }],
        )],
        Operation::ServerStat => &[(
            "server_stat",
            &[|scene| {
                let answer = scene.world.call(&scene.process, &ServerStat, &[]);
                answer.map(drop)
            }],
        )],
        Operation::Restrict => &[
            ("restrict, revocable", &[revocable]),
            (
                "restrict",
                &[|scene| {
                    let (process, segment) = (&scene.process, scene.far);
                    let answer = scene.world.restrict(process, segment, Rights::READ);
                    answer.map(drop)
                }],
            ),
        ],
        Operation::HandleStat => &[(
            "handle_stat",
            &[|scene| scene.world.describe(&scene.process, scene.far).map(drop)],
        )],
        Operation::QuotaStat => &[(
            "quota_stat",
            &[|scene| {
                scene.world.quota(&scene.process);
                Ok(())
            }],
        )],
        // A process that dies before its first instruction.
        Operation::SessionCreate => &[(
            "session_create",
            &[|scene| {
                let child = scene.world.try_process(3, &[], &private())?;
                scene.children.push(child);
                Ok(())
            }],
        )],
        Operation::SessionEnd => &[(
            "session_end",
            &[|scene| {
                for child in scene.children.drain(..) {
                    scene.world.end(&child);
                }
                Ok(())
            }],
        )],
        // It faulted, and is ended next.
        Operation::Explain => &[(
            "explain",
            &[|scene| {
                let request = Explain {
                    session: scene.process.session,
                    active: Some(scene.attached.id),
                    address: BASE,
                    write: true,
                };
                scene.world.control(&request).map(drop)
            }],
        )],
    }
}

fn revocable(scene: &mut Scene) -> Result<(), Error> {
    let (process, vas) = (&scene.process, scene.vas);
    let answer = scene.world.restrict_revocable(process, vas, Rights::READ);
    answer.map(|(_, number)| assert_eq!(number, 1))
}

fn on_vas(scene: &mut Scene, command: impl Into<VasCommand>) -> Result<(), Error> {
    scene.world.control_vas(&scene.process, scene.vas, command)
}

fn on_segment(scene: &mut Scene, command: Command) -> Result<(), Error> {
    let (process, segment) = (&scene.process, scene.inside);
    scene.world.control_segment(process, segment, command)
}

fn new_segment(
    scene: &mut Scene,
    size: u64,
    page_size: Option<protocol::PageSize>,
    own_slots: bool,
) -> Result<(), Error> {
    let mut request = alloc("new", 7 * SLOT_BYTES, size, page_size);
    request.own_slots = own_slots;
    let answer = scene.world.try_segment(&scene.process, &request);
    answer.map(drop)
}

/// The requests of `client_lib::seg_clone`.
const SEG_CLONE: Deed = (
    "seg_clone",
    &[
        |scene| {
            let statistics = scene.world.stat_segment(&scene.process, scene.original);
            statistics.map(drop)
        },
        |scene| {
            let mut request = alloc("clone", BASE + GIB, ORIGINAL, LARGE);
            request.mode = Mode(0);
            let (_, clone) = scene.world.try_segment(&scene.process, &request)?;
            scene.clone = Some(clone);
            Ok(())
        },
        |scene| {
            let (process, clone) = (&scene.process, scene.clone());
            let dies = lives(Lifetime::Creator);
            scene.world.control_segment(process, clone, dies)
        },
        |scene| copy_block(scene, 0),
        |scene| copy_block(scene, 1),
        |scene| copy_block(scene, 2),
        |scene| copy_block(scene, 3),
        |scene| copy_block(scene, 4),
        |scene| copy_block(scene, 5),
        |scene| copy_block(scene, 6),
        |scene| copy_block(scene, 7),
        |scene| {
            let (process, clone) = (&scene.process, scene.clone());
            let stays = lives(Lifetime::Persistent);
            scene.world.control_segment(process, clone, stays)
        },
        |scene| {
            let (process, clone) = (&scene.process, scene.clone());
            scene
                .world
                .control_segment(process, clone, Command::Mode(OPEN))
        },
    ],
);

fn copy_block(scene: &mut Scene, block: u64) -> Result<(), Error> {
    let (process, from, to) = (&scene.process, scene.original, scene.clone());
    scene.world.copy(process, from, to, block * COPY_BYTES)
}

/// Everything that processes do, in one request or several.
fn all_deeds() -> Vec<Deed> {
    let operations = Operation::ALL
        .iter()
        .flat_map(|&operation| deeds(operation));
    operations.chain([&SEG_CLONE]).copied().collect()
}

/// A scene in which these requests were done.
fn after(steps: &[Step]) -> Scene {
    let mut scene = Scene::new();
    for step in steps {
        step(&mut scene).unwrap();
    }
    scene
}

#[test]
fn a_process_that_dies_in_a_request_that_the_kernel_refuses_leaves_what_it_left_before() {
    let mut deaths = 0;
    for (name, steps) in all_deeds() {
        for (position, step) in steps.iter().enumerate() {
            let mut before = after(&steps[..position]);
            before.end();
            let before = before.left();
            for call in 1.. {
                let mut scene = after(&steps[..position]);
                let calls = scene.world.fake().calls();
                scene.world.fake().fail_at(Some(calls + call));
                let answer = step(&mut scene);
                scene.world.fake().fail_at(None);
                if scene.world.fake().calls() < calls + call {
                    assert_eq!(answer, Ok(()), "{name}");
                    break;
                }
                let kernel = INJECTED.0;
                assert_eq!(answer, Err(Error::Internal { kernel }), "{name}");
                scene.end();
                assert_eq!(
                    scene.left(),
                    before,
                    "{name}, request {position}, call {call}"
                );
                scene.clear();
                deaths += 1;
            }
        }
    }
    assert!(deaths > 100, "only {deaths} deaths");
}

#[test]
fn a_process_that_dies_before_a_reply_arrives_leaves_what_it_would_have_left_with_it() {
    for (name, steps) in all_deeds() {
        for done in 0..=steps.len() {
            let mut with_reply = after(&steps[..done]);
            with_reply.end();
            let left = with_reply.left();
            with_reply.clear();

            let mut scene = after(&steps[..done.saturating_sub(1)]);
            let received = scene.world.handed_out();
            if let Some(last) = done.checked_sub(1) {
                steps[last](&mut scene).unwrap();
            }
            scene.world.lose(received);
            scene.end();
            assert_eq!(scene.left(), left, "{name}, after {done} requests");
            scene.clear();
        }
    }
}

#[test]
fn who_lives_on_sees_nothing_of_a_death_but_what_was_asked_for() {
    for (name, steps) in all_deeds() {
        let mut scene = after(steps);
        let (root, word) = (scene.others.root, BASE + 8);
        let before = scene.world.fake().load(root, BASE);
        scene.end();
        // A change of its lifetime was asked for; all else was before the death.
        let dies = name == "seg_ctl of lifetime" || name == "vas_ctl of lifetime";
        let now = scene.world.fake().load(root, BASE);
        if dies {
            assert_eq!(before, Ok(77), "{name}");
            assert!(now.is_err(), "{name}");
            continue;
        }
        assert_eq!(now, before, "{name}");
        if now.is_ok() {
            scene.world.fake().store(root, word, 5).unwrap();
            assert_eq!(scene.world.fake().load(root, word), Ok(5), "{name}");
        }
    }
}

#[test]
fn a_clone_of_a_segment_is_left_whole_or_not_at_all_or_empty_and_closed() {
    let (_, steps) = SEG_CLONE;
    for done in 0..=steps.len() {
        let mut scene = after(&steps[..done]);
        scene.end();
        let left = scene.left();
        let clone = left.segment("clone");
        // Between the request that makes it and the one that says that it dies with its maker
        // it is like any other: it stays, and its owner may free it.
        let expected = match done {
            2 => Some(Mode(0)),
            12 => Some(Mode(0)),
            13 => Some(OPEN),
            _ => None,
        };
        assert_eq!(clone.map(|clone| clone.mode), expected, "{done}");
        scene.clear();
    }
}
