// SPDX-License-Identifier: MIT OR Apache-2.0
//! The invocation Switch, on the real kernel in QEMU.

mod root_task;

use kernel::{Config, Series, build};
use root_task::{LIMIT, run};

const DONE: &str = "switch: done";
/// Instructions of a switch and a fast-path IPC round trip, at most, with the test's own few.
const MOST: [(&str, u64); 2] = [("two switches", 2 * 180), ("two IPC", 400)];

#[test]
fn row_26_switch_does_what_it_says_and_is_fast() {
    let out = tempfile::tempdir().unwrap();
    let kernel = build(&Config::default(), Series::Extended, out.path()).unwrap();
    let output = run("switch", &[], &kernel, LIMIT);
    assert!(
        output.contains(DONE) && !output.contains("wrong"),
        "{output}"
    );
    for (what, most) in MOST {
        let count = output
            .lines()
            .find_map(|line| line.strip_prefix(&format!("instructions: {what}, ")))
            .unwrap();
        assert!(count.parse::<u64>().unwrap() <= most, "{what}\n{output}");
    }
}
