// SPDX-License-Identifier: MIT OR Apache-2.0
//! The end of a component that panics.

use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use protocol::process::{ExitStatus, StartInfo};

use crate::{console, process, serial};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    let ports = console::serial_ports();
    // If reporting panics too, there is nothing more to report.
    if !PANICKING.swap(true, Ordering::Relaxed) {
        match ports {
            Some(_) => crate::println!("{info}"),
            None => match process::read_start_page::<StartInfo>() {
                Some(start) => crate::println!("{}: {info}", start.component),
                None => crate::println!("{info}"),
            },
        }
    }
    match ports {
        Some(ports) => serial::exit(ports, serial::PANIC),
        None => process::end(&ExitStatus::Panicked),
    }
}
