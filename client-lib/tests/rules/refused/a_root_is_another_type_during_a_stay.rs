// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::Root;

struct Name;

impl Root for Name {
    type At<'v> = &'v str;
}

fn main() {}
