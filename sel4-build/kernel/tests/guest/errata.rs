// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root task that tries what the errata mend, and says for each whether it is mended.
//!
//! It is compiled by the test `errata` alone, with `ERRATA_CASES` naming what to try, and
//! speaks to the kernel directly, so that the kernel is tested by itself.

#![no_std]
#![no_main]

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

/// Names of the cases to run, separated by commas.
const CASES: &str = env!("ERRATA_CASES");

// Capabilities that the root task is born with (libsel4, `bootinfo_types.h`).
const CNODE: u64 = 2;
const VSPACE: u64 = 3;
const IO_PORTS: u64 = 7;

// Labels of invocations: their places in the interface descriptions, for this configuration.
const UNTYPED_RETYPE: u64 = 1;
const TCB_WRITE_REGISTERS: u64 = 3;
const TCB_CONFIGURE: u64 = 5;
const TCB_SET_IPC_BUFFER: u64 = 8;
const TCB_SUSPEND: u64 = 10;
const CNODE_REVOKE: u64 = 14;
const CNODE_DELETE: u64 = 15;
const CNODE_COPY: u64 = 17;
const PDPT_MAP: u64 = 28;
const PDPT_UNMAP: u64 = 29;
const PAGE_DIRECTORY_MAP: u64 = 30;
const PAGE_TABLE_MAP: u64 = 33;
const PAGE_MAP: u64 = 37;
const PAGE_REMAP: u64 = 38;
const PAGE_UNMAP: u64 = 39;
const IO_PORT_OUT8: u64 = 47;

// Types of objects (libsel4, `objecttype.h`).
const THREAD: u64 = 1;
const ENDPOINT: u64 = 2;
const PDPT: u64 = 5;
const HUGE_PAGE: u64 = 7;
const PAGE: u64 = 8;
const LARGE_PAGE: u64 = 9;
const PAGE_TABLE: u64 = 10;
const PAGE_DIRECTORY: u64 = 11;

// Errors (libsel4, `errors.h`).
const INVALID_ARGUMENT: u64 = 1;
const ILLEGAL_OPERATION: u64 = 3;
const RANGE_ERROR: u64 = 4;
const ALIGNMENT_ERROR: u64 = 5;
const REVOKE_FIRST: u64 = 9;

const READ_ONLY: u64 = 2;
const READ_WRITE: u64 = 3;

/// Where the tests map: a slot of the root table that nothing else uses.
const BASE: u64 = 1 << 39;
/// Label of a page fault (`seL4_Fault_VMFault`), and of what workers report.
const VM_FAULT: u64 = 5;
const REPORT: u64 = 0x100;

const STACK: usize = 65_536;

#[repr(C, align(16))]
struct Stacks([[u8; STACK]; 3]);
static mut STACKS: Stacks = Stacks([[0; STACK]; 3]);

static IPC_BUFFER: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());
static NEXT_SLOT: AtomicU64 = AtomicU64::new(0);
static UNTYPED: AtomicU64 = AtomicU64::new(0);
static BIG_UNTYPED: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".globl _start",
    "_start:",
    "lea rsp, [rip + {stacks} + {size}]",
    "xor ebp, ebp",
    "call {main}",
    "ud2",
    stacks = sym STACKS,
    size = const STACK,
    main = sym main,
);

/// One system call: its number, a capability, message information, four message words.
/// Returns the information received and the words.
fn system_call(number: i64, cap: u64, info: u64, words: [u64; 4]) -> (u64, [u64; 4]) {
    let [mut a, mut b, mut c, mut d] = words;
    let received;
    // SAFETY: the kernel's convention: it keeps the other registers but rsp, which is put
    // back; memory that it may write (the IPC buffer) is not held by reference.
    unsafe {
        asm!(
            "mov r12, rsp",
            "syscall",
            "mov rsp, r12",
            inout("rdx") number => _,
            inout("rdi") cap => _,
            inout("rsi") info => received,
            inout("r10") a, inout("r8") b, inout("r9") c, inout("r15") d,
            out("rcx") _, out("r11") _, out("r12") _, out("rax") _,
        );
    }
    (received, [a, b, c, d])
}

fn yield_now() {
    system_call(-7, 0, 0, [0; 4]);
}

/// Waits for a message: its label and words.
fn receive(endpoint: u64) -> (u64, [u64; 4]) {
    let (info, words) = system_call(-5, endpoint, 0, [0; 4]);
    (info >> 12, words)
}

