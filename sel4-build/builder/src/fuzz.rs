// SPDX-License-Identifier: MIT OR Apache-2.0

//! The fuzz targets of the package `fuzz`: compiled so that the fuzzer sees which code an input
//! reaches, which stable Rust can, and run.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;

use crate::components::TARGET;
use crate::console::Count;
use crate::progress::step;
use crate::test::Verdict;
use crate::tree::{Tree, cargo};
use crate::watch::{self, End};

const PACKAGE: &str = "fuzz";

/// Those of cargo-fuzz, without what only nightly Rust has: the sanitizers.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "-Cdebug-assertions",
    "--cfg=fuzzing",
];

/// Bytes of one input at most: some tens of messages.
const INPUT_BYTES: usize = 1024;
/// Inputs to begin with, as long as may be. The fuzzer by itself would begin with an empty one,
/// and be long with short ones.
const FIRST_INPUTS: u64 = 16;
/// Seconds for each target, if nothing else is asked for.
const SECONDS: u32 = 15;
/// Seconds for one input, after which it counts as hung.
const PATIENCE: u32 = 30;

/// Runs one target, or all, with so many inputs each, or for a short time.
pub fn run(
    tree: &Tree,
    only: Option<&str>,
    runs: Option<u64>,
    seed: u32,
    out: &mut dyn Write,
) -> Result<Verdict> {
    let mut targets = targets(tree)?;
    if let Some(only) = only {
        if !targets.iter().any(|target| target == only) {
            bail!("there is no target `{only}`, only {}", targets.join(", "));
        }
        targets.retain(|target| target == only);
    }
    step("fuzz targets", &targets.join(", "), || build(tree))?;

    let folder = tree.target.join(PACKAGE);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let first = first_inputs(&folder, seed)?;
    let (bound, told) = match runs {
        Some(runs) => (format!("-runs={runs}"), format!("{runs} inputs")),
        None => (
            format!("-max_total_time={SECONDS}"),
            format!("{SECONDS} s of inputs"),
        ),
    };
    let mut count = Count::default();
    for target in targets {
        eprintln!("fuzz {target}: {told} from seed {seed}");
        let prefix = folder.join(format!("{target}-"));
        let executable = tree.target.join(TARGET).join("release").join(&target);
        let mut command = Command::new(executable);
        command
            .arg(&bound)
            .arg(format!("-seed_inputs={first}"))
            .arg(format!("-seed={seed}"))
            .arg(format!("-max_len={INPUT_BYTES}"))
            .arg("-len_control=0")
            .arg(format!("-timeout={PATIENCE}"))
            .arg("-print_final_stats=1")
            .arg(format!("-artifact_prefix={}", prefix.display()))
            .current_dir(&tree.root);
        let (end, _) = watch::run(&mut command, None, None, out)?;
        let verdict = match end {
            End::Interrupted => return Ok(Verdict::Interrupted),
            End::Exited(status) if status.success() => {
                count.passed += 1;
                "ok"
            }
            _ => {
                count.failed += 1;
                "FAILED"
            }
        };
        writeln!(out, "fuzz {target} ... {verdict}")?;
    }
    Ok(Verdict::Counted(count))
}

/// Writes the first inputs, and gives their paths with commas between.
fn first_inputs(folder: &Path, seed: u32) -> Result<String> {
    // Xorshift; its state is never 0.
    let mut state = u64::from(seed) << 1 | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let mut paths = Vec::new();
    for number in 0..FIRST_INPUTS {
        let path = folder.join(format!("first-{number}"));
        let bytes: Vec<u8> = std::iter::repeat_with(&mut byte)
            .take(INPUT_BYTES)
            .collect();
        std::fs::write(&path, bytes).with_context(|| path.display().to_string())?;
        paths.push(path.display().to_string());
    }
    Ok(paths.join(","))
}

/// The names of all targets.
fn targets(tree: &Tree) -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .cargo_path(cargo())
        .manifest_path(tree.root.join("Cargo.toml"))
        .no_deps()
        .exec()?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.name == PACKAGE)
        .with_context(|| format!("there is no package `{PACKAGE}`"))?;
    let binaries = package.targets.into_iter().filter(|target| target.is_bin());
    Ok(binaries.map(|target| target.name).collect())
}

fn build(tree: &Tree) -> Result<()> {
    let status = Command::new(cargo())
        .args(["build", "--quiet", "--release", "--package", PACKAGE])
        // So that build scripts and macros get no such flags.
        .args(["--target", TARGET])
        .arg("--target-dir")
        .arg(&tree.target)
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
        .current_dir(&tree.root)
        .stdin(Stdio::null())
        .status()
        .context("cannot start cargo")?;
    ensure!(status.success(), "cargo failed");
    Ok(())
}
