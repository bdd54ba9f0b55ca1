// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whether registers survive, seen from below the compiler.

use core::arch::global_asm;

global_asm!(
    ".pushsection .text.registers, \"ax\", @progbits",
    // registers_kept(action: rdi, argument: rsi): calls action(argument) with known values in
    // all registers that a function must preserve, and on the stack. rax = 0 if they are the
    // same afterwards.
    ".global registers_kept",
    "registers_kept:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "sub rsp, 40",
    "stmxcsr [rsp]",
    "fnstcw [rsp + 4]",
    // Round towards zero, in both units.
    "mov dword ptr [rsp + 8], 0x7f80",
    "ldmxcsr [rsp + 8]",
    "mov word ptr [rsp + 12], 0x0f7f",
    "fldcw [rsp + 12]",
    "movabs rax, 0x0102030405060708",
    "mov [rsp + 16], rax",
    "mov [rsp + 24], rdi",
    "lea rbx, [rax + 1]",
    "lea rbp, [rax + 2]",
    "lea r12, [rax + 3]",
    "lea r13, [rax + 4]",
    "lea r14, [rax + 5]",
    "lea r15, [rax + 6]",
    "mov rax, rdi",
    "mov rdi, rsi",
    "call rax",
    "movabs rcx, 0x0102030405060708",
    "mov rax, [rsp + 16]",
    "xor rax, rcx",
    "inc rcx",
    "xor rbx, rcx",
    "or rax, rbx",
    "inc rcx",
    "xor rbp, rcx",
    "or rax, rbp",
    "inc rcx",
    "xor r12, rcx",
    "or rax, r12",
    "inc rcx",
    "xor r13, rcx",
    "or rax, r13",
    "inc rcx",
    "xor r14, rcx",
    "or rax, r14",
    "inc rcx",
    "xor r15, rcx",
    "or rax, r15",
    "stmxcsr [rsp + 32]",
    "mov ecx, [rsp + 32]",
    // The lowest six bits are sticky flags.
    "and ecx, 0xffc0",
    "xor ecx, 0x7f80",
    "or rax, rcx",
    "fnstcw [rsp + 36]",
    "movzx ecx, word ptr [rsp + 36]",
    "xor ecx, 0x0f7f",
    "or rax, rcx",
    "ldmxcsr [rsp]",
    "fldcw [rsp + 4]",
    "add rsp, 40",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // sse_across_yield(values: rdi): loads xmm0 to xmm15 from values, yields, and stores them
    // back.
    ".global sse_across_yield",
    "sse_across_yield:",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov r13, rdi",
    "movdqu xmm0, [r13]",
    "movdqu xmm1, [r13 + 16]",
    "movdqu xmm2, [r13 + 32]",
    "movdqu xmm3, [r13 + 48]",
    "movdqu xmm4, [r13 + 64]",
    "movdqu xmm5, [r13 + 80]",
    "movdqu xmm6, [r13 + 96]",
    "movdqu xmm7, [r13 + 112]",
    "movdqu xmm8, [r13 + 128]",
    "movdqu xmm9, [r13 + 144]",
    "movdqu xmm10, [r13 + 160]",
    "movdqu xmm11, [r13 + 176]",
    "movdqu xmm12, [r13 + 192]",
    "movdqu xmm13, [r13 + 208]",
    "movdqu xmm14, [r13 + 224]",
    "movdqu xmm15, [r13 + 240]",
    "mov r12, rsp",
    "mov rdx, {system_call}",
    "xor edi, edi",
    "xor esi, esi",
    "syscall",
    "mov rsp, r12",
    "movdqu [r13], xmm0",
    "movdqu [r13 + 16], xmm1",
    "movdqu [r13 + 32], xmm2",
    "movdqu [r13 + 48], xmm3",
    "movdqu [r13 + 64], xmm4",
    "movdqu [r13 + 80], xmm5",
    "movdqu [r13 + 96], xmm6",
    "movdqu [r13 + 112], xmm7",
    "movdqu [r13 + 128], xmm8",
    "movdqu [r13 + 144], xmm9",
    "movdqu [r13 + 160], xmm10",
    "movdqu [r13 + 176], xmm11",
    "movdqu [r13 + 192], xmm12",
    "movdqu [r13 + 208], xmm13",
    "movdqu [r13 + 224], xmm14",
    "movdqu [r13 + 240], xmm15",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "ret",
    ".popsection",
    system_call = const sel4::syscall::YIELD,
);

unsafe extern "C" {
    fn registers_kept(action: extern "C" fn(u64), argument: u64) -> u64;
    fn sse_across_yield(values: *mut [u64; 32]);
}

/// Calls `action(argument)`, and says whether all registers that a function must preserve
/// (System V ABI: rbx, rbp, rsp, r12 to r15, and how floating-point units are set) were.
pub fn kept_by(action: extern "C" fn(u64), argument: u64) -> bool {
    // SAFETY: it keeps to the ABI itself.
    unsafe { registers_kept(action, argument) == 0 }
}

/// Whether the values of xmm0 to xmm15 are the same before and after a `Yield`.
pub fn sse_survives_yield(seed: u64) -> bool {
    let values = core::array::from_fn(|index| seed.wrapping_mul(2 * index as u64 + 1));
    let mut after = values;
    // SAFETY: it reads and writes the 256 bytes of the array, and keeps to the ABI.
    unsafe { sse_across_yield(&raw mut after) };
    after == values
}
