// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VAS server as a component of seL4: messages in, kernel invocations out.

#![no_std]
#![no_main]
extern crate alloc;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use protocol::process::{ServerStartInfo, slot};
use protocol::wire::WORDS;
use protocol::{Access, Badge, PageSize, limits};
use sel4::{CapRights, MessageInfo, ObjectType, VmAttributes, cap};
use vas_server::server::{ASID_POOLS, HEAP_OF_OBJECTS, HEAP_PER_SLOT};
use vas_server::{Configuration, Kernel, KernelError, Object, Policies, Server, Slot, TableLevel};

/// The most that clients can make the server take, with the largest CNode it may have.
const HEAP_BYTES: usize = HEAP_OF_OBJECTS + HEAP_PER_SLOT * (1 << limits::SERVER_SLOTS_BITS);

runtime::heap!(HEAP_BYTES);
runtime::server_main!(main);

/// Extra caps of one message (seL4 manual, chapter "Message Passing").
const EXTRA_CAPS: usize = 3;
const DEPTH: u8 = u64::BITS as u8;
const CNODE: cap::CNode = cap::CNode::from_bits(slot::CNODE);

fn main() -> ! {
    let info = runtime::server_start_info();
    let endpoint = cap::Endpoint::from_bits(info.endpoint);
    let mut server = match start(&info) {
        Ok(server) => server,
        Err(error) => panic!("cannot start: {error}"),
    };

    let mut words = [0; WORDS];
    let mut reply = [0; WORDS];
    let mut message = sel4::recv(endpoint);
    loop {
        let (info, badge, registers) = message;
        let length = (info.length() as usize).min(WORDS);
        sel4::read_message(&mut words[..length], registers);
        let handles: [Option<Badge>; EXTRA_CAPS] = core::array::from_fn(|position| {
            let unwrapped = info.caps_unwrapped() & 1 << position != 0;
            let present = (position as u64) < info.extra_caps();
            (present && unwrapped).then(|| Badge::from_bits(sel4::badge(position)))
        });

        let badge = Badge::from_bits(badge);
        let answer = server.handle(badge, info.label(), &words[..length], &handles, &mut reply);

        let registers = sel4::write_message(&reply[..answer.length]);
        if let Some(Slot(slot)) = answer.cap {
            sel4::set_extra_cap(0, slot.into());
        }
        let caps = u64::from(answer.cap.is_some());
        let info = MessageInfo::new(answer.label, 0, caps, answer.length as u64);
        message = sel4::reply_recv(endpoint, info, registers);
    }
}

/// Takes over what init gives.
fn start(info: &ServerStartInfo) -> Result<Server<Sel4>, String> {
    let policies = Policies::by_name(info.page_tables.as_str(), info.page_size.as_str())
        .map_err(|error| error.to_string())?;
    let untypeds: Vec<_> = (info.first_untyped as u32..)
        .map(Slot)
        .zip(info.untyped_bits.iter().copied())
        .collect();
    let configuration = Configuration {
        slots: info.first_free_slot as u32..1 << info.cnode_bits,
        endpoint: Slot(info.endpoint as u32),
        asid_control: Slot(info.asid_control as u32),
        asid_pools: ASID_POOLS,
        untypeds: &untypeds,
    };
    Server::start(Sel4, policies, &configuration).map_err(|error| error.to_string())
}

/// The kernel's own invocations.
struct Sel4;

fn result(result: Result<(), sel4::Error>) -> Result<(), KernelError> {
    result.map_err(|error| KernelError(error.number()))
}

fn rights(access: Access) -> CapRights {
    match access {
        Access::ReadOnly => CapRights::READ,
        Access::ReadWrite => CapRights::ALL,
    }
}

impl Kernel for Sel4 {
    fn retype(
        &mut self,
        untyped: Slot,
        object: Object,
        first: Slot,
        count: u32,
    ) -> Result<(), KernelError> {
        let (object, size_bits) = match object {
            Object::Untyped { bits } => (ObjectType::Untyped, bits),
            Object::Pml4 => (ObjectType::PML4, 0),
            Object::Table(TableLevel::Pdpt) => (ObjectType::PDPT, 0),
            Object::Table(TableLevel::PageDirectory) => (ObjectType::PageDirectory, 0),
            Object::Table(TableLevel::PageTable) => (ObjectType::PageTable, 0),
            Object::Frame(PageSize::Small) => (ObjectType::SmallPage, 0),
            Object::Frame(PageSize::Large) => (ObjectType::LargePage, 0),
            Object::Frame(PageSize::Huge) => (ObjectType::HugePage, 0),
        };
        let untyped = cap::Untyped::from_bits(untyped.0.into());
        result(untyped.retype(
            object,
            size_bits.into(),
            CNODE,
            0,
            0,
            first.0.into(),
            count.into(),
        ))
    }

    fn copy(&mut self, from: Slot, to: Slot, access: Access) -> Result<(), KernelError> {
        result(CNODE.copy(
            to.0.into(),
            DEPTH,
            CNODE,
            from.0.into(),
            DEPTH,
            rights(access),
        ))
    }

    fn mint(&mut self, from: Slot, to: Slot, badge: Badge) -> Result<(), KernelError> {
        let (from, to) = (from.0.into(), to.0.into());
        // Without the right to receive: a client must not hear what others ask.
        let rights = CapRights::new(true, false, true);
        result(CNODE.mint(to, DEPTH, CNODE, from, DEPTH, rights, badge.bits()))
    }

    fn delete(&mut self, slot: Slot) {
        // Fails only for a slot that the CNode does not have.
        let _ = CNODE.delete(slot.0.into(), DEPTH);
    }

    fn revoke(&mut self, slot: Slot) {
        // As above.
        let _ = CNODE.revoke(slot.0.into(), DEPTH);
    }

    fn make_asid_pool(
        &mut self,
        control: Slot,
        untyped: Slot,
        pool: Slot,
    ) -> Result<(), KernelError> {
        let control = cap::AsidControl::from_bits(control.0.into());
        let untyped = cap::Untyped::from_bits(untyped.0.into());
        result(control.make_pool(untyped, CNODE, pool.0.into(), DEPTH))
    }

    fn assign_asid(&mut self, pool: Slot, root: Slot) -> Result<(), KernelError> {
        let root = cap::PML4::from_bits(root.0.into());
        result(cap::AsidPool::from_bits(pool.0.into()).assign(root))
    }

    fn map_table(
        &mut self,
        table: Slot,
        level: TableLevel,
        root: Slot,
        address: u64,
    ) -> Result<(), KernelError> {
        let table = table.0.into();
        let root = cap::PML4::from_bits(root.0.into());
        let attributes = VmAttributes::DEFAULT;
        result(match level {
            TableLevel::Pdpt => cap::PDPT::from_bits(table).map(root, address, attributes),
            TableLevel::PageDirectory => {
                cap::PageDirectory::from_bits(table).map(root, address, attributes)
            }
            TableLevel::PageTable => {
                cap::PageTable::from_bits(table).map(root, address, attributes)
            }
        })
    }

    fn map_frame(
        &mut self,
        frame: Slot,
        root: Slot,
        address: u64,
        access: Access,
    ) -> Result<(), KernelError> {
        let root = cap::PML4::from_bits(root.0.into());
        let frame = cap::Page::from_bits(frame.0.into());
        result(frame.map(root, address, rights(access), VmAttributes::DEFAULT))
    }
}
