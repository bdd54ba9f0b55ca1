// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the root tasks of these tests share: system calls, objects, and threads that do one
//! thing and report. It speaks to the kernel directly, so that the kernel is tested by itself.

use core::arch::{asm, global_asm};
use core::fmt::{self, Write};
use core::panic::PanicInfo;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

// Capabilities that the root task is born with (libsel4, `bootinfo_types.h`).
pub const INIT_THREAD: u64 = 1;
pub const CNODE: u64 = 2;
pub const VSPACE: u64 = 3;
pub const ASID_CONTROL: u64 = 5;
pub const ASID_POOL: u64 = 6;
pub const IO_PORTS: u64 = 7;

// Labels of invocations: their places in the interface descriptions, for this configuration.
pub const UNTYPED_RETYPE: u64 = 1;
pub const TCB_READ_REGISTERS: u64 = 2;
pub const TCB_WRITE_REGISTERS: u64 = 3;
pub const TCB_CONFIGURE: u64 = 5;
pub const TCB_SET_IPC_BUFFER: u64 = 8;
pub const TCB_SET_SPACE: u64 = 9;
pub const TCB_SUSPEND: u64 = 10;
pub const CNODE_REVOKE: u64 = 14;
pub const CNODE_DELETE: u64 = 15;
pub const CNODE_COPY: u64 = 17;
pub const PDPT_MAP: u64 = 28;
pub const PDPT_UNMAP: u64 = 29;
pub const PAGE_DIRECTORY_MAP: u64 = 30;
pub const PAGE_DIRECTORY_UNMAP: u64 = 31;
pub const PAGE_TABLE_MAP: u64 = 33;
pub const PAGE_TABLE_UNMAP: u64 = 34;
pub const PAGE_MAP: u64 = 37;
pub const PAGE_REMAP: u64 = 38;
pub const PAGE_UNMAP: u64 = 39;
pub const ASID_CONTROL_MAKE_POOL: u64 = 42;
pub const ASID_POOL_ASSIGN: u64 = 43;
pub const IO_PORT_OUT8: u64 = 47;
/// Of the extended kernel.
pub const PML4_SWITCH: u64 = 52;

// Types of objects (libsel4, `objecttype.h`).
pub const UNTYPED_OBJECT: u64 = 0;
pub const THREAD: u64 = 1;
pub const ENDPOINT: u64 = 2;
pub const PDPT: u64 = 5;
pub const PML4: u64 = 6;
pub const HUGE_PAGE: u64 = 7;
pub const PAGE: u64 = 8;
pub const LARGE_PAGE: u64 = 9;
pub const PAGE_TABLE: u64 = 10;
pub const PAGE_DIRECTORY: u64 = 11;

// Errors (libsel4, `errors.h`).
pub const INVALID_ARGUMENT: u64 = 1;
pub const INVALID_CAPABILITY: u64 = 2;
pub const ILLEGAL_OPERATION: u64 = 3;
pub const RANGE_ERROR: u64 = 4;
pub const ALIGNMENT_ERROR: u64 = 5;
pub const REVOKE_FIRST: u64 = 9;

pub const READ_ONLY: u64 = 2;
pub const READ_WRITE: u64 = 3;
const GRANT: u64 = 4;

/// Label of a page fault (`seL4_Fault_VMFault`), and of what workers report.
pub const VM_FAULT: u64 = 5;
pub const REPORT: u64 = 0x100;

const STACK: usize = 65_536;

#[repr(C, align(16))]
struct Stacks([[u8; STACK]; 4]);
static mut STACKS: Stacks = Stacks([[0; STACK]; 4]);

pub static IPC_BUFFER: AtomicPtr<u64> = AtomicPtr::new(ptr::null_mut());
pub static NEXT_SLOT: AtomicU64 = AtomicU64::new(0);
pub static UNTYPED: AtomicU64 = AtomicU64::new(0);
pub static BIG_UNTYPED: AtomicU64 = AtomicU64::new(0);
/// How many untyped capabilities the kernel listed, and the bytes of memory in them.
pub static UNTYPED_COUNT: AtomicU64 = AtomicU64::new(0);
pub static UNTYPED_MEMORY: AtomicU64 = AtomicU64::new(0);
/// Slots of the caps of this program's pages, and of its tables, the PDPT first.
pub static IMAGE_FRAMES: AtomicU64 = AtomicU64::new(0);
pub static IMAGE_END: AtomicU64 = AtomicU64::new(0);
pub static IMAGE_TABLES: AtomicU64 = AtomicU64::new(0);

