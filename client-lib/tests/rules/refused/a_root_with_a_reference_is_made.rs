// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::{DataError, DataVas, SegmentOptions};

fn create(options: SegmentOptions) -> Result<DataVas<&'static str>, DataError> {
    DataVas::create("books", options, |_| "books")
}

fn main() {}
