// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root task that does what a script says and compares what it sees.
//!
//! It is compiled by the test `vspace` alone, with the script in it (`spaces/script.rs` has
//! its form). The thread that does the operations is also the one that is inside the roots,
//! so nothing is loaded or flushed in between but by what it does. A second thread handles
//! its faults, and puts it back into its own root when it has lost the one that it was in.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each root task uses a part of it")]
mod support;

use core::arch::global_asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use support::*;

static SCRIPT: &[u8] = include_bytes!(env!("VSPACE_SCRIPT"));

const ROOTS: usize = 3;
const PLACES: usize = 2;
/// Bytes of a record of the script.
const RECORD: usize = 24;
/// Where nothing is.
const NONE: u8 = 0xff;

// Kinds of records.
const MAKE: u8 = 0;
const ASSIGN: u8 = 1;
const MAP: u8 = 2;
const MAP_FRAME: u8 = 3;
const REMAP: u8 = 4;
const UNMAP: u8 = 5;
const COPY: u8 = 6;
const DELETE: u8 = 7;
const REVOKE: u8 = 8;
const REVOKE_MEMORY: u8 = 9;
const SWITCH: u8 = 10;
const SWITCH_BACK: u8 = 11;
const RESET: u8 = 255;

/// Kinds of the objects whose caps Retype puts into the slots of the world, by slot; 0 for
/// copies, and for the pool.
const KINDS: [u64; SLOTS] = [
    0, PML4, PML4, PML4, 0, 0, 0, PDPT, PDPT, 0, 0, 0, PAGE_DIRECTORY, 0, PAGE_TABLE, 0, PAGE, PAGE,
    LARGE_PAGE, HUGE_PAGE, 0, 0, 0, 0,
];
const SLOTS: usize = 24;
const FIRST_FRAME: usize = 16;

/// In its own root: where frames are marked, and the handler's IPC buffer.
const WINDOW: u64 = 30 << 39;
const HANDLER_BUFFER: u64 = WINDOW + 0x1000;
/// Label of a request to mark a frame.
const STAMP: u64 = 0x200;

static HANDLER: AtomicU64 = AtomicU64::new(0);
static EVICTED: AtomicBool = AtomicBool::new(false);
static EXTENDED: AtomicBool = AtomicBool::new(false);

global_asm!(
    // Loads a word, or stores it; the second result is whether that went well.
    "probe_load:",
    "mov rax, [rdi]",
    "mov edx, 1",
    "ret",
    "probe_store:",
    "mov [rdi], rsi",
    "mov edx, 1",
    "ret",
    "probe_failed:",
    "xor eax, eax",
    "xor edx, edx",
    "ret",
);

#[repr(C)]
struct Probed {
    value: u64,
    well: u64,
}

unsafe extern "C" {
    fn probe_load(address: u64) -> Probed;
    fn probe_store(address: u64, value: u64) -> Probed;
    fn probe_failed();
}

/// What is at a place of the root that the thread is in, as the script says it: 0 for
/// nothing, else the frame's mark, and 0x80 if it can be written.
fn look(place: usize) -> u8 {
    let address = (place as u64 + 1) << 39;
    // SAFETY: nothing of this program lies there; a fault goes to `probe_failed`. What is
    // stored is what was there.
    let (loaded, stored) = unsafe {
        let loaded = probe_load(address);
        if loaded.well == 0 {
            return 0;
        }
        let stored = probe_store(address, loaded.value);
        (loaded.value, stored.well)
    };
    let mark = if loaded < 0x7f { loaded as u8 } else { 0x7f };
    mark | (stored as u8) << 7
}

