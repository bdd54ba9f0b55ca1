// SPDX-License-Identifier: MIT OR Apache-2.0

//! One of two programs that share data: does the part that it is given.

#![no_std]
#![no_main]

use collections::WRONG;
use collections::table::{self, Early};

runtime::heap!(256 << 10);
runtime::main!(main);

fn main() -> i32 {
    let info = runtime::start_info();
    match table::run::<Early>(&info.arguments) {
        Ok(()) => 0,
        Err(failure) => {
            runtime::println!("early {}: {failure}", info.arguments);
            WRONG
        }
    }
}
