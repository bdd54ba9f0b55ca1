// SPDX-License-Identifier: MIT OR Apache-2.0

//! The VAS server with the policies of this tree.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use objects::Sel4;
use vas_server::guest;
use vas_server::policy::Answers;

runtime::server_heap!();
runtime::server_main!(main);

fn main() -> ! {
    guest::serve(&Answers::new(&mut Sel4))
}
