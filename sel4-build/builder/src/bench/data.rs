// SPDX-License-Identifier: MIT OR Apache-2.0

//! The benchmark `data`: what using data of known types may cost, and how it is drawn. The names
//! are those of `apps/bench/src/bin/data`.

use anyhow::Result;

use super::figure::{Requirement, Run};
use super::plot::{Bars, Group, svg};

const THERE_AND_BACK: &str = "there and back";
const COOPERATIVE: [&str; 2] = ["locks cooperative, to read", "locks cooperative, to write"];
const ENFORCED: [&str; 2] = ["locks enforced, to read", "locks enforced, to write"];
/// The figure of switching.
const SWITCHING: u64 = 0;
/// Those of entering.
const ENTERING: [u64; 2] = [1, 2];

/// What heaps are asked for: how it is called, measure, series.
const HEAPS: [(&str, &str, &str); 3] = [
    ("allocating 256 bytes", "allocate", "256 bytes"),
    ("freeing them", "free", "256 bytes"),
    ("pushing 1,000 numbers", PUSH, "1,000 numbers"),
];
const PUSH: &str = "push to a vector, and drop it";
/// The figure of private memory.
const PRIVATE: u64 = 0;
/// That of a VAS.
const IN_VAS: u64 = 1;

pub fn requirements(runs: &[Run]) -> Vec<Requirement> {
    let mut requirements = Vec::new();
    for run in runs {
        for series in COOPERATIVE.into_iter().chain(ENFORCED) {
            let counted = |x| run.median(THERE_AND_BACK, series, x);
            let [nothing, word] = ENTERING.map(counted);
            // Both must have been counted.
            let dearer = nothing.zip(word).map(|(nothing, word)| nothing.max(word));
            let text = format!(
                "entering a VAS with data and leaving it costs on the {} kernel at most 10 % more \
                 than switching there and back ({series})",
                run.kernel
            );
            let switching = counted(SWITCHING);
            requirements.push(Requirement::at_most_more(&text, 10, dearer, switching));
        }
    }
    for (what, measure, series) in HEAPS {
        let counted = |x| runs.first()?.median(measure, series, x);
        let text = format!("{what} costs in a VAS at most 10 % more than in private memory");
        let [private, there] = [PRIVATE, IN_VAS].map(counted);
        requirements.push(Requirement::at_most_more(&text, 10, there, private));
    }
    requirements
}

pub fn plot(runs: &[Run]) -> Result<String> {
    svg((1240, 940), |area| {
        let [cooperative, enforced, allocating, following] = &area.split_evenly((2, 2))[..] else {
            unreachable!("two by two are four");
        };
        entering(runs, "There and back, locks cooperative", COOPERATIVE).draw(cooperative)?;
        entering(runs, "There and back, locks enforced", ENFORCED).draw(enforced)?;
        let group = |name, measure, series, x| -> Group<'_> {
            let bar = |run: &Run| (run.kernel, run.median(measure, series, x));
            (name, runs.iter().map(bar).collect())
        };
        let groups = vec![
            group("allocate, private", "allocate", "256 bytes", PRIVATE),
            group("allocate, in a VAS", "allocate", "256 bytes", IN_VAS),
            group("free, private", "free", "256 bytes", PRIVATE),
            group("free, in a VAS", "free", "256 bytes", IN_VAS),
        ];
        let title = "Allocating and freeing 256 bytes";
        Bars { title, groups }.draw(allocating)?;
        let many = "1,000 in a loop";
        let groups = vec![
            group("&T", "follow", many, 0),
            group("VasPtr", "follow", many, 1),
            group("CheckedPtr, checked", "follow", many, 2),
        ];
        let title = "Following 1,000 pointers";
        Bars { title, groups }.draw(following)
    })
}

fn entering<'a>(runs: &[Run], title: &'a str, [reading, writing]: [&str; 2]) -> Bars<'a> {
    let bars = |series, x| {
        let bar = |run: &Run| (run.kernel, run.median(THERE_AND_BACK, series, x));
        runs.iter().map(bar).collect()
    };
    Bars {
        title,
        groups: vec![
            ("vas_switch, to read", bars(reading, SWITCHING)),
            ("Reader::enter, a word", bars(reading, ENTERING[1])),
            ("vas_switch, to write", bars(writing, SWITCHING)),
            ("Writer::enter, a word", bars(writing, ENTERING[1])),
        ],
    }
}
