// SPDX-License-Identifier: MIT OR Apache-2.0

//! Answers every message with an empty one: the other side of an IPC round trip.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use sel4::MessageInfo;

runtime::heap!(4 << 10);
runtime::main!(main);

fn main() {
    let endpoint = bench::endpoint(0);
    sel4::recv(endpoint);
    loop {
        sel4::reply_recv(endpoint, MessageInfo::new(0, 0, 0, 0), [0; 4]);
    }
}