global_asm!(
    ".globl _start",
    "_start:",
    "lea rsp, [rip + {stacks} + {size}]",
    "xor ebp, ebp",
    "call {begin}",
    "ud2",
    stacks = sym STACKS,
    size = const STACK,
    begin = sym begin,
);

/// One system call: its number, a capability, message information, four message words.
/// Returns the information received and the words.
pub fn system_call(number: i64, cap: u64, info: u64, words: [u64; 4]) -> (u64, [u64; 4]) {
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

pub fn yield_now() {
    system_call(-7, 0, 0, [0; 4]);
}

/// Waits for a message: its label and words.
pub fn receive(endpoint: u64) -> (u64, [u64; 4]) {
    let (info, words) = system_call(-5, endpoint, 0, [0; 4]);
    (info >> 12, words)
}

/// Invokes a capability: 0, or the number of the error.
pub fn invoke(cap: u64, label: u64, words: &[u64], caps: &[u64]) -> u64 {
    invoke_from(IPC_BUFFER.load(Relaxed), cap, label, words, caps)
}

/// The same by a thread that has its IPC buffer elsewhere.
pub fn invoke_from(buffer: *mut u64, cap: u64, label: u64, words: &[u64], caps: &[u64]) -> u64 {
    let mut registers = [0; 4];
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

pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            invoke(IO_PORTS, IO_PORT_OUT8, &[0x3f8, byte.into()], &[]);
        }
        Ok(())
    }
}

#[macro_export]
macro_rules! say {
    ($($part:tt)*) => {{ use core::fmt::Write; let _ = writeln!($crate::support::Console, $($part)*); }};
}

pub fn power_off() -> ! {
    invoke(IO_PORTS, IO_PORT_OUT8, &[0xf4, 0], &[]);
    loop {
        yield_now();
    }
}

#[panic_handler]
pub fn panic(info: &PanicInfo<'_>) -> ! {
    say!("panic: {info}");
    power_off()
}

/// Named by the prebuilt `core`, which was compiled to unwind; nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As above.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() {}

extern "C" fn begin(boot_info: *const u64) -> ! {
    // SAFETY: the kernel passes the address of boot information, a page laid out as
    // libsel4's `bootinfo_types.h` says, packed.
    let word = |offset: usize| unsafe { boot_info.byte_add(offset).read_unaligned() };
    IPC_BUFFER.store(word(4 * 8) as *mut u64, Relaxed);
    NEXT_SLOT.store(word(5 * 8), Relaxed);
    IMAGE_FRAMES.store(word(9 * 8), Relaxed);
    IMAGE_END.store(word(10 * 8), Relaxed);
    IMAGE_TABLES.store(word(11 * 8), Relaxed);
    let untyped = 17 * 8 + 1 + 8 + 8;
    let (first, last) = (word(untyped), word(untyped + 8));
    UNTYPED_COUNT.store(last - first, Relaxed);
    for index in 0..last - first {
        let entry = untyped + 16 + 12 * index as usize;
        let (bits, device) = (word(entry + 4) >> 48 & 0xff, word(entry + 4) >> 56);
        if device == 0 {
            UNTYPED_MEMORY.fetch_add(1 << bits, Relaxed);
        }
        match (device, bits) {
            (0, 30..) => BIG_UNTYPED.store(first + index, Relaxed),
            (0, 24..) => UNTYPED.store(first + index, Relaxed),
            _ => {}
        }
    }
    crate::main();
    power_off()
}

/// Fails loudly where the tests themselves would make no sense.
#[track_caller]
pub fn must(error: u64) {
    assert!(error == 0, "error {error}");
}

pub fn new_slot() -> u64 {
    NEXT_SLOT.fetch_add(1, Relaxed)
}

/// Makes an object of a given size: only untyped memory has one to choose.
pub fn make_sized(untyped: u64, kind: u64, size_bits: u64) -> u64 {
    let slot = new_slot();
    must(invoke(
        untyped,
        UNTYPED_RETYPE,
        &[kind, size_bits, 0, 0, slot, 1],
        &[CNODE],
    ));
    slot
}

