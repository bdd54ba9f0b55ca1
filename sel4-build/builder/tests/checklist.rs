// SPDX-License-Identifier: MIT OR Apache-2.0

//! The list of promises and tests (`docs/checklist.md`) against the tree.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The rows of the service, of the kernel, and of the client library.
const ROWS: [u32; 30] = [
    1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27,
    28, 29, 32, 33,
];
/// Where there is Rust that is not made by the build.
const FOLDERS: [&str; 5] = ["apps", "client-lib", "protocol", "sel4-build", "vas-server"];

/// A test: its row, its name, the file it is in.
type Test = (u32, String, PathBuf);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The rows of the table, and the tests that it names.
fn table() -> (BTreeSet<u32>, BTreeSet<Test>) {
    let text = fs::read_to_string(root().join("docs/checklist.md")).unwrap();
    let mut rows = BTreeSet::new();
    let mut tests = BTreeSet::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, row, _, _, names, file, _] = cells[..] else {
            continue;
        };
        let Ok(row) = row.parse() else {
            continue;
        };
        rows.insert(row);
        let file = PathBuf::from(file.trim_matches('`'));
        for name in names.split(", ") {
            tests.insert((row, name.trim_matches('`').to_owned(), file.clone()));
        }
    }
    (rows, tests)
}

/// Every test of the tree that is named after a row.
fn named_after_rows(folder: &Path, tests: &mut BTreeSet<Test>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            named_after_rows(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root().join(&path)).unwrap();
            tests.extend(text.lines().filter_map(|line| {
                let name = line.trim().strip_prefix("fn ")?.split_once('(')?.0;
                let row = name.strip_prefix("row_")?.split_once('_')?.0;
                Some((row.parse().ok()?, name.to_owned(), path.clone()))
            }));
        }
    }
}

#[test]
fn the_checklist_names_the_tests_that_there_are() {
    let (rows, listed) = table();
    assert_eq!(rows, BTreeSet::from(ROWS));
    let mut tests = BTreeSet::new();
    for folder in FOLDERS {
        named_after_rows(Path::new(folder), &mut tests);
    }
    let missing: Vec<&Test> = listed.difference(&tests).collect();
    assert!(missing.is_empty(), "listed and not there: {missing:#?}");
    let unlisted: Vec<&Test> = tests.difference(&listed).collect();
    assert!(unlisted.is_empty(), "there and not listed: {unlisted:#?}");
}
