// SPDX-License-Identifier: MIT OR Apache-2.0
//! Entering the kernel.
//!
//! The kernel is entered by SYSCALL with the number in RDX, the capability in RDI, the message
//! info in RSI and the first four words in R10, R8, R9 and R15. The instruction takes RCX and
//! R11 for itself; the kernel restores RSP (erratum 16). Receiving brings the badge in RDI, the message info in RSI and four words in the same registers. All
//! other registers come back as they were (`restore_user_context`, `fastpath_restore`).

use core::arch::asm;

use crate::cap::{Cap, CapType, Notification};
use crate::ipc_buffer::set_message_register;
use crate::{Error, InvocationLabel, MessageInfo, syscall};

/// Panics unless the program was built to run on seL4.
///
/// Programs for seL4 have no unwinder and are built with `panic = "abort"`; on the host, tests
/// and tools unwind. Entering the host's kernel with seL4's registers could do anything.
#[inline(always)]
pub(crate) fn on_sel4() {
    if cfg!(panic = "unwind") {
        panic!("a system call of seL4, on the host");
    }
}

/// Sends, if the system call does, and does not receive.
#[inline(always)]
fn sys_send(number: i64, cptr: u64, info: MessageInfo, message: [u64; 4]) {
    on_sel4();
    // SAFETY: the registers are those of the kernel's interface, as said above. The kernel
    // reads the IPC buffer, which is no memory of Rust's.
    unsafe {
        asm!(
            "syscall",
            in("rdx") number,
            in("rdi") cptr,
            in("rsi") info.bits(),
            in("r10") message[0],
            in("r8") message[1],
            in("r9") message[2],
            in("r15") message[3],
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
}

/// Sends, if the system call does, and receives.
#[inline(always)]
fn sys_send_recv(
    number: i64,
    cptr: u64,
    info: MessageInfo,
    message: [u64; 4],
) -> (MessageInfo, u64, [u64; 4]) {
    on_sel4();
    let [mut word0, mut word1, mut word2, mut word3] = message;
    let (badge, received): (u64, u64);
    // SAFETY: as in `sys_send`; the kernel also writes the IPC buffer.
    unsafe {
        asm!(
            "syscall",
            in("rdx") number,
            inlateout("rdi") cptr => badge,
            inlateout("rsi") info.bits() => received,
            inlateout("r10") word0,
            inlateout("r8") word1,
            inlateout("r9") word2,
            inlateout("r15") word3,
            out("rcx") _,
            out("r11") _,
            options(nostack)
        );
    }
    (
        MessageInfo::from_bits(received),
        badge,
        [word0, word1, word2, word3],
    )
}

const NO_MESSAGE: MessageInfo = MessageInfo::new(0, 0, 0, 0);

/// Invokes an object of the kernel and gives the first four words of its answer.
#[inline(always)]
pub(crate) fn invoke<T: CapType, const CAPS: usize, const WORDS: usize>(
    target: Cap<T>,
    label: InvocationLabel,
    caps: [u64; CAPS],
    words: [u64; WORDS],
) -> Result<[u64; 4], Error> {
    for (position, cap) in caps.into_iter().enumerate() {
        crate::set_extra_cap(position, cap);
    }
    let message = crate::write_message(&words);
    let info = MessageInfo::new(label as u64, 0, CAPS as u64, WORDS as u64);
    let (info, answer) = call(target, info, message);
    if info.label() != 0 {
        return Err(refused(info, answer));
    }
    Ok(answer)
}

/// The error of an invocation that the kernel refused. Its details go where
/// [`message_register`](crate::message_register) finds them.
#[cold]
fn refused(info: MessageInfo, answer: [u64; 4]) -> Error {
    for (index, word) in answer.into_iter().enumerate() {
        set_message_register(index, word);
    }
    Error::from_label(info.label())
}

/// Sends a message and waits for the reply (`seL4_Call`). The first four words of either are
/// in the arrays, the others in the IPC buffer.
#[inline(always)]
pub fn call<T: CapType>(
    target: Cap<T>,
    info: MessageInfo,
    message: [u64; 4],
) -> (MessageInfo, [u64; 4]) {
    let (info, _, message) = sys_send_recv(syscall::CALL, target.bits(), info, message);
    (info, message)
}

/// Sends a message, and waits until someone receives it (`seL4_Send`).
#[inline(always)]
pub fn send<T: CapType>(target: Cap<T>, info: MessageInfo, message: [u64; 4]) {
    sys_send(syscall::SEND, target.bits(), info, message);
}

/// Sends a message if someone waits for it, and else drops it (`seL4_NBSend`).
#[inline(always)]
pub fn nb_send<T: CapType>(target: Cap<T>, info: MessageInfo, message: [u64; 4]) {
    sys_send(syscall::NB_SEND, target.bits(), info, message);
}

/// Waits for a message (`seL4_Recv`) and gives it with the badge of the capability that it was
/// sent through.
#[inline(always)]
pub fn recv<T: CapType>(source: Cap<T>) -> (MessageInfo, u64, [u64; 4]) {
    sys_send_recv(syscall::RECV, source.bits(), NO_MESSAGE, [0; 4])
}

/// Receives a message if there is one (`seL4_NBRecv`). The badge is 0 if there was none.
#[inline(always)]
pub fn nb_recv<T: CapType>(source: Cap<T>) -> (MessageInfo, u64, [u64; 4]) {
    sys_send_recv(syscall::NB_RECV, source.bits(), NO_MESSAGE, [0; 4])
}

/// Answers the last message received by a call (`seL4_Reply`).
#[inline(always)]
pub fn reply(info: MessageInfo, message: [u64; 4]) {
    sys_send(syscall::REPLY, 0, info, message);
}

/// Answers the last message received by a call, and waits for the next (`seL4_ReplyRecv`).
#[inline(always)]
pub fn reply_recv<T: CapType>(
    source: Cap<T>,
    info: MessageInfo,
    message: [u64; 4],
) -> (MessageInfo, u64, [u64; 4]) {
    sys_send_recv(syscall::REPLY_RECV, source.bits(), info, message)
}

/// Lets other threads of the same priority run (`seL4_Yield`).
#[inline(always)]
pub fn yield_now() {
    sys_send(syscall::YIELD, 0, NO_MESSAGE, [0; 4]);
}

/// Signals a notification: its word takes up the bits of the capability's badge
/// (`seL4_Signal`).
#[inline(always)]
pub fn signal(target: Notification) {
    sys_send(syscall::SEND, target.bits(), NO_MESSAGE, [0; 4]);
}

/// Waits until a notification's word is not 0, and takes it (`seL4_Wait`).
#[inline(always)]
pub fn wait(source: Notification) -> u64 {
    sys_send_recv(syscall::RECV, source.bits(), NO_MESSAGE, [0; 4]).1
}

/// Takes a notification's word, which may be 0 (`seL4_Poll`).
#[inline(always)]
pub fn poll(source: Notification) -> u64 {
    sys_send_recv(syscall::NB_RECV, source.bits(), NO_MESSAGE, [0; 4]).1
}