pub fn make(kind: u64) -> u64 {
    let untyped = if kind == HUGE_PAGE {
        &BIG_UNTYPED
    } else {
        &UNTYPED
    };
    make_sized(untyped.load(Relaxed), kind, 0)
}

/// Untyped memory of one page.
pub fn make_untyped() -> u64 {
    make_sized(UNTYPED.load(Relaxed), UNTYPED_OBJECT, 12)
}

pub fn copy_to(from: u64, to: u64, rights: u64) -> u64 {
    invoke(
        CNODE,
        CNODE_COPY,
        &[to, 64, from, 64, rights | GRANT],
        &[CNODE],
    )
}

pub fn copy(from: u64) -> (u64, u64) {
    let slot = new_slot();
    (slot, copy_to(from, slot, READ_WRITE))
}

pub fn delete(slot: u64) {
    must(invoke(CNODE, CNODE_DELETE, &[slot, 64], &[]));
}

pub fn map_table(cap: u64, label: u64, address: u64, root: u64) -> u64 {
    invoke(cap, label, &[address, 0], &[root])
}

pub fn map(frame: u64, address: u64, root: u64) -> u64 {
    invoke(frame, PAGE_MAP, &[address, READ_WRITE, 0], &[root])
}

/// A PDPT, a page directory and a page table at an address.
pub fn map_tables(address: u64, root: u64) {
    must(map_table(make(PDPT), PDPT_MAP, address, root));
    must(map_table(
        make(PAGE_DIRECTORY),
        PAGE_DIRECTORY_MAP,
        address,
        root,
    ));
    must(map_table(make(PAGE_TABLE), PAGE_TABLE_MAP, address, root));
}

/// The address of the first page of this program.
pub fn image_start() -> u64 {
    unsafe extern "C" {
        static __executable_start: u8;
    }
    &raw const __executable_start as u64
}

/// Makes a root table, with an address-space identifier of the pool, in which this program
/// is mapped by tables and frame caps of its own.
pub fn make_root(pool: u64) -> u64 {
    let root = make(PML4);
    must(invoke(pool, ASID_POOL_ASSIGN, &[], &[root]));
    let start = image_start();
    map_tables(start, root);
    let (first, end) = (IMAGE_FRAMES.load(Relaxed), IMAGE_END.load(Relaxed));
    for (index, frame) in (first..end).enumerate() {
        let (frame, error) = copy(frame);
        must(error);
        must(map(frame, start + 0x1000 * index as u64, root));
    }
    root
}

/// A thread that does one thing and reports, by message or by fault.
pub struct Worker {
    pub thread: u64,
    pub endpoint: u64,
    stack: usize,
}

impl Worker {
    pub fn new(stack: usize) -> Self {
        Self::new_in(VSPACE, stack)
    }

    /// One that runs in another root, in which this program is mapped.
    pub fn new_in(root: u64, stack: usize) -> Self {
        let (thread, endpoint) = (make(THREAD), make(ENDPOINT));
        let priorities = 255 << 8 | 255;
        must(invoke(
            thread,
            TCB_CONFIGURE,
            &[endpoint, priorities, 0, 0, 0],
            &[CNODE, root, CNODE],
        ));
        Self {
            thread,
            endpoint,
            stack,
        }
    }

    /// Makes it ready to run a function with two arguments beside its endpoint.
    pub fn start(&self, function: extern "C" fn(u64, u64, u64) -> !, first: u64, second: u64) {
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

    pub fn report(&self) -> Outcome {
        match receive(self.endpoint) {
            (REPORT, [value, ..]) => Outcome::Done(value),
            (VM_FAULT, [_, address, ..]) => Outcome::Fault(address),
            (label, words) => Outcome::Other(label, words),
        }
    }

    pub fn read(&self, address: u64) -> Outcome {
        self.start(access, address, 0);
        self.report()
    }

    pub fn write(&self, address: u64) -> Outcome {
        self.start(access, address, 1);
        self.report()
    }
}

#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done(u64),
    Fault(u64),
    Other(u64, [u64; 4]),
}

pub fn tell(endpoint: u64, value: u64) -> ! {
    loop {
        // A call that is never answered.
        system_call(-1, endpoint, REPORT << 12 | 1, [value, 0, 0, 0]);
    }
}

/// What is written where a page is written to.
pub const MARK: u64 = 0x5ea1_ed00;

pub extern "C" fn access(address: u64, write: u64, endpoint: u64) -> ! {
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
