// SPDX-License-Identifier: MIT OR Apache-2.0

//! From boot to the running system: memory is divided, the VAS server started.

use alloc::vec::Vec;
use core::fmt;

use image::{ArchivedPolicy, ArchivedQuota, Image};
use objects::Slot;
use protocol::address_map::{LOCKING, PAGE_BYTES, SERVER_HEAP};
use protocol::handle::Badge;
use protocol::message::{Counts, Quota};
use protocol::process::{Chosen, InitError, ServerStartInfo, slot};
use protocol::{Name, limits};
use sel4::{BootInfo, CapRights, ObjectType, cap};

use crate::memory::{Objects, first};
use crate::process::{Layout, Process, Threads};
use crate::server::Server;
use crate::system::{SERVER, Sender, System};
use crate::{vspace, watch};

const DEPTH: u8 = u64::BITS as u8;
/// Untyped memory smaller than this is left alone: binary logarithm of bytes.
const SMALLEST_BITS: u8 = 12;

/// Why the system does not start.
pub enum Error {
    /// The archive in the boot image cannot be used.
    Image(image::Error),
    /// The kernel refused.
    Kernel(sel4::Error),
    /// The VAS server could not be built.
    Server(InitError),
    /// Its start page is too small for what it must know.
    StartPage,
}

impl From<sel4::Error> for Error {
    fn from(error: sel4::Error) -> Self {
        Error::Kernel(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Image(error) => write!(out, "the image: {error}"),
            Error::Kernel(error) => write!(out, "the kernel refused: {error}"),
            Error::Server(error) => write!(out, "the VAS server: {error}"),
            Error::StartPage => write!(out, "too many policies or untyped caps for a start page"),
        }
    }
}

/// Divides memory between init and the VAS server and starts the server.
pub fn start(
    boot_info: &BootInfo,
    image_base: u64,
    image: Image<'static>,
) -> Result<System, Error> {
    let (own, servers) = divide_memory(boot_info);
    let mut objects = Objects::new(boot_info, image_base, &own)?;
    objects.open_window()?;

    let endpoint = cap::Endpoint::from_bits(objects.make_one(ObjectType::Endpoint, 0)?);
    let endpoints = (0..image.system().endpoints.to_native())
        .map(|_| objects.make_one(ObjectType::Endpoint, 0))
        .collect::<Result<_, _>>()?;
    let server_endpoint = objects.make_one(ObjectType::Endpoint, 0)?;
    let control = first(&objects.slots(2)?);
    Objects::CNODE.mint(
        control,
        DEPTH,
        Objects::CNODE,
        server_endpoint,
        DEPTH,
        CapRights::ALL,
        Badge::CONTROL.bits(),
    )?;
    let faults = cap::Endpoint::from_bits(objects.make_one(ObjectType::Endpoint, 0)?);
    watch::start(&mut objects, faults)?;
    let process = start_server(image, &mut objects, &servers, server_endpoint, faults)?;
    let server = Server {
        control: cap::Endpoint::from_bits(control),
        cnode: process.cnode(),
        cnode_bits: image.system().server.slots_bits,
        receive_slot: control + 1,
        locking: process.frame_at(LOCKING).unwrap_or(0),
    };
    Ok(System {
        image,
        objects,
        server,
        endpoint,
        endpoints,
        processes: Vec::new(),
        next: 1,
    })
}

/// Untyped caps and the binary logarithms of their sizes in bytes, largest first.
type Untypeds = Vec<(Slot, u8)>;

/// The untyped memory in two parts: init's share and the server's.
fn divide_memory(boot_info: &BootInfo) -> (Untypeds, Untypeds) {
    let mut untypeds: Untypeds = boot_info
        .untyped_list()
        .filter(|untyped| !untyped.is_device && untyped.size_bits >= SMALLEST_BITS)
        .map(|untyped| (Slot(untyped.slot as u32), untyped.size_bits))
        .collect();
    untypeds.sort_by_key(|&(slot, bits)| (core::cmp::Reverse(bits), slot));
    let mut share = untypeds.iter().map(|&(_, bits)| 1u64 << bits).sum::<u64>() / image::INIT_SHARE;
    let (own, mut servers): (Untypeds, Untypeds) = untypeds.into_iter().partition(|&(_, bits)| {
        let kept = 1 << bits <= share;
        if kept {
            share -= 1 << bits;
        }
        kept
    });
    servers.truncate(limits::UNTYPEDS);
    (own, servers)
}

fn quota(quota: &ArchivedQuota) -> Quota {
    Quota {
        user: quota.user.to_native(),
        memory: quota.memory.to_native(),
        slots: quota.slots.to_native(),
        counts: Counts {
            sessions: quota.sessions.to_native(),
            vases: quota.vases.to_native(),
            segments: quota.segments.to_native(),
            attachments: quota.attachments.to_native(),
            handles: quota.handles.to_native(),
        },
    }
}

