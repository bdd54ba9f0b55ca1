// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is refused in the middle leaves nothing behind.

use protocol::message::{Command, VasCommand};
use protocol::{Error, Rights};
use vas_server::fake::{Held, INJECTED};

use crate::support::*;

/// A world with two attachments to a VAS that has segments of all page sizes, and
/// segments beside it.
struct Scene {
    world: World,
    process: Process,
    other: Process,
    vas: Held,
    /// Not in the VAS: small pages that need new tables, and small ones that do not.
    far: Held,
    near: Held,
    /// In the VAS.
    inside: Held,
    large: Held,
    /// A VAS that has `near` and that nobody is attached to.
    spare: Held,
    attached: Attached,
}

impl Scene {
    fn new() -> Self {
        Self::with(1000, &[32, 23, 12]).unwrap()
    }

    fn with(slots: u32, untyped_bits: &[u8]) -> Result<Self, Error> {
        let mut world = World::with(slots, untyped_bits);
        let process = world.try_process(1, &[], &private())?;
        let other = world.try_process(2, &[], &private())?;
        let vas = world.try_vas(&process, "data", OPEN)?;
        let mut segment = |text, base, size, page_size| {
            let request = alloc(text, base, size, page_size);
            world.try_segment(&process, &request).map(|(_, cap)| cap)
        };
        let inside = segment("inside", BASE, 12 * KIB, SMALL)?;
        let large = segment("large", BASE + 2 * MIB, 4 * MIB, LARGE)?;
        // Two pages in each of two page tables, of which both are new.
        let far = segment("far", BASE + 600 * GIB + 2 * MIB - 8 * KIB, 16 * KIB, SMALL)?;
        let near = segment("near", BASE + 12 * KIB, 8 * KIB, SMALL)?;
        world.add(&process, vas, inside, READ_WRITE)?;
        world.add(&process, vas, large, READ_WRITE)?;
        let spare = world.try_vas(&process, "spare", OPEN)?;
        world.add(&process, spare, near, READ_ONLY)?;
        let attached = world.attach(&process, vas, READ_WRITE)?;
        world.attach(&process, vas, READ_ONLY)?;
        Ok(Scene {
            world,
            process,
            other,
            vas,
            far,
            near,
            inside,
            large,
            spare,
            attached,
        })
    }
}

type Operation = fn(&mut Scene) -> Result<(), Error>;

