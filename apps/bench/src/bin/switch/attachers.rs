// SPDX-License-Identifier: MIT OR Apache-2.0

//! Adding a segment to a VAS that many are attached to.

use alloc::format;
use alloc::vec::Vec;

use bench::count::Counter;
use bench::report::{Of, figure};
use client_lib::{Access, PageSize, seg_alloc, seg_attach, seg_detach, vas_create};
use protocol::process::ProcessId;
use runtime::process;

use crate::{BASE, Failure, KIB, MIB, MODE};

const NAME: &str = "attachers";
/// The main component's endpoint of this position is where attachers report.
const READY: u64 = 1;

pub fn run(counter: &Counter) -> Result<(), Failure> {
    let vas = vas_create(NAME, MODE)?;
    let small = Some(PageSize::Small);
    // The root-table slot, and the tables but for the last, are in use already.
    let first = seg_alloc("first", BASE, 4 * KIB, small, MODE)?;
    seg_attach(&vas, &first, Access::ReadWrite)?;
    let more = seg_alloc("more", BASE + 2 * MIB, 64 * KIB, small, MODE)?;

    for (attachers, x) in [("1", 1), ("8", 8), ("64", 64)] {
        let processes = attach(x)?;
        let [attach, detach] = counter.repeat(|counter| {
            let (attach, attached) = counter.count(|| seg_attach(&vas, &more, Access::ReadWrite));
            attached?;
            let (detach, detached) = counter.count(|| seg_detach(&vas, &more));
            detached?;
            Ok::<_, Failure>([attach, detach])
        })?;
        for id in processes {
            process::kill(id)?;
            process::wait(id)?;
        }
        for (measure, samples) in [
            ("seg_attach by number of attachers", attach),
            ("seg_detach by number of attachers", detach),
        ] {
            let of = Of {
                measure,
                series: "64 KiB of 4 KiB pages",
                case: attachers,
                x,
            };
            figure(of, &samples);
        }
    }
    Ok(crate::remove(&vas, &[&first, &more])?)
}

/// Starts processes with so many attachments together, and waits until they are attached. A
/// process can attach to a VAS in two ways.
fn attach(attachments: u64) -> Result<Vec<ProcessId>, Failure> {
    let mut processes = Vec::new();
    let mut left = attachments;
    while left > 0 {
        let here = left.min(2);
        processes.push(process::spawn("attacher", &format!("{NAME} {here}"))?);
        let (info, _, _) = sel4::recv(bench::endpoint(READY));
        if info.label() != 0 {
            return Err(Failure::Attacher);
        }
        left -= here;
    }
    Ok(processes)
}
