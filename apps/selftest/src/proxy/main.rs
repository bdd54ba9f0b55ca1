// SPDX-License-Identifier: MIT OR Apache-2.0

//! A process that does what it is told over its endpoint, the first of those that it has.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

extern crate alloc;

use client_lib::{Access, AttachmentId, Error, LockMode, vas_switch};
use common::proxy::Command;
use common::raw::{self, Reply};
use common::segment_memory::{load, store};
use common::verdict;
use model::{Touch, scan};
use protocol::process::{Active, ActiveSpace, slot};
use protocol::wire::{self, WORDS};
use sel4::{MessageInfo, cap};

runtime::heap!(64 << 10);
runtime::main!(main);

fn main() -> i32 {
    let own = cap::Endpoint::from_bits(slot::ENDPOINTS);
    loop {
        let (info, _, registers) = sel4::recv(own);
        let mut words = [0; WORDS];
        let words = &mut words[..info.length() as usize];
        sel4::read_message(words, registers);
        let Ok(command) = wire::decode(words) else {
            runtime::println!("proxy: the command is malformed");
            return verdict::CONFUSED;
        };
        match command {
            Command::Ask {
                label,
                body,
                handles,
                receive,
            } => answer(&raw::call(slot::SESSION, label, &body, &handles, receive)),
            Command::Touch {
                root,
                attachment,
                touch,
            } => answer(&Reply::of(&touch_inside(root, attachment, touch))),
            Command::TouchAndExit {
                root,
                attachment,
                touch,
            } => {
                let touched = touch_inside(root, attachment, touch);
                runtime::println!("proxy: survived {touch:x?}: {touched:x?}");
                return verdict::CONFUSED;
            }
            Command::Take(receive) => {
                answer(&Reply::of(&()));
                sel4::set_receive_path(slot::CNODE, receive, u64::BITS.into());
                sel4::recv(own);
            }
            Command::Give { handle, endpoint } => {
                let other = cap::Endpoint::from_bits(slot::ENDPOINTS + endpoint);
                sel4::set_extra_cap(0, handle);
                sel4::send(other, MessageInfo::new(0, 0, 1, 0), [0; 4]);
                answer(&Reply::of(&()));
            }
        }
    }
}

fn answer(reply: &Reply) {
    let registers = sel4::write_message(&reply.words);
    let info = MessageInfo::new(reply.label, 0, 0, reply.words.len() as u64);
    sel4::reply(info, registers);
}

fn touch_inside(root: u64, attachment: AttachmentId, touch: Touch) -> Result<u64, Error> {
    // Segments here have no locks, so what else is known of the attachment does not matter.
    let active = Active {
        id: attachment,
        access: Access::ReadWrite,
        lock_mode: LockMode::None,
    };
    let space = ActiveSpace {
        root: root as u16,
        attachment: Some(active),
    };
    let before = vas_switch(space.into())?;
    let touched = match touch {
        Touch::Load(address) => load(address),
        Touch::Store(address, value) => {
            store(address, value);
            value
        }
        Touch::Scan { base, size, page } => scan(base, size, page, |address| Ok(load(address)))?,
    };
    vas_switch(before)?;
    Ok(touched)
}
