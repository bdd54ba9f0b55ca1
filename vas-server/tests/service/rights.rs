// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table of `docs/operations.md` that says which rights each call needs, cell by cell:
//! allowed with just these, refused without any one of them, whatever else is allowed.

use protocol::address_map::LOCAL;
use protocol::message::{
    Command, HandleStat, Request, Restrict, SegAttach, SegAttachLocal, SegCopy, SegCtl, SegDetach,
    SegDetachLocal, SegFree, SegGrow, SegStat, VasAttach, VasAttachments, VasClone, VasCtl,
    VasDelete, VasRoot, VasSetRoot, VasStat,
};
use protocol::{AttachmentId, Badge, Error, Rights};
use vas_server::fake::Held;

use crate::support::*;

const NONE: Rights = Rights::empty();
const READ: Rights = Rights::READ;
const WRITE: Rights = Rights::WRITE;
const CONTROL: Rights = Rights::CONTROL;
const READING: Rights = Rights::READ.union(Rights::ATTACH);
const WRITING: Rights = READING.union(Rights::WRITE);
const PASSING: Rights = Rights::GRANT.union(Rights::READ);

/// What handles a call is given.
#[derive(Clone, Copy)]
enum Of {
    /// A VAS with a root "index".
    Vas,
    /// A segment that is in no VAS.
    Segment,
    /// One that is in the VAS.
    Inside,
    /// One for single attachments that is in none.
    Local,
    /// One that the attachment has.
    Attached,
}

struct Scene {
    world: World,
    process: Process,
    attachment: AttachmentId,
    handles: [Held; 5],
}

impl Scene {
    fn new() -> Self {
        let mut world = World::new();
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let segment = world.segment(&process, "heap", BASE, 1);
        let inside = world.segment(&process, "inside", BASE + MIB, 1);
        let local = world.segment(&process, "local", LOCAL.start, 1);
        let attached = world.segment(&process, "attached", LOCAL.start + MIB, 1);
        world.add(&process, vas, inside, READ_WRITE).unwrap();
        world.set_root(&process, vas, "index", Some(BASE)).unwrap();
        let spare = world.vas(&process, "spare");
        let attachment = world.attach(&process, spare, READ_WRITE).unwrap().id;
        let access = READ_ONLY;
        let request = SegAttachLocal { attachment, access };
        world.call(&process, &request, &[attached]).unwrap();
        Scene {
            world,
            process,
            attachment,
            handles: [vas, segment, inside, local, attached],
        }
    }

    /// A handle of this object that allows so much.
    fn handle(&mut self, of: Of, rights: Rights) -> Option<Badge> {
        let cap = self.handles[of as usize];
        let mut handle = self.world.fake().badge(cap)?.handle();
        handle.rights = rights;
        Some(handle.badge())
    }
}

/// A call: what it is, what it needs of each handle, and how it is made.
type Row = (&'static str, &'static [(Of, Rights)], Call);
type Call = fn(&mut Scene, &[Option<Badge>]) -> Result<(), Error>;

/// Sends a request as the process.
fn ask<R: Request>(scene: &mut Scene, request: &R, handles: &[Option<Badge>]) -> Result<(), Error> {
    let session = scene.world.fake().badge(scene.process.cap).unwrap();
    scene.world.send(session, request, handles).map(|_| ())
}

