// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{IMAGE_BASE, LOCAL, STACK_TOP};
use protocol::limits::DEPARTED;
use protocol::message::{
    Command, Departure, Explain, Explanation, FaultReason, SegAttachLocal, SegDetachLocal,
    SegmentPlace, SessionId,
};
use protocol::{AttachmentId, Error, Lifetime};

use crate::support::*;

struct Scene {
    world: World,
    process: Process,
    reading: Attached,
    writing: Attached,
    other: Attached,
}

/// A process attached to `data` (for reading, and for writing) and to `other`. `data` has
/// the segment `heap` and, read-only, `text`; `other` has `far`.
fn scene() -> Scene {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let data = world.vas(&process, "data");
    let heap = world.segment(&process, "heap", BASE, 8 * KIB);
    world.add(&process, data, heap, READ_WRITE).unwrap();
    let text = world.segment(&process, "text", BASE + GIB, 4 * KIB);
    world.add(&process, data, text, READ_ONLY).unwrap();
    let other = world.vas(&process, "other");
    let far = world.segment(&process, "far", BASE + 2 * GIB, 4 * KIB);
    world.add(&process, other, far, READ_WRITE).unwrap();
    // A VAS that the process is not attached to.
    let strange = world.vas(&process, "strange");
    let hidden = world.segment(&process, "hidden", BASE + 3 * GIB, 4 * KIB);
    world.add(&process, strange, hidden, READ_WRITE).unwrap();
    Scene {
        reading: world.attach(&process, data, READ_ONLY).unwrap(),
        writing: world.attach(&process, data, READ_WRITE).unwrap(),
        other: world.attach(&process, other, READ_WRITE).unwrap(),
        world,
        process,
    }
}

impl Scene {
    fn explain(
        &mut self,
        active: Option<AttachmentId>,
        address: u64,
        write: bool,
    ) -> Result<Explanation, Error> {
        let session = self.process.session;
        let request = Explain {
            session,
            active,
            address,
            write,
        };
        self.world.control(&request).map(|(reply, _)| reply)
    }
}

#[test]
fn every_reason_is_told_with_the_vas_and_the_segment() {
    let mut scene = scene();
    let reading = Some(scene.reading.id);
    let writing = Some(scene.writing.id);
    let other = Some(scene.other.id);
    let heap = Some(("heap", "data"));
    let text = Some(("text", "data"));
    let far = Some(("far", "other"));
    use FaultReason::*;
    for (active, address, write, vas, place, reason) in [
        // A store through a read-only attachment, or to a read-only segment.
        (reading, BASE + 8, true, Some("data"), heap, ReadOnly),
        (writing, BASE + GIB, true, Some("data"), text, ReadOnly),
        // What ought to have succeeded.
        (reading, BASE + 8, false, Some("data"), heap, Unexplained),
        (writing, BASE + 8, true, Some("data"), heap, Unexplained),
        // One past the segment, and before the first.
        (
            writing,
            BASE + 8 * KIB,
            false,
            Some("data"),
            None,
            NoSegment,
        ),
        (writing, BASE - 1, false, Some("data"), None, NoSegment),
        // The segment is in another VAS; in the process's own space every segment is.
        (writing, BASE + 2 * GIB, true, Some("data"), far, OtherVas),
        (other, BASE, false, Some("other"), heap, OtherVas),
        (None, BASE, false, None, heap, OtherVas),
        // A segment in a VAS that the process has nothing to do with.
        (
            writing,
            BASE + 3 * GIB,
            false,
            Some("data"),
            None,
            NoSegment,
        ),
        // Private memory, in any VAS.
        (None, IMAGE_BASE, true, None, None, ReadOnly),
        (
            writing,
            IMAGE_BASE + 0x1fff,
            true,
            Some("data"),
            None,
            ReadOnly,
        ),
        (
            writing,
            STACK_TOP - 8,
            true,
            Some("data"),
            None,
            Unexplained,
        ),
        (None, STACK_TOP, true, None, None, NoSegment),
        (None, 0, false, None, None, NoSegment),
        (None, u64::MAX, true, None, None, NoSegment),
        // Attachments that are none.
        (Some(AttachmentId(0)), BASE, false, None, None, NoAttachment),
        (
            Some(AttachmentId(u64::MAX)),
            0,
            false,
            None,
            None,
            NoAttachment,
        ),
    ] {
        let explanation = scene.explain(active, address, write);
        let expected = Explanation {
            vas: vas.map(name),
            segment: place.map(|(segment, vas)| SegmentPlace {
                segment: name(segment),
                vas: name(vas),
            }),
            reason,
        };
        assert_eq!(explanation, Ok(expected), "{active:?} {address:#x} {write}");
    }
}

/// What can become of a VAS or a segment that others use.
const DEPARTURES: [Departure; 3] = [Departure::Detached, Departure::Evicted, Departure::Deleted];

