// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where a process starts.
//!
//! The kernel or `init` sets the program counter and the stack pointer, nothing else. `_start`
//! aligns the stack as the C ABI wants it and never returns.

use protocol::process::slot;
use sel4::cap;

use crate::{Termination, console, process};

/// Runs a process's main function. What [`main!`](crate::main) expands to.
pub fn run_process<T: Termination>(main: fn() -> T) -> ! {
    process::exit(main().report())
}

/// Runs the VAS server's main function. What [`server_main!`](crate::server_main) expands to.
pub fn run_server(main: fn() -> !) -> ! {
    console::use_serial(cap::IoPort::from_bits(slot::IO_PORT));
    main()
}

/// Names the main function of a process: a function without parameters that returns nothing,
/// an exit code (`i32`), or a `Result` of either whose error can be displayed.
#[macro_export]
macro_rules! main {
    ($main:path) => {
        $crate::start!(
            extern "C" fn enter() -> ! {
                $crate::entry::run_process($main)
            }
        );
    };
}

/// Names the main function of the VAS server: a function without parameters that never
/// returns. It prints to the serial port through the I/O ports it was given, since `init` waits
/// for the server and cannot print for it.
#[macro_export]
macro_rules! server_main {
    ($main:path) => {
        $crate::start!(
            extern "C" fn enter() -> ! {
                $crate::entry::run_server($main)
            }
        );
    };
}

/// Makes a function the entry point of a program whose stack is there already.
#[doc(hidden)]
#[macro_export]
macro_rules! start {
    ($($enter:tt)*) => {
        const _: () = {
            $($enter)*

            // SAFETY (of both attributes): no other symbol has this name, and the body ends in
            // a function that never returns.
            #[allow(unsafe_code)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    // A frame pointer of 0 ends the chain of frames.
                    "xor ebp, ebp",
                    "and rsp, -16",
                    "call {enter}",
                    "ud2",
                    enter = sym enter,
                )
            }
        };
    };
}
