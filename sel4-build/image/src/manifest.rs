// SPDX-License-Identifier: MIT OR Apache-2.0

//! The manifest of a system: what init needs to know of each component and file.
//!
//! The types borrow what they describe, so that they need no heap. Their `Archived` forms
//! are what init sees; numbers there are little-endian and read with `to_native`.

use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};

/// A whole system.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct System<'a> {
    /// Its name.
    #[rkyv(with = InlineAsBox)]
    pub name: &'a str,
    /// The VAS server.
    pub server: Server<'a>,
    /// Index of the component that init starts. When it ends, the system ends with its
    /// status.
    pub main: u32,
    /// What can be started.
    #[rkyv(with = InlineAsBox)]
    pub components: &'a [Component<'a>],
    /// How many endpoints components talk to each other through.
    pub endpoints: u32,
    /// What can be given to components.
    #[rkyv(with = InlineAsBox)]
    pub files: &'a [File<'a>],
    /// What the VAS server promises to users.
    #[rkyv(with = InlineAsBox)]
    pub quotas: &'a [Quota],
}

/// What the VAS server promises to a user.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The user.
    pub user: u32,
    /// Bytes of memory: a multiple of 4 KiB.
    pub memory: u64,
    /// Capability slots of the server.
    pub slots: u32,
    /// Sessions: its processes.
    pub sessions: u32,
    /// VASes that it may make.
    pub vases: u32,
    /// Segments that it may make.
    pub segments: u32,
    /// Attachments of its processes.
    pub attachments: u32,
    /// Handles.
    pub handles: u32,
}

/// The VAS server and its policies.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server<'a> {
    /// What it runs.
    pub program: Program<'a>,
    /// Bytes of its stack: a multiple of 4 KiB.
    pub stack_bytes: u64,
    /// Binary logarithm of the number of slots of its CNode.
    pub slots_bits: u8,
    /// The policies that are chosen.
    #[rkyv(with = InlineAsBox)]
    pub policies: &'a [Policy<'a>],
}

/// A policy of the VAS server.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    /// The question.
    #[rkyv(with = InlineAsBox)]
    pub question: &'a str,
    /// The name of the answer.
    #[rkyv(with = InlineAsBox)]
    pub answer: &'a str,
}

/// A program that can be started, and as whom.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component<'a> {
    /// Its name.
    #[rkyv(with = InlineAsBox)]
    pub name: &'a str,
    /// Arguments, separated by spaces.
    #[rkyv(with = InlineAsBox)]
    pub arguments: &'a str,
    /// The user it runs as.
    pub user: u32,
    /// The groups it belongs to.
    #[rkyv(with = InlineAsBox)]
    pub groups: &'a [u32],
    /// Priority of its threads.
    pub priority: u8,
    /// Threads it may have at one time, with the first.
    pub threads: u8,
    /// Bytes of the stack of each: a multiple of 4 KiB.
    pub stack_bytes: u64,
    /// Whether it may start components.
    pub may_spawn: bool,
    /// Indices of the files it is given.
    #[rkyv(with = InlineAsBox)]
    pub files: &'a [u32],
    /// Which endpoints it is given.
    #[rkyv(with = InlineAsBox)]
    pub endpoints: &'a [u32],
    /// What it runs.
    pub program: Program<'a>,
}

/// An executable, laid out in pages.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program<'a> {
    /// Address of the first instruction.
    pub entry: u64,
    /// In order of address; no page belongs to two.
    #[rkyv(with = InlineAsBox)]
    pub segments: &'a [Segment],
}

/// Pages of a program that follow one another and have the same rights.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First address: a multiple of 4 KiB.
    pub address: u64,
    /// Pages of 4 KiB in memory. Those that have no contents are zero; only writable
    /// segments have such.
    pub memory_pages: u32,
    /// Where the contents begin in the archive, in bytes: a multiple of 4 KiB.
    pub offset: u64,
    /// Pages of 4 KiB that have contents.
    pub file_pages: u32,
    /// Whether the program may write to it.
    pub writable: bool,
    /// Whether it holds instructions.
    pub executable: bool,
}

/// A file of the image.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct File<'a> {
    /// Its name.
    #[rkyv(with = InlineAsBox)]
    pub name: &'a str,
    /// Where it begins in the archive, in bytes: a multiple of 4 KiB.
    pub offset: u64,
    /// Its size in bytes; zeros follow up to the end of the page.
    pub bytes: u64,
}
