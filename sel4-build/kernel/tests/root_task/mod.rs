// SPDX-License-Identifier: MIT OR Apache-2.0
//! Root tasks that are tests: compiled by themselves, booted in QEMU.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kernel::Kernel;

/// How long a root task may take. It takes seconds on an idle machine, at most a minute.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Compiles the root task `guest/<name>.rs` with variables of the environment, boots it, and
/// gives what it printed. Its time-stamp counter counts instructions.
pub fn run(name: &str, environment: &[(&str, &str)], kernel: &Kernel, limit: Duration) -> String {
    run_in(3072, name, environment, kernel, limit)
}

/// The same in a machine of so many MiB.
pub fn run_in(
    memory: u32,
    name: &str,
    environment: &[(&str, &str)],
    kernel: &Kernel,
    limit: Duration,
) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(name);
    let log = folder.path().join("log");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/guest/{name}.rs"));
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .envs(environment.iter().copied())
        .args([
            "--edition",
            "2024",
            "--target",
            "x86_64-unknown-linux-gnu",
            "-O",
        ])
        .args(["-C", "panic=abort", "-C", "relocation-model=static"])
        .args(
            ["-nostartfiles", "-nostdlib", "-static", "-no-pie"]
                .map(|flag| format!("-Clink-arg={flag}")),
        )
        .args(["max-page-size=4096", "norelro"].map(|flag| format!("-Clink-arg=-Wl,-z,{flag}")))
        .arg(source)
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );

    let mut qemu = Command::new("qemu-system-x86_64")
        .args([
            "-accel",
            "tcg",
            "-cpu",
            "max,-erms",
            "-icount",
            "shift=0",
            "-display",
            "none",
            "-net",
            "none",
            "-m",
            &memory.to_string(),
        ])
        .args(["-no-reboot", "-monitor", "none", "-serial", "stdio"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-kernel"])
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(&program)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64 is needed");
    let start = Instant::now();
    while qemu.try_wait().unwrap().is_none() {
        if start.elapsed() > limit {
            qemu.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned()
}
