// SPDX-License-Identifier: MIT OR Apache-2.0

//! Boots a system in QEMU and judges how it ended.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use image::power::{EXIT_FAIL, EXIT_PASS, EXIT_PORT, qemu_status};

use crate::console::Console;
use crate::description::Bytes;
use crate::watch::{self, End, Limits};

/// What QEMU says of every seL4 kernel, which asks for a video mode that it does not need,
/// and what it says when we end it.
fn is_noise(line: &str) -> bool {
    line.contains("multiboot knows VBE") || line.contains("terminating on signal")
}

/// How to boot.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Its memory.
    pub memory: Bytes,
    /// Time is counted in instructions.
    pub icount: bool,
    /// It waits for a debugger.
    pub gdb: bool,
}

/// What became of a system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It said so, and QEMU did too.
    Passed,
    /// It did not; with the reason.
    Failed(String),
    /// The user ended it.
    Interrupted,
}

impl Machine {
    /// The command that boots `image` on `kernel`.
    pub fn command(&self, kernel: &Path, image: &Path) -> Command {
        // QEMU must not outlive us, even if we are killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]);
        command.args(["-accel", "tcg", "-cpu", "max,-erms", "-m"]);
        command.arg(format!("{}B", self.memory.0));
        command.args(["-nodefaults", "-no-reboot"]);
        command.args(["-display", "none", "-serial", "stdio"]);
        command.arg("-device");
        command.arg(format!("isa-debug-exit,iobase={EXIT_PORT:#x},iosize=0x04"));
        if self.icount {
            command.args(["-icount", "shift=0"]);
        }
        if self.gdb {
            command.args(["-s", "-S"]);
        }
        command.arg("-kernel").arg(kernel);
        command.arg("-initrd").arg(image);
        command
    }

    /// Boots a system, shows what it prints, and says what became of it and what it printed.
    pub fn run(
        &self,
        kernel: &Path,
        image: &Path,
        limits: Limits,
        out: &mut dyn Write,
    ) -> anyhow::Result<(Outcome, Console)> {
        // One who is debugging has time.
        let limits = (!self.gdb).then_some(limits);
        let (end, console) = watch::run(
            &mut self.command(kernel, image),
            limits,
            Some(is_noise),
            out,
        )?;
        Ok((judge(end, &console), console))
    }
}

/// A system has passed only if its sentinel and QEMU's exit status both say so.
fn judge(end: End, console: &Console) -> Outcome {
    let hung = |how: &str, limit: Duration| {
        let mut reason = format!("{how} {} s", limit.as_secs());
        let last = console.last_lines();
        if last.is_empty() {
            reason += "; it has printed nothing";
        } else {
            reason += "; its last output:";
        }
        for line in last {
            reason += &format!("\n    {line}");
        }
        Outcome::Failed(reason)
    };
    let status = match end {
        End::Interrupted => return Outcome::Interrupted,
        End::Silent(limit) => return hung("it has been silent for", limit),
        End::TooLong(limit) => return hung("it has not ended within", limit),
        End::Exited(status) => status,
    };
    let pass = qemu_status(EXIT_PASS);
    let fail = qemu_status(EXIT_FAIL);
    let failed = console.tests().failed;
    match (console.verdict(), status.code()) {
        (Some(true), Some(code)) if code == pass && failed == 0 => Outcome::Passed,
        (Some(true), Some(code)) if code == pass => {
            Outcome::Failed(format!("{failed} tests failed"))
        }
        (Some(false), Some(code)) if code == fail => {
            Outcome::Failed("it ended with a failure".into())
        }
        (None, _) => Outcome::Failed(format!(
            "QEMU ended ({status}) without a verdict from the system"
        )),
        (Some(verdict), _) => Outcome::Failed(format!(
            "the system says that it {}, but QEMU ended with {status}",
            if verdict { "passed" } else { "failed" }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        silence: Duration::from_millis(500),
        total: Duration::from_secs(60),
    };

    /// What is said of a system that does this.
    fn outcome(script: &str) -> Outcome {
        let mut command = Command::new("sh");
        let (end, console) = watch::run(
            command.args(["-c", script]),
            Some(LIMITS),
            None,
            &mut std::io::sink(),
        )
        .unwrap();
        judge(end, &console)
    }

    #[track_caller]
    fn assert_failed(script: &str, reason: &str) {
        match outcome(script) {
            Outcome::Failed(told) => assert!(told.contains(reason), "{told}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sentinel_and_exit_status_together_are_success() {
        let script = r"printf 'test a ... ok\r\n\004PASS\n'; exit 33";
        assert_eq!(outcome(script), Outcome::Passed);
    }

    #[test]
    fn an_exit_status_without_a_sentinel_is_failure() {
        assert_failed("exit 33", "without a verdict");
        assert_failed("echo PASS; exit 33", "without a verdict");
        assert_failed("exit 0", "without a verdict");
    }

    #[test]
    fn a_sentinel_without_the_exit_status_is_failure() {
        assert_failed(r"printf '\004PASS\n'; exit 0", "says that it passed, but");
        assert_failed(r"printf '\004PASS\n'; exit 35", "says that it passed, but");
        assert_failed(
            r"printf '\004PASS\n'; kill -9 $$",
            "says that it passed, but",
        );
        assert_failed(r"printf '\004FAIL\n'; exit 33", "says that it failed, but");
    }

    #[test]
    fn a_system_that_says_it_failed_has_failed() {
        assert_failed(r"printf '\004FAIL\n'; exit 35", "ended with a failure");
    }

    #[test]
    fn a_failed_test_is_failure_whatever_the_system_says() {
        let script = r"printf 'test a ... FAILED\n\004PASS\n'; exit 33";
        assert_failed(script, "1 tests failed");
    }

    #[test]
    fn of_a_hung_system_the_last_output_is_told() {
        assert_failed("echo first; printf last; sleep 60", "\n    first\n    last");
        assert_failed("sleep 60", "it has printed nothing");
    }

    #[test]
    fn the_machine_is_as_asked() {
        let machine = Machine {
            memory: Bytes(512 << 20),
            icount: false,
            gdb: false,
        };
        let arguments = |machine: Machine| {
            let command = machine.command(Path::new("kernel"), Path::new("image"));
            let arguments: Vec<_> = command
                .get_args()
                .map(|a| a.to_string_lossy().into_owned())
                .collect();
            arguments.join(" ")
        };
        let plain = arguments(machine);
        assert!(plain.contains("-m 536870912B "));
        assert!(plain.ends_with("-kernel kernel -initrd image"));
        assert!(!plain.contains("-icount") && !plain.contains(" -S"));
        assert!(
            arguments(Machine {
                icount: true,
                ..machine
            })
            .contains("-icount shift=0")
        );
        assert!(
            arguments(Machine {
                gdb: true,
                ..machine
            })
            .contains("-s -S")
        );
    }
}
