// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
union Number {
    whole: u64,
    real: f64,
}

fn main() {}
