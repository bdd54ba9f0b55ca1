// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
enum State {
    Lost,
    Lent { days: u32, to: String },
}

fn main() {}
