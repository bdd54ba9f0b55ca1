// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{DataError, Writer};

fn hand_on(writer: Writer<u64>) -> Result<Writer<u64>, DataError> {
    writer.enter(move |_| writer)
}

fn main() {}
