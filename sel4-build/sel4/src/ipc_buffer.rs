// SPDX-License-Identifier: MIT OR Apache-2.0
//! The calling thread's IPC buffer.
//!
//! The kernel points the GS segment at it. It is reached one word at a time through that
//! segment and never by reference, since every system call may change it.

use core::arch::asm;

use crate::system_calls::on_sel4;

/// Words of the longest message.
pub const MAX_MESSAGE_LENGTH: usize = 120;
/// Capabilities of a message at most.
pub const MAX_EXTRA_CAPS: usize = 3;
/// Binary logarithm of the IPC buffer's size in bytes, and so of its alignment.
pub const IPC_BUFFER_BITS: u8 = 10;

/// Where the word of [`user_data`] lies in an IPC buffer, in bytes, for who reads that of
/// another thread.
pub const USER_DATA_OFFSET: usize = USER_DATA * size_of::<u64>();

// The words of the buffer (`seL4_IPCBuffer`). Word 0 is unused.
const MESSAGE: usize = 1;
const USER_DATA: usize = MESSAGE + MAX_MESSAGE_LENGTH;
const CAPS_OR_BADGES: usize = USER_DATA + 1;
const RECEIVE_CNODE: usize = CAPS_OR_BADGES + MAX_EXTRA_CAPS;
const RECEIVE_INDEX: usize = RECEIVE_CNODE + 1;
const RECEIVE_DEPTH: usize = RECEIVE_INDEX + 1;

/// The first word behind the buffer.
const THREAD: usize = RECEIVE_DEPTH + 1;
/// Words of [`thread_word`]: those behind the buffer in its page of 4 KiB.
pub const THREAD_WORDS: usize = 4096 / size_of::<u64>() - THREAD;

const _: () = assert!((RECEIVE_DEPTH + 1) * size_of::<u64>() == 1 << IPC_BUFFER_BITS);

#[inline(always)]
fn read(word: usize) -> u64 {
    on_sel4();
    let value: u64;
    // SAFETY: the kernel keeps GS at the thread's IPC buffer, and the callers below keep
    // `word` inside of it. The buffer is no memory of Rust's.
    unsafe {
        asm!(
            "mov {value}, gs:[{word} * 8]",
            value = lateout(reg) value,
            word = in(reg) word,
            options(nostack, preserves_flags, readonly)
        );
    }
    value
}

#[inline(always)]
fn write(word: usize, value: u64) {
    on_sel4();
    // SAFETY: as in `read`.
    unsafe {
        asm!(
            "mov gs:[{word} * 8], {value}",
            value = in(reg) value,
            word = in(reg) word,
            options(nostack, preserves_flags)
        );
    }
}

/// Word `index` of the message in the buffer (`seL4_GetMR`). The first four of a message
/// travel in registers and are not there, but those of the kernel's answer to a refused
/// invocation are.
///
/// # Panics
///
/// If there is no such word.
#[inline]
pub fn message_register(index: usize) -> u64 {
    assert!(index < MAX_MESSAGE_LENGTH);
    read(MESSAGE + index)
}

/// Sets word `index` of the message in the buffer (`seL4_SetMR`).
///
/// # Panics
///
/// If there is no such word.
#[inline]
pub fn set_message_register(index: usize, value: u64) {
    assert!(index < MAX_MESSAGE_LENGTH);
    write(MESSAGE + index, value);
}

/// Sets the capability that the next message carries in this position (`seL4_SetCap`).
///
/// # Panics
///
/// If a message has no such position.
#[inline]
pub fn set_extra_cap(position: usize, cptr: u64) {
    assert!(position < MAX_EXTRA_CAPS);
    write(CAPS_OR_BADGES + position, cptr);
}

/// The badge of the capability in this position, if the message says that it arrived as one:
/// [`MessageInfo::caps_unwrapped`](crate::MessageInfo::caps_unwrapped) (`seL4_GetBadge`).
///
/// # Panics
///
/// If a message has no such position.
#[inline]
pub fn badge(position: usize) -> u64 {
    assert!(position < MAX_EXTRA_CAPS);
    read(CAPS_OR_BADGES + position)
}

/// Sets the slot that a received capability goes to, as addresses in the receiver's CSpace
/// (`seL4_SetCapReceivePath`). It stays set.
#[inline]
pub fn set_receive_path(cnode: u64, index: u64, depth: u64) {
    write(RECEIVE_CNODE, cnode);
    write(RECEIVE_INDEX, index);
    write(RECEIVE_DEPTH, depth);
}

/// The word of the buffer that the kernel does not use (`seL4_GetUserData`).
#[inline]
pub fn user_data() -> u64 {
    read(USER_DATA)
}

/// Sets the word of the buffer that the kernel does not use (`seL4_SetUserData`).
#[inline]
pub fn set_user_data(value: u64) {
    write(USER_DATA, value);
}

/// A word of the thread's own, behind its IPC buffer. For threads whose IPC buffer begins at the
/// beginning of a page; the kernel does not use what is behind it.
///
/// # Panics
///
/// If there is no such word: there are [`THREAD_WORDS`].
#[inline]
pub fn thread_word(index: usize) -> u64 {
    assert!(index < THREAD_WORDS);
    read(THREAD + index)
}

/// Sets a word of [`thread_word`].
///
/// # Panics
///
/// As there.
#[inline]
pub fn set_thread_word(index: usize, value: u64) {
    assert!(index < THREAD_WORDS);
    write(THREAD + index, value);
}

/// Puts a message in place, all but the first four words, which are returned: they go into
/// registers.
///
/// # Panics
///
/// If the message is longer than [`MAX_MESSAGE_LENGTH`].
pub fn write_message(words: &[u64]) -> [u64; 4] {
    assert!(words.len() <= MAX_MESSAGE_LENGTH);
    let mut registers = [0; 4];
    let in_registers = words.len().min(registers.len());
    registers[..in_registers].copy_from_slice(&words[..in_registers]);
    for (index, &word) in words.iter().enumerate().skip(registers.len()) {
        write(MESSAGE + index, word);
    }
    registers
}

/// Takes a message that has arrived: `registers` came with it, the rest is in the buffer.
/// Fills all of `words`.
///
/// # Panics
///
/// If `words` is longer than [`MAX_MESSAGE_LENGTH`].
pub fn read_message(words: &mut [u64], registers: [u64; 4]) {
    assert!(words.len() <= MAX_MESSAGE_LENGTH);
    let in_registers = words.len().min(registers.len());
    words[..in_registers].copy_from_slice(&registers[..in_registers]);
    for (index, word) in words.iter_mut().enumerate().skip(registers.len()) {
        *word = read(MESSAGE + index);
    }
}
