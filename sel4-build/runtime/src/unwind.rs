// SPDX-License-Identifier: MIT OR Apache-2.0
//! Symbols that the prebuilt `core` and `alloc` refer to.
//!
//! They were compiled to unwind. Components abort instead, so nothing here is ever called; the
//! linker must only find it.

#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    crate::process::fault()
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    crate::process::fault()
}
