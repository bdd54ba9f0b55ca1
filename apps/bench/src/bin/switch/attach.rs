// SPDX-License-Identifier: MIT OR Apache-2.0

//! Attaching to a VAS, by what it holds.

use bench::count::{Counter, Samples};
use bench::report::{Of, figure, not_measured};
use client_lib::{
    Access, Error, PageSize, seg_alloc, seg_attach, settle, vas_attach, vas_create, vas_detach,
};

use crate::{BASE, Failure, GIB, KIB, MIB, MODE, is_shortage};

const SIZES: [(&str, u64); 4] = [
    ("4 KiB", 4 * KIB),
    ("2 MiB", 2 * MIB),
    ("1 GiB", GIB),
    ("8 GiB", 8 * GIB),
];
const PAGES: [(&str, PageSize); 3] = [
    ("4 KiB pages", PageSize::Small),
    ("2 MiB pages", PageSize::Large),
    ("1 GiB pages", PageSize::Huge),
];

pub fn run(counter: &Counter) -> Result<(), Failure> {
    for (series, page_size) in PAGES {
        for (case, bytes) in SIZES {
            if bytes < page_size.bytes() {
                continue;
            }
            let of = |measure| Of {
                measure,
                series,
                case,
                x: bytes,
            };
            match measure(counter, bytes, page_size) {
                Ok([attach, detach]) => {
                    figure(of("vas_attach"), &attach);
                    figure(of("vas_detach"), &detach);
                }
                Err(error) if is_shortage(&error) => {
                    not_measured(of("vas_attach"), &error);
                    not_measured(of("vas_detach"), &error);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn measure(counter: &Counter, bytes: u64, page_size: PageSize) -> Result<[Samples; 2], Error> {
    let segment = seg_alloc("all", BASE, bytes, Some(page_size), MODE)?;
    let vas = vas_create("whole", MODE)?;
    let samples = seg_attach(&vas, &segment, Access::ReadWrite).and_then(|()| {
        counter.repeat(|counter| {
            // Each request does some of what earlier ones left.
            settle()?;
            let (attach, attachment) = counter.count(|| vas_attach(&vas, Access::ReadWrite));
            let attachment = attachment?;
            settle()?;
            let (detach, detached) = counter.count(|| vas_detach(attachment));
            detached.map_err(|(_, error)| error)?;
            Ok([attach, detach])
        })
    });
    crate::remove(&vas, &[&segment])?;
    samples
}
