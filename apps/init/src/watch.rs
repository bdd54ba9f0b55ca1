// SPDX-License-Identifier: MIT OR Apache-2.0

//! A thread of init that hears of faults of the VAS server: init itself may wait for the server
//! then, and would for ever.

use protocol::address_map::PAGE_BYTES;
use protocol::message::Access;
use runtime::println;
use sel4::{Fault, ObjectType, PrioProps, UserContext, cap};

use crate::console;
use crate::fault::Report;
use crate::memory::{Objects, WINDOW};
use crate::process::RFLAGS;
use crate::vspace;

/// The pages behind the window, which the same tables map: one is left out before each part.
const IPC_BUFFER: u64 = WINDOW + 2 * PAGE_BYTES;
const STACK: u64 = IPC_BUFFER + 2 * PAGE_BYTES;
const STACK_PAGES: u64 = 4;
/// Registers that the thread starts with: all up to `rdi`.
const REGISTERS: u64 = 9;
/// init's own.
const PRIORITY: u8 = 255;

/// Starts the thread, which receives from `endpoint`. The window is open.
pub fn start(objects: &mut Objects, endpoint: cap::Endpoint) -> Result<(), sel4::Error> {
    let root = cap::PML4::from_bits(sel4::init_slot::VSPACE);
    let mut page = |address| {
        let frame = objects.make_one(ObjectType::SmallPage, 0)?;
        vspace::map_page(root, address, frame, Access::ReadWrite)?;
        Ok::<_, sel4::Error>(frame)
    };
    let ipc_buffer = page(IPC_BUFFER)?;
    for index in 0..STACK_PAGES {
        page(STACK + index * PAGE_BYTES)?;
    }
    let thread = cap::Tcb::from_bits(objects.make_one(ObjectType::Tcb, 0)?);
    thread.configure(
        0,
        PrioProps {
            maximum: PRIORITY,
            priority: PRIORITY,
        },
        Objects::CNODE,
        0,
        root,
        0,
        IPC_BUFFER,
        cap::Page::from_bits(ipc_buffer),
    )?;
    let context = UserContext {
        rip: watch as *const () as u64,
        // As after a call instruction: 8 below a multiple of 16.
        rsp: STACK + STACK_PAGES * PAGE_BYTES - 8,
        rflags: RFLAGS,
        rdi: endpoint.bits(),
        ..UserContext::default()
    };
    thread.write_registers(true, 0, REGISTERS, &context)
}

extern "C" fn watch(endpoint: u64) -> ! {
    let (info, _, registers) = sel4::recv(cap::Endpoint::from_bits(endpoint));
    let fault = Fault::from_message(info, registers).unwrap_or(Fault::NullFault);
    println!(
        "init: the VAS server faulted: {}",
        Report::without_cause(fault)
    );
    console::power_off(false)
}