#[test]
fn an_attachment_that_has_ended_explains_a_fault() {
    for departure in DEPARTURES {
        let mut scene = scene();
        let creator = scene.world.process(1, &[]);
        let vas = scene.world.vas(&creator, "short");
        let process = scene.process.clone();
        let attached = scene.world.attach(&process, vas, READ_WRITE).unwrap();
        let world = &mut scene.world;
        match departure {
            Departure::Detached => world.detach(&process, attached).unwrap(),
            Departure::Evicted => world.control_vas(&creator, vas, Command::Evict).unwrap(),
            Departure::Deleted => {
                let lifetime = lives(Lifetime::Creator);
                world.control_vas(&creator, vas, lifetime).unwrap();
                world.end(&creator);
            }
        }
        let expected = Explanation {
            vas: Some(name("short")),
            segment: None,
            reason: FaultReason::AttachmentEnded(departure),
        };
        let active = Some(attached.id);
        assert_eq!(scene.explain(active, BASE, true), Ok(expected));
    }
}

#[test]
fn a_segment_that_has_left_explains_a_fault() {
    for departure in DEPARTURES {
        let mut scene = scene();
        let creator = scene.world.process(1, &[]);
        let world = &mut scene.world;
        let [global, local] = [("short", BASE + 5 * GIB), ("own", LOCAL.start)]
            .map(|(text, base)| world.segment(&creator, text, base, 8 * KIB));
        let (_, vas) = world.find_vas(&creator, "data").unwrap();
        world.add(&creator, vas, global, READ_WRITE).unwrap();
        let process = scene.process.clone();
        let attachment = scene.writing.id;
        let access = READ_WRITE;
        let request = SegAttachLocal { attachment, access };
        world.call(&process, &request, &[local]).unwrap();
        match departure {
            Departure::Detached => {
                world.remove(&creator, vas, global).unwrap();
                let request = SegDetachLocal { attachment };
                world.call(&process, &request, &[local]).unwrap();
            }
            Departure::Evicted => {
                for segment in [global, local] {
                    let evict = Command::Evict;
                    world.control_segment(&creator, segment, evict).unwrap();
                }
            }
            Departure::Deleted => {
                for segment in [global, local] {
                    let lifetime = lives(Lifetime::Creator);
                    world.control_segment(&creator, segment, lifetime).unwrap();
                }
                world.end(&creator);
            }
        }
        for (text, address) in [
            ("short", BASE + 5 * GIB + 8 * KIB - 8),
            ("own", LOCAL.start),
        ] {
            let expected = Explanation {
                vas: Some(name("data")),
                segment: Some(SegmentPlace {
                    segment: name(text),
                    vas: name("data"),
                }),
                reason: FaultReason::SegmentLeft(departure),
            };
            assert_eq!(scene.explain(Some(attachment), address, true), Ok(expected));
        }
    }
}

#[test]
fn what_has_ended_long_ago_is_forgotten() {
    let mut scene = scene();
    let process = scene.process.clone();
    let first = scene.writing;
    scene.world.detach(&process, first).unwrap();
    for _ in 0..DEPARTED {
        let (_, vas) = scene.world.find_vas(&process, "data").unwrap();
        let attached = scene.world.attach(&process, vas, READ_WRITE).unwrap();
        scene.world.detach(&process, attached).unwrap();
    }
    let explanation = scene.explain(Some(first.id), BASE, true).unwrap();
    assert_eq!(explanation.reason, FaultReason::NoAttachment);
}

#[test]
fn an_attachment_of_another_process_is_none_of_this_one() {
    let mut scene = scene();
    let active = Some(scene.reading.id);
    scene.process = scene.world.process(1, &[]);
    let explanation = scene.explain(active, BASE, true).unwrap();
    let expected = Explanation {
        vas: None,
        segment: None,
        reason: FaultReason::NoAttachment,
    };
    assert_eq!(explanation, expected);
}

#[test]
fn explaining_changes_nothing() {
    let mut scene = scene();
    let process = scene.process.clone();
    let before = scene.world.picture(&process);
    scene.explain(None, BASE, true).unwrap();
    scene.process.session = SessionId(99);
    assert_eq!(scene.explain(None, BASE, true), Err(Error::NotFound));
    assert_eq!(scene.world.picture(&process), before);
}

#[test]
fn who_is_attached_to_very_much_may_not_be_told_in_which_vas_an_address_is() {
    let mut world = World::with(60_000, &[33]);
    let process = world.bare_process(1);
    let full = world.vas(&process, "full");
    for number in 0..256 {
        let base = BASE + number * 4 * KIB;
        let segment = world.segment(&process, &number.to_string(), base, 4 * KIB);
        world.add(&process, full, segment, READ_ONLY).unwrap();
    }
    let last = world.vas(&process, "last");
    let far = world.segment(&process, "far", BASE + GIB, 4 * KIB);
    world.add(&process, last, far, READ_ONLY).unwrap();
    let session = process.session;
    let question = Explain {
        session,
        active: None,
        address: BASE + GIB,
        write: false,
    };
    let mut reasons = Vec::new();
    for clones in [1, 64] {
        for number in 0..clones {
            let name = format!("{clones} {number}");
            let (vas, access) = (full, READ_ONLY);
            let clone = world.clone_vas(&process, vas, &name, OPEN, access).unwrap();
            world.attach(&process, clone, READ_ONLY).unwrap();
        }
        let attached = world.attach(&process, last, READ_ONLY).unwrap();
        let (explanation, _) = world.control(&question).unwrap();
        reasons.push(explanation.reason);
        // It is attached anew behind all others.
        world.detach(&process, attached).unwrap();
    }
    assert_eq!(reasons, [FaultReason::OtherVas, FaultReason::NoSegment]);
}
