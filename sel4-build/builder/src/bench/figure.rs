// SPDX-License-Identifier: MIT OR Apache-2.0

//! Figures: what a system prints of them, and how they are kept.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::description::Kernel;

/// What the line of a figure begins with; an object of JSON follows (`apps/bench`).
const PREFIX: &str = "figure ";

/// What a figure is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Of {
    /// What was done.
    pub measure: String,
    /// Which way, if there are several.
    pub series: String,
    /// With how much.
    pub case: String,
    /// The case as a number, for plots.
    pub x: u64,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Instructions.
    Counted {
        median: u64,
        minimum: u64,
        maximum: u64,
        /// How many counts these are of.
        repeats: u64,
    },
    /// Nothing, for this reason.
    NotMeasured { reason: String },
}

/// A figure, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    #[serde(flatten)]
    pub of: Of,
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Figure {
    /// The figures in what a system printed.
    pub fn parse(output: &str) -> Result<Vec<Figure>> {
        let lines = output.lines().filter_map(|line| line.strip_prefix(PREFIX));
        lines
            .map(|line| serde_json::from_str(line).with_context(|| format!("no figure: {line}")))
            .collect()
    }
}

/// The figures of one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The kernel.
    pub kernel: Kernel,
    /// In the order in which they were printed.
    pub figures: Vec<Figure>,
}

impl Run {
    /// The figure of this.
    fn find(&self, of: &Of) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.of == *of)
    }

    /// The median of a figure that was counted.
    pub fn median(&self, measure: &str, series: &str, x: u64) -> Option<u64> {
        let figure = self.figures.iter().find(|figure| {
            let of = &figure.of;
            (of.measure.as_str(), of.series.as_str(), of.x) == (measure, series, x)
        })?;
        match figure.outcome {
            Outcome::Counted { median, .. } => Some(median),
            Outcome::NotMeasured { .. } => None,
        }
    }

    /// The counted points of a series.
    pub fn points(&self, measure: &str, series: &str) -> Vec<(u64, u64)> {
        let of = |figure: &Figure| {
            let of = &figure.of;
            let wanted = (of.measure.as_str(), of.series.as_str()) == (measure, series);
            wanted.then_some(of.x)
        };
        let points = self.figures.iter().filter_map(of);
        points
            .filter_map(|x| Some((x, self.median(measure, series, x)?)))
            .collect()
    }
}

/// A requirement on figures, and whether they meet it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// What is required.
    pub text: String,
    /// What was seen.
    pub seen: String,
    /// Whether that is enough.
    pub met: bool,
}

impl Requirement {
    /// That `value` is at most so much.
    pub fn at_most(text: &str, most: u64, value: Option<u64>) -> Self {
        Requirement {
            text: text.into(),
            seen: value.map_or("not measured".into(), grouped),
            met: value.is_some_and(|value| value <= most),
        }
    }

    /// That `value` is at most so many hundredths away from `reference`.
    pub fn within(text: &str, percent: u64, value: Option<u64>, reference: Option<u64>) -> Self {
        Self::beside(text, percent, value, reference, u64::abs_diff)
    }

    /// That `value` is at most so many hundredths more than `reference`, if not less.
    pub fn at_most_more(
        text: &str,
        percent: u64,
        value: Option<u64>,
        reference: Option<u64>,
    ) -> Self {
        Self::beside(text, percent, value, reference, u64::saturating_sub)
    }

    fn beside(
        text: &str,
        percent: u64,
        value: Option<u64>,
        reference: Option<u64>,
        difference: fn(u64, u64) -> u64,
    ) -> Self {
        let (seen, met) = match (value, reference) {
            (Some(value), Some(reference)) => (
                format!("{} to {}", grouped(value), grouped(reference)),
                difference(value, reference) * 100 <= reference * percent,
            ),
            _ => ("not measured".into(), false),
        };
        Requirement {
            text: text.into(),
            seen,
            met,
        }
    }
}