/// The thread that handles the other's faults, and marks frames for it.
extern "C" fn handle(_: u64, _: u64, endpoint: u64) -> ! {
    let buffer = HANDLER_BUFFER as *mut u64;
    let ask = |cap, label, words: &[u64], caps: &[u64]| {
        must(invoke_from(buffer, cap, label, words, caps));
    };
    let scratch = NEXT_SLOT.load(Relaxed);
    NEXT_SLOT.store(scratch + 1, Relaxed);
    loop {
        let (label, words) = receive(endpoint);
        match label {
            VM_FAULT => {
                let place = words[0];
                if place == probe_load as *const () as u64 || place == probe_store as *const () as u64 {
                    let failed = probe_failed as *const () as u64;
                    ask(INIT_THREAD, TCB_WRITE_REGISTERS, &[1, 1, failed], &[]);
                } else if words[1] == place {
                    // Its next instruction is not there any longer.
                    EVICTED.store(true, Relaxed);
                    ask(INIT_THREAD, TCB_SET_SPACE, &[endpoint, 0, 0], &[CNODE, VSPACE]);
                    system_call(-6, 0, 0, [0; 4]);
                } else {
                    say!("broken: fault at {:#x}, address {:#x}", place, words[1]);
                    power_off();
                }
            }
            STAMP => {
                let [frame, kind, mark, _] = words;
                let address = WINDOW + match kind {
                    PAGE => 0,
                    LARGE_PAGE => 1 << 21,
                    _ => 1 << 30,
                };
                ask(CNODE, CNODE_COPY, &[scratch, 64, frame, 64, READ_WRITE], &[CNODE]);
                ask(scratch, PAGE_MAP, &[address, READ_WRITE, 0], &[VSPACE]);
                // SAFETY: mapped just now, for this.
                unsafe { (address as *mut u64).write_volatile(mark) };
                ask(CNODE, CNODE_DELETE, &[scratch, 64], &[]);
                system_call(-6, 0, 0, [0; 4]);
            }
            _ => {
                say!("broken: label {label}");
                power_off();
            }
        }
    }
}

/// What the script's objects are made of, and where their caps are.
struct World {
    /// The first slot of the world.
    first: u64,
    /// Untyped memory of each object, by slot.
    memory: [u64; SLOTS],
    /// The caps that map this program in each root.
    program: [u64; ROOTS],
    program_slots: u64,
    /// Untyped memory of the tables for that, on the stock kernel.
    tables: [[u64; 3]; ROOTS],
}

impl World {
    fn new(huge: bool) -> Self {
        let mut memory = [0; SLOTS];
        for (slot, memory) in memory.iter_mut().enumerate() {
            let bits = match KINDS[slot] {
                HUGE_PAGE if huge => 30,
                HUGE_PAGE => continue,
                LARGE_PAGE => 21,
                _ => 12,
            };
            let from = if bits == 30 { &BIG_UNTYPED } else { &UNTYPED };
            *memory = make_sized(from.load(Relaxed), UNTYPED_OBJECT, bits);
        }
        let mut take = |count: u64| {
            let first = NEXT_SLOT.load(Relaxed);
            NEXT_SLOT.store(first + count, Relaxed);
            first
        };
        let program_slots = 8 + IMAGE_END.load(Relaxed) - IMAGE_FRAMES.load(Relaxed);
        World {
            first: take(SLOTS as u64),
            memory,
            program: core::array::from_fn(|_| take(program_slots)),
            program_slots,
            tables: core::array::from_fn(|_| core::array::from_fn(|_| make_untyped())),
        }
    }

    fn slot(&self, number: u8) -> u64 {
        self.first + u64::from(number)
    }

    /// Takes this program out of roots that have lost their ASIDs, before it is another's.
    fn leave_roots(&self, lost: u8) {
        for root in (0..ROOTS).filter(|root| lost >> root & 1 == 1) {
            for slot in 0..self.program_slots {
                delete(self.program[root] + slot);
            }
        }
    }

    /// Maps this program in a root, so that a thread can be there.
    fn enter_root(&self, number: u8, root: u64) {
        let mut slot = self.program[usize::from(number) - 1];
        let mut take = || {
            slot += 1;
            slot - 1
        };
        if EXTENDED.load(Relaxed) {
            let attachment = take();
            must(copy_to(IMAGE_TABLES.load(Relaxed), attachment, READ_WRITE));
            must(map_table(attachment, PDPT_MAP, 0, root));
            return;
        }
        let start = image_start();
        let kinds = [
            (PDPT, PDPT_MAP),
            (PAGE_DIRECTORY, PAGE_DIRECTORY_MAP),
            (PAGE_TABLE, PAGE_TABLE_MAP),
        ];
        let tables = self.tables[usize::from(number) - 1];
        for ((kind, label), memory) in kinds.into_iter().zip(tables) {
            let table = take();
            must(retype(memory, kind, table));
            must(map_table(table, label, start, root));
        }
        let (first, end) = (IMAGE_FRAMES.load(Relaxed), IMAGE_END.load(Relaxed));
        let pages = (first..end).zip((start..).step_by(0x1000));
        for (frame, address) in pages.chain([(IPC_BUFFER_FRAME, IPC_BUFFER.load(Relaxed) as u64)]) {
            let copy = take();
            must(copy_to(frame, copy, READ_WRITE));
            must(map(copy, address, root));
        }
    }