/// Each call that takes handles.
const TABLE: &[Row] = &[
    (
        "vas_attach to read",
        &[(Of::Vas, READING)],
        |scene, handles| ask(scene, &VasAttach { access: READ_ONLY }, handles),
    ),
    (
        "vas_attach to write",
        &[(Of::Vas, WRITING)],
        |scene, handles| ask(scene, &VasAttach { access: READ_WRITE }, handles),
    ),
    ("vas_delete", &[(Of::Vas, CONTROL)], |scene, handles| {
        ask(scene, &VasDelete, handles)
    }),
    ("vas_stat", &[(Of::Vas, READ)], |scene, handles| {
        ask(scene, &VasStat, handles)
    }),
    ("vas_ctl", &[(Of::Vas, CONTROL)], |scene, handles| {
        let command = Command::Mode(CLOSED).into();
        ask(scene, &VasCtl { command }, handles)
    }),
    (
        "vas_attachments",
        &[(Of::Vas, CONTROL)],
        |scene, handles| ask(scene, &VasAttachments { after: None }, handles),
    ),
    (
        "vas_clone to read",
        &[(Of::Vas, READING.union(Rights::GRANT))],
        |scene, handles| {
            let (name, mode, access) = (name("clone"), OPEN, READ_ONLY);
            ask(scene, &VasClone { name, mode, access }, handles)
        },
    ),
    (
        "vas_clone to write",
        &[(Of::Vas, WRITING.union(Rights::GRANT))],
        |scene, handles| {
            let (name, mode, access) = (name("clone"), OPEN, READ_WRITE);
            ask(scene, &VasClone { name, mode, access }, handles)
        },
    ),
    ("vas_set_root", &[(Of::Vas, WRITE)], |scene, handles| {
        let (name, address) = (name("index"), None);
        ask(scene, &VasSetRoot { name, address }, handles)
    }),
    ("vas_root", &[(Of::Vas, READ)], |scene, handles| {
        let name = name("index");
        ask(scene, &VasRoot { name }, handles)
    }),
    (
        "seg_attach to read",
        &[(Of::Vas, WRITE), (Of::Segment, READING)],
        |scene, handles| ask(scene, &SegAttach { access: READ_ONLY }, handles),
    ),
    (
        "seg_attach to write",
        &[(Of::Vas, WRITE), (Of::Segment, WRITING)],
        |scene, handles| ask(scene, &SegAttach { access: READ_WRITE }, handles),
    ),
    (
        "seg_detach",
        &[(Of::Vas, WRITE), (Of::Inside, NONE)],
        |scene, handles| ask(scene, &SegDetach, handles),
    ),
    (
        "seg_attach to an attachment to read",
        &[(Of::Local, READING)],
        |scene, handles| {
            let (attachment, access) = (scene.attachment, READ_ONLY);
            ask(scene, &SegAttachLocal { attachment, access }, handles)
        },
    ),
    (
        "seg_attach to an attachment to write",
        &[(Of::Local, WRITING)],
        |scene, handles| {
            let (attachment, access) = (scene.attachment, READ_WRITE);
            ask(scene, &SegAttachLocal { attachment, access }, handles)
        },
    ),
    (
        "seg_detach from an attachment",
        &[(Of::Attached, NONE)],
        |scene, handles| {
            let attachment = scene.attachment;
            ask(scene, &SegDetachLocal { attachment }, handles)
        },
    ),
    ("seg_free", &[(Of::Segment, CONTROL)], |scene, handles| {
        ask(scene, &SegFree, handles)
    }),
    ("seg_stat", &[(Of::Segment, READ)], |scene, handles| {
        ask(scene, &SegStat, handles)
    }),
    ("seg_ctl", &[(Of::Segment, CONTROL)], |scene, handles| {
        let command = Command::Evict;
        ask(scene, &SegCtl { command }, handles)
    }),
    ("seg_grow", &[(Of::Segment, WRITE)], |scene, handles| {
        ask(scene, &SegGrow { size: 5 * KIB }, handles)
    }),
    (
        "seg_copy",
        &[(Of::Segment, READ), (Of::Inside, WRITE)],
        |scene, handles| ask(scene, &SegCopy { offset: 0 }, handles),
    ),
    ("vas_restrict", &[(Of::Vas, PASSING)], |scene, handles| {
        let (rights, revocable) = (READ, false);
        ask(scene, &Restrict { rights, revocable }, handles)
    }),
    (
        "seg_restrict",
        &[(Of::Segment, PASSING)],
        |scene, handles| {
            let (rights, revocable) = (READ, true);
            ask(scene, &Restrict { rights, revocable }, handles)
        },
    ),
    (
        "handle_stat of a VAS",
        &[(Of::Vas, NONE)],
        |scene, handles| ask(scene, &HandleStat, handles),
    ),
    (
        "handle_stat of a segment",
        &[(Of::Segment, NONE)],
        |scene, handles| ask(scene, &HandleStat, handles),
    ),
];

#[test]
fn every_call_is_allowed_with_just_the_rights_of_the_table() {
    for (what, needs, call) in TABLE {
        let mut scene = Scene::new();
        let handles: Vec<_> = needs
            .iter()
            .map(|&(of, rights)| scene.handle(of, rights))
            .collect();
        assert_eq!(call(&mut scene, &handles), Ok(()), "{what}");
    }
}

#[test]
fn every_call_is_refused_without_any_one_right_of_the_table() {
    for (what, needs, call) in TABLE {
        for (position, (_, rights)) in needs.iter().enumerate() {
            for missing in rights.iter() {
                let mut scene = Scene::new();
                let mut handles: Vec<_> = needs
                    .iter()
                    .map(|&(of, _)| scene.handle(of, Rights::all()))
                    .collect();
                let rest = Rights::all() - missing;
                handles[position] = scene.handle(needs[position].0, rest);
                let process = scene.process.clone();
                let before = scene.world.picture(&process);
                let answer = call(&mut scene, &handles);
                let needs = *rights;
                let denied = Err(Error::PermissionDenied { needs });
                assert_eq!(answer, denied, "{what} without {missing:?}");
                assert_eq!(scene.world.picture(&process), before, "{what}");
            }
        }
    }
}
