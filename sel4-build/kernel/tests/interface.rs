// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the extended kernel's interface has that the stock kernel's has not.

use std::fs;
use std::path::{Path, PathBuf};

use kernel::interfaces::{Definitions, Interfaces};
use kernel::{Config, Series, source};

/// The files that list the types of kernel objects.
const OBJECT_TYPES: [&str; 3] = [
    "libsel4/include/sel4/objecttype.h",
    "libsel4/arch_include/x86/sel4/arch/objecttype.h",
    "libsel4/sel4_arch_include/x86_64/sel4/sel4_arch/objecttype.h",
];
/// Words for what only the service knows.
const OF_THE_SERVICE: [&str; 4] = ["vas", "vases", "segment", "segments"];

fn invocations(source: &Path) -> Vec<String> {
    let definitions = Definitions::from_header(&Config::default().header().unwrap());
    let interfaces = Interfaces::read(source).unwrap();
    let labels = interfaces.labels(&definitions).unwrap();
    labels
        .into_iter()
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[test]
fn row_25_the_kernel_gets_one_invocation_on_roots_and_knows_no_vas_or_segment() {
    let out = tempfile::tempdir().unwrap();
    let [stock, extended]: [PathBuf; 2] = [Series::Stock, Series::Extended].map(|series| {
        let out = out.path().join(format!("{series:?}"));
        source::patched(&out, &series).unwrap()
    });
    let before = invocations(&stock);
    let added: Vec<String> = invocations(&extended)
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(added, ["X64PML4Switch"]);
    for file in OBJECT_TYPES {
        let read = |source: &Path| fs::read_to_string(source.join(file)).unwrap();
        assert_eq!(read(&stock), read(&extended), "{file}");
    }

    let lines = Series::Extended.patches().unwrap();
    let lines = lines.iter().flat_map(|patch| patch.text.lines());
    let added: Vec<&str> = lines
        .filter(|line| line.starts_with('+') && !line.starts_with("+++"))
        .collect();
    assert!(added.len() > 100, "the patches add {} lines", added.len());
    for line in added {
        // The processor's segments are not the service's.
        let line = line.to_lowercase().replace("segment base", "");
        let mut words = line.split(|letter: char| !letter.is_ascii_alphabetic());
        assert!(
            words.all(|word| !OF_THE_SERVICE.contains(&word)),
            "the kernel speaks of what is the service's: {line}"
        );
    }
}
