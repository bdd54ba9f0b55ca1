// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asks the VAS server for what is large, one request each time it is told to.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

runtime::heap!(64 << 10);
runtime::main!(main);

fn main() {
    bench::large::obey();
}
