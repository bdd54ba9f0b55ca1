// SPDX-License-Identifier: MIT OR Apache-2.0

//! Adding a segment to a second VAS, to which one process is attached.

use bench::count::Counter;
use bench::report::{Of, figure};
use client_lib::{
    Access, PageSize, seg_alloc, seg_alloc_own_slots, seg_attach, seg_detach, vas_attach,
    vas_create, vas_delete, vas_detach,
};

use crate::{BASE, Failure, GIB, KIB, MIB, MODE};

const SIZES: [(&str, u64); 3] = [("4 KiB", 4 * KIB), ("2 MiB", 2 * MIB), ("1 GiB", GIB)];

pub fn run(counter: &Counter) -> Result<(), Failure> {
    let vases = [vas_create("first", MODE)?, vas_create("second", MODE)?];
    let attachment = vas_attach(&vases[1], Access::ReadWrite)?;
    for (case, bytes) in SIZES {
        for (series, alloc) in [
            ("slots shared with others", seg_alloc as Alloc),
            ("slots of its own", seg_alloc_own_slots),
        ] {
            let segment = alloc("segment", BASE, bytes, Some(PageSize::Small), MODE)?;
            seg_attach(&vases[0], &segment, Access::ReadWrite)?;
            let [attach, detach] = counter.repeat(|counter| {
                let (attach, attached) =
                    counter.count(|| seg_attach(&vases[1], &segment, Access::ReadWrite));
                attached?;
                let (detach, detached) = counter.count(|| seg_detach(&vases[1], &segment));
                detached?;
                Ok::<_, Failure>([attach, detach])
            })?;
            seg_detach(&vases[0], &segment)?;
            client_lib::seg_free(&segment)?;
            for (measure, samples) in [
                ("seg_attach to a second VAS", attach),
                ("seg_detach from a second VAS", detach),
            ] {
                let of = Of {
                    measure,
                    series,
                    case,
                    x: bytes,
                };
                figure(of, &samples);
            }
        }
    }
    vas_detach(attachment).map_err(|(_, error)| error)?;
    Ok(vases.iter().try_for_each(vas_delete)?)
}

type Alloc = fn(
    &str,
    u64,
    u64,
    Option<PageSize>,
    client_lib::Mode,
) -> Result<client_lib::Segment, client_lib::Error>;
