// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bindings to seL4 5.0.0 on x86_64.
//!
//! Names are those of libsel4 in snake_case, and so is the meaning: what the
//! [seL4 manual](https://sel4.systems/Info/Docs/seL4-manual-5.0.0.pdf) says of
//! `seL4_CNode_Mint` holds for [`cap::CNode::mint`](Cap#method.mint).
//!
//! - A capability is named by a [`Cap`]: a number with the type of what it is a capability to,
//!   so that a page cannot be passed where a page table belongs. It owns nothing.
//! - *Invocations*, the methods of [`Cap`], are generated from the kernel's own descriptions.
//! - *System calls* ([`call`], [`recv`], [`reply_recv`], ...) carry up to four words in
//!   registers. Longer messages lie in the calling thread's IPC buffer, which
//!   [`write_message`] and [`read_message`] fill and empty.
//! - What the kernel tells its users is decoded: [`BootInfo`], [`Fault`], [`Error`].
//!
//! The crate compiles for the host as well, so that code above it can be tested there; a
//! system call on the host panics.
//!
//! # Safety
//!
//! All functions are safe to call as far as this crate goes: none reads or writes memory of
//! Rust other than through its arguments. What an invocation does to the mappings that the
//! caller itself lives in is the caller's affair, as it is with `/proc/self/mem` on Linux.

#![cfg_attr(not(test), no_std)]

mod boot_info;
pub mod cap;
mod error;
mod fault;
mod ipc_buffer;
mod message_info;
mod object;
mod system_calls;
mod types;

/// What is generated from the descriptions of invocations and system calls.
mod interfaces {
    use crate::ipc_buffer::message_register;
    use crate::system_calls::invoke;
    use crate::{CapRights, Error, ObjectType, PrioProps, VmAttributes, cap};

    include!(concat!(env!("OUT_DIR"), "/interfaces.rs"));
}

/// What is generated from the descriptions of words that user space shares with the kernel.
#[allow(dead_code, clippy::all)]
mod layouts {
    include!(concat!(env!("OUT_DIR"), "/layouts.rs"));
}

pub use boot_info::{BootInfo, UntypedDescription, init_slot};
pub use cap::{Cap, CapType};
pub use error::Error;
pub use fault::{Fault, LookupFailure};
pub use interfaces::*;
pub use ipc_buffer::{
    IPC_BUFFER_BITS, MAX_EXTRA_CAPS, MAX_MESSAGE_LENGTH, THREAD_WORDS, USER_DATA_OFFSET, badge,
    message_register, read_message, set_extra_cap, set_message_register, set_receive_path,
    set_thread_word, set_user_data, thread_word, user_data, write_message,
};
pub use message_info::MessageInfo;
pub use object::{
    FrameSize, LEVELS, Level, MAX_UNTYPED_BITS, MIN_UNTYPED_BITS, ObjectType, SLOT_BITS, USER_TOP,
    mapping_failed_level,
};
pub use system_calls::{
    call, nb_recv, nb_send, poll, recv, reply, reply_recv, send, signal, wait, yield_now,
};
pub use types::{BADGE_BITS, CapRights, PrioProps, VmAttributes, cnode_guard};