/// All that is written of a benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Results<'a> {
    /// Its name.
    pub benchmark: &'a str,
    /// What is counted.
    pub unit: &'static str,
    /// By kernel.
    pub runs: &'a [Run],
    /// What is required.
    pub requirements: &'a [Requirement],
}

impl Results<'_> {
    /// As JSON, for programs.
    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// As a page of Markdown.
    pub fn page(&self) -> String {
        let Results {
            benchmark, unit, ..
        } = self;
        format!(
            "<!-- SPDX-License-Identifier: MIT OR Apache-2.0 -->\n\n# {benchmark}\n\n\
             Written by `./simulate.sh bench {benchmark}`; [how](../benchmarks.md). Counted are \
             {unit}: median (least – most).\n\n![Charts of the table]({benchmark}.svg)\n\n\
             {}\nRequired:\n\n{}",
            self.table(),
            self.requirements(),
        )
    }

    /// As a table, for people.
    pub fn table(&self) -> String {
        let mut text = String::new();
        let kernels = self.runs.iter().map(|run| run.kernel.to_string());
        let mut header: Vec<String> = ["", "", ""].map(Into::into).into();
        header.extend(kernels);
        let rows = self.rows();
        let ratio = self.runs.len() == 2;
        if ratio {
            header.push("ratio".into());
        }
        write_row(&mut text, &header);
        let rules = header.iter().enumerate();
        let rules: Vec<_> = rules
            .map(|(column, _)| if column < 3 { "---" } else { "---:" }.to_owned())
            .collect();
        write_row(&mut text, &rules);
        let mut before = [String::new(), String::new()];
        for of in rows {
            // What is as in the row above is not said again.
            let names = [of.measure.clone(), of.series.clone()];
            let mut row: Vec<String> = match names[0] == before[0] {
                false => names.to_vec(),
                true if names[1] == before[1] => vec![String::new(); 2],
                true => vec![String::new(), names[1].clone()],
            };
            before = names;
            row.push(of.case.clone());
            let medians: Vec<_> = self
                .runs
                .iter()
                .map(|run| run.median(&of.measure, &of.series, of.x))
                .collect();
            row.extend(self.runs.iter().map(|run| cell(run.find(of))));
            if ratio {
                row.push(match medians[..] {
                    [Some(first), Some(second)] => times(first, second),
                    _ => String::new(),
                });
            }
            write_row(&mut text, &row);
        }
        text
    }

    /// What there are figures of, in order, each once.
    fn rows(&self) -> Vec<&Of> {
        let mut rows: Vec<&Of> = Vec::new();
        for figure in self.runs.iter().flat_map(|run| &run.figures) {
            if !rows.contains(&&figure.of) {
                rows.push(&figure.of);
            }
        }
        rows
    }

    /// What is required, a line each.
    pub fn requirements(&self) -> String {
        let mut text = String::new();
        for Requirement {
            text: what,
            seen,
            met,
        } in self.requirements
        {
            let verdict = if *met { "met" } else { "**not met**" };
            let _ = writeln!(text, "- {what}: {seen}, {verdict}");
        }
        text
    }
}

fn write_row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn cell(figure: Option<&Figure>) -> String {
    match figure.map(|figure| &figure.outcome) {
        Some(&Outcome::Counted {
            median,
            minimum,
            maximum,
            ..
        }) => format!(
            "{} ({} – {})",
            grouped(median),
            grouped(minimum),
            grouped(maximum)
        ),
        Some(Outcome::NotMeasured { reason }) => format!("not measured: {reason}"),
        None => "not measured".into(),
    }
}

/// How many times the second the first is.
fn times(first: u64, second: u64) -> String {
    let ratio = first as f64 / second.max(1) as f64;
    match ratio {
        10.0.. => grouped(ratio.round() as u64),
        _ => format!("{ratio:.2}"),
    }
}

