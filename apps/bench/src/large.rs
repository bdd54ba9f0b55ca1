// SPDX-License-Identifier: MIT OR Apache-2.0

//! Operations that take many requests, done one request at a time when another process says so.

use alloc::format;

use client_lib::{Access, Command, Error, Mode, Name, PageSize, rpc};
use protocol::AttachmentId;
use protocol::address_map::{GLOBAL, LOCAL};
use protocol::limits::COPY_BYTES;
use protocol::message::{
    Base, Lifetime, Request, Restrict, SegAlloc, SegAttach, SegAttachLocal, SegCopy, SegCtl,
    SegDetach, SegDetachLocal, SegFree, SegGrow, VasAttach, VasClone, VasCreate, VasCtl, VasDelete,
    VasDetach,
};
use protocol::process::{CNODE_BITS, slot};
use protocol::{Rights, wire};
use sel4::{CapRights, MessageInfo, cap};

use crate::endpoint;

/// An operation, and one request of it. Operations follow one another.
pub type Operation = (&'static str, fn(&mut Client) -> Result<(), Error>);

const MODE: Mode = Mode(0o600);
const BASE: u64 = GLOBAL.start;
const SIZE: u64 = 256 << 20;
const GROWN: u64 = SIZE + (32 << 20);
const BOTH: Access = Access::ReadWrite;
const SMALL: Option<PageSize> = Some(PageSize::Small);
const LARGE: Option<PageSize> = Some(PageSize::Large);

/// Slots of the own CNode for what arrives.
const VAS: u64 = 100;
const SEGMENT: u64 = 101;
const OTHER: u64 = 102;
const ROOT: u64 = 103;
const HANDLE: u64 = 104;
/// VASes when there are many.
const CROWD: u64 = 10;
/// Slots that are filled with copies of one cap, so many with a request.
const COPIES: core::ops::Range<u64> = 128..1 << CNODE_BITS;
const AT_ONCE: u64 = 256;

const CNODE: cap::CNode = cap::CNode::from_bits(slot::CNODE);
const DEPTH: u8 = u64::BITS as u8;

/// All of them.
pub const OPERATIONS: &[Operation] = &[
    ("vas_create", |client| client.create("large", VAS)),
    ("seg_alloc", |client| {
        client.alloc("large", SEGMENT, BASE, SIZE, SMALL, false)
    }),
    ("seg_attach", |client| client.seg_attach()),
    ("vas_attach", |client| client.attach(VAS)),
    ("seg_detach_from_who_is_attached", |client| {
        client.seg_detach()
    }),
    ("seg_attach_to_who_is_attached", |client| {
        client.seg_attach()
    }),
    ("seg_grow", |client| {
        client.ask(&SegGrow { size: GROWN }, &[SEGMENT]).map(|_| ())
    }),
    ("vas_clone", |client| {
        let request = VasClone {
            name: Name::new("clone")?,
            mode: MODE,
            access: BOTH,
        };
        client.receive(&request, &[VAS], OTHER).map(|_| ())
    }),
    ("vas_delete", |client| client.ask(&VasDelete, &[OTHER])),
    ("seg_alloc_of_2_mib_pages", |client| {
        client.alloc("copy", OTHER, BASE, SIZE, LARGE, false)
    }),
    ("seg_copy", |client| {
        let offset = client.done;
        client.ask(&SegCopy { offset }, &[SEGMENT, OTHER])?;
        client.again(COPY_BYTES, 4 << 20)
    }),
    ("seg_free_of_2_mib_pages", |client| {
        client.ask(&SegFree, &[OTHER])
    }),
    ("vas_ctl_evict", |client| {
        let command = Command::Evict.into();
        client.ask(&VasCtl { command }, &[VAS])
    }),
    ("vas_attach_again", |client| client.attach(VAS)),
    ("vas_detach", |client| {
        let attachment = client.attachment;
        client.ask(&VasDetach { attachment }, &[])
    }),
    ("vas_attach_once_more", |client| client.attach(VAS)),
    ("seg_ctl_evict", |client| {
        let command = Command::Evict;
        client.ask(&SegCtl { command }, &[SEGMENT])
    }),
    ("seg_free", |client| client.ask(&SegFree, &[SEGMENT])),
    ("seg_alloc_own_slots", |client| {
        client.alloc("local", SEGMENT, LOCAL.start, SIZE, SMALL, true)
    }),
    ("seg_attach_local", |client| {
        let attachment = client.attachment;
        let access = BOTH;
        client.ask(&SegAttachLocal { attachment, access }, &[SEGMENT])
    }),
    ("seg_detach_local", |client| {
        let attachment = client.attachment;
        client.ask(&SegDetachLocal { attachment }, &[SEGMENT])
    }),
    ("seg_free_own_slots", |client| {
        client.ask(&SegFree, &[SEGMENT])
    }),
    ("the_copies_of_a_root", |client| client.copy(ROOT)),
    ("vas_detach_with_copies_of_the_root", |client| {
        let attachment = client.attachment;
        client.ask(&VasDetach { attachment }, &[])
    }),
    ("vas_restrict", |client| {
        let request = Restrict {
            rights: Rights::READ,
            revocable: true,
        };
        let restricted = client.receive(&request, &[VAS], HANDLE)?;
        client.number = restricted.number;
        Ok(())
    }),
    ("the_copies_of_a_handle", |client| client.copy(HANDLE)),
    ("vas_ctl_revoke_handle", |client| {
        let command = Command::RevokeHandle(client.number).into();
        client.ask(&VasCtl { command }, &[VAS])
    }),
    ("the_copies_of_another_handle", |client| client.copy(VAS)),
    ("vas_delete_with_copies", |client| {
        client.ask(&VasDelete, &[VAS])
    }),
    // What it has when it ends.
    ("a_last_vas", |client| client.dying(VAS)),
    ("a_last_segment", |client| {
        client.alloc("large", SEGMENT, BASE, SIZE, SMALL, false)
    }),
    ("a_last_seg_attach", |client| client.seg_attach()),
    ("a_last_vas_attach", |client| client.attach(VAS)),
    ("what_dies_with_it", |client| {
        let command = Command::Lifetime(Lifetime::Creator);
        client.ask(&SegCtl { command }, &[SEGMENT])
    }),
    ("many_vases_and_attachments", |client| client.crowd()),
    ("its_last_copies", |client| client.copy(SEGMENT)),
];

/// A process that does them.
#[derive(Debug)]
pub struct Client {
    attachment: AttachmentId,
    number: u8,
    /// How much of an operation is done that is one only here.
    done: u64,
}

/// Does operations as it is [told](tell), until it is killed.
pub fn obey() {
    let mut client = Client {
        attachment: AttachmentId(0),
        number: 0,
        done: 0,
    };
    let endpoint = endpoint(0);
    let (mut info, _, _) = sel4::recv(endpoint);
    loop {
        let operation = OPERATIONS.get(info.label() as usize);
        let answer = operation.map_or(Err(Error::UnknownOperation), |(_, once)| once(&mut client));
        let mut words = [0; wire::WORDS];
        let length = wire::encode(&answer, &mut words).unwrap_or(0);
        let registers = sel4::write_message(&words[..length]);
        let reply = MessageInfo::new(0, 0, 0, length as u64);
        (info, _, _) = sel4::reply_recv(endpoint, reply, registers);
    }
}

/// Has the other process send one request of an operation.
///
/// # Errors
/// What it was answered.
pub fn tell(operation: usize) -> Result<(), Error> {
    let info = MessageInfo::new(operation as u64, 0, 0, 0);
    let (info, registers) = sel4::call(endpoint(0), info, [0; 4]);
    let mut words = [0; wire::WORDS];
    let length = (info.length() as usize).min(wire::WORDS);
    sel4::read_message(&mut words[..length], registers);
    wire::decode(&words[..length])?
}

impl Client {
    fn ask<R: Request>(&mut self, request: &R, caps: &[u64]) -> Result<R::Reply, Error> {
        rpc::once(request, caps.iter().copied())
    }

    fn receive<R: Request>(
        &mut self,
        request: &R,
        caps: &[u64],
        into: u64,
    ) -> Result<R::Reply, Error> {
        // Fails only for a slot beyond the CNode.
        let _ = CNODE.delete(into, DEPTH);
        sel4::set_receive_path(slot::CNODE, into, u64::from(DEPTH));
        self.ask(request, caps)
    }

    fn create(&mut self, name: &str, into: u64) -> Result<(), Error> {
        let name = Name::new(name)?;
        self.receive(&VasCreate { name, mode: MODE }, &[], into)?;
        Ok(())
    }

    fn alloc(
        &mut self,
        name: &str,
        into: u64,
        base: u64,
        size: u64,
        page_size: Option<PageSize>,
        own_slots: bool,
    ) -> Result<(), Error> {
        let request = SegAlloc {
            name: Name::new(name)?,
            base: Base::At(base),
            size,
            page_size,
            own_slots,
            lockable: false,
            mode: MODE,
        };
        self.receive(&request, &[], into)?;
        Ok(())
    }

    fn seg_attach(&mut self) -> Result<(), Error> {
        self.ask(&SegAttach { access: BOTH }, &[VAS, SEGMENT])
    }

    fn seg_detach(&mut self) -> Result<(), Error> {
        self.ask(&SegDetach, &[VAS, SEGMENT])
    }

    fn attach(&mut self, vas: u64) -> Result<(), Error> {
        let attached = self.receive(&VasAttach { access: BOTH }, &[vas], ROOT)?;
        self.attachment = attached.attachment;
        Ok(())
    }

    /// A VAS that dies with this process.
    fn dying(&mut self, into: u64) -> Result<(), Error> {
        if self.done == 0 {
            self.create("last", into)?;
            return self.again(1, 2);
        }
        let command = Command::Lifetime(Lifetime::Creator).into();
        self.ask(&VasCtl { command }, &[into])?;
        self.again(1, 2)
    }

    /// VASes that die with this process, and twice as many attachments, request by request.
    fn crowd(&mut self) -> Result<(), Error> {
        let access = match self.done % 4 {
            0 => {
                self.create(&format!("crowd {}", self.done / 4), OTHER)?;
                return self.again(1, 4 * CROWD);
            }
            1 => {
                let command = Command::Lifetime(Lifetime::Creator).into();
                self.ask(&VasCtl { command }, &[OTHER])?;
                return self.again(1, 4 * CROWD);
            }
            2 => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        let root = COPIES.start + self.done;
        self.receive(&VasAttach { access }, &[OTHER], root)?;
        self.again(1, 4 * CROWD)
    }

    /// So much of `all` is done.
    fn again(&mut self, more: u64, all: u64) -> Result<(), Error> {
        self.done += more;
        if self.done < all {
            return Err(Error::Again);
        }
        self.done = 0;
        Ok(())
    }

    /// Fills the CNode with copies of a cap.
    fn copy(&mut self, from: u64) -> Result<(), Error> {
        let first = COPIES.start + self.done;
        for into in (first..COPIES.end).take(AT_ONCE as usize) {
            let _ = CNODE.delete(into, DEPTH);
            let copied = CNODE.copy(into, DEPTH, CNODE, from, DEPTH, CapRights::ALL);
            copied.map_err(|error| Error::Internal {
                kernel: error.number(),
            })?;
        }
        self.again(AT_ONCE, COPIES.end - COPIES.start)
    }
}
