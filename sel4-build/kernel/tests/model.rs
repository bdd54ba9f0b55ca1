// SPDX-License-Identifier: MIT OR Apache-2.0
//! Every order of operations on a small world, by a model checker.

mod spaces;

use spaces::scope::{Checked, SCOPES, counterexample};
use spaces::world::{Kernel, Measure};

#[test]
fn the_safety_rule_holds_in_every_state_that_can_be_reached() {
    for (name, scope) in SCOPES {
        for kernel in [Kernel::EXTENDED, Kernel::TAGGED] {
            match Checked::all(kernel, scope) {
                Ok(states) => {
                    let tags = if kernel.tags { ", with tags" } else { "" };
                    println!("{name}{tags}: {states} states");
                    assert!(states > 1000, "{name}: hardly anything was looked at");
                }
                Err((what, way)) => panic!("{name}, {kernel:?}: {what} is broken by {way:#?}"),
            }
        }
    }
}

#[test]
fn without_any_one_measure_the_rule_is_broken() {
    for measure in Measure::ALL {
        let (kernel, _, way) =
            counterexample(measure, false).unwrap_or_else(|| panic!("{measure:?} can be left out"));
        println!(
            "{measure:?}{}",
            if kernel.tags { ", with tags" } else { "" }
        );
        for operation in way {
            println!("    {operation:?}");
        }
    }
}
