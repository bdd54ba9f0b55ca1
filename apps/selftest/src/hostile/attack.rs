// SPDX-License-Identifier: MIT OR Apache-2.0

//! A hostile process: it sends random messages over its session, in every way that the kernel
//! has, with caps of every kind in every place.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use common::failure::check;
use common::random::Random;
use common::raw::{self, Reply};
use common::{Failure, Outcome};
use protocol::address_map::{GLOBAL, LOCAL, PAGE_BYTES};
use protocol::generate::Generator;
use protocol::limits::COPY_BYTES;
use protocol::message::{
    Attached, Operation, Request, SegAlloc, SegAttach, SegCtl, SegFind, VasCommand, VasCreate,
    VasCtl, VasFind,
};
use protocol::process::slot;
use protocol::wire::{self, WORDS};
use protocol::{Access, Command, Error, Kind, Lifetime, Mode, Name, PageSize};
use sel4::{CapRights, MessageInfo, cap};

use crate::honest;

/// Names of what the hostile processes make, and those of what the honest ones keep.
const NAMES: &[&str] = &[
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    honest::OPEN,
    crate::control::NAME,
];

/// To whom they may give something away: mostly themselves, or the honest ones. Whoever else got
/// it, nobody here could delete it in the end.
const USERS: [u32; 8] = [2000, 2000, 2000, 2000, 2000, 2000, 1001, 1002];

const BASES: &[u64] = &[
    GLOBAL.start,
    GLOBAL.start + PAGE_BYTES,
    GLOBAL.start + PageSize::Large.bytes(),
    GLOBAL.end - PAGE_BYTES,
    LOCAL.start,
    LOCAL.start + PAGE_BYTES,
];
const SIZES: &[u64] = &[
    0,
    PAGE_BYTES,
    2 * PAGE_BYTES,
    8 * PAGE_BYTES,
    PageSize::Large.bytes(),
    COPY_BYTES,
];
const MODES: &[u64] = &[0o666, 0o644, 0o600];
/// Sets of rights.
const RIGHTS: &[u64] = &[0b11111, 0b10111, 0b01111, 0b00101];

/// Slots for caps that come with replies, used in turn.
const RECEIVED: u64 = 1500;
const RECEIVED_SLOTS: usize = 48;
/// A copy of the session's cap with which no caps can be sent, and no reply be waited for.
const NO_GRANT: u64 = RECEIVED - 1;
/// Where a cap with another badge would be.
const FORGED: u64 = RECEIVED - 2;
/// The attachments that are remembered.
const ATTACHMENTS: usize = 8;

/// Operations that are drawn for one message.
const DRAWN: usize = 3;
/// After so many messages it deletes what it has made, lest all else be refused because there is
/// too much already, or nothing left that it may use.
const BEGIN_ANEW: u64 = 4500;

const CNODE: cap::CNode = cap::CNode::from_bits(slot::CNODE);
const DEPTH: u8 = u64::BITS as u8;

/// How a message is sent for which nobody answers.
#[derive(Clone, Copy)]
enum Way {
    Send,
    TrySend,
    /// Without the right to pass caps.
    SendBare,
}

/// Sends `count` messages. The exit code has a bit for every kind of answer: see [`bit`].
pub fn run(seed: &str, count: &str) -> i32 {
    let outcome = (|| {
        let mut attack = Attack::new(seed.parse()?)?;
        attack.claim()?;
        attack.collide()?;
        for number in 1..=count.parse()? {
            attack.message()?;
            if number % BEGIN_ANEW == 0 {
                crate::sweep()?;
            }
        }
        runtime::println!("hostile: seed {seed}: {}", attack.report());
        Ok(attack.seen())
    })();
    outcome.unwrap_or_else(|failure: Failure| {
        runtime::println!("hostile: seed {seed}: {failure}");
        -1
    })
}

struct Attack {
    random: Random,
    /// What is in the slots for received caps, as far as it is known.
    received: Vec<Option<Kind>>,
    next: usize,
    attachments: Vec<u64>,
    /// How often each operation was served.
    served: BTreeMap<u64, u32>,
    /// How often each error was answered, by number.
    refused: BTreeMap<u64, (u32, String)>,
    /// How many were sent without waiting for the answer.
    unanswered: u32,
    forged: u32,
}

