// SPDX-License-Identifier: MIT OR Apache-2.0

//! The rules of safe programming (`docs/rules.md`) against the programs and tests that they name.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Programs that compile or are refused.
const PROGRAMS: &str = "client-lib/tests/rules";
/// Tests in QEMU.
const TESTS: &str = "apps/selftest/src";

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(file);
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The names of the programs in a folder.
fn programs(outcome: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = fs::read_dir(root.join(PROGRAMS).join(outcome)).unwrap();
    let names = files.filter_map(|file| {
        let name = file.unwrap().file_name().into_string().unwrap();
        Some(name.strip_suffix(".rs")?.to_owned())
    });
    names.collect()
}

/// The names that the table has for an outcome, each with the text that goes with it.
fn listed(outcome: &str) -> Vec<(String, String)> {
    let mut listed = Vec::new();
    for line in read("docs/rules.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, _, found, text, names, _] = cells[..] else {
            continue;
        };
        assert!(
            ["compiles", "refused", "stops", "what becomes of it", "---"].contains(&found),
            "no outcome: {line}"
        );
        if found == outcome {
            let text = text.trim_matches('`');
            listed.extend(
                names
                    .split(", ")
                    .map(|name| (name.to_owned(), text.to_owned())),
            );
        }
    }
    listed
}

fn names(listed: &[(String, String)]) -> BTreeSet<String> {
    let names = listed.iter().map(|(name, _)| name.trim_matches('`'));
    names.map(str::to_owned).collect()
}

#[test]
fn the_programs_that_compile_are_those_of_the_rules() {
    let there = programs("compiles");
    assert_eq!(names(&listed("compiles")), there);
    let compiled = read(&format!("{PROGRAMS}/main.rs"));
    for name in there {
        assert!(compiled.contains(&format!("mod {name};")), "{name}");
    }
}

#[test]
fn the_programs_that_are_refused_are_those_of_the_rules_with_the_messages_there() {
    let listed = listed("refused");
    assert_eq!(names(&listed), programs("refused"));
    for (name, text) in listed {
        let message = read(&format!(
            "{PROGRAMS}/refused/{}.stderr",
            name.trim_matches('`')
        ));
        assert!(!text.is_empty() && message.contains(&text), "{name}");
    }
}

#[test]
fn the_tests_of_what_stops_are_those_of_the_rules_with_the_texts_there() {
    let mut of_rules = BTreeSet::new();
    for (test, text) in listed("stops") {
        let (name, file) = test.split_once(' ').expect("a file");
        let (name, file) = (name.trim_matches('`'), file.trim_matches(['(', '`', ')']));
        let source = read(&format!("{TESTS}/{file}"));
        let (_, body) = source
            .split_once(&format!("fn {name}()"))
            .unwrap_or_else(|| panic!("{file} has no {name}"));
        let body = body.split("\nfn ").next().unwrap();
        assert!(!text.is_empty() && body.contains(&text), "{name}: {text}");
        if file == "rules.rs" {
            of_rules.insert(name.to_owned());
        }
    }
    let source = read(&format!("{TESTS}/rules.rs"));
    let tests = source.split_once("tests! {").unwrap().1;
    let tests = tests.split_once('}').unwrap().0;
    let there = tests.split(',').map(|name| name.trim().to_owned());
    assert_eq!(of_rules, there.filter(|name| !name.is_empty()).collect());
}
