// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::Error;
use protocol::message::{Command, Lifetime};
use vas_server::fake::{Fault, Held};

use crate::support::*;

/// A VAS with a segment in it, of a process that may end, and another process attached.
struct Scene {
    world: World,
    creator: Process,
    other: Process,
    vas: Held,
    segment: Held,
    attached: Attached,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let other = world.process(2, &[]);
        let creator = world.process(1, &[]);
        let vas = world.vas(&creator, "data");
        let segment = world.segment(&creator, "heap", BASE, 8 * KIB);
        world.add(&creator, vas, segment, READ_WRITE).unwrap();
        let attached = world.attach(&other, vas, READ_WRITE).unwrap();
        Scene {
            world,
            creator,
            other,
            vas,
            segment,
            attached,
        }
    }

    fn vas_lives(&mut self, lifetime: Lifetime) {
        let (creator, vas) = (self.creator.clone(), self.vas);
        let command = lives(lifetime);
        self.world.control_vas(&creator, vas, command).unwrap();
    }

    fn segment_lives(&mut self, lifetime: Lifetime) {
        let (creator, segment) = (self.creator.clone(), self.segment);
        let command = lives(lifetime);
        self.world
            .control_segment(&creator, segment, command)
            .unwrap();
    }

    /// VASes, segments and attachments that there are.
    fn counts(&mut self) -> (u32, u32, u32) {
        let statistics = self.world.statistics();
        (
            statistics.vases,
            statistics.segments,
            statistics.attachments,
        )
    }
}

#[test]
fn a_vas_that_dies_with_its_creator_evicts_who_is_attached_and_leaves_its_segments() {
    let mut scene = Scene::new();
    scene.vas_lives(Lifetime::Creator);
    scene.world.end(&scene.creator);
    assert_eq!(scene.counts(), (0, 1, 0));
    assert!(!scene.world.fake().exists(scene.attached.root));
    let (_, segment) = scene.world.find_segment(&scene.other, "heap").unwrap();
    let statistics = scene.world.stat_segment(&scene.other, segment).unwrap();
    assert_eq!(statistics.vases, 0);
}

#[test]
fn a_segment_that_dies_with_its_creator_disappears_from_who_has_it() {
    let mut scene = Scene::new();
    scene.segment_lives(Lifetime::Creator);
    let root = scene.attached.root;
    scene.world.fake().store(root, BASE, 1).unwrap();
    scene.world.end(&scene.creator);
    assert_eq!(scene.counts(), (1, 0, 1));
    let fault = Err(Fault::NotMapped);
    assert_eq!(scene.world.fake().load(root, BASE), fault);
}

#[test]
fn what_dies_with_its_creator_does_not_die_with_another_process() {
    let mut scene = Scene::new();
    scene.vas_lives(Lifetime::Creator);
    scene.segment_lives(Lifetime::Creator);
    scene.world.end(&scene.other);
    assert_eq!(scene.counts(), (1, 1, 0));
    // Nor with another of the same user.
    let same_user = scene.world.process(1, &[]);
    scene.world.end(&same_user);
    assert_eq!(scene.counts(), (1, 1, 0));
    scene.world.end(&scene.creator);
    assert_eq!(scene.counts(), (0, 0, 0));
}

#[test]
fn an_object_cannot_die_with_a_creator_that_is_dead() {
    let mut scene = Scene::new();
    scene.world.end(&scene.creator);
    let owner = scene.world.process(1, &[]);
    let (_, vas) = scene.world.find_vas(&owner, "data").unwrap();
    let (_, segment) = scene.world.find_segment(&owner, "heap").unwrap();
    let before = scene.world.picture(&owner);
    let command = lives(Lifetime::Creator);
    assert_eq!(
        scene.world.control_vas(&owner, vas, command.clone()),
        Err(Error::CreatorEnded)
    );
    assert_eq!(
        scene.world.control_segment(&owner, segment, command),
        Err(Error::CreatorEnded)
    );
    assert_eq!(scene.world.picture(&owner), before);
    // A process in the place of the creator is not the creator.
    scene.world.end(&owner);
    assert_eq!(scene.counts(), (1, 1, 1));
}

