// SPDX-License-Identifier: MIT OR Apache-2.0

//! Says which placement policy is in force, and where segments lie.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use client_lib::{Access, Base, Error, Mode};
use protocol::address_map::SLOT_BYTES;

runtime::heap!(64 << 10);
runtime::main!(main);

fn main() -> Result<(), Error> {
    let mode = Mode(0o600);
    let vas = client_lib::vas_create("data", mode)?;
    runtime::println!("placement: {}", client_lib::server_stat()?.placement);
    for (name, base) in [
        ("first", Base::ForVases),
        ("asked", Base::At(190 * SLOT_BYTES + 4096)),
        ("second", Base::ForVases),
        ("local", Base::ForAttachments),
    ] {
        let segment = client_lib::seg_alloc(name, base, 8192, None, mode)?;
        runtime::println!("{name}: {:#x}", segment.base());
        if base != Base::ForAttachments {
            client_lib::seg_attach(&vas, &segment, Access::ReadWrite)?;
        }
    }
    Ok(())
}
