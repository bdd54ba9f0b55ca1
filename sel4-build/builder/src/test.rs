// SPDX-License-Identifier: MIT OR Apache-2.0

//! All tests: those of the host, then those that need seL4.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::console::{Console, Count};
use crate::description::Kernel;
use crate::qemu::{Machine, Outcome};
use crate::system::{self, Changes};
use crate::tree::{Tree, cargo};
use crate::watch::{self, End, Limits};

/// Systems whose components print `test NAME ... ok` or `... FAILED`.
const TESTING: &[&str] = &[
    "selftest",
    "policies",
    "hostile",
    "chaos",
    "kills",
    "collections",
    "examples",
    "waits",
];
/// Systems that have time counted in instructions, so that they do the same each time.
const COUNTING: &[&str] = &["chaos", "kills", "collections", "waits"];
/// Systems that count as one test each.
const WHOLE: &[&str] = &["demo"];

/// Compiling is silent here, as Cargo tells its progress elsewhere.
const HOST_LIMITS: Limits = Limits {
    silence: Duration::from_secs(10 * 60),
    total: Duration::from_secs(40 * 60),
};

/// What became of all tests.
pub enum Verdict {
    /// All ran.
    Counted(Count),
    /// The user ended them.
    Interrupted,
}

/// Runs all tests.
pub fn run(
    tree: &Tree,
    changes: &Changes,
    machine: impl Fn(&system::Built) -> Machine,
    out: &mut dyn Write,
) -> Result<Verdict> {
    let mut total = Count::default();
    let mut failures = Vec::new();
    let mut command = Command::new(cargo());
    command
        .args(["test", "--no-fail-fast"])
        .current_dir(&tree.root);
    eprintln!("host tests:");
    let (end, console) = watch::run(&mut command, Some(HOST_LIMITS), None, out)?;
    let mut count = console.tests();
    let reason = match end {
        End::Interrupted => return Ok(Verdict::Interrupted),
        End::Exited(status) if status.success() && count.failed == 0 => None,
        End::Exited(status) => Some(format!("cargo test: {status}")),
        End::Silent(limit) => Some(format!("silent for {} s", limit.as_secs())),
        End::TooLong(limit) => Some(format!("not ended within {} s", limit.as_secs())),
    };
    if let Some(reason) = reason {
        failures.extend_from_slice(console.failures());
        failures.push(format!("host tests: {reason}"));
        // What fails before any test does, is a failure too.
        count.failed = count.failed.max(1);
    }
    total += count;

    let kernels = match changes.kernel {
        Some(kernel) => vec![kernel],
        None => vec![Kernel::Stock, Kernel::Extended],
    };
    let systems = TESTING.iter().chain(WHOLE);
    for (name, kernel) in systems.flat_map(|name| kernels.iter().map(move |&kernel| (name, kernel)))
    {
        let changes = Changes {
            kernel: Some(kernel),
            ..changes.clone()
        };
        let outcome = system::build(tree, name, &changes).and_then(|built| {
            eprintln!("boot: {name}, kernel {kernel}");
            let limits = Limits::of_system(built.system.time_limit());
            let mut machine = machine(&built);
            machine.icount |= COUNTING.contains(name);
            machine.run(&built.kernel.image, &built.image, limits, out)
        });
        let (outcome, console) = match outcome {
            Ok(result) => result,
            Err(error) => (Outcome::Failed(format!("{error:#}")), Console::default()),
        };
        let mut count = console.tests();
        let outcome = match outcome {
            Outcome::Interrupted => return Ok(Verdict::Interrupted),
            Outcome::Passed if TESTING.contains(name) && count.passed == 0 => {
                Outcome::Failed("it has run no test".into())
            }
            other => other,
        };
        match outcome {
            Outcome::Failed(reason) => {
                failures.extend_from_slice(console.failures());
                failures.push(format!("system `{name}`, kernel {kernel}: {reason}"));
                count.failed = count.failed.max(1);
            }
            _ if WHOLE.contains(name) => count.passed += 1,
            _ => {}
        }
        total += count;
    }
    if !failures.is_empty() {
        eprintln!("what failed:");
    }
    for failure in failures {
        eprintln!("    {failure}");
    }
    Ok(Verdict::Counted(total))
}