const OPERATIONS: [(&str, Operation); 38] = [
    ("session_create", |scene| {
        scene.world.try_process(3, &[], &private()).map(|_| ())
    }),
    ("session_end", |scene| {
        scene.world.end(&scene.process);
        // The picture needs a witness.
        scene.process = scene.other.clone();
        Ok(())
    }),
    ("vas_create", |scene| {
        let answer = scene.world.try_vas(&scene.process, "new", OPEN);
        answer.map(|_| ())
    }),
    ("vas_find", |scene| {
        scene.world.find_vas(&scene.other, "data").map(|_| ())
    }),
    ("vas_attach", |scene| {
        let answer = scene.world.attach(&scene.other, scene.vas, READ_WRITE);
        answer.map(|_| ())
    }),
    ("vas_detach", |scene| {
        scene.world.detach(&scene.process, scene.attached)
    }),
    ("vas_delete", |scene| {
        scene.world.delete_vas(&scene.process, scene.spare)
    }),
    ("vas_list", |scene| {
        scene.world.list_vases(&scene.process);
        Ok(())
    }),
    ("vas_stat", |scene| {
        scene.world.stat_vas(&scene.process, scene.vas).map(|_| ())
    }),
    ("vas_ctl of mode", |scene| {
        let command = Command::Mode(CLOSED);
        scene.world.control_vas(&scene.process, scene.vas, command)
    }),
    ("vas_ctl of handles", |scene| {
        let command = Command::RevokeHandles;
        scene.world.control_vas(&scene.process, scene.vas, command)
    }),
    ("vas_ctl of attachments", |scene| {
        let command = Command::Evict;
        scene.world.control_vas(&scene.process, scene.vas, command)
    }),
    ("list of attachments", |scene| {
        let listed = scene.world.attachments(&scene.process, scene.vas);
        listed.map(|_| ())
    }),
    ("vas_ctl of one attachment", |scene| {
        let listed = scene.world.attachments(&scene.process, scene.vas)?;
        let command = VasCommand::EvictAttachment(listed[0].attachment);
        scene.world.control_vas(&scene.process, scene.vas, command)
    }),
    ("vas_clone", |scene| {
        let (process, vas) = (&scene.process, scene.vas);
        let answer = scene
            .world
            .clone_vas(process, vas, "clone", OPEN, READ_WRITE);
        answer.map(|_| ())
    }),
    ("restrict", |scene| {
        let answer = scene
            .world
            .restrict(&scene.process, scene.far, Rights::READ);
        answer.map(|_| ())
    }),
    ("handle_stat", |scene| {
        scene.world.describe(&scene.process, scene.far).map(|_| ())
    }),
    ("seg_copy of small pages", |scene| {
        scene.world.copy(&scene.process, scene.inside, scene.far, 0)
    }),
    ("seg_copy from large pages", |scene| {
        scene.world.copy(&scene.process, scene.large, scene.far, 0)
    }),
    ("seg_copy to large pages", |scene| {
        scene.world.copy(&scene.process, scene.far, scene.large, 0)
    }),
    ("seg_grow", |scene| {
        let answer = scene.world.grow(&scene.process, scene.near, 100 * KIB);
        answer.map(|_| ())
    }),
    ("vas_set_root", |scene| {
        let (process, vas) = (&scene.process, scene.vas);
        scene.world.set_root(process, vas, "index", Some(BASE))
    }),
    ("vas_root", |scene| {
        let Scene {
            world,
            process,
            vas,
            ..
        } = scene;
        match world.root(process, *vas, "index") {
            Err(Error::NotFound) => Ok(()),
            answer => answer.map(|_| ()),
        }
    }),
    ("seg_alloc of small pages", |scene| {
        let request = alloc("new", BASE, 300 * 4 * KIB, SMALL);
        let answer = scene.world.try_segment(&scene.process, &request);
        answer.map(|_| ())
    }),
    ("seg_alloc of large pages", |scene| {
        let request = alloc("new", BASE, 10 * MIB, LARGE);
        let answer = scene.world.try_segment(&scene.process, &request);
        answer.map(|_| ())
    }),
    ("seg_alloc of huge pages", |scene| {
        let request = alloc("new", BASE, 2 * GIB, HUGE);
        let answer = scene.world.try_segment(&scene.process, &request);
        answer.map(|_| ())
    }),
    ("seg_find", |scene| {
        scene.world.find_segment(&scene.other, "far").map(|_| ())
    }),
    ("seg_attach with new tables", |scene| {
        let (vas, segment) = (scene.vas, scene.far);
        scene.world.add(&scene.process, vas, segment, READ_WRITE)
    }),
    ("seg_attach with tables that are there", |scene| {
        let (vas, segment) = (scene.vas, scene.near);
        scene.world.add(&scene.process, vas, segment, READ_ONLY)
    }),
    ("seg_detach", |scene| {
        scene.world.remove(&scene.process, scene.vas, scene.inside)
    }),
    ("seg_free", |scene| {
        scene.world.free(&scene.process, scene.far)
    }),
    ("seg_list", |scene| {
        scene.world.list_segments(&scene.process);
        Ok(())
    }),
    ("seg_stat", |scene| {
        let answer = scene.world.stat_segment(&scene.process, scene.far);
        answer.map(|_| ())
    }),
    ("seg_ctl of handles", |scene| {
        let command = Command::RevokeHandles;
        scene
            .world
            .control_segment(&scene.process, scene.inside, command)
    }),
    ("seg_ctl of attachments", |scene| {
        let command = Command::Evict;
        scene
            .world
            .control_segment(&scene.process, scene.inside, command)
    }),
    ("server_stat", |scene| {
        let request = protocol::message::ServerStat;
        scene.world.call(&scene.process, &request, &[]).map(|_| ())
    }),
    ("quota_stat", |scene| {
        scene.world.quota(&scene.process);
        Ok(())
    }),
    ("explain", |scene| {
        let request = protocol::message::Explain {
            session: scene.process.session,
            active: Some(scene.attached.id),
            address: BASE,
            write: true,
        };
        scene.world.control(&request).map(|_| ())
    }),
];