impl Attack {
    fn new(seed: u64) -> Result<Self, Failure> {
        CNODE.copy(
            NO_GRANT,
            DEPTH,
            CNODE,
            slot::SESSION,
            DEPTH,
            CapRights::WRITE,
        )?;
        Ok(Attack {
            random: Random(seed),
            received: alloc::vec![None; RECEIVED_SLOTS],
            next: 0,
            attachments: Vec::new(),
            served: BTreeMap::new(),
            refused: BTreeMap::new(),
            unanswered: 0,
            forged: 0,
        })
    }

    /// Asks for what others have left under the known names to die with this process. Of those
    /// whose creator has ended that is refused, which messages by chance would seldom show.
    fn claim(&mut self) -> Outcome {
        for name in NAMES {
            let name = Name::new(name)?;
            let command = Command::Lifetime(Lifetime::Creator);
            let slot = [RECEIVED + self.next as u64];
            self.ask(&VasFind { name: name.clone() }, &[])?;
            let of_vas = command.clone().into();
            self.ask(&VasCtl { command: of_vas }, &slot)?;
            let slot = [RECEIVED + self.next as u64];
            self.ask(&SegFind { name }, &[])?;
            self.ask(&SegCtl { command }, &slot)?;
        }
        Ok(())
    }

    /// Puts two segments at the same place of one VAS, which needs more than chance too.
    fn collide(&mut self) -> Outcome {
        let mode = Mode(0o600);
        let [vas, first, second] = [NAMES[0], NAMES[0], NAMES[1]].map(Name::new);
        let into = RECEIVED + self.next as u64;
        self.ask(&VasCreate { name: vas?, mode }, &[])?;
        for name in [first?, second?] {
            let segment = RECEIVED + self.next as u64;
            let request = SegAlloc {
                name,
                base: GLOBAL.start.into(),
                size: PAGE_BYTES,
                page_size: Some(PageSize::Small),
                own_slots: false,
                lockable: false,
                mode,
            };
            self.ask(&request, &[])?;
            let access = Access::ReadOnly;
            self.ask(&SegAttach { access }, &[into, segment])?;
        }
        Ok(())
    }

    fn ask<R: Request>(&mut self, request: &R, caps: &[u64]) -> Outcome {
        let mut words = [0; WORDS];
        let length = wire::encode(request, &mut words)?;
        self.call(R::OPERATION as u64, &words[..length], caps)
    }

    fn message(&mut self) -> Outcome {
        let operation = self.operation();
        let label = match self.random.below(16) {
            0 => self.random.next() & 0xf_ffff,
            1 => self.random.next() & 0x7f,
            _ => operation as u64,
        };
        let mut body = self.body(operation)?;
        tame(label, &mut body, &mut self.random)?;
        let caps: Vec<u64> = (0..self.random.below(sel4::MAX_EXTRA_CAPS + 1))
            .map(|position| self.cap(label, position))
            .collect();
        match self.random.below(32) {
            0 => self.send(Way::Send, label, &body, &caps),
            1 => self.send(Way::TrySend, label, &body, &caps),
            2 => self.send(Way::SendBare, label, &body, &caps),
            3 => self.forge()?,
            _ => {}
        }
        self.call(label, &body, &caps)
    }

    /// One of all operations: of a few that are drawn the one that was served least, so that
    /// those that need much to be served are tried more often.
    fn operation(&mut self) -> Operation {
        let drawn = [(); DRAWN].map(|()| self.random.choose(Operation::ALL));
        let served = |operation: &Operation| match *operation as u64 {
            label @ ..64 => self.served.get(&label).copied().unwrap_or(0),
            // init's alone.
            _ => u32::MAX,
        };
        drawn.into_iter().min_by_key(served).unwrap_or(drawn[0])
    }

    /// A body that the operation understands, or one that was spoilt.
    fn body(&mut self, operation: Operation) -> Result<Vec<u64>, Failure> {
        let numbers: &[(&str, &[u64])] = &[
            ("base", BASES),
            ("size", SIZES),
            ("offset", SIZES),
            ("Mode", MODES),
            ("rights", RIGHTS),
            ("AttachmentId", &self.attachments),
        ];
        let random = &mut self.random;
        let mut words = [0; WORDS];
        let below = |bound| (random.next() >> 8) % bound;
        let mut generator = Generator::new(below, NAMES, numbers);
        let length = generator.body(operation, &mut words)?;
        Ok(match random.below(3) {
            0 => random.body(&words[..length]),
            _ => words[..length].to_vec(),
        })
    }

