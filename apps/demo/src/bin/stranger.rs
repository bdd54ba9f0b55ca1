// SPDX-License-Identifier: MIT OR Apache-2.0

//! Asks for the index without permission, and must be refused.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use anyhow::{Result, bail};
use demo::{SEGMENT, VAS};
use protocol::Error;
use runtime::println;

/// Enough for an error.
const HEAP_BYTES: usize = 1 << 14;

runtime::heap!(HEAP_BYTES);
runtime::main!(main);

fn main() -> i32 {
    demo::exit_code("stranger", run())
}

fn run() -> Result<()> {
    refused("VAS", VAS, client_lib::vas_find(VAS))?;
    refused("segment", SEGMENT, client_lib::seg_find(SEGMENT))
}

fn refused<T>(what: &str, name: &str, answer: Result<T, Error>) -> Result<()> {
    match answer {
        Err(error @ Error::PermissionDenied { .. }) => {
            println!("stranger: {what} \"{name}\": {error}");
            Ok(())
        }
        Err(error) => bail!("{what} \"{name}\": not refused as it should be: {error}"),
        Ok(_) => bail!("{what} \"{name}\": was not refused"),
    }
}
