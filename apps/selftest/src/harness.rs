// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs tests and judges them.

use alloc::format;
use alloc::string::String;

use common::{Failure, Outcome};
use protocol::process::ExitStatus;
use runtime::process;

use crate::state;

/// Exit code when all went well.
pub const PASSED: i32 = 0;
/// Exit code of a test's process that has printed why it failed, and of the main process if
/// any test failed.
pub const FAILED: i32 = 1;

/// One test.
pub struct Test {
    /// What it shows, as a sentence.
    pub name: &'static str,
    /// Shows it.
    pub run: fn() -> Outcome,
}

/// Makes tests of functions, named as these are.
macro_rules! tests {
    ($($function:ident),* $(,)?) => {
        /// The tests of this theme.
        pub const TESTS: &[$crate::harness::Test] = &[$(
            $crate::harness::Test { name: stringify!($function), run: $function },
        )*];
    };
}
pub(crate) use tests;

/// Runs all tests, each in a process of its own.
pub fn run_all(themes: &[&[Test]]) -> i32 {
    let mut passed = 0;
    let mut failed = 0;
    for test in themes.iter().copied().flatten() {
        match run_in_process(test) {
            Ok(PASSED) => {
                runtime::println!("test {} ... ok", test.name);
                passed += 1;
            }
            // The process has said so itself.
            Ok(_) => failed += 1,
            Err(failure) => {
                report_failure(test, &failure);
                failed += 1;
            }
        }
    }
    runtime::println!("selftest: {passed} tests passed, {failed} failed");
    if passed > 0 && failed == 0 {
        PASSED
    } else {
        FAILED
    }
}

/// Runs the test of that name; this process is there for it alone.
pub fn run_one(themes: &[&[Test]], name: &str) -> i32 {
    let Some(test) = themes
        .iter()
        .copied()
        .flatten()
        .find(|test| test.name == name)
    else {
        runtime::println!("selftest: no test is called {name}");
        return FAILED;
    };
    match (test.run)() {
        Ok(()) => PASSED,
        Err(failure) => {
            report_failure(test, &failure);
            FAILED
        }
    }
}

fn report_failure(test: &Test, failure: &Failure) {
    runtime::println!("test {} ... FAILED: {failure}", test.name);
}

/// The exit code of the test's process, once nothing is left of it in the server.
fn run_in_process(test: &Test) -> Result<i32, Failure> {
    let before = client_lib::settle()?;
    let id = process::spawn("selftest", &format!("case {}", test.name))?;
    let status = process::wait(id)?;
    let after = client_lib::settle()?;

    let leak = state::difference(&before, &after);
    if leak.is_some() {
        // What is left must not disturb the tests that follow.
        state::sweep(&before)?;
    }
    match (status, leak) {
        (ExitStatus::Exited(PASSED), None) => Ok(PASSED),
        (ExitStatus::Exited(PASSED), Some(leak)) => Err(Failure::new(leak)),
        (ExitStatus::Exited(FAILED), _) => Ok(FAILED),
        (status, leak) => {
            let leak = leak.unwrap_or_else(String::new);
            Err(Failure::new(format!(
                "the test's process ended with {status:x?} {leak}"
            )))
        }
    }
}
