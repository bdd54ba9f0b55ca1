// SPDX-License-Identifier: MIT OR Apache-2.0

use storage::VasBox;

fn exchange<'one, 'other>(one: &mut VasBox<'one, u64>, other: &mut VasBox<'other, u64>) {
    std::mem::swap(one, other);
}

fn main() {}
