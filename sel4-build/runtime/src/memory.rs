// SPDX-License-Identifier: MIT OR Apache-2.0
//! The functions of C that the compiler calls to copy, fill and compare memory.
//!
//! In assembly, since the compiler would turn a loop in Rust into a call of the function that
//! it is the body of. By words, four at a time, and never by `rep movs` or `rep stos`: under
//! QEMU's instruction counting those cost an instruction for each byte or word. x86 needs no
//! alignment.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int, c_void};

/// Copies `count` bytes between regions that do not overlap.
///
/// # Safety
///
/// `source` must be readable and `destination` writable for `count` bytes.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memcpy(
    destination: *mut c_void,
    source: *const c_void,
    count: usize,
) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        "mov rcx, rdx",
        "shr rcx, 5",
        "jz 3f",
        // 32 bytes at a time.
        "2:",
        "mov r8, [rsi]",
        "mov r9, [rsi + 8]",
        "mov r10, [rsi + 16]",
        "mov r11, [rsi + 24]",
        "mov [rdi], r8",
        "mov [rdi + 8], r9",
        "mov [rdi + 16], r10",
        "mov [rdi + 24], r11",
        "add rsi, 32",
        "add rdi, 32",
        "dec rcx",
        "jnz 2b",
        // What is left: its bits say which pieces.
        "3:",
        "test dl, 16",
        "jz 4f",
        "mov r8, [rsi]",
        "mov r9, [rsi + 8]",
        "mov [rdi], r8",
        "mov [rdi + 8], r9",
        "add rsi, 16",
        "add rdi, 16",
        "4:",
        "test dl, 8",
        "jz 5f",
        "mov r8, [rsi]",
        "mov [rdi], r8",
        "add rsi, 8",
        "add rdi, 8",
        "5:",
        "test dl, 4",
        "jz 6f",
        "mov r8d, [rsi]",
        "mov [rdi], r8d",
        "add rsi, 4",
        "add rdi, 4",
        "6:",
        "test dl, 2",
        "jz 7f",
        "mov r8w, [rsi]",
        "mov [rdi], r8w",
        "add rsi, 2",
        "add rdi, 2",
        "7:",
        "test dl, 1",
        "jz 8f",
        "mov r8b, [rsi]",
        "mov [rdi], r8b",
        "8:",
        "ret",
    )
}

/// Copies `count` bytes between regions that may overlap.
///
/// # Safety
///
/// `source` must be readable and `destination` writable for `count` bytes.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memmove(
    destination: *mut c_void,
    source: *const c_void,
    count: usize,
) -> *mut c_void {
    naked_asm!(
        // Unless the destination starts inside of the source, copying upwards is right: what
        // is overwritten has been read.
        "mov rax, rdi",
        "sub rax, rsi",
        "cmp rax, rdx",
        "jae {memcpy}",
        // Downwards from the end.
        "mov rax, rdi",
        "add rsi, rdx",
        "add rdi, rdx",
        "mov rcx, rdx",
        "shr rcx, 5",
        "jz 3f",
        "2:",
        "mov r8, [rsi - 8]",
        "mov r9, [rsi - 16]",
        "mov r10, [rsi - 24]",
        "mov r11, [rsi - 32]",
        "mov [rdi - 8], r8",
        "mov [rdi - 16], r9",
        "mov [rdi - 24], r10",
        "mov [rdi - 32], r11",
        "sub rsi, 32",
        "sub rdi, 32",
        "dec rcx",
        "jnz 2b",
        "3:",
        "test dl, 16",
        "jz 4f",
        "mov r8, [rsi - 8]",
        "mov r9, [rsi - 16]",
        "mov [rdi - 8], r8",
        "mov [rdi - 16], r9",
        "sub rsi, 16",
        "sub rdi, 16",
        "4:",
        "test dl, 8",
        "jz 5f",
        "mov r8, [rsi - 8]",
        "mov [rdi - 8], r8",
        "sub rsi, 8",
        "sub rdi, 8",
        "5:",
        "test dl, 4",
        "jz 6f",
        "mov r8d, [rsi - 4]",
        "mov [rdi - 4], r8d",
        "sub rsi, 4",
        "sub rdi, 4",
        "6:",
        "test dl, 2",
        "jz 7f",
        "mov r8w, [rsi - 2]",
        "mov [rdi - 2], r8w",
        "sub rsi, 2",
        "sub rdi, 2",
        "7:",
        "test dl, 1",
        "jz 8f",
        "mov r8b, [rsi - 1]",
        "mov [rdi - 1], r8b",
        "8:",
        "ret",
        memcpy = sym memcpy,
    )
}

