// SPDX-License-Identifier: MIT OR Apache-2.0

//! Benchmarks: systems that count instructions, booted with each kernel.
//!
//! A benchmark `x` is the system `bench-x` and a module here that says what its figures must
//! meet and how they are drawn. Its results are written to `docs/results`.

mod data;
mod figure;
mod path;
mod plot;
mod steps;
mod switch;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::description::Kernel;
use crate::qemu::{Machine, Outcome};
use crate::system::{self, Changes};
use crate::tree::Tree;
use crate::watch::Limits;
use figure::{Figure, Requirement, Results, Run};

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Benchmark {
    /// Entering the kernel, switching, attaching, and changing a VAS
    Switch,
    /// How long the longest request keeps others waiting
    Steps,
    /// Using data of known types: entering their VAS, allocating, following pointers
    Data,
}

impl Benchmark {
    fn name(self) -> &'static str {
        match self {
            Benchmark::Switch => "switch",
            Benchmark::Steps => "steps",
            Benchmark::Data => "data",
        }
    }

    fn requirements(self, runs: &[Run]) -> Vec<Requirement> {
        match self {
            Benchmark::Switch => switch::requirements(runs),
            Benchmark::Steps => steps::requirements(runs),
            Benchmark::Data => data::requirements(runs),
        }
    }

    fn plot(self, runs: &[Run]) -> Result<String> {
        match self {
            Benchmark::Switch => switch::plot(runs),
            Benchmark::Steps => steps::plot(runs),
            Benchmark::Data => data::plot(runs),
        }
    }
}

/// What became of a benchmark.
pub enum Verdict {
    /// It was run; whether its figures meet what is required.
    Done(bool),
    /// The user ended it.
    Interrupted,
}

/// Runs a benchmark with each kernel, prints a table and writes the results.
pub fn run(tree: &Tree, benchmark: Benchmark, out: &mut dyn Write) -> Result<Verdict> {
    let name = benchmark.name();
    let mut runs = Vec::new();
    for kernel in [Kernel::Stock, Kernel::Extended] {
        match boot(tree, name, kernel, out)? {
            Some(figures) => runs.push(Run { kernel, figures }),
            None => return Ok(Verdict::Interrupted),
        }
    }
    let requirements = benchmark.requirements(&runs);
    let results = Results {
        benchmark: name,
        unit: "instructions",
        runs: &runs,
        requirements: &requirements,
    };
    write!(out, "\n{}\n{}", results.table(), results.requirements())?;

    let folder = tree.root.join("docs/results");
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    for (kind, contents) in [
        ("json", results.json()?),
        ("md", results.page()),
        ("svg", benchmark.plot(&runs)?),
    ] {
        let file = folder.join(name).with_extension(kind);
        std::fs::write(&file, contents).with_context(|| file.display().to_string())?;
        eprintln!("written: {}", file.display());
    }
    Ok(Verdict::Done(requirements.iter().all(|one| one.met)))
}

/// The system of a benchmark.
fn system_of(name: &str) -> String {
    format!("bench-{name}")
}

/// The figures with one kernel; `None` if the user ended it.
fn boot(
    tree: &Tree,
    name: &str,
    kernel: Kernel,
    out: &mut dyn Write,
) -> Result<Option<Vec<Figure>>> {
    let name = system_of(name);
    let changes = Changes {
        kernel: Some(kernel),
        ..Changes::default()
    };
    let built = system::build(tree, &name, &changes)?;
    let machine = Machine {
        memory: built.system.memory,
        icount: true,
        gdb: false,
    };
    eprintln!("boot: {name}, kernel {kernel}, {}", machine.memory);
    let limit = built.system.time_limit();
    let limits = Limits {
        silence: limit.min(SILENCE),
        total: limit,
    };
    let mut output = Tee {
        shown: out,
        kept: Vec::new(),
    };
    let (outcome, _) = machine.run(&built.kernel.image, &built.image, limits, &mut output)?;
    match outcome {
        Outcome::Passed => {
            let mut figures = Figure::parse(&String::from_utf8_lossy(&output.kept))?;
            if kernel == Kernel::Extended && name == system_of(Benchmark::Switch.name()) {
                figures.extend(path::figures(&built.kernel.elf)?);
            }
            Ok(Some(figures))
        }
        Outcome::Interrupted => Ok(None),
        Outcome::Failed(reason) => bail!("system `{name}`, kernel {kernel}: {reason}"),
    }
}

/// A figure is printed only once it has been counted as often as needed.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Shows output and keeps it.
struct Tee<'a> {
    shown: &'a mut dyn Write,
    kept: Vec<u8>,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.shown.write(bytes)?;
        self.kept.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shown.flush()
    }
}
