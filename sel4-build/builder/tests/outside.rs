// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs from outside this tree, compiled by themselves: a VAS server with a policy of its own,
//! which is built, booted, and in force (it is the example of `docs/policies.md`), one that faults,
//! and a program that shares data with one of the tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol::address_map::{GLOBAL_SLOTS, LOCAL_SLOTS, SLOT_BYTES};

const PATH_TO_TREE: &str = "../../../..";

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/outside")
}

fn tree() -> PathBuf {
    example().join(PATH_TO_TREE).canonicalize().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The example as a folder of its own, which knows the tree by its path alone.
fn copied() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path();
    assert!(!to.canonicalize().unwrap().starts_with(tree()));
    fs::create_dir(to.join("src")).unwrap();
    for file in [
        "src/server.rs",
        "src/faulty.rs",
        "src/client.rs",
        "outside.toml",
    ] {
        fs::copy(example().join(file), to.join(file)).unwrap();
    }
    let manifest = read(&example().join("Cargo.toml"));
    let manifest = manifest.replace(PATH_TO_TREE, tree().to_str().unwrap());
    fs::write(to.join("Cargo.toml"), manifest).unwrap();
    // The versions that the tree has.
    fs::copy(tree().join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    folder
}

/// Runs a description; whether it passed, and what was printed.
fn run(description: &Path) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_builder"))
        .arg("run")
        .arg(description)
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.success(), printed.join("\n"))
}

#[test]
fn row_29_a_server_from_outside_this_tree_has_a_policy_of_its_own() {
    let folder = copied();
    let description = folder.path().join("outside.toml");
    let (passed, printed) = run(&description);
    assert!(passed, "{printed}");
    let slot = |number: u64| format!("{:#x}", number * SLOT_BYTES);
    let (top, local) = (GLOBAL_SLOTS.end - 1, LOCAL_SLOTS.end - 1);
    for expected in [
        "placement: top-down".to_owned(),
        format!("first: {}", slot(top)),
        format!("asked: {:#x}", (top - 1) * SLOT_BYTES + 4096),
        // The slot below the first is not free.
        format!("second: {}", slot(top - 2)),
        format!("local: {}", slot(local)),
    ] {
        let found = printed.lines().any(|line| line.trim() == expected);
        assert!(found, "{expected:?} is not in: {printed}");
    }

    // A name that it does not know it refuses with those it knows.
    let wrong = read(&description).replace("top-down\"\n\n", "upside-down\"\n\n");
    fs::write(&description, wrong).unwrap();
    let (passed, printed) = run(&description);
    let reason = "no placement policy is called \"upside-down\"; there is: as-asked, \
                  slot-aligned, server-chooses, top-down";
    assert!(!passed && printed.contains(reason), "{printed}");
}

#[test]
fn a_fault_of_the_vas_server_is_reported_while_init_waits_for_it() {
    let folder = copied();
    let description = folder.path().join("outside.toml");
    let faulty = read(&description)
        .replace("top-down-server", "faulty-server")
        .replace("placement = \"top-down\"\n", "");
    fs::write(&description, faulty).unwrap();
    let (passed, printed) = run(&description);
    let reason = "init: the VAS server faulted: load from 0x8 at instruction 0x";
    assert!(!passed && printed.contains(reason), "{printed}");
    // It is ended by init, not by the time limit.
    assert!(printed.contains("it ended with a failure"), "{printed}");
}

/// `apps/collections` as a folder of its own.
fn copied_collections() -> tempfile::TempDir {
    let package = tree().join("apps/collections");
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path();
    for part in ["src", "src/bin"] {
        fs::create_dir(to.join(part)).unwrap();
        for file in fs::read_dir(package.join(part)).unwrap() {
            let file = file.unwrap();
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), to.join(part).join(file.file_name())).unwrap();
            }
        }
    }
    // What the tree says for all of its packages it says of this one.
    let at = |path: &str| format!("{{ path = \"{}\" }}", tree().join(path).display());
    let lines = read(&package.join("Cargo.toml")).replace("[lints]\nworkspace = true\n", "");
    let lines = lines.lines().map(|line| match line {
        "version.workspace = true" => "version = \"0.1.0\"".into(),
        "edition.workspace = true" => "edition = \"2024\"".into(),
        "rust-version.workspace = true" => "rust-version = \"1.95\"".into(),
        "license.workspace = true" => "license = \"MIT OR Apache-2.0\"".into(),
        "publish.workspace = true" => "publish = false".into(),
        "selftest = { path = \"../selftest\" }" => format!("selftest = {}", at("apps/selftest")),
        _ => match line.strip_suffix(".workspace = true") {
            Some(name @ ("client-lib" | "protocol")) => format!("{name} = {}", at(name)),
            Some(name @ "storage") => format!("{name} = {}", at("client-lib/storage")),
            Some(name) => format!("{name} = {}", at(&format!("sel4-build/{name}"))),
            None => line.into(),
        },
    });
    let lines: Vec<String> = lines.collect();
    let manifest = lines.join("\n") + "\n[workspace]\n";
    fs::write(to.join("Cargo.toml"), manifest).unwrap();
    fs::copy(tree().join("Cargo.lock"), to.join("Cargo.lock")).unwrap();
    folder
}

#[test]
fn row_2_programs_that_were_compiled_apart_and_at_other_times_share_collections() {
    let folder = copied_collections();
    let system = read(&tree().join("sel4-build/systems/collections.toml"));
    // One of the two programs is compiled there, the other in the tree.
    let late = "name = \"late\"\n";
    assert!(system.contains(late));
    let system = system.replace(late, &format!("{late}path = \".\"\n"));
    let judge = "may_spawn = true\n";
    assert!(system.contains(judge));
    let system = system.replace(judge, &format!("{judge}arguments = \"row_2\"\n"));
    let description = folder.path().join("collections.toml");
    fs::write(&description, system).unwrap();
    let (passed, printed) = run(&description);
    let test = "test row_2_programs_with_other_code_addresses_share_collections ... ok";
    let tests = printed.lines().filter(|line| line.starts_with("test "));
    assert!(passed && tests.eq([test]), "{printed}");
}

#[test]
fn the_example_of_the_documentation_is_the_one_that_is_tested() {
    let text = read(&tree().join("docs/policies.md"));
    let blocks = |language| {
        let parts = text.split(language).skip(1);
        parts.map(|part| part.split("```").next().unwrap().trim())
    };
    let files = [
        (blocks("```rust\n"), read(&example().join("src/server.rs"))),
        (blocks("```toml\n"), read(&example().join("outside.toml"))),
    ];
    for (blocks, file) in files {
        let blocks: Vec<_> = blocks.collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            assert!(file.contains(block), "not in the example:\n{block}");
        }
    }
}
