// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the programs of the demonstration have in common.
//!
//! One program builds an index of the words of a file in a segment and exits; others, started
//! later, attach the VAS and follow the raw pointers that it left there. All but
//! [`memory`] is safe code and is tested on the host.

#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

pub mod check;
pub mod index;
pub mod memory;
pub mod slice;
pub mod words;

use protocol::Mode;

/// The file that is indexed.
pub const FILE: &str = "input";
/// The VAS that the index is reached through.
pub const VAS: &str = "index";
/// The segment that holds it.
pub const SEGMENT: &str = "words";
/// Of both: the owner reads and writes, the group reads, others may not even look them up.
pub const MODE: Mode = Mode(0o640);

/// The exit code of `program`, whose failure, if any, is printed.
#[cfg(not(test))]
pub fn exit_code(program: &str, result: anyhow::Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => {
            runtime::println!("{program}: {error:#}");
            1
        }
    }
}
