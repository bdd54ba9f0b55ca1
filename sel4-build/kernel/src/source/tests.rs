// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies and patches.

use std::time::SystemTime;

use super::*;

const OLD: &str = "one\ntwo\nthree\nfour\nfive\n";

/// A source tree of two files.
fn tree() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in [
        "src/a.c",
        "include/b.h",
        "src/arch/arm/c.c",
        "src/arch/x86/d.c",
    ] {
        let path = root.path().join("from").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, OLD).unwrap();
    }
    root
}

fn patch(text: &str) -> Patch {
    Patch {
        name: "errata/07-sample".into(),
        text: format!("SPDX-License-Identifier: GPL-2.0-only\n\nWhy: a -- b.\n\n{text}"),
    }
}

fn two_files() -> Patch {
    patch(
        "--- a/src/a.c\n+++ b/src/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n\
         --- a/include/b.h\n+++ b/include/b.h\n@@ -3,3 +3,4 @@\n three\n four\n+and\n five\n",
    )
}

#[test]
fn a_patch_of_several_files_changes_all_of_them() {
    let root = tree();
    let copy = patched_copy(&root.path().join("from"), root.path(), &[two_files()]).unwrap();
    assert_eq!(
        read(&copy.join("src/a.c")).unwrap(),
        "one\n2\nthree\nfour\nfive\n"
    );
    assert_eq!(
        read(&copy.join("include/b.h")).unwrap(),
        "one\ntwo\nthree\nfour\nand\nfive\n"
    );
    assert_eq!(read(&root.path().join("from/src/a.c")).unwrap(), OLD);
}

#[test]
fn only_our_architecture_is_copied() {
    let root = tree();
    let copy = patched_copy(&root.path().join("from"), root.path(), &[]).unwrap();
    assert!(copy.join("src/arch/x86/d.c").exists());
    assert!(!copy.join("src/arch/arm").exists());
}

#[test]
fn a_patch_that_does_not_apply_is_named_with_file_and_hunk() {
    let root = tree();
    let broken = patch(
        "--- a/src/a.c\n+++ b/src/a.c\n@@ -1,2 +1,2 @@\n-one\n+1\n two\n\
         @@ -4,2 +4,2 @@\n FOUR\n-five\n+5\n",
    );
    let error = patched_copy(&root.path().join("from"), root.path(), &[broken]).unwrap_err();
    let message = error.to_string();
    for part in ["errata/07-sample", "src/a.c", "hunk #2"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_patch_of_a_file_that_is_not_there_is_an_error() {
    let root = tree();
    let lost = patch("--- a/src/z.c\n+++ b/src/z.c\n@@ -1 +1 @@\n-one\n+1\n");
    let error = patched_copy(&root.path().join("from"), root.path(), &[lost]).unwrap_err();
    assert!(error.to_string().contains("src/z.c"), "{error}");
}

#[test]
fn a_patch_without_a_change_is_an_error() {
    let root = tree();
    let error = patched_copy(&root.path().join("from"), root.path(), &[patch("")]).unwrap_err();
    assert!(matches!(error, Error::Patch { .. }), "{error}");
}

#[test]
fn a_copy_is_made_again_only_when_it_would_differ() {
    let root = tree();
    let from = root.path().join("from");
    let made = |patches: &[Patch]| -> SystemTime {
        let copy = patched_copy(&from, root.path(), patches).unwrap();
        fs::metadata(copy.join("include/b.h"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = made(&[two_files()]);
    assert_eq!(made(&[two_files()]), first);

    fs::write(from.join("src/a.c"), format!("{OLD}six\n")).unwrap();
    let second = made(&[two_files()]);
    assert!(second > first);
    assert_eq!(
        read(&root.path().join("source/src/a.c")).unwrap(),
        "one\n2\nthree\nfour\nfive\nsix\n"
    );

    assert!(made(&[]) > second);
    assert_eq!(read(&root.path().join("source/include/b.h")).unwrap(), OLD);
}

#[test]
fn a_copy_left_half_made_is_made_again() {
    let root = tree();
    let from = root.path().join("from");
    let broken = patch("--- a/src/a.c\n+++ b/src/a.c\n@@ -1 +1 @@\n-none\n+1\n");
    patched_copy(&from, root.path(), &[two_files(), broken]).unwrap_err();
    let copy = patched_copy(&from, root.path(), &[two_files()]).unwrap();
    assert_eq!(
        read(&copy.join("src/a.c")).unwrap(),
        "one\n2\nthree\nfour\nfive\n"
    );
}

#[test]
fn every_series_applies_to_the_package() {
    for series in [Series::Unpatched, Series::Stock, Series::Extended] {
        let out = tempfile::tempdir().unwrap();
        let copy = patched(out.path(), &series).unwrap();
        assert!(copy.join("src/kernel/boot.c").is_file());
    }
}

#[test]
fn the_stock_series_is_the_errata_and_the_extended_begins_with_it() {
    let stock = Series::Stock.patches().unwrap();
    let extended = Series::Extended.patches().unwrap();
    assert!(Series::Unpatched.patches().unwrap().is_empty());
    assert!(stock.iter().all(|patch| patch.name.starts_with("errata/")));
    assert!(!stock.is_empty() && extended.starts_with(&stock));
}

#[test]
fn every_patch_begins_with_its_licence_and_says_why() {
    for patch in Series::Extended.patches().unwrap() {
        let Patch { name, text } = patch;
        assert!(
            text.starts_with("SPDX-License-Identifier: GPL-2.0-only\n"),
            "{name}"
        );
        for part in ["\nProblem: ", "\nChange: ", "\nInvariants: ", "\nTested: "] {
            assert!(text.contains(part), "{name} has no paragraph {part:?}");
        }
    }
}
