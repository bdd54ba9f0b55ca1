// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::VasBox;

fn shorten<'short, 'long: 'short>(value: VasBox<'long, u64>) -> VasBox<'short, u64> {
    value
}

fn main() {}