/// Invokes a capability: 0, or the number of the error.
fn invoke(cap: u64, label: u64, words: &[u64], caps: &[u64]) -> u64 {
    let mut registers = [0; 4];
    let buffer = IPC_BUFFER.load(Relaxed);
    for (index, word) in words.iter().enumerate() {
        match registers.get_mut(index) {
            Some(register) => *register = *word,
            // SAFETY: the buffer's message words lie at 1..=120.
            None => unsafe { buffer.add(1 + index).write_volatile(*word) },
        }
    }
    for (index, cap) in caps.iter().enumerate() {
        // SAFETY: the buffer's capability words lie at 122..=124.
        unsafe { buffer.add(122 + index).write_volatile(*cap) };
    }
    let info = label << 12 | (caps.len() as u64) << 7 | words.len() as u64;
    system_call(-1, cap, info, registers).0 >> 12
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            invoke(IO_PORTS, IO_PORT_OUT8, &[0x3f8, byte.into()], &[]);
        }
        Ok(())
    }
}

macro_rules! say {
    ($($part:tt)*) => {{ let _ = writeln!(Console, $($part)*); }};
}

fn power_off() -> ! {
    invoke(IO_PORTS, IO_PORT_OUT8, &[0xf4, 0], &[]);
    loop {
        yield_now();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    say!("panic: {info}");
    power_off()
}

/// Named by the prebuilt `core`, which was compiled to unwind; nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

/// Fails loudly where the tests themselves would make no sense.
#[track_caller]
fn must(error: u64) {
    assert!(error == 0, "error {error}");
}

fn new_slot() -> u64 {
    NEXT_SLOT.fetch_add(1, Relaxed)
}

fn make_from(untyped: u64, kind: u64) -> u64 {
    let slot = new_slot();
    must(invoke(
        untyped,
        UNTYPED_RETYPE,
        &[kind, 0, 0, 0, slot, 1],
        &[CNODE],
    ));
    slot
}

fn make(kind: u64) -> u64 {
    let untyped = if kind == HUGE_PAGE {
        &BIG_UNTYPED
    } else {
        &UNTYPED
    };
    make_from(untyped.load(Relaxed), kind)
}

fn copy(from: u64) -> (u64, u64) {
    let slot = new_slot();
    (
        slot,
        invoke(
            CNODE,
            CNODE_COPY,
            &[slot, 64, from, 64, READ_WRITE | 4],
            &[CNODE],
        ),
    )
}

fn delete(slot: u64) {
    must(invoke(CNODE, CNODE_DELETE, &[slot, 64], &[]));
}

fn map_table(cap: u64, label: u64, address: u64) -> u64 {
    invoke(cap, label, &[address, 0], &[VSPACE])
}

fn map(frame: u64, address: u64) -> u64 {
    invoke(frame, PAGE_MAP, &[address, READ_WRITE, 0], &[VSPACE])
}

/// A thread that does one thing and reports, by message or by fault.
struct Worker {
    thread: u64,
    endpoint: u64,
    stack: usize,
}

impl Worker {
    fn new(stack: usize) -> Self {
        let (thread, endpoint) = (make(THREAD), make(ENDPOINT));
        let priorities = 255 << 8 | 255;
        must(invoke(
            thread,
            TCB_CONFIGURE,
            &[endpoint, priorities, 0, 0, 0],
            &[CNODE, VSPACE, CNODE],
        ));
        Self {
            thread,
            endpoint,
            stack,
        }
    }

    /// Makes it ready to run a function with two arguments beside its endpoint.
    fn start(&self, function: extern "C" fn(u64, u64, u64) -> !, first: u64, second: u64) {
        // SAFETY: only the address is taken.
        let stack = unsafe { &raw const STACKS.0[self.stack] } as u64 + STACK as u64 - 8;
        let code = function as *const () as u64;
        let registers = [
            1,
            9,
            code,
            stack,
            0x202,
            0,
            0,
            0,
            self.endpoint,
            second,
            first,
        ];
        must(invoke(self.thread, TCB_WRITE_REGISTERS, &registers, &[]));
    }

    fn report(&self) -> Outcome {
        match receive(self.endpoint) {
            (REPORT, [value, ..]) => Outcome::Done(value),
            (VM_FAULT, [_, address, ..]) => Outcome::Fault(address),
            (label, words) => Outcome::Other(label, words),
        }
    }

    fn read(&self, address: u64) -> Outcome {
        self.start(access, address, 0);
        self.report()
    }

    fn write(&self, address: u64) -> Outcome {
        self.start(access, address, 1);
        self.report()
    }
}

#[derive(Debug, PartialEq)]
enum Outcome {
    Done(u64),
    Fault(u64),
    Other(u64, [u64; 4]),
}

fn tell(endpoint: u64, value: u64) -> ! {
    loop {
        // A call that is never answered.
        system_call(-1, endpoint, REPORT << 12 | 1, [value, 0, 0, 0]);
    }
}

/// What is written where a page is written to.
const MARK: u64 = 0x5ea1_ed00;

extern "C" fn access(address: u64, write: u64, endpoint: u64) -> ! {
    let place = address as *mut u64;
    let value = if write == 0 {
        // SAFETY: the address is one that the test maps, or it faults.
        unsafe { place.read_volatile() }
    } else {
        // SAFETY: as above.
        unsafe { place.write_volatile(MARK) };
        MARK
    };
    tell(endpoint, value)
}

/// Sets flags, yields, and reports the flags afterwards.
extern "C" fn with_flags(flags: u64, _: u64, endpoint: u64) -> ! {
    let after: u64;
    // SAFETY: as in `system_call`; the flags are put back before anything else runs.
    unsafe {
        asm!(
            "pushfq",
            "or [rsp], {flags}",
            "popfq",
            "mov r12, rsp",
            "syscall",
            "mov rsp, r12",
            "pushfq",
            "mov {after}, [rsp]",
            "not {flags}",
            "and [rsp], {flags}",
            "popfq",
            flags = inout(reg) flags => _,
            after = out(reg) after,
            inout("rdx") -7_i64 => _, inout("rdi") 0_u64 => _, inout("rsi") 0_u64 => _,
            out("r10") _, out("r8") _, out("r9") _, out("r15") _,
            out("rcx") _, out("r11") _, out("r12") _, out("rax") _,
        );
    }
    tell(endpoint, after)
}

extern "C" fn just_report(value: u64, _: u64, endpoint: u64) -> ! {
    tell(endpoint, value)
}

extern "C" fn set_fs_base(base: u64, _: u64, endpoint: u64) -> ! {
    // SAFETY: nothing here uses FS.
    unsafe { asm!("wrfsbase {}", in(reg) base) };
    tell(endpoint, 0)
}

extern "C" fn read_fs_base(_: u64, _: u64, endpoint: u64) -> ! {
    let base: u64;
    // SAFETY: reads a register.
    unsafe { asm!("rdfsbase {}", out(reg) base) };
    tell(endpoint, base)
}

fn check(case: &str, what: &str, mended: bool, seen: &dyn fmt::Debug) {
    say!(
        "{case}: {}: {what} ({seen:?})",
        if mended { "mended" } else { "broken" }
    );
}

/// Pages of each size, with an address whose tables exist.
const SIZES: [(u64, u64, &str); 3] = [
    (PAGE, BASE + 0x1000, "4 KiB"),
    (LARGE_PAGE, BASE + (4 << 20), "2 MiB"),
    (HUGE_PAGE, BASE + (1 << 30), "1 GiB"),
];
/// How far from there a second page of the same size can be mapped.
fn second(kind: u64, address: u64) -> u64 {
    address
        + [0x1000, 2 << 20, 1 << 30]
            [(kind == LARGE_PAGE) as usize + 2 * (kind == HUGE_PAGE) as usize]
}

fn frame_cap_unmap(case: &str, frames: &[u64; 3], worker: &Worker) {
    for ((kind, address, size), frame) in SIZES.into_iter().zip(*frames) {
        let other = second(kind, address);
        must(map(frame, other));
        let (copied, error) = copy(frame);
        must(error);
        must(map(copied, address));
        assert_eq!(worker.write(address), Outcome::Done(MARK));
        delete(copied);
        let after = worker.read(address);
        check(case, size, after == Outcome::Fault(address), &after);
        let after = worker.read(other);
        check(
            case,
            "the other mapping stays",
            after == Outcome::Done(MARK),
            &after,
        );
        must(invoke(frame, PAGE_UNMAP, &[], &[]));
    }
}

fn remap_flush(case: &str, frames: &[u64; 3], worker: &Worker) {
    for ((_, address, size), frame) in SIZES.into_iter().zip(*frames) {
        must(map(frame, address));
        assert_eq!(worker.write(address), Outcome::Done(MARK));
        must(invoke(frame, PAGE_REMAP, &[READ_ONLY, 0], &[VSPACE]));
        let after = worker.write(address);
        check(case, size, after == Outcome::Fault(address), &after);
        must(invoke(frame, PAGE_UNMAP, &[], &[]));
    }
}

fn ipc_buffer_alignment(case: &str, frame: u64, worker: &Worker) {
    let set = |address: u64| invoke(worker.thread, TCB_SET_IPC_BUFFER, &[address], &[frame]);
    let error = set(BASE + 512);
    check(
        case,
        "512 bytes is too little",
        error == ALIGNMENT_ERROR,
        &error,
    );
    let error = set(BASE + 1024);
    check(case, "1,024 bytes is enough", error == 0, &error);
    must(set(0));
}

fn ipc_buffer_range(case: &str, frame: u64, worker: &Worker) {
    let set = |address: u64| invoke(worker.thread, TCB_SET_IPC_BUFFER, &[address], &[frame]);
    for (address, what) in [
        (0x0000_8000_0000_0000, "not canonical"),
        (0xffff_8000_0000_0000, "upper half"),
    ] {
        let error = set(address);
        check(case, what, error == RANGE_ERROR, &error);
        must(set(0));
    }
    let after = worker.read(BASE);
    check(
        case,
        "the thread runs on",
        after == Outcome::Fault(BASE),
        &after,
    );
}

fn pdpt_cap_copy(case: &str) {
    let address = 2 * BASE;
    let pdpt = make(PDPT);
    let (_, error) = copy(pdpt);
    check(
        case,
        "an unmapped one is refused",
        error == ILLEGAL_OPERATION,
        &error,
    );
    must(map_table(pdpt, PDPT_MAP, address));
    let (first, error) = copy(pdpt);
    check(case, "a mapped one is copied", error == 0, &error);
    let error = map_table(first, PDPT_MAP, address + BASE);
    check(case, "a copy is mapped already", error != 0, &error);
    let error = invoke(pdpt, PDPT_UNMAP, &[], &[]);
    check(
        case,
        "no unmapping with a copy left",
        error == REVOKE_FIRST,
        &error,
    );
    delete(first);
    let directory = make(PAGE_DIRECTORY);
    let error = map_table(directory, PAGE_DIRECTORY_MAP, address);
    check(case, "it stays when a copy goes", error == 0, &error);
    let (second, error) = copy(pdpt);
    must(error);
    must(invoke(CNODE, CNODE_REVOKE, &[pdpt, 64], &[]));
    let (_, error) = copy(second);
    check(case, "revoking deletes copies", error != 0, &error);
    let error = invoke(pdpt, PDPT_UNMAP, &[], &[]);
    check(case, "the last one unmaps", error == 0, &error);
}

fn fault_address(case: &str, worker: &Worker) {
    let address = BASE + 0x12_3456_7890;
    let after = worker.read(address);
    check(
        case,
        "above 4 GiB",
        after == Outcome::Fault(address),
        &after,
    );
}

fn user_address_range(case: &str, worker: &Worker) {
    let frame = make(PAGE);
    for (address, what) in [
        (0x0000_7fff_ffff_f000, "the last page of the lower half"),
        (0xffff_8000_0000_0000, "the upper half"),
        (0xffff_ffff_ffff_f000, "the very top"),
    ] {
        let error = map(frame, address);
        check(case, what, error == INVALID_ARGUMENT, &error);
    }
    let error = map_table(make(PDPT), PDPT_MAP, 0xffff_8000_0000_0000);
    check(
        case,
        "tables in the upper half",
        error == INVALID_ARGUMENT,
        &error,
    );

    let last = 0x0000_7fff_ffff_e000;
    must(map_table(make(PDPT), PDPT_MAP, last));
    must(map_table(make(PAGE_DIRECTORY), PAGE_DIRECTORY_MAP, last));
    must(map_table(make(PAGE_TABLE), PAGE_TABLE_MAP, last));
    must(map(frame, last));
    let after = worker.write(last);
    check(
        case,
        "the last page of user space",
        after == Outcome::Done(MARK),
        &after,
    );
}

fn entry_flags(case: &str, worker: &Worker, other: &Worker) {
    const NESTED_TASK: u64 = 1 << 14;
    const DIRECTION: u64 = 1 << 10;
    // The thread that was started last runs first. It gives way to the other one, to which
    // the kernel returns by IRET, since it was in no system call.
    other.start(just_report, 1, 0);
    worker.start(with_flags, NESTED_TASK, 0);
    let after = [worker.report(), other.report()];
    let kept = matches!(after[0], Outcome::Done(flags) if flags & NESTED_TASK != 0);
    check(
        case,
        "nested task",
        kept && after[1] == Outcome::Done(1),
        &after,
    );
    worker.start(with_flags, DIRECTION, 0);
    let after = worker.report();
    let kept = matches!(after, Outcome::Done(flags) if flags & DIRECTION != 0);
    check(case, "direction", kept, &after);
}

fn segment_base_leak(case: &str, worker: &Worker, other: &Worker) {
    worker.start(set_fs_base, 0x1234_5000, 0);
    assert_eq!(worker.report(), Outcome::Done(0));
    other.start(read_fs_base, 0, 0);
    let after = other.report();
    check(case, "FS base", after == Outcome::Done(0), &after);
}

extern "C" fn main(boot_info: *const u64) -> ! {
    // SAFETY: the kernel passes the address of boot information, a page laid out as
    // libsel4's `bootinfo_types.h` says, packed.
    let word = |offset: usize| unsafe { boot_info.byte_add(offset).read_unaligned() };
    IPC_BUFFER.store(word(4 * 8) as *mut u64, Relaxed);
    NEXT_SLOT.store(word(5 * 8), Relaxed);
    let untyped = 17 * 8 + 1 + 8 + 8;
    let (first, last) = (word(untyped), word(untyped + 8));
    for index in 0..last - first {
        let entry = untyped + 16 + 12 * index as usize;
        let (bits, device) = (word(entry + 4) >> 48 & 0xff, word(entry + 4) >> 56);
        match (device, bits) {
            (0, 30..) => BIG_UNTYPED.store(first + index, Relaxed),
            (0, 24..) => UNTYPED.store(first + index, Relaxed),
            _ => {}
        }
    }

    must(map_table(make(PDPT), PDPT_MAP, BASE));
    must(map_table(make(PAGE_DIRECTORY), PAGE_DIRECTORY_MAP, BASE));
    must(map_table(make(PAGE_TABLE), PAGE_TABLE_MAP, BASE));
    // Making a huge page takes the kernel seconds: it clears it.
    let huge = ["01", "08"].iter().any(|case| CASES.contains(case));
    let huge = if huge { make(HUGE_PAGE) } else { 0 };
    let frames = [make(PAGE), make(LARGE_PAGE), huge];
    let (worker, other) = (Worker::new(1), Worker::new(2));
    for case in CASES.split(',') {
        say!("{case}");
        match case {
            "01-frame-cap-unmap" => frame_cap_unmap(case, &frames, &worker),
            "02-ipc-buffer-alignment" => ipc_buffer_alignment(case, frames[0], &worker),
            "03-pdpt-cap-copy" => pdpt_cap_copy(case),
            "04-fault-address" => fault_address(case, &worker),
            "06-user-address-range" => user_address_range(case, &worker),
            "07-entry-flags" => entry_flags(case, &worker, &other),
            "08-remap-flush" => remap_flush(case, &frames, &worker),
            "09-ipc-buffer-range" => ipc_buffer_range(case, frames[0], &worker),
            "10-segment-base-leak" => segment_base_leak(case, &worker, &other),
            unknown => panic!("no case {unknown}"),
        }
        must(invoke(worker.thread, TCB_SUSPEND, &[], &[]));
        must(invoke(other.thread, TCB_SUSPEND, &[], &[]));
    }
    say!("errata: done");
    power_off()
}

// What the compiler may call. By words where it can: see each.

/// Copies forwards.
///
/// # Safety
///
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    for index in 0..count {
        // SAFETY: the caller's; volatile, lest this becomes a call of itself.
        unsafe {
            to.add(index)
                .write_volatile(from.add(index).read_volatile())
        };
    }
    to
}

/// Fills.
///
/// # Safety
///
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, count: usize) -> *mut u8 {
    for index in 0..count {
        // SAFETY: as above.
        unsafe { to.add(index).write_volatile(byte as u8) };
    }
    to
}

/// Compares.
///
/// # Safety
///
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(one: *const u8, two: *const u8, count: usize) -> i32 {
    for index in 0..count {
        // SAFETY: as above.
        let (one, two) = unsafe {
            (
                one.add(index).read_volatile(),
                two.add(index).read_volatile(),
            )
        };
        if one != two {
            return i32::from(one) - i32::from(two);
        }
    }
    0
}

/// Compares.
///
/// # Safety
///
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(one: *const u8, two: *const u8, count: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { memcmp(one, two, count) }
}

/// Copies either way.
///
/// # Safety
///
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    if (to as usize) <= from as usize {
        // SAFETY: forwards is right for a move downwards.
        return unsafe { memcpy(to, from, count) };
    }
    for index in (0..count).rev() {
        // SAFETY: as above.
        unsafe {
            to.add(index)
                .write_volatile(from.add(index).read_volatile())
        };
    }
    to
}
