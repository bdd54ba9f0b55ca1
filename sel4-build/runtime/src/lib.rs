// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a component needs to run on seL4 without an operating system below it: an entry point,
//! a stack with a guard page, a heap, a console, and a panic that someone hears of.
//!
//! A component is a `#![no_std]`, `#![no_main]` program that names its main function with one
//! macro:
//!
//! ```ignore
//! #![no_std]
//! #![no_main]
//!
//! runtime::main!(main);
//! runtime::heap!(1 << 20);
//!
//! fn main() {
//!     runtime::println!("hello from {}", runtime::start_info().component.as_str());
//! }
//! ```
//!
//! | macro | for | console, and where panics go |
//! | --- | --- | --- |
//! | [`main!`] | a process | `init`; a panic ends the process |
//! | [`server_main!`] | the VAS server | serial port; a panic powers off |
//! | [`root_main!`] | `init`, the root task | serial port; a panic powers off |
//!
//! A process has as many threads as the system description gives it: see [`thread`].
//!
//! Where capabilities and pages are is agreed in [`protocol::process::slot`] and
//! [`protocol::address_map`].

#![no_std]

pub mod console;
pub mod entry;
pub mod heap;
pub mod process;
pub mod root;
pub mod serial;
pub mod thread;

// What the C library and the standard library give to programs of the host. Components abort
// when they panic; where programs unwind, this crate is only checked.
#[cfg(panic = "abort")]
mod memory;
#[cfg(panic = "abort")]
mod panic;
#[cfg(panic = "abort")]
mod unwind;

pub use process::{Termination, exit, file, server_start_info, start_info};
