// SPDX-License-Identifier: MIT OR Apache-2.0
//! A root task that tries what the errata mend, and says for each whether it is mended.
//!
//! It is compiled by the test `errata` alone, with `ERRATA_CASES` naming what to try.

#![no_std]
#![no_main]

#[allow(dead_code, reason = "each root task uses a part of it")]
mod support;

use core::arch::asm;
use core::fmt;
use core::sync::atomic::Ordering::Relaxed;

use support::*;

/// Names of the cases to run, separated by commas.
const CASES: &str = env!("ERRATA_CASES");

/// Where the tests map: a slot of the root table that nothing else uses.
const BASE: u64 = 1 << 39;
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

/// Waits for a message, then reads.
extern "C" fn receive_and_access(address: u64, wait: u64, endpoint: u64) -> ! {
    receive(wait);
    access(address, 0, endpoint)
}

extern "C" fn call(wait: u64, _: u64, endpoint: u64) -> ! {
    system_call(-1, wait, 0, [0; 4]);
    tell(endpoint, 0)
}

/// Calls and reports how far the stack pointer is off afterwards.
extern "C" fn call_and_compare(wait: u64, _: u64, endpoint: u64) -> ! {
    let (before, after): (u64, u64);
    // SAFETY: as in `system_call`; the stack is where it was afterwards.
    unsafe {
        asm!(
            "sub rsp, 128",
            "mov r12, rsp",
            "syscall",
            "mov r13, rsp",
            "lea rsp, [r12 + 128]",
            inout("rdx") -1_i64 => _, inout("rdi") wait => _, inout("rsi") 0_u64 => _,
            out("r10") _, out("r8") _, out("r9") _, out("r15") _,
            out("rcx") _, out("r11") _, out("rax") _,
            out("r12") before, out("r13") after,
        );
    }
    tell(endpoint, after.wrapping_sub(before))
}

/// Sets another root for the thread itself, then reads.
extern "C" fn set_space_and_access(address: u64, settings: u64, endpoint: u64) -> ! {
    // SAFETY: `set_space_root` keeps it until the report.
    let [buffer, thread, root] = unsafe { *(settings as *const [u64; 3]) };
    let error = invoke_from(
        buffer as *mut u64,
        thread,
        TCB_SET_SPACE,
        &[endpoint, 0, 0],
        &[CNODE, root],
    );
    if error != 0 {
        tell(endpoint, error);
    }
    access(address, 0, endpoint)
}

fn check(case: &str, what: &str, mended: bool, seen: &dyn fmt::Debug) {
    say!(
        "{case}: {}: {what} ({seen:?})",
        if mended { "mended" } else { "broken" }
    );
}

// Places of registers in what TCB_ReadRegisters gives (libsel4, `seL4_UserContext`).
const STACK_POINTER: u64 = 1;
const R12: u64 = 14;
const TLS_BASE: u64 = 18;

fn read_register(thread: u64, place: u64) -> u64 {
    let (_, words) = system_call(
        -1,
        thread,
        TCB_READ_REGISTERS << 12 | 2,
        [0, place + 1, 0, 0],
    );
    match words.get(place as usize) {
        Some(word) => *word,
        // SAFETY: the buffer's message words lie at 1..=120.
        None => unsafe {
            IPC_BUFFER
                .load(Relaxed)
                .add(1 + place as usize)
                .read_volatile()
        },
    }
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
        must(map(frame, other, VSPACE));
        let (copied, error) = copy(frame);
        must(error);
        must(map(copied, address, VSPACE));
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
        must(map(frame, address, VSPACE));
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
    must(map_table(pdpt, PDPT_MAP, address, VSPACE));
    let (first, error) = copy(pdpt);
    check(case, "a mapped one is copied", error == 0, &error);
    let error = map_table(first, PDPT_MAP, address + BASE, VSPACE);
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
    let error = map_table(directory, PAGE_DIRECTORY_MAP, address, VSPACE);
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
        let error = map(frame, address, VSPACE);
        check(case, what, error == INVALID_ARGUMENT, &error);
    }
    let error = map_table(make(PDPT), PDPT_MAP, 0xffff_8000_0000_0000, VSPACE);
    check(
        case,
        "tables in the upper half",
        error == INVALID_ARGUMENT,
        &error,
    );

    let last = 0x0000_7fff_ffff_e000;
    map_tables(last, VSPACE);
    must(map(frame, last, VSPACE));
    let after = worker.write(last);
    check(
        case,
        "the last page of user space",
        after == Outcome::Done(MARK),
        &after,
    );

    let set_tls_base = |base: u64| {
        let mut words = [0; 2 + TLS_BASE as usize + 1];
        words[1] = TLS_BASE + 1;
        words[2 + TLS_BASE as usize] = base;
        must(invoke(worker.thread, TCB_WRITE_REGISTERS, &words, &[]));
    };
    for base in [0x0000_8000_0000_0000, 0xffff_8000_0000_0000] {
        set_tls_base(base);
        let after = read_register(worker.thread, TLS_BASE);
        check(case, "a TLS base beyond it", after == last + 0x1000, &after);
    }
    set_tls_base(0);
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

