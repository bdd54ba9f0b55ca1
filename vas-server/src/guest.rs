// SPDX-License-Identifier: MIT OR Apache-2.0

//! The server as a component of seL4: messages in, kernel invocations out.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use objects::Sel4;
use protocol::Badge;
use protocol::process::{ServerStartInfo, slot};
use protocol::wire::WORDS;
use sel4::{MessageInfo, cap};

use crate::policy::Answers;
use crate::server::ASID_POOLS;
use crate::{Configuration, Server, Slot, Timer};

/// Extra caps of one message (seL4 manual, chapter "Message Passing").
const EXTRA_CAPS: usize = 3;

/// Serves for good, with those of these answers that the system description names.
///
/// # Panics
/// If the server cannot start: the system powers off with the reason on the console.
pub fn serve(answers: &Answers<Sel4>) -> ! {
    let info = runtime::server_start_info();
    let endpoint = cap::Endpoint::from_bits(info.endpoint);
    let mut server = match start(&info, answers) {
        Ok(server) => server,
        Err(error) => panic!("cannot start: {error}"),
    };

    let mut words = [0; WORDS];
    let mut reply = [0; WORDS];
    let mut message = sel4::recv(endpoint);
    loop {
        let (info, badge, registers) = message;
        let badge = Badge::from_bits(badge);
        if badge == Badge::TIMER {
            server.tick();
            message = sel4::recv(endpoint);
            continue;
        }
        let length = (info.length() as usize).min(WORDS);
        sel4::read_message(&mut words[..length], registers);
        let handles: [Option<Badge>; EXTRA_CAPS] = core::array::from_fn(|position| {
            let unwrapped = info.caps_unwrapped() & 1 << position != 0;
            let present = (position as u64) < info.extra_caps();
            (present && unwrapped).then(|| Badge::from_bits(sel4::badge(position)))
        });

        let answer = server.handle(badge, info.label(), &words[..length], &handles, &mut reply);

        message = match answer {
            Some(answer) => {
                let registers = sel4::write_message(&reply[..answer.length]);
                if let Some(Slot(slot)) = answer.cap {
                    sel4::set_extra_cap(0, slot.into());
                }
                let caps = u64::from(answer.cap.is_some());
                let info = MessageInfo::new(answer.label, 0, caps, answer.length as u64);
                sel4::reply_recv(endpoint, info, registers)
            }
            None => sel4::recv(endpoint),
        };
    }
}

/// Takes over what init gives.
fn start(info: &ServerStartInfo, answers: &Answers<Sel4>) -> Result<Server<Sel4>, String> {
    let chosen: Vec<_> = info
        .policies
        .iter()
        .map(|chosen| (chosen.question.as_str(), chosen.answer.as_str()))
        .collect();
    let policies = answers.choose(&chosen).map_err(|error| error.to_string())?;
    let untypeds: Vec<_> = (info.first_untyped as u32..)
        .map(Slot)
        .zip(info.untyped_bits.iter().copied())
        .collect();
    let configuration = Configuration {
        slots: info.first_free_slot as u32..1 << info.cnode_bits,
        endpoint: Slot(info.endpoint as u32),
        vspace: Slot(slot::VSPACE as u32),
        asid_control: Slot(info.asid_control as u32),
        asid_pools: ASID_POOLS,
        timer: Timer {
            interrupt: Slot(info.timer_interrupt as u32),
            notification: Slot(info.timer_notification as u32),
        },
        quotas: &info.quotas,
        untypeds: &untypeds,
    };
    Server::start(Sel4, policies, &configuration).map_err(|error| error.to_string())
}
