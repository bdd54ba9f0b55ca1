// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the VAS service must answer, and random sequences of calls to ask it.
//!
//! [`Specification`] says what the service is, in names, owners, rights, segments and the words
//! in them. It knows nothing of capabilities, page tables or how the server does it, and
//! predicts the answer to every call as long as memory and slots suffice. [`Player`] chooses
//! calls at random, makes them through a [`Client`], and compares. A client is a server on a
//! fake kernel or processes on the real one: the same seed makes the same calls of both.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod call;
mod choice;
mod play;
mod specification;

pub use call::{Action, Answer, Call, Reply, Request, Touch, scan};
pub use play::{Client, Difference, Played, Player, words};
pub use specification::{
    Attachment, Expected, Handle, Object, Page, Refusal, Segment, Specification, Vas,
};

/// A handle, an object or an attachment. No two have the same.
pub type Number = u32;

/// Users and groups of the processes. The first group is that of what a process makes.
pub const PRINCIPALS: [(u32, &[u32]); 3] = [(1000, &[100]), (1001, &[100, 200]), (2000, &[200])];
/// How many processes there are.
pub const PROCESSES: usize = PRINCIPALS.len();