#[test]
fn a_vas_that_dies_with_its_last_attacher_dies_however_that_ends() {
    let ends: [fn(&mut Scene); 3] = [
        |scene| {
            scene.world.detach(&scene.other, scene.attached).unwrap();
        },
        |scene| scene.world.end(&scene.other),
        |scene| {
            scene
                .world
                .control_vas(&scene.creator, scene.vas, Command::Evict)
                .unwrap();
        },
    ];
    for end in ends {
        let mut scene = Scene::new();
        scene.vas_lives(Lifetime::LastAttacher);
        let second = scene
            .world
            .attach(&scene.creator, scene.vas, READ_ONLY)
            .unwrap();
        scene.world.detach(&scene.creator, second).unwrap();
        assert_eq!(scene.counts(), (1, 1, 1), "it is not the last");
        end(&mut scene);
        assert_eq!(scene.counts(), (0, 1, 0));
        assert!(!scene.world.fake().exists(scene.vas));
    }
}

#[test]
fn a_segment_that_dies_with_its_last_attacher_dies_however_that_ends() {
    let ends: [fn(&mut Scene); 4] = [
        |scene| {
            let Scene { vas, segment, .. } = *scene;
            scene.world.remove(&scene.creator, vas, segment).unwrap();
        },
        |scene| {
            scene.world.detach(&scene.other, scene.attached).unwrap();
            scene.world.delete_vas(&scene.creator, scene.vas).unwrap();
        },
        |scene| {
            scene
                .world
                .control_segment(&scene.creator, scene.segment, Command::Evict)
                .unwrap();
        },
        // The VAS dies with its last attacher, and the segment with the VAS.
        |scene| {
            scene.vas_lives(Lifetime::LastAttacher);
            scene.world.end(&scene.other);
        },
    ];
    for end in ends {
        let mut scene = Scene::new();
        scene.segment_lives(Lifetime::LastAttacher);
        let spare = scene.world.vas(&scene.creator, "spare");
        let Scene { segment, .. } = scene;
        scene
            .world
            .add(&scene.creator, spare, segment, READ_ONLY)
            .unwrap();
        scene.world.remove(&scene.creator, spare, segment).unwrap();
        scene.world.delete_vas(&scene.creator, spare).unwrap();
        assert_eq!(scene.counts().1, 1, "it is not the last");
        end(&mut scene);
        assert_eq!(scene.counts().1, 0);
        assert!(!scene.world.fake().exists(segment));
    }
}

#[test]
fn what_nothing_was_attached_to_yet_does_not_die_for_want_of_attachers() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let before = world.statistics();
    let vas = world.vas(&process, "data");
    let segment = world.segment(&process, "heap", BASE, 1);
    let command = lives(Lifetime::LastAttacher);
    world.control_vas(&process, vas, command.clone()).unwrap();
    world.control_segment(&process, segment, command).unwrap();
    world.control_vas(&process, vas, Command::Evict).unwrap();
    world
        .control_segment(&process, segment, Command::Evict)
        .unwrap();
    assert_eq!(world.statistics().vases, 1);
    assert_eq!(world.statistics().segments, 1);
    world.delete_vas(&process, vas).unwrap();
    world.free(&process, segment).unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn a_process_that_ends_leaves_nothing_of_what_dies_with_it() {
    let mut world = World::new();
    let witness = world.process(3, &[]);
    let before = world.statistics();
    for _ in 0..3 {
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let spare = world.vas(&process, "spare");
        let heap = world.segment(&process, "heap", BASE, 1);
        let log = world.segment(&process, "log", BASE + 8 * KIB, 1);
        for segment in [heap, log] {
            for vas in [vas, spare] {
                world.add(&process, vas, segment, READ_WRITE).unwrap();
            }
        }
        world.attach(&process, vas, READ_ONLY).unwrap();
        world.attach(&process, spare, READ_ONLY).unwrap();
        let (with_creator, with_last) = (lives(Lifetime::Creator), lives(Lifetime::LastAttacher));
        for (vas, command) in [(vas, &with_creator), (spare, &with_last)] {
            world.control_vas(&process, vas, command.clone()).unwrap();
        }
        for (segment, command) in [(heap, with_creator), (log, with_last)] {
            world.control_segment(&process, segment, command).unwrap();
        }
        world.end(&process);
        assert_eq!(world.statistics(), before);
    }
    world.end(&witness);
}
