// SPDX-License-Identifier: MIT OR Apache-2.0

//! What no program should do, done on purpose, one instruction each.

use core::arch::{asm, global_asm};

use common::{Failure, Outcome};

global_asm!(
    ".pushsection .text.crash, \"ax\", @progbits",
    // div by zero; the fault is at the second label
    ".global crash_divide",
    "crash_divide:",
    "xor ecx, ecx",
    "xor edx, edx",
    "mov eax, 1",
    ".global crash_divide_instruction",
    "crash_divide_instruction:",
    "div ecx",
    "ret",
    ".global crash_undefined",
    "crash_undefined:",
    "ud2",
    // hlt is for the kernel alone
    ".global crash_privileged",
    "crash_privileged:",
    "hlt",
    // an unused system call number
    ".global crash_system_call",
    "crash_system_call:",
    "mov r14, rsp",
    "mov rdx, -1000",
    "xor edi, edi",
    "xor esi, esi",
    "syscall",
    "mov rsp, r14",
    "ret",
    // pushes until the stack ends
    ".global crash_stack",
    "crash_stack:",
    "push rax",
    "jmp crash_stack",
    // edi turns with values of its own in xmm0 to xmm15; eax = 0 if they stayed the same
    ".global crash_keeps_sse",
    "crash_keeps_sse:",
    "movq xmm0, rsi",
    "pshufd xmm0, xmm0, 0x44",
    "movdqa xmm1, xmm0",
    "paddq xmm1, xmm0",
    "movdqa xmm2, xmm1",
    "paddq xmm2, xmm0",
    "movdqa xmm7, xmm2",
    "paddq xmm7, xmm0",
    "movdqa xmm15, xmm7",
    "paddq xmm15, xmm0",
    "2:",
    "movq rax, xmm15",
    "lea rcx, [rsi + 4*rsi]",
    "cmp rax, rcx",
    "jne 3f",
    "movq rax, xmm7",
    "lea rcx, [4*rsi]",
    "cmp rax, rcx",
    "jne 3f",
    "movhlps xmm3, xmm2",
    "movq rax, xmm3",
    "lea rcx, [rsi + 2*rsi]",
    "cmp rax, rcx",
    "jne 3f",
    "movq rax, xmm1",
    "lea rcx, [2*rsi]",
    "cmp rax, rcx",
    "jne 3f",
    "movq rax, xmm0",
    "cmp rax, rsi",
    "jne 3f",
    "dec rdi",
    "jnz 2b",
    "xor eax, eax",
    "ret",
    "3:",
    "mov eax, 1",
    "ret",
    ".popsection",
);

unsafe extern "C" {
    fn crash_divide();
    fn crash_divide_instruction();
    fn crash_undefined();
    fn crash_privileged();
    fn crash_system_call();
    fn crash_stack();
    fn crash_keeps_sse(turns: u64, seed: u64) -> u32;
}

/// Ends the process by an instruction that is at fault itself.
pub fn crash(kind: &str) -> Outcome {
    let instruction: unsafe extern "C" fn() = match kind {
        "divide" => crash_divide,
        "undefined" => crash_undefined,
        "privileged" => crash_privileged,
        "system-call" => crash_system_call,
        "stack" => crash_stack,
        _ => return Err(Failure::new("no such crash")),
    };
    // SAFETY: none of them returns with anything changed but what a C function may change;
    // the stack is overwritten below the stack pointer only, where nothing lives.
    unsafe { instruction() };
    Err(Failure::new("the processor let it pass"))
}

/// Ends the process by an access to an address.
pub fn crash_at(kind: &str, address: u64) -> Outcome {
    match kind {
        // SAFETY: the value is thrown away.
        "load" => unsafe { asm!("mov rax, [{}]", in(reg) address, out("rax") _) },
        // SAFETY: tests choose addresses that cannot be written; if one can, what is
        // overwritten does not matter, as the process fails at once.
        "store" => unsafe { asm!("mov [{0}], {0}", in(reg) address) },
        // SAFETY: tests choose addresses that hold no code.
        "jump" => unsafe { asm!("call {}", in(reg) address, clobber_abi("C")) },
        _ => return Err(Failure::new("no such access")),
    }
    Err(Failure::new("the access succeeded"))
}

/// Where something of this program lies. The program is always at the same addresses, so
/// another process that runs it has it there too.
pub fn address_of(what: &str) -> Result<usize, Failure> {
    Ok(match what {
        "divide" => crash_divide_instruction as *const () as usize,
        "undefined" => crash_undefined as *const () as usize,
        "privileged" => crash_privileged as *const () as usize,
        "constant" => (&raw const CONSTANT) as usize,
        _ => return Err(Failure::new("no such thing")),
    })
}

/// Read-only data.
static CONSTANT: [u64; 2] = [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210];

/// Whether values in the SSE registers stay the same for `turns` rounds of looking. They are
/// made from the process's number, so every process has others.
pub fn keeps_sse(turns: u64) -> bool {
    let seed = u64::from(runtime::start_info().process.0) * 0x1_0000_0001;
    // SAFETY: changes only registers that a C function may change.
    unsafe { crash_keeps_sse(turns, seed) == 0 }
}