fn asid_loss(case: &str, other: &Worker) {
    let pool = new_slot();
    let memory = make_untyped();
    must(invoke(
        ASID_CONTROL,
        ASID_CONTROL_MAKE_POOL,
        &[pool, 64],
        &[memory, CNODE],
    ));
    let root = make_root(pool);
    map_tables(BASE, root);
    let frame = make(PAGE);
    must(map(frame, BASE, root));
    let inside = Worker::new_in(root, 3);
    assert_eq!(inside.write(BASE), Outcome::Done(MARK));

    let wait = make(ENDPOINT);
    inside.start(receive_and_access, BASE, wait);
    yield_now();
    delete(pool);
    other.start(call, wait, 0);
    let after = inside.report();
    check(
        case,
        "by the IPC fast path",
        matches!(after, Outcome::Fault(_)),
        &after,
    );
    must(invoke(inside.thread, TCB_SUSPEND, &[], &[]));
}

fn set_space_root(case: &str, worker: &Worker) {
    let root = make_root(ASID_POOL);
    let address = BASE + 0x5000;
    map_tables(BASE, root);
    must(map(make(PAGE), address, root));
    let buffer_frame = make(PAGE);
    let buffer = BASE + 0x6000;
    must(map(buffer_frame, buffer, VSPACE));
    must(invoke(
        worker.thread,
        TCB_SET_IPC_BUFFER,
        &[buffer],
        &[buffer_frame],
    ));
    let settings = [buffer, worker.thread, root];
    worker.start(set_space_and_access, address, settings.as_ptr() as u64);
    let after = worker.report();
    check(
        case,
        "from the next instruction",
        after == Outcome::Done(0),
        &after,
    );
}

fn syscall_stack_pointer(case: &str, worker: &Worker) {
    let wait = make(ENDPOINT);
    for path in ["fast path", "slow path"] {
        worker.start(call_and_compare, wait, 0);
        receive(wait);
        let read = read_register(worker.thread, STACK_POINTER);
        let meant = read_register(worker.thread, R12);
        check(case, "as read", read == meant, &(read, meant));
        let after = if path == "fast path" {
            Outcome::Done(system_call(-2, worker.endpoint, 0, [0; 4]).1[0])
        } else {
            system_call(-6, 0, 0, [0; 4]);
            worker.report()
        };
        check(case, path, after == Outcome::Done(0), &after);
    }
}

fn main() {
    say!(
        "errata: untyped capabilities {}, MiB {}",
        UNTYPED_COUNT.load(Relaxed),
        UNTYPED_MEMORY.load(Relaxed) >> 20
    );
    map_tables(BASE, VSPACE);
    // Making a huge page takes the kernel seconds: it clears it.
    let huge = ["01", "08"].iter().any(|case| CASES.contains(case));
    let huge = if huge { make(HUGE_PAGE) } else { 0 };
    let frames = [make(PAGE), make(LARGE_PAGE), huge];
    let (worker, other) = (Worker::new(1), Worker::new(2));
    for case in CASES.split_terminator(',') {
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
            "13-asid-loss" => asid_loss(case, &other),
            "14-set-space-root" => set_space_root(case, &worker),
            "16-syscall-stack-pointer" => syscall_stack_pointer(case, &worker),
            "18-unmap-answer" => {
                let answer = invoke(make(PAGE), PAGE_UNMAP, &[], &[]);
                check(case, "a frame that is not mapped", answer == 0, &answer);
            }
            unknown => panic!("no case {unknown}"),
        }
        must(invoke(worker.thread, TCB_SUSPEND, &[], &[]));
        must(invoke(other.thread, TCB_SUSPEND, &[], &[]));
    }
    say!("errata: done");
}
