// SPDX-License-Identifier: MIT OR Apache-2.0
//! `print!` and `println!`.
//!
//! What one call prints is gathered and goes out in as few messages as it takes, so that lines
//! of different processes do not mix.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};

use protocol::process::{InitOperation, slot};
use protocol::wire::WORDS;
use sel4::{MessageInfo, cap};

use crate::serial;

/// Where the component prints to: 0 for `init`, or the slot of the I/O ports.
static SERIAL_PORTS: AtomicU64 = AtomicU64::new(0);

/// Makes this component print to the serial port itself.
pub(crate) fn use_serial(ports: cap::IoPort) {
    SERIAL_PORTS.store(ports.bits(), Ordering::Relaxed);
}

/// The I/O ports of a component that prints to the serial port itself.
pub(crate) fn serial_ports() -> Option<cap::IoPort> {
    match SERIAL_PORTS.load(Ordering::Relaxed) {
        0 => None,
        slot => Some(cap::IoPort::from_bits(slot)),
    }
}

/// Bytes of one message to `init`. Its first word is their number.
const BYTES: usize = (WORDS - 1) * size_of::<u64>();

/// Gathers bytes and writes them when there are enough for a message.
struct Console {
    length: usize,
    bytes: [u8; BYTES],
}

impl Console {
    fn flush(&mut self) {
        let bytes = &self.bytes[..self.length];
        self.length = 0;
        if let Some(ports) = serial_ports() {
            serial::write(ports, bytes);
        } else if !bytes.is_empty() {
            print_through_init(bytes);
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            if self.length == BYTES {
                self.flush();
            }
            let taken = rest.len().min(BYTES - self.length);
            self.bytes[self.length..self.length + taken].copy_from_slice(&rest[..taken]);
            self.length += taken;
            rest = &rest[taken..];
        }
        Ok(())
    }
}

fn print_through_init(bytes: &[u8]) {
    let mut words = [0; WORDS];
    words[0] = bytes.len() as u64;
    for (word, chunk) in words[1..].iter_mut().zip(bytes.chunks(size_of::<u64>())) {
        let mut filled = [0; size_of::<u64>()];
        filled[..chunk.len()].copy_from_slice(chunk);
        *word = u64::from_le_bytes(filled);
    }
    let length = 1 + bytes.len().div_ceil(size_of::<u64>());
    let registers = sel4::write_message(&words[..length]);
    let info = MessageInfo::new(InitOperation::Print as u64, 0, 0, length as u64);
    sel4::call(cap::Endpoint::from_bits(slot::INIT), info, registers);
}

/// Prints. What [`print!`](crate::print) and [`println!`](crate::println) expand to.
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut console = Console {
        length: 0,
        bytes: [0; BYTES],
    };
    // Only an argument's own implementation can fail; what it wrote before is printed.
    let _ = console.write_fmt(arguments);
    console.flush();
}

/// Prints to the console. Uses the IPC buffer: a message received before and not yet read is
/// lost.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::print(::core::format_args!($($argument)*))
    };
}

/// Prints a line to the console. Uses the IPC buffer: a message received before and not yet
/// read is lost.
#[macro_export]
macro_rules! println {
    () => {
        $crate::print!("\n")
    };
    ($($argument:tt)*) => {
        $crate::console::print(::core::format_args!("{}\n", ::core::format_args!($($argument)*)))
    };
}
