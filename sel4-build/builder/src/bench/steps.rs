// SPDX-License-Identifier: MIT OR Apache-2.0

//! The benchmark `steps`: how long one request may take, and how long the longest take. The names
//! are those of `apps/bench/src/bin/steps`.

use anyhow::Result;

use super::figure::{Figure, Outcome, Requirement, Run};
use super::plot::{Bars, svg};
use crate::description::Kernel;

/// Instructions that one request takes at most.
const BOUND: u64 = 2_000_000;

/// What is not bounded: the kernel clears such a page in one go.
const HUGE: &str = "a page of 1 GiB";

pub fn requirements(runs: &[Run]) -> Vec<Requirement> {
    let longest = |kernel: Kernel| {
        let figures = runs
            .iter()
            .filter(|run| run.kernel == kernel)
            .flat_map(|run| &run.figures);
        let bounded = figures.filter(|figure| !figure.of.series.starts_with(HUGE));
        bounded.filter_map(longest_of).max()
    };
    let requirement = |text, kernel| Requirement::at_most(text, BOUND, longest(kernel));
    vec![
        requirement(
            "with the extended kernel no request but one for a page of 1 GiB takes more than \
             2,000,000 instructions",
            Kernel::Extended,
        ),
        requirement(
            "with the stock kernel no request but one for a page of 1 GiB takes more than \
             2,000,000 instructions",
            Kernel::Stock,
        ),
    ]
}

fn longest_of(figure: &Figure) -> Option<u64> {
    match figure.outcome {
        Outcome::Counted { maximum, .. } => Some(maximum),
        Outcome::NotMeasured { .. } => None,
    }
}

pub fn plot(runs: &[Run]) -> Result<String> {
    let first = runs.iter().flat_map(|run| &run.figures).next();
    let series = first.map_or("", |figure| figure.of.series.as_str());
    let of_series = |run: &Run, measure: &str| {
        let mut figures = run.figures.iter();
        let same =
            |figure: &&Figure| (&*figure.of.series, &*figure.of.measure) == (series, measure);
        figures.find(same).and_then(longest_of)
    };
    let mut measures: Vec<&str> = Vec::new();
    for figure in runs.iter().flat_map(|run| &run.figures) {
        if figure.of.series == series && !measures.contains(&figure.of.measure.as_str()) {
            measures.push(&figure.of.measure);
        }
    }
    let groups = measures.iter().map(|&measure| {
        let bar = |run: &Run| (run.kernel, of_series(run, measure));
        (measure, runs.iter().map(bar).collect())
    });
    let title = format!("The longest request, {series}");
    let bars = Bars {
        title: &title,
        groups: groups.collect(),
    };
    svg((1240, 700), |area| bars.draw(area))
}