    /// Which cap goes in this place: mostly one of the kind that belongs there.
    fn cap(&mut self, label: u64, position: usize) -> u64 {
        let fixed = [
            slot::TCB,
            slot::CNODE,
            slot::VSPACE,
            slot::INIT,
            slot::FAULT,
            slot::SESSION,
            NO_GRANT,
            FORGED,
            raw::EMPTY,
        ];
        let wanted = match (label, position) {
            (16.., 0) if self.random.below(2) == 0 => Kind::Segment,
            (_, 0) => Kind::Vas,
            _ => Kind::Segment,
        };
        let any = self.random.below(RECEIVED_SLOTS);
        let chosen = match self.random.below(8) {
            0 => return self.random.choose(&fixed),
            1 => any,
            // The latest few are the least likely to be stale.
            _ => (1..=RECEIVED_SLOTS)
                .map(|back| (self.next + RECEIVED_SLOTS - back) % RECEIVED_SLOTS)
                .filter(|&index| self.received[index] == Some(wanted))
                .nth(self.random.below(4))
                .unwrap_or(any),
        };
        RECEIVED + chosen as u64
    }

    fn send(&mut self, way: Way, label: u64, body: &[u64], caps: &[u64]) {
        let registers = sel4::write_message(body);
        for (position, &cap) in caps.iter().enumerate() {
            sel4::set_extra_cap(position, cap);
        }
        // Now and then longer than a message can be: what is behind it in the buffer is sent.
        let length = match self.random.below(8) {
            0 => 127,
            _ => body.len() as u64,
        };
        let info = MessageInfo::new(label, 0, caps.len() as u64, length);
        let session = cap::Endpoint::from_bits(slot::SESSION);
        match way {
            Way::Send => sel4::send(session, info, registers),
            Way::TrySend => sel4::nb_send(session, info, registers),
            Way::SendBare => sel4::send(cap::Endpoint::from_bits(NO_GRANT), info, registers),
        }
        self.unanswered += 1;
    }

    /// Tries to have a cap of the service with a badge of its own choice.
    fn forge(&mut self) -> Outcome {
        let badge = self.random.next() & ((1 << sel4::BADGE_BITS) - 1) | 1;
        let from = match self.random.below(3) {
            0 => slot::INIT,
            _ => slot::SESSION,
        };
        let minted = CNODE.mint(FORGED, DEPTH, CNODE, from, DEPTH, CapRights::ALL, badge);
        self.forged += 1;
        check(
            minted.is_err(),
            "the kernel gave a badged cap another badge",
        )
    }

    fn call(&mut self, label: u64, body: &[u64], caps: &[u64]) -> Outcome {
        let receive = RECEIVED + self.next as u64;
        // What is passed must not be emptied first.
        if !caps.contains(&receive) {
            raw::empty(receive);
            self.received[self.next] = None;
        }
        let reply = raw::call(slot::SESSION, label, body, caps, receive);
        if reply.label == 0 {
            return self.was_served(label, &reply, caps);
        }
        let error = reply.error().ok_or_else(|| {
            Failure::new(format!("no error is sent as {:x} for {label}", reply.label))
        })?;
        check(!reply.cap, "a cap came with an error")?;
        let told = || (0, format!("{error:?}"));
        self.refused.entry(reply.label).or_insert_with(told).0 += 1;
        match error {
            Error::StaleHandle { position } => {
                let slot = caps.get(usize::from(position)).copied().unwrap_or(0);
                let index = slot.wrapping_sub(RECEIVED) as usize;
                // Passed from now on only by chance.
                if let Some(kind) = self.received.get_mut(index) {
                    *kind = None;
                }
                Ok(())
            }
            Error::BadReply | Error::Inside | Error::Internal { .. } => Err(Failure::new(format!(
                "the server must never answer {error:?}, but did to {label}"
            ))),
            _ => Ok(()),
        }
    }