/// A number with its digits in groups of three.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn figure(case: &str, x: u64, median: u64) -> Figure {
        Figure {
            of: Of {
                measure: "attach".into(),
                series: "small pages".into(),
                case: case.into(),
                x,
            },
            outcome: Outcome::Counted {
                median,
                minimum: median - 1,
                maximum: median + 10,
                repeats: 3,
            },
        }
    }

    fn runs() -> Vec<Run> {
        let missing = Figure {
            outcome: Outcome::NotMeasured {
                reason: "no slots".into(),
            },
            ..figure("8 GiB", 8, 1)
        };
        vec![
            Run {
                kernel: Kernel::Stock,
                figures: vec![figure("4 KiB", 4, 12_345_678), missing],
            },
            Run {
                kernel: Kernel::Extended,
                figures: vec![figure("4 KiB", 4, 1_000), figure("8 GiB", 8, 1_010)],
            },
        ]
    }

    fn results<'a>(runs: &'a [Run], requirements: &'a [Requirement]) -> Results<'a> {
        Results {
            benchmark: "test",
            unit: "instructions",
            runs,
            requirements,
        }
    }

    #[test]
    fn figures_are_found_among_other_output() {
        let output = "boot\nfigure {\"measure\":\"a\",\"series\":\"\",\"case\":\"b\",\"x\":1,\
                      \"median\":2,\"minimum\":1,\"maximum\":3,\"repeats\":5}\n\
                      figure {\"measure\":\"a\",\"series\":\"\",\"case\":\"c\",\"x\":2,\
                      \"reason\":\"no memory\"}\nend\n";
        let figures = Figure::parse(output).unwrap();
        assert_eq!(figures.len(), 2);
        assert_eq!(
            figures[0].outcome,
            Outcome::Counted {
                median: 2,
                minimum: 1,
                maximum: 3,
                repeats: 5
            }
        );
        assert_eq!(
            figures[1].outcome,
            Outcome::NotMeasured {
                reason: "no memory".into()
            }
        );
        assert!(Figure::parse("figure {\"measure\":\"a\"}").is_err());
        assert!(Figure::parse("figure x").is_err());
    }

    #[test]
    fn the_json_says_all_that_was_counted_and_why_something_was_not() {
        let runs = runs();
        let text = results(&runs, &[]).json().unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["unit"], "instructions");
        let stock = &read["runs"][0];
        assert_eq!(stock["kernel"], "stock");
        assert_eq!(stock["figures"][0]["median"], 12_345_678);
        assert_eq!(stock["figures"][1]["reason"], "no slots");
        assert_eq!(stock["figures"][1]["median"], serde_json::Value::Null);
        let again: Vec<Run> = serde_json::from_value(read["runs"].clone()).unwrap();
        assert_eq!(again, runs);
    }

    #[test]
    fn the_table_has_a_row_for_each_case_and_a_column_for_each_kernel() {
        let runs = runs();
        let expected = "|  |  |  | stock | extended | ratio |\n\
             | --- | --- | --- | ---: | ---: | ---: |\n\
             | attach | small pages | 4 KiB | 12,345,678 (12,345,677 – 12,345,688) | \
             1,000 (999 – 1,010) | 12,346 |\n\
             |  |  | 8 GiB | not measured: no slots | 1,010 (1,009 – 1,020) |  |\n";
        assert_eq!(results(&runs, &[]).table(), expected);
    }

    #[test]
    fn a_requirement_is_met_only_by_figures_that_are_near_enough() {
        let within = |value, reference| Requirement::within("same", 1, value, reference).met;
        assert!(within(Some(1_010), Some(1_000)));
        assert!(within(Some(990), Some(1_000)));
        assert!(!within(Some(1_011), Some(1_000)));
        assert!(!within(None, Some(1_000)));
        assert!(!within(Some(1_000), None));
        let more = |value, reference| Requirement::at_most_more("more", 1, value, reference).met;
        assert!(more(Some(1_010), Some(1_000)));
        assert!(more(Some(1), Some(1_000)));
        assert!(!more(Some(1_011), Some(1_000)));
        assert!(!more(None, Some(1_000)));
    }

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
