// SPDX-License-Identifier: MIT OR Apache-2.0

//! Whole messages against the server, on a model of the extended kernel.

#![no_main]

#[path = "../src/hostile.rs"]
mod hostile;
#[allow(dead_code)]
#[path = "../../tests/service/support.rs"]
mod support;

/// Whether the kernel is the extended one.
const EXTENDED: bool = true;

libfuzzer_sys::fuzz_target!(|input: &[u8]| hostile::run(input));
