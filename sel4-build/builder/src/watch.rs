// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a program, shows what it prints, and ends it when it hangs or the user asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::console::Console;

/// How often the user's wish to stop is looked for.
const POLL: Duration = Duration::from_millis(50);
/// How long a program may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(2);

/// What the user sees of a shell whose program was interrupted.
pub const INTERRUPTED: u8 = 130;

static WATCHING: AtomicBool = AtomicBool::new(false);
static INTERRUPT: AtomicBool = AtomicBool::new(false);

/// From now on, Ctrl-C and requests to end reach the program being watched.
pub fn handle_interrupts() -> Result<()> {
    ctrlc::set_handler(|| {
        INTERRUPT.store(true, Ordering::SeqCst);
        if !WATCHING.load(Ordering::SeqCst) {
            std::process::exit(INTERRUPTED.into());
        }
    })
    .context("cannot handle Ctrl-C")
}

/// How long a program may run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Without printing anything.
    pub silence: Duration,
    /// In all.
    pub total: Duration,
}

impl Limits {
    /// Those of a system that may run for so long in all: one that prints nothing for a minute
    /// counts as hung.
    pub fn of_system(total: Duration) -> Self {
        let silence = Duration::from_secs(60);
        Limits { silence, total }
    }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(ExitStatus),
    /// It printed nothing for too long.
    Silent(Duration),
    /// It ran too long.
    TooLong(Duration),
    /// The user asked for it.
    Interrupted,
}

/// Runs `command`, copying what it prints to `out` at once, and returns how it ended and
/// what it printed. Lines on its standard error that are
/// `ignored` are not shown.
pub fn run(
    command: &mut Command,
    limits: Option<Limits>,
    ignored: Option<fn(&str) -> bool>,
    out: &mut dyn Write,
) -> Result<(End, Console)> {
    if ignored.is_some() {
        command.stderr(Stdio::piped());
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Ctrl-C reaches us alone, and we end it with all it has started.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().display()))?;
    WATCHING.store(true, Ordering::SeqCst);
    if let (Some(errors), Some(ignored)) = (child.stderr.take(), ignored) {
        std::thread::spawn(move || {
            let lines = BufReader::new(errors).lines().map_while(Result::ok);
            for line in lines.filter(|line| !ignored(line)) {
                eprintln!("{line}");
            }
        });
    }
    let result = watch(&mut child, limits, out);
    // Whatever happened, nothing is left behind.
    let ended = end(&mut child, !matches!(result, Ok((None, _))));
    WATCHING.store(false, Ordering::SeqCst);
    let (cause, console) = result?;
    let status = ended?;
    Ok((cause.unwrap_or(End::Exited(status)), console))
}

/// Returns why the program is to be ended, or nothing if it has ended its output.
fn watch(
    child: &mut Child,
    limits: Option<Limits>,
    out: &mut dyn Write,
) -> Result<(Option<End>, Console)> {
    let mut output = child.stdout.take().context("the program has no output")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });

    let mut console = Console::default();
    let start = Instant::now();
    let mut heard = start;
    let cause = loop {
        if INTERRUPT.load(Ordering::SeqCst) {
            break Some(End::Interrupted);
        }
        match receiver.recv_timeout(POLL) {
            Ok(bytes) => {
                heard = Instant::now();
                out.write_all(&console.take(&bytes))?;
                out.flush()?;
            }
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(limits) = limits {
            if start.elapsed() >= limits.total {
                break Some(End::TooLong(limits.total));
            }
            if heard.elapsed() >= limits.silence {
                break Some(End::Silent(limits.silence));
            }
        }
    };
    out.write_all(&console.finish())?;
    out.flush()?;
    Ok((cause, console))
}

/// Waits for the end of a program, after asking it to end if `stop`; makes it end if that
/// takes too long. What it has started is treated the same.
fn end(child: &mut Child, stop: bool) -> Result<ExitStatus> {
    let group = Pid::from_raw(i32::try_from(child.id())?);
    if stop {
        // It may just have ended: that is no error.
        let _ = killpg(group, Signal::SIGTERM);
    }
    let start = Instant::now();
    while start.elapsed() < GRACE {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(POLL / 10);
    }
    let _ = killpg(group, Signal::SIGKILL);
    Ok(child.wait()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENEROUS: Limits = Limits {
        silence: Duration::from_secs(60),
        total: Duration::from_secs(60),
    };

    fn shell(script: &str, limits: Limits) -> (End, String) {
        let mut shown = Vec::new();
        let mut command = Command::new("sh");
        let command = command.args(["-c", script]);
        let (end, _) = run(command, Some(limits), None, &mut shown).unwrap();
        (end, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn a_program_that_ends_gives_its_status_and_output() {
        let (end, shown) = shell("echo hello; exit 33", GENEROUS);
        assert_eq!(shown, "hello\n");
        let End::Exited(status) = end else {
            panic!("{end:?}");
        };
        assert_eq!(status.code(), Some(33));
    }

    #[test]
    fn a_program_that_closes_its_output_early_still_gives_its_status() {
        let (end, _) = shell("exec >&-; sleep 0.3; exit 7", GENEROUS);
        let End::Exited(status) = end else {
            panic!("{end:?}");
        };
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn a_silent_program_is_ended() {
        let silence = Duration::from_millis(300);
        let start = Instant::now();
        let (end, shown) = shell(
            "echo begin; sleep 60",
            Limits {
                silence,
                ..GENEROUS
            },
        );
        assert_eq!(end, End::Silent(silence));
        assert_eq!(shown, "begin\n");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_prints_for_ever_is_ended() {
        let total = Duration::from_millis(300);
        let script = "while :; do echo more; sleep 0.05; done";
        let (end, _) = shell(script, Limits { total, ..GENEROUS });
        assert_eq!(end, End::TooLong(total));
    }

    #[test]
    fn a_program_that_does_not_obey_is_made_to_end_with_all_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("child");
        let script = format!(
            "trap '' TERM; (trap '' TERM; exec sleep 61) & echo $! > {}; sleep 62; sleep 63",
            file.display()
        );
        let silence = Duration::from_millis(300);
        let (end, _) = shell(
            &script,
            Limits {
                silence,
                ..GENEROUS
            },
        );
        assert_eq!(end, End::Silent(silence));
        let child = std::fs::read_to_string(file).unwrap();
        let stat = format!("/proc/{}/stat", child.trim());
        // Nobody may have waited for it, but it no longer runs.
        let runs = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let deadline = Instant::now() + Duration::from_secs(5);
        while runs() {
            assert!(Instant::now() < deadline, "it still runs");
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let error = run(
            &mut Command::new("no-such-program"),
            None,
            None,
            &mut std::io::sink(),
        );
        let message = error.err().unwrap().to_string();
        assert_eq!(message, "cannot start no-such-program");
    }
}
