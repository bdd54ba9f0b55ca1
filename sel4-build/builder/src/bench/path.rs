// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where the instructions of the fast path of Switch go, read from the kernel as compiled.
//!
//! Its code is straight: what is unusual is jumped to. So the instructions of a group are
//! those between two that are known: the entry's jump, the call of the fast path, the load of
//! CR3, SYSRET.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::figure::{Figure, Of, Outcome};

/// The measure of these figures.
const PATH: &str = "the fast path of Switch, as compiled";

/// The figures of a kernel with symbols.
pub fn figures(kernel: &Path) -> Result<Vec<Figure>> {
    let output = Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn"])
        .arg(kernel)
        .output()
        .context("objdump is needed")?;
    ensure!(
        output.status.success(),
        "objdump cannot read {}",
        kernel.display()
    );
    let code = String::from_utf8_lossy(&output.stdout);
    let entry = function(&code, "handle_fastsyscall")?;
    let told_apart = function(&code, "c_handle_syscall")?;
    let switch = function(&code, "fastpath_pml4_switch")?;
    // The fast paths of IPC are called before it: what the way to it does not pass.
    let ipc = told_apart
        .iter()
        .filter(|line| line.contains("<fastpath_call>"))
        .count()
        + passed_over(&told_apart, "<slowpath>", "<fastpath_reply_recv>")?;
    let load = position(&switch, "%cr3")?;
    let groups = [
        ("entering: the thread's registers are saved", entry.len()),
        (
            "telling apart: the system call, the invocation",
            position(&told_apart, "<fastpath_pml4_switch>")? + 1 - ipc,
        ),
        ("the cap, its checks, the derivation list, CR3", load + 1),
        (
            "leaving: the registers are restored",
            position(&switch, "sysret")? - load,
        ),
    ];
    let figure = |(x, (case, count)): (u64, (&str, usize))| Figure {
        of: Of {
            measure: PATH.into(),
            series: String::new(),
            case: case.into(),
            x,
        },
        outcome: Outcome::Counted {
            median: count as u64,
            minimum: count as u64,
            maximum: count as u64,
            repeats: 1,
        },
    };
    Ok((0..).zip(groups).map(figure).collect())
}

/// The instructions of a function.
fn function<'a>(code: &'a str, name: &str) -> Result<Vec<&'a str>> {
    let head = format!("<{name}>:");
    let lines = code
        .lines()
        .skip_while(|line| !line.ends_with(&head))
        .skip(1);
    let lines: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    ensure!(!lines.is_empty(), "the kernel has no function {name}");
    Ok(lines)
}

fn position(lines: &[&str], what: &str) -> Result<usize> {
    let found = lines.iter().position(|line| line.contains(what));
    found.with_context(|| format!("no instruction with {what}"))
}

/// How many instructions there are from one to another.
fn passed_over(lines: &[&str], from: &str, to: &str) -> Result<usize> {
    Ok(position(lines, to)? + 1 - position(lines, from)?)
}