    fn switch(&self, root: u64) -> u64 {
        if EXTENDED.load(Relaxed) {
            return invoke(root, PML4_SWITCH, &[], &[]);
        }
        let fault = HANDLER.load(Relaxed);
        invoke(INIT_THREAD, TCB_SET_SPACE, &[fault, 0, 0], &[CNODE, root])
    }

    fn perform(&self, record: &[u8]) -> u64 {
        let [kind, first, second, place, write, ..] = *record else { return NONE.into() };
        let (cap, other) = (self.slot(first), self.slot(second));
        let address = (u64::from(place) + 1) << 39;
        let rights = if write == 0 { READ_ONLY } else { READ_WRITE };
        let unmap_or_map = |map: bool| match first {
            7..12 => if map { PDPT_MAP } else { PDPT_UNMAP },
            12..14 => if map { PAGE_DIRECTORY_MAP } else { PAGE_DIRECTORY_UNMAP },
            14..16 => if map { PAGE_TABLE_MAP } else { PAGE_TABLE_UNMAP },
            _ => PAGE_UNMAP,
        };
        match kind {
            MAKE if first == 0 => invoke(ASID_CONTROL, ASID_CONTROL_MAKE_POOL, &[cap, 64], &[self.memory[0], CNODE]),
            MAKE => {
                let kind = KINDS[usize::from(first)];
                let error = retype(self.memory[usize::from(first)], kind, cap);
                if error == 0 && usize::from(first) >= FIRST_FRAME {
                    let mark = u64::from(first) - FIRST_FRAME as u64 + 1;
                    system_call(-1, HANDLER.load(Relaxed), STAMP << 12 | 3, [cap, kind, mark, 0]);
                }
                error
            }
            ASSIGN => {
                let error = invoke(self.slot(0), ASID_POOL_ASSIGN, &[], &[cap]);
                if error == 0 {
                    self.enter_root(first, cap);
                }
                error
            }
            MAP => map_table(cap, unmap_or_map(true), address, other),
            MAP_FRAME => invoke(cap, PAGE_MAP, &[address, rights, 0], &[other]),
            REMAP => invoke(cap, PAGE_REMAP, &[rights, 0], &[other]),
            UNMAP => invoke(cap, unmap_or_map(false), &[], &[]),
            COPY => copy_to(cap, other, rights),
            DELETE => invoke(CNODE, CNODE_DELETE, &[cap, 64], &[]),
            REVOKE => invoke(CNODE, CNODE_REVOKE, &[cap, 64], &[]),
            REVOKE_MEMORY => invoke(CNODE, CNODE_REVOKE, &[self.memory[usize::from(first)], 64], &[]),
            SWITCH => self.switch(cap),
            SWITCH_BACK => self.switch(VSPACE),
            _ => NONE.into(),
        }
    }

    /// Back to a world with nothing in it.
    fn reset(&self) {
        // Refused if the thread has the last cap of its root; the handler gets it out then.
        self.switch(VSPACE);
        for (slot, &memory) in self.memory.iter().enumerate() {
            if KINDS[slot] != 0 || slot == 0 {
                invoke(CNODE, CNODE_REVOKE, &[memory, 64], &[]);
            }
        }
        yield_now();
        self.leave_roots(0b111);
    }
}

const IPC_BUFFER_FRAME: u64 = 10;

fn retype(untyped: u64, kind: u64, slot: u64) -> u64 {
    invoke(untyped, UNTYPED_RETYPE, &[kind, 0, 0, 0, slot, 1], &[CNODE])
}

/// Plays a script.
struct Player {
    world: World,
    sequences: u64,
    operations: u64,
    wrong: u64,
    /// The rest of a sequence in which something differed.
    skip: bool,
    /// What was to be seen before the operation.
    before: [u8; ROOTS * PLACES],
    /// The number of the root that the thread is in, and one; 0 in its own.
    inside: usize,
}

impl Player {
    /// Begins a sequence.
    fn begin(&mut self) {
        self.world.reset();
        EVICTED.store(false, Relaxed);
        self.before = [0; ROOTS * PLACES];
        (self.skip, self.inside) = (false, 0);
        self.sequences += 1;
    }

