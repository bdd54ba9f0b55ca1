// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds system images and runs them in QEMU; what `simulate.sh` calls.

#![forbid(unsafe_code)]

mod archive;
mod bench;
mod boot;
mod components;
mod console;
mod description;
mod fuzz;
mod program;
mod progress;
mod qemu;
mod system;
mod test;
mod tree;
mod watch;

use std::io::stdout;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail, ensure};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::bench::Benchmark;
use crate::description::Bytes;
use crate::qemu::{Machine, Outcome};
use crate::system::{Built, Changes};
use crate::test::Verdict;
use crate::tree::Tree;
use crate::watch::Limits;

/// What runs when nothing is said.
const DEFAULT_SYSTEM: &str = "demo";

/// Builds systems of seL4, the VAS server and its clients, and runs them in QEMU.
///
/// Without a command it builds and runs the demo.
#[derive(Parser)]
#[command(
    name = "simulate.sh",
    bin_name = "./simulate.sh",
    disable_version_flag = true
)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Build a system and run it
    Run {
        /// Its name, or the path of a description (.toml)
        #[arg(default_value = DEFAULT_SYSTEM)]
        system: String,
    },
    /// Build a system and say where it is
    Build {
        /// Its name, or the path of a description (.toml)
        #[arg(default_value = DEFAULT_SYSTEM)]
        system: String,
    },
    /// Run all tests, on the host and in QEMU
    Test,
    /// Send random input to what reads messages and archives, on the host
    Fuzz {
        /// One of the targets (vas-server/fuzz/fuzz_targets) instead of all
        target: Option<String>,
        /// How many inputs each target gets, instead of those of a short time
        #[arg(long)]
        runs: Option<u64>,
        /// Where the random numbers begin
        #[arg(long, default_value_t = 1)]
        seed: u32,
    },
    /// Count instructions with each kernel and write docs/results
    Bench {
        /// What to count
        benchmark: Benchmark,
    },
    /// Remove all that was built
    Clean,
}

#[derive(Args, Default, PartialEq)]
struct Options {
    /// Take a kernel that checks itself and prints what it refuses
    #[arg(long, global = true)]
    debug: bool,
    /// Take this kernel instead of the description's; for `test`, instead of both
    #[arg(long, global = true, value_name = "KERNEL")]
    kernel: Option<description::Kernel>,
    /// Memory of the machine, such as 512M or 2G, instead of the description's
    #[arg(long, global = true, value_name = "SIZE", value_parser = description::parse_memory)]
    memory: Option<Bytes>,
    /// Put this file into the image in place of the one named "input"
    #[arg(long, global = true, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Wait for a debugger before the first instruction
    #[arg(long, global = true)]
    gdb: bool,
    /// Count time in instructions: exact and repeatable
    #[arg(long, global = true)]
    icount: bool,
}

impl Options {
    fn changes(&self) -> Changes {
        Changes {
            debug: self.debug,
            kernel: self.kernel,
            input: self.input.clone(),
        }
    }

    fn machine(&self, built: &Built) -> Machine {
        Machine {
            memory: self.memory.unwrap_or(built.system.memory),
            icount: self.icount,
            gdb: self.gdb,
        }
    }
}

fn main() -> ExitCode {
    match try_main() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn try_main() -> Result<ExitCode> {
    let tree = Tree::find()?;
    let systems = format!("Systems: {}", tree.system_names()?.join(", "));
    let matches = Cli::command().after_help(systems).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let options = cli.options;

    watch::handle_interrupts()?;
    let action = cli.action.unwrap_or_else(|| Action::Run {
        system: DEFAULT_SYSTEM.into(),
    });
    match action {
        Action::Build { system } => {
            let built = system::build(&tree, &system, &options.changes())?;
            println!("{}", built.kernel.image.display());
            println!("{}", built.image.display());
            Ok(ExitCode::SUCCESS)
        }
        Action::Run { system } => run(&tree, &system, &options),
        Action::Test => {
            ensure!(!options.gdb, "--gdb needs the command `run`");
            let machine = |built: &Built| options.machine(built);
            let verdict = test::run(&tree, &options.changes(), machine, &mut stdout())?;
            Ok(counted(verdict))
        }
        Action::Fuzz { target, runs, seed } => {
            ensure!(
                options == Options::default(),
                "`fuzz` runs on the host: it takes no options of systems"
            );
            let verdict = fuzz::run(&tree, target.as_deref(), runs, seed, &mut stdout())?;
            Ok(counted(verdict))
        }
        Action::Bench { benchmark } => {
            ensure!(
                options == Options::default(),
                "figures are those of the description: `bench` takes no options"
            );
            match bench::run(&tree, benchmark, &mut stdout())? {
                bench::Verdict::Interrupted => Ok(interrupted()),
                bench::Verdict::Done(true) => Ok(ExitCode::SUCCESS),
                bench::Verdict::Done(false) => bail!("not all that is required is met"),
            }
        }
        Action::Clean => {
            let status = Command::new(tree::cargo())
                .arg("clean")
                .current_dir(&tree.root)
                .status()?;
            ensure!(status.success(), "cargo clean failed");
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run(tree: &Tree, name: &str, options: &Options) -> Result<ExitCode> {
    let built = system::build(tree, name, &options.changes())?;
    let machine = options.machine(&built);
    eprintln!("boot: {name}, {}", machine.memory);
    if machine.gdb {
        eprintln!(
            "waiting for: gdb -ex 'target remote :1234' -ex 'add-symbol-file {}' {}",
            built.init.display(),
            built.kernel.elf.display()
        );
    }
    let limit = Limits::of_system(built.system.time_limit());
    let (outcome, _) = machine.run(&built.kernel.image, &built.image, limit, &mut stdout())?;
    match outcome {
        Outcome::Passed => Ok(ExitCode::SUCCESS),
        Outcome::Interrupted => Ok(interrupted()),
        Outcome::Failed(reason) => bail!("system `{name}` failed: {reason}"),
    }
}

fn counted(verdict: Verdict) -> ExitCode {
    match verdict {
        Verdict::Interrupted => interrupted(),
        Verdict::Counted(count) => {
            println!("{} passed, {} failed", count.passed, count.failed);
            match count.failed {
                0 => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn interrupted() -> ExitCode {
    eprintln!("interrupted");
    ExitCode::from(watch::INTERRUPTED)
}
