// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the root task starts.
//!
//! The kernel gives the root task no stack, so it is a static of the image. Its lowest page is
//! a guard: it is unmapped before the main function runs.

use core::cell::UnsafeCell;

use sel4::{BootInfo, cap, init_slot};

use crate::console;

const PAGE: usize = 4096;

/// Bytes of the root task's stack.
pub const STACK_BYTES: usize = 256 * 1024;

/// The root task's stack, its guard page below.
#[repr(C, align(4096))]
pub struct Stack(UnsafeCell<[u8; PAGE + STACK_BYTES]>);

// SAFETY: only the processor uses it, as the stack of one thread.
unsafe impl Sync for Stack {}

#[doc(hidden)]
pub static STACK: Stack = Stack(UnsafeCell::new([0; PAGE + STACK_BYTES]));

#[doc(hidden)]
pub const STACK_TOP_OFFSET: usize = PAGE + STACK_BYTES;

unsafe extern "C" {
    /// The first address of the image; the linker defines it.
    static __executable_start: u8;
}

/// Runs the root task's main function. What [`root_main!`](crate::root_main) expands to.
pub fn run_root(main: fn(&'static BootInfo) -> !, boot_info: &'static BootInfo) -> ! {
    console::use_serial(cap::IoPort::from_bits(init_slot::IO_PORT));
    let guard = guard_page(boot_info);
    guard
        .unmap()
        .expect("the kernel does not unmap the guard page below the stack");
    main(boot_info)
}

/// The page below the stack.
fn guard_page(boot_info: &BootInfo) -> cap::Page {
    let image = (&raw const __executable_start).addr();
    let index = ((&raw const STACK).addr() - image) / PAGE;
    let frames = boot_info.user_image_frames();
    let slot = frames.start + index as u64;
    assert!(
        frames.contains(&slot),
        "the image does not start where the linker says"
    );
    cap::Page::from_bits(slot)
}

/// Names the main function of the root task: it takes the kernel's information and never
/// returns.
#[macro_export]
macro_rules! root_main {
    ($main:path) => {
        const _: () = {
            extern "C" fn enter(boot_info: &'static ::sel4::BootInfo) -> ! {
                $crate::root::run_root($main, boot_info)
            }

            // SAFETY (of both attributes): no other symbol has this name, and the body ends in
            // a function that never returns. RDI holds the address of the boot information, as
            // the kernel left it.
            #[allow(unsafe_code)]
            #[unsafe(naked)]
            #[unsafe(no_mangle)]
            extern "C" fn _start() -> ! {
                ::core::arch::naked_asm!(
                    "lea rsp, [rip + {stack} + {top}]",
                    "xor ebp, ebp",
                    "call {enter}",
                    "ud2",
                    stack = sym $crate::root::STACK,
                    top = const $crate::root::STACK_TOP_OFFSET,
                    enter = sym enter,
                )
            }
        };
    };
}
