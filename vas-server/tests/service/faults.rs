// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::address_map::{IMAGE_BASE, STACK_TOP};
use protocol::message::{Explain, Explanation, FaultReason, SegmentPlace, SessionId};
use protocol::{AttachmentId, Error};

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
        (Some(AttachmentId(0)), BASE, false, None, heap, Detached),
        (Some(AttachmentId(u64::MAX)), 0, false, None, None, Detached),
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

#[test]
fn an_attachment_that_was_taken_away_explains_a_fault() {
    let mut scene = scene();
    let writing = scene.writing;
    scene.world.detach(&scene.process, writing).unwrap();
    let explanation = scene.explain(Some(writing.id), BASE, true).unwrap();
    assert_eq!(explanation.reason, FaultReason::Detached);
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
        reason: FaultReason::Detached,
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
