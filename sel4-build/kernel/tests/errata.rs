// SPDX-License-Identifier: MIT OR Apache-2.0
//! The errata, on the real kernel in QEMU; and that without them the same tests fail.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kernel::{Config, Kernel, Series, build};

/// The errata that a root task can try, by the names of their patches, and whether the
/// kernel halts where they are missing.
const CASES: [(&str, bool); 11] = [
    ("01-frame-cap-unmap", false),
    ("02-ipc-buffer-alignment", false),
    ("03-pdpt-cap-copy", true),
    ("04-fault-address", false),
    ("06-user-address-range", false),
    ("07-entry-flags", true),
    ("08-remap-flush", false),
    ("09-ipc-buffer-range", false),
    ("10-segment-base-leak", false),
    ("13-asid-loss", false),
    ("14-set-space-root", false),
];
const DONE: &str = "errata: done";
/// How long a guest may take. It takes a few seconds on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Compiles the root task for some cases, boots it, and gives what it printed.
fn run(kernel: &Kernel, cases: &str, limit: Duration) -> String {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("errata");
    let log = folder.path().join("log");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest/errata.rs");
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
        .env("ERRATA_CASES", cases)
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
            "-accel", "tcg", "-cpu", "max", "-m", "3072", "-display", "none", "-net", "none",
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

#[test]
fn the_stock_kernel_has_no_defect_that_the_errata_mend() {
    let out = tempfile::tempdir().unwrap();
    let kernel = build(&Config::default(), Series::Stock, out.path()).unwrap();
    let cases: Vec<&str> = CASES.iter().map(|(case, _)| *case).collect();
    let output = run(&kernel, &cases.join(","), LIMIT);
    assert!(
        output.contains(DONE) && !output.contains(": broken"),
        "{output}"
    );
    for case in cases {
        assert!(
            output.contains(&format!("{case}: mended")),
            "{case}\n{output}"
        );
    }
}

#[test]
#[ignore = "takes a minute; shows that the test above can fail"]
fn the_kernel_as_released_has_each_of_them() {
    let out = tempfile::tempdir().unwrap();
    let kernel = build(&Config::default(), Series::Unpatched, out.path()).unwrap();
    for (case, halts) in CASES {
        // A kernel that has halted is waited for in vain.
        let limit = if halts { LIMIT / 6 } else { LIMIT };
        let output = run(&kernel, case, limit);
        assert!(output.contains(case), "{case} did not begin\n{output}");
        assert_eq!(!output.contains(DONE), halts, "{case}\n{output}");
        assert!(halts || output.contains(": broken"), "{case}\n{output}");
    }
}

#[test]
fn kernel_stacks_are_aligned_to_their_size() {
    for cores in [1, 2] {
        let out = tempfile::tempdir().unwrap();
        let config = Config {
            cores,
            ..Config::default()
        };
        let kernel = build(&config, Series::Stock, out.path()).unwrap();
        let symbols = Command::new("nm").arg(&kernel.elf).output().unwrap().stdout;
        let symbols = String::from_utf8(symbols).unwrap();
        let stack = symbols
            .lines()
            .find_map(|line| line.strip_suffix(" B kernel_stack_alloc"))
            .unwrap();
        let address = u64::from_str_radix(stack, 16).unwrap();
        assert_eq!(address % (1 << config.kernel_stack_bits), 0);
    }
}