/// Fills `count` bytes with the lowest byte of `value`.
///
/// # Safety
///
/// `destination` must be writable for `count` bytes.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memset(
    destination: *mut c_void,
    value: c_int,
    count: usize,
) -> *mut c_void {
    naked_asm!(
        "mov rax, rdi",
        // The byte in each byte of a word.
        "movzx esi, sil",
        "movabs r8, 0x0101010101010101",
        "imul r8, rsi",
        "mov rcx, rdx",
        "shr rcx, 5",
        "jz 3f",
        "2:",
        "mov [rdi], r8",
        "mov [rdi + 8], r8",
        "mov [rdi + 16], r8",
        "mov [rdi + 24], r8",
        "add rdi, 32",
        "dec rcx",
        "jnz 2b",
        "3:",
        "test dl, 16",
        "jz 4f",
        "mov [rdi], r8",
        "mov [rdi + 8], r8",
        "add rdi, 16",
        "4:",
        "test dl, 8",
        "jz 5f",
        "mov [rdi], r8",
        "add rdi, 8",
        "5:",
        "test dl, 4",
        "jz 6f",
        "mov [rdi], r8d",
        "add rdi, 4",
        "6:",
        "test dl, 2",
        "jz 7f",
        "mov [rdi], r8w",
        "add rdi, 2",
        "7:",
        "test dl, 1",
        "jz 8f",
        "mov [rdi], r8b",
        "8:",
        "ret",
    )
}

/// Compares `count` bytes: less than, equal to or greater than 0 as the first byte that differs
/// is less, there is none, or it is greater in `left`.
///
/// # Safety
///
/// Both must be readable for `count` bytes.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memcmp(left: *const c_void, right: *const c_void, count: usize) -> c_int {
    naked_asm!(
        "mov rcx, rdx",
        "shr rcx, 3",
        "jz 3f",
        "2:",
        "mov r8, [rdi]",
        "mov r9, [rsi]",
        "cmp r8, r9",
        "jne 6f",
        "add rdi, 8",
        "add rsi, 8",
        "dec rcx",
        "jnz 2b",
        "3:",
        "and edx, 7",
        "jz 5f",
        "4:",
        "movzx eax, byte ptr [rdi]",
        "movzx ecx, byte ptr [rsi]",
        "sub eax, ecx",
        "jne 7f",
        "inc rdi",
        "inc rsi",
        "dec edx",
        "jnz 4b",
        "5:",
        "xor eax, eax",
        "7:",
        "ret",
        // The words differ: the first byte counts most.
        "6:",
        "bswap r8",
        "bswap r9",
        "cmp r8, r9",
        "sbb eax, eax",
        "or eax, 1",
        "ret",
    )
}

/// Compares `count` bytes for equality: 0 if they are equal.
///
/// # Safety
///
/// Both must be readable for `count` bytes.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn bcmp(left: *const c_void, right: *const c_void, count: usize) -> c_int {
    naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
}

/// The bytes of a string before the one that is 0.
///
/// # Safety
///
/// `text` must be readable up to a byte that is 0.
#[cfg_attr(panic = "abort", unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn strlen(text: *const c_char) -> usize {
    naked_asm!(
        "mov rax, rdi",
        "2:",
        "cmp byte ptr [rax], 0",
        "je 3f",
        "inc rax",
        "jmp 2b",
        "3:",
        "sub rax, rdi",
        "ret",
    )
}
