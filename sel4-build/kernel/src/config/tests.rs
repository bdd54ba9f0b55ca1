// SPDX-License-Identifier: MIT OR Apache-2.0
//! Headers of configurations, good and bad.

use super::*;

#[test]
fn the_release_kernel_neither_prints_nor_checks_itself() {
    let header = Config::default().header().unwrap();
    assert!(!header.contains("PRINTING") && !header.contains("DEBUG_BUILD"));
    assert!(header.contains("#define CONFIG_HUGE_PAGE 1\n"));
    assert!(header.contains("#define CONFIG_MAX_NUM_NODES 1\n"));
}

#[test]
fn the_debug_kernel_does_both() {
    let header = Config::debug().header().unwrap();
    assert!(header.contains("#define CONFIG_PRINTING 1\n"));
    assert!(header.contains("#define CONFIG_DEBUG_BUILD 1\n"));
}

#[test]
fn what_qemu_lacks_is_off() {
    let header = Config::default().header().unwrap();
    for name in ["SUPPORT_PCID", "X2APIC", "IOMMU", "VERIFICATION_BUILD"] {
        assert!(!header.contains(&format!("CONFIG_{name} ")), "{name}");
    }
}

#[test]
fn nothing_is_defined_twice() {
    let header = Config::debug().header().unwrap();
    let mut names: Vec<&str> = header
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split(' ').next())
        .collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert!(count > 20);
    assert_eq!(names.len(), count);
}

#[test]
fn an_impossible_value_is_refused_by_the_name_of_its_field() {
    for (config, field) in [
        (
            Config {
                cores: 0,
                ..Config::default()
            },
            "cores is 0",
        ),
        (
            Config {
                root_cnode_bits: 19,
                ..Config::default()
            },
            "root_cnode_bits is 19",
        ),
        (
            Config {
                max_untyped_caps: 328,
                ..Config::default()
            },
            "max_untyped_caps is 328",
        ),
        (
            Config {
                kernel_stack_bits: 11,
                ..Config::default()
            },
            "kernel_stack_bits is 11",
        ),
    ] {
        let error = config.header().unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
        assert!(error.contains("must be from"), "{error}");
    }
}