/// Does the operation with each of its kernel calls refused in turn, and answers how many
/// calls there were.
fn refuse_every_call(operation: Operation) -> u32 {
    for call in 1.. {
        let mut scene = Scene::new();
        let before = scene.world.picture(&scene.process);
        let calls = scene.world.fake().calls();
        scene.world.fake().fail_at(Some(calls + call));
        let answer = operation(&mut scene);
        if scene.world.fake().calls() < calls + call {
            assert_eq!(answer, Ok(()));
            return call - 1;
        }
        let kernel = INJECTED.0;
        assert_eq!(answer, Err(Error::Internal { kernel }));
        assert_eq!(scene.world.picture(&scene.process), before, "call {call}");
        operation(&mut scene).expect("it succeeds when the kernel does");
    }
    0
}

#[test]
fn an_operation_that_the_kernel_refuses_at_any_call_changes_nothing() {
    for (name, operation) in OPERATIONS {
        let calls = refuse_every_call(operation);
        // What only takes away or looks up needs no call that can be refused.
        let takes_away = matches!(
            name,
            "session_end"
                | "vas_detach"
                | "vas_delete"
                | "vas_list"
                | "vas_stat"
                | "vas_ctl of mode"
                | "vas_ctl of handles"
                | "vas_ctl of attachments"
                | "vas_ctl of one attachment"
                | "list of attachments"
                | "vas_set_root"
                | "handle_stat"
                | "vas_root"
                | "seg_detach"
                | "seg_free"
                | "seg_list"
                | "seg_stat"
                | "seg_ctl of handles"
                | "seg_ctl of attachments"
                | "server_stat"
                | "quota_stat"
                | "explain"
        );
        assert_eq!(calls == 0, takes_away, "{name} makes {calls} calls");
    }
}

#[test]
fn an_operation_for_which_there_are_not_enough_slots_changes_nothing() {
    let memory = [32, 23, 12];
    let has_slots = |&slots: &u32| Scene::with(slots, &memory).is_ok();
    let least = (1..400).find(has_slots).unwrap();
    for (name, operation) in OPERATIONS {
        let mut refused = 0;
        for slots in least.. {
            let mut scene = Scene::with(slots, &memory).unwrap();
            let before = scene.world.picture(&scene.process);
            match operation(&mut scene) {
                Ok(()) => break,
                Err(error) => assert_eq!(error, Error::OutOfSlots, "{name}"),
            }
            refused += 1;
            assert_eq!(scene.world.picture(&scene.process), before, "{name}");
        }
        let needs_slots = name.ends_with("_create")
            || name.ends_with("_find")
            || name.contains("_attach")
            || name.contains("_alloc")
            || name.contains("_copy")
            || matches!(name, "vas_clone" | "restrict" | "seg_grow");
        assert_eq!(refused > 0, needs_slots, "{name}");
    }
}

#[test]
fn an_operation_for_which_there_is_not_enough_memory_changes_nothing() {
    // The large pages of the scene, and so many pieces of four small ones.
    let with_pieces = |pieces| {
        let mut untyped_bits = vec![22];
        untyped_bits.extend((0..pieces).map(|_| 14));
        Scene::with(4000, &untyped_bits)
    };
    let least = (1..100)
        .find(|&pieces| with_pieces(pieces).is_ok())
        .unwrap();
    for (name, operation) in OPERATIONS {
        let mut refused = 0;
        for pieces in least.. {
            let mut scene = with_pieces(pieces).unwrap();
            let before = scene.world.picture(&scene.process);
            match operation(&mut scene) {
                Ok(()) => break,
                Err(error) => assert_eq!(error, Error::OutOfMemory, "{name}"),
            }
            refused += 1;
            assert_eq!(scene.world.picture(&scene.process), before, "{name}");
            if name.contains("large") || name.contains("huge") {
                break;
            }
        }
        let needs_memory = name.contains("seg_alloc")
            || matches!(
                name,
                "vas_attach" | "seg_attach with new tables" | "seg_grow"
            )
            || crate::EXTENDED && matches!(name, "vas_create" | "vas_clone");
        assert_eq!(refused > 0, needs_memory, "{name}");
    }
}
