// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that the rules of safe programming (paper section 3.3) refuse, each with the message that
//! its author sees, and programs that they do not hinder. The list is `docs/rules.md`.

mod compiles {
    #![expect(dead_code, reason = "programs that are compiled and not run")]

    mod a_box_waits_for_the_end_of_a_visit;
    mod a_checked_pointer_is_kept_outside;
    mod a_stay_within_a_stay_is_answered;
    mod a_visit_goes_on_from_where_it_is;
    mod a_visit_has_its_own_values;
    mod code_is_generic_over_roots;
    mod no_unsafe_code_is_needed;
    mod plain_values_of_all_kinds_are_stored;
    mod private_data_are_used_inside;
    mod references_are_kept_during_a_stay;
    mod results_are_returned;
    mod the_same_handles_are_used_again;
    mod values_move_within_a_vas;
    mod values_point_to_each_other;
}

use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// Whether messages are those of the compiler that the expected ones were made with: others word
/// them otherwise.
fn messages_are_known() -> bool {
    let compiler = env::var_os("RUSTC").unwrap_or("rustc".into());
    let version = Command::new(compiler).arg("--version").output().unwrap();
    let known = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"), ".");
    version.stdout.starts_with(known.as_bytes())
}

#[test]
fn row_18_programs_that_break_the_rules_do_not_compile() {
    let mut programs = Path::new("tests/rules/refused").to_owned();
    if !messages_are_known() {
        // Without messages to compare them with, the programs are refused all the same.
        let copies = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
        // What is left there by an earlier run may be of programs that are no more.
        let _ = fs::remove_dir_all(&copies);
        fs::create_dir_all(&copies).unwrap();
        for program in fs::read_dir(&programs).unwrap() {
            let program = program.unwrap().path();
            let copy = copies.join(program.file_name().unwrap());
            if program
                .extension()
                .is_some_and(|extension| extension == "rs")
            {
                fs::copy(&program, &copy).unwrap();
            }
        }
        programs = copies;
        // SAFETY: no other thread looks at the environment, as this is the only test.
        unsafe { env::set_var("TRYBUILD", "overwrite") };
    }
    trybuild::TestCases::new().compile_fail(programs.join("*.rs"));
}
