// SPDX-License-Identifier: MIT OR Apache-2.0

use client_lib::Writer;
use storage::{Store, VasPtr};

#[derive(Store)]
struct Place<'v> {
    at: Option<VasPtr<'v, u64>>,
}

fn mix(one: &Writer<u64>, other: &Writer<Place>) {
    let _ = one.enter(|here| {
        let at = VasPtr::new(here.root(), here.heap()).ok();
        let _ = other.enter(|mut there| there.root_mut().at = at);
    });
}

fn main() {}
