// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Store;

#[derive(Store)]
struct Title(u32, String);

fn main() {}
