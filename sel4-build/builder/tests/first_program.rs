// SPDX-License-Identifier: MIT OR Apache-2.0

//! The program of `docs/first-program.md`, made of that page as a newcomer makes it, and run.

use std::fs;
use std::path::Path;
use std::process::Command;

/// The blocks of the page in a language, in order.
fn blocks<'a>(page: &'a str, language: &'a str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    let parts = page.split(opening.as_str()).skip(1);
    parts
        .map(|part| part.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_first_program_of_the_documentation_does_what_its_page_says() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = tree.canonicalize().unwrap();
    let page = fs::read_to_string(tree.join("docs/first-program.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path();

    let beside = |text: &str| text.replace("../sel4-vas", tree.to_str().unwrap());
    let [manifest, system] = blocks(&page, "toml")[..] else {
        panic!("the page has not two files of TOML");
    };
    let [program] = blocks(&page, "rust,ignore")[..] else {
        panic!("the page has not one program");
    };
    let [session] = blocks(&page, "text")[..] else {
        panic!("the page does not say what is printed");
    };
    fs::write(to.join("Cargo.toml"), beside(manifest)).unwrap();
    fs::write(to.join("guest-book.toml"), system).unwrap();
    fs::create_dir(to.join("src")).unwrap();
    fs::write(to.join("src/main.rs"), program).unwrap();
    // The versions that the tree has, for who has no network.
    fs::copy(tree.join("Cargo.lock"), to.join("Cargo.lock")).unwrap();

    let output = Command::new(env!("CARGO_BIN_EXE_builder"))
        .arg("run")
        .arg(to.join("guest-book.toml"))
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    let printed = printed.join("\n");
    assert!(output.status.success(), "{printed}");
    let mut expected = session.lines().skip_while(|line| *line != "...").skip(1);
    let first = expected.next().unwrap();
    let mut found = printed.lines().skip_while(|line| *line != first).skip(1);
    assert!(printed.lines().any(|line| line == first), "{printed}");
    for line in expected {
        assert_eq!(found.next(), Some(line), "{printed}");
    }
}