fn chosen(policy: &ArchivedPolicy<'_>) -> Result<Chosen, protocol::Error> {
    Ok(Chosen {
        question: Name::new(&policy.question)?,
        answer: Name::new(&policy.answer)?,
    })
}

/// Makes the handler of the timer's interrupt, and the badged cap of the notification that it
/// signals.
fn make_timer(objects: &mut Objects) -> Result<[u64; 2], sel4::Error> {
    // The interval timer of a PC is at pin 2 of its first I/O APIC, active high, by edge.
    const IO_APIC: u64 = 0;
    const PIN: u64 = 2;
    const EDGE: u64 = 0;
    const ACTIVE_HIGH: u64 = 0;
    // No other device of this system interrupts.
    const VECTOR: u64 = 0;

    let root = Objects::CNODE;
    let object = objects.make_one(ObjectType::Notification, 0)?;
    let interrupt = first(&objects.slots(2)?);
    let notification = interrupt + 1;
    let (rights, badge) = (CapRights::ALL, Badge::TIMER.bits());
    root.mint(notification, DEPTH, root, object, DEPTH, rights, badge)?;
    cap::IrqControl::from_bits(sel4::init_slot::IRQ_CONTROL).get_ioapic(
        root,
        interrupt,
        DEPTH.into(),
        IO_APIC,
        PIN,
        EDGE,
        ACTIVE_HIGH,
        VECTOR,
    )?;
    let notification_cap = cap::Notification::from_bits(notification);
    cap::IrqHandler::from_bits(interrupt).set_notification(notification_cap)?;
    Ok([interrupt, notification])
}

fn start_server(
    image: Image<'static>,
    objects: &mut Objects,
    untypeds: &[(Slot, u8)],
    endpoint: u64,
    fault_endpoint: cap::Endpoint,
) -> Result<Process, Error> {
    let description = &image.system().server;
    let cnode_bits = description.slots_bits;
    let first_untyped = slot::FREE + 4;
    let policies: Result<_, _> = description.policies.iter().map(chosen).collect();
    let policies = policies.map_err(|_| Error::StartPage)?;
    let info = ServerStartInfo {
        cnode_bits,
        first_free_slot: first_untyped + untypeds.len() as u64,
        endpoint: slot::FREE,
        asid_control: slot::FREE + 1,
        timer_interrupt: slot::FREE + 2,
        timer_notification: slot::FREE + 3,
        first_untyped,
        heap_bytes: limits::server_heap_bytes(cnode_bits),
        untyped_bits: untypeds.iter().map(|&(_, bits)| bits).collect(),
        policies,
        quotas: image.system().quotas.iter().map(quota).collect(),
    };
    let mut start_page = [0; PAGE_BYTES as usize];
    let start_page = postcard::to_slice(&info, &mut start_page).map_err(|_| Error::StartPage)?;

    let mut process = Process::new(SERVER, None, 0);
    let layout = Layout::new(
        &description.program,
        Threads {
            count: 1,
            stack_bytes: description.stack_bytes.to_native(),
        },
        image,
        start_page,
        None,
        &[],
    )
    .map_err(Error::Server)?;
    process
        .build(objects, &layout, cnode_bits)
        .map_err(Error::Server)?;
    vspace::map_large(objects, process.root(), SERVER_HEAP, info.heap_bytes)?;

    let cnode = process.cnode();
    let give = |to: u64, from: u64| {
        cnode.copy(to, cnode_bits, Objects::CNODE, from, DEPTH, CapRights::ALL)
    };
    let guard = sel4::cnode_guard(0, DEPTH - cnode_bits);
    cnode.mint(
        slot::CNODE,
        cnode_bits,
        Objects::CNODE,
        cnode.bits(),
        DEPTH,
        CapRights::ALL,
        guard,
    )?;
    cnode.mint(
        slot::FAULT,
        cnode_bits,
        Objects::CNODE,
        fault_endpoint.bits(),
        DEPTH,
        CapRights::ALL,
        Sender::Fault(SERVER, 0).badge(),
    )?;
    give(slot::TCB, process.tcb(0).bits())?;
    give(slot::VSPACE, process.root().bits())?;
    give(slot::IO_PORT, sel4::init_slot::IO_PORT)?;
    give(info.endpoint, endpoint)?;
    give(info.asid_control, sel4::init_slot::ASID_CONTROL)?;
    let [interrupt, notification] = make_timer(objects)?;
    for (to, from) in [
        (info.timer_interrupt, interrupt),
        (info.timer_notification, notification),
    ] {
        cnode.move_(to, cnode_bits, Objects::CNODE, from, DEPTH)?;
    }
    for (to, &(from, _)) in (info.first_untyped..).zip(untypeds) {
        cnode.move_(to, cnode_bits, Objects::CNODE, from.0.into(), DEPTH)?;
    }
    process.start(
        description.program.entry.to_native(),
        image::SERVER_PRIORITY,
        cnode_bits,
    )?;
    Ok(process)
}
