// SPDX-License-Identifier: MIT OR Apache-2.0
//! The errata, on the real kernel in QEMU; and that without them the same tests fail.

mod root_task;

use std::process::Command;

use kernel::{Config, Kernel, Series, build};
use root_task::{LIMIT, run, run_in};

/// The errata that a root task can try, by the names of their patches, and whether the
/// kernel halts where they are missing.
const CASES: [(&str, bool); 13] = [
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
    ("16-syscall-stack-pointer", false),
    ("18-unmap-answer", false),
];
const DONE: &str = "errata: done";

#[test]
fn the_stock_kernel_has_no_defect_that_the_errata_mend() {
    let out = tempfile::tempdir().unwrap();
    let kernel = build(&Config::default(), Series::Stock, out.path()).unwrap();
    let cases: Vec<&str> = CASES.iter().map(|(case, _)| *case).collect();
    let output = run(
        "errata",
        &[("ERRATA_CASES", &cases.join(","))],
        &kernel,
        LIMIT,
    );
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
        let output = run("errata", &[("ERRATA_CASES", case)], &kernel, limit);
        assert!(output.contains(case), "{case} did not begin\n{output}");
        assert_eq!(!output.contains(DONE), halts, "{case}\n{output}");
        assert!(halts || output.contains(": broken"), "{case}\n{output}");
    }
}

#[test]
fn kernel_stacks_are_aligned_to_their_size() {
    // Without and with address-space tags, which no test here can run.
    for (cores, pcid) in [(1, false), (1, true), (2, false)] {
        let out = tempfile::tempdir().unwrap();
        let config = Config {
            cores,
            pcid,
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

/// How many untyped capabilities are listed in a machine of so many MiB, and the MiB in them.
fn untyped_list(memory: u32, kernel: &Kernel) -> (u32, u32) {
    let output = run_in(memory, "errata", &[("ERRATA_CASES", "")], kernel, LIMIT);
    output
        .lines()
        .find_map(|line| {
            let (count, rest) = line
                .strip_prefix("errata: untyped capabilities ")?
                .split_once(", MiB ")?;
            Some((count.parse().ok()?, rest.parse().ok()?))
        })
        .expect(&output)
}

#[test]
fn no_memory_is_lost_unless_the_list_of_untyped_capabilities_is_full() {
    let out = tempfile::tempdir().unwrap();
    let config = Config::default();
    let kernel = build(&config, Series::Stock, out.path()).unwrap();
    // Sizes of many bits, which make many pieces; above 3 GiB the memory has a gap.
    for memory in [511, 20_479] {
        let (count, listed) = untyped_list(memory, &kernel);
        assert!(count < config.max_untyped_caps, "{memory} MiB: {count}");
        assert!(
            (memory - 8..=memory).contains(&listed),
            "{memory} MiB: {listed}"
        );
    }

    let out = tempfile::tempdir().unwrap();
    let config = Config {
        max_untyped_caps: 8,
        ..config
    };
    let kernel = build(&config, Series::Stock, out.path()).unwrap();
    let (count, listed) = untyped_list(3071, &kernel);
    assert_eq!(count, config.max_untyped_caps);
    assert!(listed < 3071 - 8, "{listed}");
}