    fn was_served(&mut self, label: u64, reply: &Reply, caps: &[u64]) -> Outcome {
        let operation = Operation::from_label(label).ok_or(Error::UnknownOperation)?;
        check(
            label < 64,
            &format!("a client may not ask for {operation:?}"),
        )?;
        *self.served.entry(label).or_default() += 1;
        if let Operation::VasAttach = operation {
            let Attached { attachment, .. } = wire::decode(&reply.words)?;
            if self.attachments.len() == ATTACHMENTS {
                self.attachments.remove(0);
            }
            self.attachments.push(attachment.0);
        }
        if reply.cap {
            let of_first = || {
                let index = caps.first()?.checked_sub(RECEIVED)?;
                *self.received.get(index as usize)?
            };
            self.received[self.next] = match (operation, label) {
                // A root.
                (Operation::VasAttach, _) => None,
                (Operation::Restrict, _) => of_first(),
                (_, ..16) => Some(Kind::Vas),
                _ => Some(Kind::Segment),
            };
            self.next = (self.next + 1) % RECEIVED_SLOTS;
        }
        Ok(())
    }

    fn report(&self) -> String {
        let served: u32 = self.served.values().sum();
        let refused: u32 = self.refused.values().map(|(count, _)| count).sum();
        let mut text = format!(
            "{} messages: {served} served, {refused} refused, {} without a reply; {} forgeries; served:",
            served + refused + self.unanswered,
            self.unanswered,
            self.forged,
        );
        for (&label, count) in &self.served {
            if let Some(operation) = Operation::from_label(label) {
                text.push_str(&format!(" {operation:?} {count}"));
            }
        }
        text.push_str("; refused:");
        for (count, error) in self.refused.values() {
            let name = error.split([' ', '(']).next().unwrap_or_default();
            text.push_str(&format!(" {name} {count}"));
        }
        text
    }

    fn seen(&self) -> i32 {
        let served = self.served.keys().map(|_| bit(0));
        let refused = self.refused.keys().map(|&number| bit(number));
        served.chain(refused).fold(0, |all, bit| all | bit) as i32
    }
}

/// The bit for answers of this label. The numbers of errors are below 32 for mistakes of the
/// caller's, of which there are few, and from 32 on for the others.
const fn bit(label: u64) -> u32 {
    match label {
        0..8 => 1 << label,
        32..55 => 1 << (label - 24),
        _ => 0,
    }
}

/// Fails unless each of these answers was seen: what clients can bring about, apart from using
/// up slots, of which memory takes fewer than they have here, and identifiers of address spaces,
/// which are promised to nobody.
pub fn check_seen(seen: u32) -> Outcome {
    let (base, size, attachments, position) = (0, 0, 0, 0);
    let (expected, found) = (Kind::Vas, Kind::Segment);
    let needs = protocol::Rights::empty();
    let with = Name::new("any")?;
    let errors = [
        Error::UnknownOperation,
        Error::Malformed,
        Error::StaleHandle { position },
        Error::WrongKind {
            position,
            expected,
            found,
        },
        Error::NotFound,
        Error::NameExists,
        Error::PermissionDenied { needs },
        Error::ZeroSize,
        Error::Unaligned { base, alignment: 1 },
        Error::OutOfRange { base, size },
        Error::Overlap { with, base, size },
        Error::AlreadyAttached,
        Error::NotAttached,
        Error::InUse { attachments },
        Error::StaleAttachment,
        Error::OutOfMemory,
        Error::LimitReached(protocol::Limit::Vases),
        Error::CreatorEnded,
    ];
    check(seen & bit(0) != 0, "nothing was served")?;
    for error in errors {
        let answered = seen & bit(error.number()) != 0;
        check(answered, &format!("never answered: {error:?}"))?;
    }
    Ok(())
}

/// Keeps a message from giving something to a user that nobody here is.
fn tame(label: u64, body: &mut Vec<u64>, random: &mut Random) -> Outcome {
    let mut words = [0; WORDS];
    let length = match Operation::from_label(label) {
        Some(Operation::VasCtl) => match wire::decode(body) {
            Ok(VasCtl {
                command: VasCommand::Object(Command::Owner { group, .. }),
            }) => {
                let user = random.choose(&USERS);
                let command = Command::Owner { user, group }.into();
                wire::encode(&VasCtl { command }, &mut words)?
            }
            _ => return Ok(()),
        },
        Some(Operation::SegCtl) => match wire::decode(body) {
            Ok(SegCtl {
                command: Command::Owner { group, .. },
            }) => {
                let user = random.choose(&USERS);
                let command = Command::Owner { user, group };
                wire::encode(&SegCtl { command }, &mut words)?
            }
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    *body = words[..length].to_vec();
    Ok(())
}
