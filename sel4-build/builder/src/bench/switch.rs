// SPDX-License-Identifier: MIT OR Apache-2.0

//! The benchmark `switch`: what its figures must meet, and how they are drawn. The names are
//! those of `apps/bench/src/bin/switch`.

use anyhow::Result;

use super::figure::{Requirement, Run};
use super::plot::{Bars, Line, Lines, colour, svg};
use crate::description::Kernel;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const SYSTEM_CALL: &str = "system call";
const SWITCH: &str = "switch";
const ATTACH: &str = "vas_attach";
const DETACH: &str = "vas_detach";
const BY_ATTACHERS: &str = "seg_attach by number of attachers";
const TO_SECOND: &str = "seg_attach to a second VAS";
const SMALL: &str = "4 KiB pages";
const PAGES: [&str; 3] = [SMALL, "2 MiB pages", "1 GiB pages"];
const FEW_PAGES: &str = "64 KiB of 4 KiB pages";
const SHARED_SLOTS: &str = "slots shared with others";
const OWN_SLOTS: &str = "slots of its own";
const SIZES: [(u64, &str); 4] = [
    (4 * KIB, "4 KiB"),
    (2 * MIB, "2 MiB"),
    (GIB, "1 GiB"),
    (8 * GIB, "8 GiB"),
];

/// System calls, by position.
const SYSTEM_CALLS: [&str; 3] = ["refused invocation", "Yield", "IPC round trip"];
const IPC: u64 = 2;

pub fn requirements(runs: &[Run]) -> Vec<Requirement> {
    let median = |kernel, measure, series, x| {
        let run = runs.iter().find(|run| run.kernel == kernel)?;
        run.median(measure, series, x)
    };
    let extended = |measure, series, x| median(Kernel::Extended, measure, series, x);
    vec![
        Requirement::at_most(
            "a switch from VAS to VAS without locks, from the call of `vas_switch` to its return, \
             takes at most 180 instructions on the extended kernel",
            180,
            extended(SWITCH, "", 0),
        ),
        Requirement::within(
            "an IPC round trip costs on the extended kernel what it costs on the stock one, \
             within 1 %",
            1,
            extended(SYSTEM_CALL, "", IPC),
            median(Kernel::Stock, SYSTEM_CALL, "", IPC),
        ),
        // By a few hundredths it depends on what memory is free, and may be less.
        Requirement::at_most_more(
            "attaching to 8 GiB of 4 KiB pages costs on the extended kernel at most 2 % more than \
             attaching to 4 KiB",
            2,
            extended(ATTACH, SMALL, 8 * GIB),
            extended(ATTACH, SMALL, 4 * KIB),
        ),
        Requirement::at_most_more(
            "so does detaching",
            2,
            extended(DETACH, SMALL, 8 * GIB),
            extended(DETACH, SMALL, 4 * KIB),
        ),
        Requirement::within(
            "adding a segment costs on the extended kernel the same for 64 attachers as for 1, \
             within 2 %",
            2,
            extended(BY_ATTACHERS, FEW_PAGES, 64),
            extended(BY_ATTACHERS, FEW_PAGES, 1),
        ),
    ]
}

pub fn plot(runs: &[Run]) -> Result<String> {
    svg((1240, 940), |area| {
        let [calls, attach, attachers, second] = &area.split_evenly((2, 2))[..] else {
            unreachable!("two by two are four");
        };
        entering(runs).draw(calls)?;
        attaching(runs).draw(attach)?;
        adding(runs).draw(attachers)?;
        sharing(runs).draw(second)
    })
}

fn entering(runs: &[Run]) -> Bars<'static> {
    let bars = |measure, x| {
        let bar = |run: &Run| (run.kernel, run.median(measure, "", x));
        runs.iter().map(bar).collect()
    };
    let calls = SYSTEM_CALLS.into_iter().zip(0..);
    let mut groups: Vec<_> = calls
        .map(|(name, x)| (name, bars(SYSTEM_CALL, x)))
        .collect();
    groups.push(("vas_switch", bars(SWITCH, 0)));
    groups.push(("vas_switch, two locks", bars(SWITCH, 4)));
    groups.push(("Switch, fast path", bars(SWITCH, 1)));
    groups.push(("Switch, slow path", bars(SWITCH, 2)));
    Bars {
        title: "Entering the kernel and switching",
        groups,
    }
}

fn attaching(runs: &[Run]) -> Lines<'static> {
    let mut lines = Vec::new();
    for run in runs {
        for pages in PAGES {
            let name = match (run.kernel, pages) {
                (Kernel::Stock, _) => format!("stock, {pages}"),
                // Their lines lie on each other.
                (Kernel::Extended, SMALL) => "extended, any pages".into(),
                (Kernel::Extended, _) => String::new(),
            };
            lines.push(Line {
                name,
                colour: colour(run.kernel),
                points: run.points(ATTACH, pages),
                name_above: run.kernel == Kernel::Stock,
            });
        }
    }
    Lines {
        title: "Attaching to a VAS",
        x_title: "what the VAS holds",
        x_marks: &SIZES,
        lines,
    }
}

fn adding(runs: &[Run]) -> Lines<'static> {
    let line = |run: &Run| Line {
        name: run.kernel.to_string(),
        colour: colour(run.kernel),
        points: run.points(BY_ATTACHERS, FEW_PAGES),
        name_above: true,
    };
    Lines {
        title: "Adding 64 KiB to a VAS that others are attached to",
        x_title: "attachers",
        x_marks: &[(1, "1"), (8, "8"), (64, "64")],
        lines: runs.iter().map(line).collect(),
    }
}

fn sharing(runs: &[Run]) -> Lines<'static> {
    let mut lines = Vec::new();
    for run in runs {
        for slots in [SHARED_SLOTS, OWN_SLOTS] {
            let name = match (run.kernel, slots) {
                (Kernel::Stock, SHARED_SLOTS) => "either kernel, slots shared with others",
                // Without shared tables it makes no difference.
                (Kernel::Stock, _) => continue,
                // The line lies on that of the other kernel.
                (Kernel::Extended, SHARED_SLOTS) => "",
                (Kernel::Extended, _) => "extended, slots of its own",
            };
            lines.push(Line {
                name: name.into(),
                colour: colour(run.kernel),
                points: run.points(TO_SECOND, slots),
                name_above: run.kernel == Kernel::Stock,
            });
        }
    }
    Lines {
        title: "Adding a segment to a second VAS",
        x_title: "size of the segment, in 4 KiB pages",
        x_marks: &SIZES[..3],
        lines,
    }
}