    fn differs(&mut self, record: &[u8], what: &str, root: usize, place: usize, seen: u64) {
        self.skip = true;
        self.wrong += 1;
        if self.wrong <= 20 {
            let number = u64::from(record[19]) | u64::from(record[20]) << 8;
            say!(
                "differs: sequence {}, operation {number}: {what} {seen:#x}, root {root}, place {place}",
                self.sequences - 1
            );
        }
    }

    /// Looks at both places of a root that the thread is in.
    fn look(&mut self, record: &[u8], root: usize) {
        let at = root * PLACES;
        // What was there before comes first, since a fault makes the processor forget.
        let first = usize::from(self.before[at] == 0);
        for place in [first, 1 - first] {
            let seen = look(place);
            if seen != record[7 + at + place] {
                self.differs(record, "sight", root, place, seen.into());
            }
        }
    }

    /// Does an operation, and compares.
    fn play(&mut self, record: &[u8]) {
        if self.skip {
            return;
        }
        self.operations += 1;
        let ways = &record[14..17];
        let (may_leave, checked) = (record[17] != 0, record[18] != 0);
        if record[0] == ASSIGN {
            self.world.leave_roots(record[13]);
        }
        let answer = self.world.perform(record);
        // It is scheduled again, so that it has lost the root that it has no cap of.
        yield_now();
        if answer != u64::from(record[5]) {
            self.differs(record, "answer", 0, 0, answer);
        }
        let evicted = EVICTED.swap(false, Relaxed);
        if evicted != (record[21] != 0) {
            self.differs(record, "eviction", 0, 0, evicted.into());
        }
        self.inside = if evicted { 0 } else { record[6].into() };
        if checked && self.inside > 0 {
            self.look(record, self.inside - 1);
        }
        if checked && may_leave {
            for root in (0..ROOTS).filter(|&root| ways[root] != NONE) {
                if root + 1 != self.inside {
                    must(self.world.switch(self.world.slot(ways[root])));
                    self.look(record, root);
                }
            }
            let back = match self.inside {
                0 => VSPACE,
                root => self.world.slot(ways[root - 1]),
            };
            must(self.world.switch(back));
        }
        // What is there now is remembered by the processor when the next operation comes.
        if self.inside > 0 {
            let at = 7 + (self.inside - 1) * PLACES;
            for place in (0..PLACES).filter(|place| record[at + place] & 0x80 != 0) {
                look(place);
            }
        }
        self.before.copy_from_slice(&record[7..13]);
    }
}

fn main() {
    map_tables(WINDOW, VSPACE);
    let buffer = make(PAGE);
    must(map(buffer, HANDLER_BUFFER, VSPACE));
    let handler = Worker::new(1);
    must(invoke(handler.thread, TCB_SET_IPC_BUFFER, &[HANDLER_BUFFER], &[buffer]));
    HANDLER.store(handler.endpoint, Relaxed);
    must(invoke(INIT_THREAD, TCB_SET_SPACE, &[handler.endpoint, 0, 0], &[CNODE, VSPACE]));
    handler.start(handle, 0, 0);
    yield_now();
    EXTENDED.store(invoke(VSPACE, PML4_SWITCH, &[], &[]) == 0, Relaxed);

    let huge = SCRIPT.chunks_exact(RECORD).any(|record| record[0] == MAKE && record[1] == 19);
    let mut player = Player {
        world: World::new(huge),
        sequences: 0,
        operations: 0,
        wrong: 0,
        skip: false,
        before: [0; ROOTS * PLACES],
        inside: 0,
    };
    let mut preparation: &[u8] = &[];
    let mut rest = SCRIPT;
    while let Some((record, behind)) = rest.split_at_checked(RECORD) {
        rest = behind;
        if record[0] != RESET {
            player.play(record);
            continue;
        }
        player.begin();
        let records = usize::from(record[1]) | usize::from(record[2]) << 8;
        if records > 0 {
            (preparation, rest) = rest.split_at(records * RECORD);
        }
        for record in preparation.chunks_exact(RECORD) {
            player.play(record);
        }
    }
    player.world.reset();
    let Player { sequences, operations, wrong, .. } = player;
    say!("vspace: done, {sequences} sequences, {operations} operations, {wrong} differ");
}
