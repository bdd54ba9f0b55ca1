// SPDX-License-Identifier: MIT OR Apache-2.0
//! Layout, errors, and that C and Rust put the same bits in the same places.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use super::*;

const SAMPLE: &str = "
    base 64(49,1)
    block pair(low, bit, high) {       -- two words, arguments in an order of their own
        field high 64
        padding 20
        field low 40
        field bit 1
        padding 3
    }
    block near { field_high address 47  padding 12  field kind 5 }
    block far { field count 32  padding 27  field kind 5 }
    tagged_union place kind { tag near 3  tag far 0x11 }
    base 32
    block small { field_high page 20  padding 9  field flags 3 }
";

fn sample() -> Specification {
    parse(Path::new("sample.bf"), SAMPLE).unwrap()
}

fn refused(text: &str) -> String {
    match parse(Path::new("bad.bf"), text) {
        Err(Error::Bitfield(message)) => message,
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn fields_count_from_the_top_of_the_last_word() {
    let specification = sample();
    let pair = &specification.blocks[0];
    let place = |index: usize| (pair.fields[index].word, pair.fields[index].mask);
    assert_eq!(pair.words, 2);
    assert_eq!(place(0), (1, u64::MAX));
    assert_eq!(place(1), (0, 0xff_ffff_ffff << 4));
    assert_eq!(place(2), (0, 1 << 3));
    let order: Vec<&str> = pair.arguments().map(|field| field.name.as_str()).collect();
    assert_eq!(order, ["low", "bit", "high"]);
}

#[test]
fn high_fields_keep_the_top_of_a_value_and_extend_its_sign() {
    let specification = sample();
    let address = &specification.unions[0].members[0].block.fields[0];
    assert_eq!(address.value_mask, ((1 << 47) - 1) << 2);
    assert_eq!(address.shift, 17 - 2);
    assert_eq!(
        address.extension,
        Some(Extension {
            sign_bit: 1 << 48,
            high_bits: 0xfffe_0000_0000_0000,
        })
    );
    let page = &specification.blocks[1].fields[0];
    assert_eq!(
        (page.value_mask, page.shift, page.extension),
        (0xffff_f000, 0, None)
    );
}

#[test]
fn members_of_unions_are_no_blocks_of_their_own() {
    let specification = sample();
    let names: Vec<&str> = specification
        .blocks
        .iter()
        .map(|block| block.name.as_str())
        .collect();
    assert_eq!(names, ["pair", "small"]);
    let values: Vec<u64> = specification.unions[0]
        .members
        .iter()
        .map(|member| member.value)
        .collect();
    assert_eq!(values, [3, 17]);
}

#[test]
fn errors_say_where_and_what() {
    for (text, place, what) in [
        (
            "base 64\nblock b { field f }",
            "bad.bf:2:19",
            "expected number",
        ),
        ("base 64\nblock b { feild f 64 }", "bad.bf:2:11", "expected"),
        ("block b { field f 64 }", "bad.bf:1:1", "no `base` before"),
        ("base 48", "bad.bf:1:1", "32 or 64"),
        ("base 64(70,0)", "bad.bf:1:1", "must fit"),
        (
            "base 64\nblock b { field f 63 }",
            "bad.bf:2:1",
            "has 63 bits",
        ),
        (
            "base 32\nblock b { padding 16 field f 32 padding 16 }",
            "bad.bf:2:22",
            "across two words",
        ),
        (
            "base 64\nblock b { field f 32 field f 32 }",
            "bad.bf:2:28",
            "second field",
        ),
        (
            "base 64\nblock b { field f 0 padding 64 }",
            "bad.bf:2:19",
            "number of bits",
        ),
        (
            "base 64\nblock b(g) { field f 64 }",
            "bad.bf:2:9",
            "no field of this name",
        ),
        (
            "base 64\nblock b() { field f 64 }",
            "bad.bf:2:8",
            "every field",
        ),
        (
            "base 64\nblock b { field f 64 }\nblock b { field f 64 }",
            "bad.bf:3:7",
            "second block",
        ),
        (
            "base 64(40,0)\nblock b { field_high f 48 padding 16 }",
            "bad.bf:2:1",
            "wider than its values",
        ),
        (
            "base 64\ntagged_union u t { tag b 0 }",
            "bad.bf:2:24",
            "no block",
        ),
        (
            "base 64\nblock b { field f 64 }\ntagged_union u t { tag b 0 }",
            "bad.bf:3:24",
            "no field t",
        ),
        (
            "base 64\nblock b { field t 64 }\ntagged_union u t { }",
            "bad.bf:3:1",
            "needs members",
        ),
        (
            "base 64\nblock b { field t 1 padding 63 }\ntagged_union u t { tag b 2 }",
            "bad.bf:3:26",
            "too large",
        ),
        (
            "base 64\nblock a { field t 1 padding 63 }\nblock b { padding 63 field t 1 }\n\
             tagged_union u t { tag a 0 tag b 1 }",
            "bad.bf:4:32",
            "lies elsewhere",
        ),
        (
            "base 64\nblock a { field t 64 }\nblock b { padding 64 field t 64 }\n\
             tagged_union u t { tag a 0 tag b 1 }",
            "bad.bf:4:32",
            "size differs",
        ),
        (
            "base 64\nblock a { field t 64 }\nblock b { field t 64 }\n\
             tagged_union u t { tag a 0 tag b 0 }",
            "bad.bf:4:34",
            "second member",
        ),
    ] {
        let message = refused(text);
        assert!(message.contains(place), "{text}: {message}");
        assert!(message.contains(what), "{text}: {message}");
    }
}

#[test]
fn errors_name_the_file_that_the_preprocessor_read() {
    let text = "# 1 \"top.bf\"\nbase 64\n# 40 \"part.bf\" 1\n-- part\nblock b { field f 65 }\n";
    assert!(refused(text).contains("part.bf:41:1"), "{}", refused(text));
}

/// Values to be packed: all ones, single bits, a pattern, each cut to what the field
/// holds and, where it is an address, made canonical.
fn values(field: &Field, word_bits: u32) -> Vec<u64> {
    let word = u64::MAX >> (64 - word_bits);
    (0..word_bits)
        .map(|bit| 1u64 << bit)
        .chain([0, word, 0x5a5a_a5a5_1234_fedc & word])
        .map(|value| {
            let value = value & field.value_mask;
            match field.extension {
                Some(extension) if value & extension.sign_bit != 0 => value | extension.high_bits,
                _ => value,
            }
        })
        .collect()
}

/// Runs a program and gives what it prints.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn c_and_rust_pack_and_unpack_alike() {
    let specification = sample();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);

    // Each value into each field of words that are all ones but the field, and out again.
    let mut c = String::new();
    let mut rust = String::new();
    let mut expected = 0;
    let small = &specification.blocks[1];
    let pair = &specification.blocks[0];
    for (block, own) in [(pair, "Pair"), (small, "Small")] {
        let Block {
            name,
            word_bits,
            words,
            ..
        } = block;
        for field in &block.fields {
            for value in values(field, *word_bits) {
                expected += 1;
                let other = &field.name;
                writeln!(
                    c,
                    "{{ {name}_t x; for (int i = 0; i < {words}; i++) x.words[i] = ~0; \
                     x = {name}_set_{other}(x, {value}u); {name}_t y = {name}_set_{other}(x, 0); \
                     {name}_ptr_set_{other}(&y, {value}u); \
                     show(x.words[0], x.words[{words} - 1], {name}_get_{other}(x)); \
                     show(y.words[0], y.words[{words} - 1], {name}_ptr_get_{other}(&y)); }}"
                )
                .unwrap();
                writeln!(
                    rust,
                    "{{ let x = {own}::from_words([!0; {words}]).with_{other}({value}); \
                     for _ in 0..2 {{ show(x.words()[0].into(), x.words()[{words} - 1].into(), x.{other}().into()); }} }}"
                )
                .unwrap();
            }
        }
    }
    let near = &specification.unions[0].members[0].block.fields[0];
    for value in values(near, 64) {
        expected += 1;
        writeln!(
            c,
            "{{ place_t x = place_near_new({value}u), y; place_near_ptr_new(&y, {value}u); \
             show(x.words[0], place_get_kind(x), place_near_get_address(x)); \
             show(y.words[0], place_ptr_get_kind(&y), place_near_ptr_get_address(&y)); }}"
        )
        .unwrap();
        writeln!(
            rust,
            "{{ let x = Near::new({value}); \
             let Some(Place::Near(y)) = Place::from_words(x.words()) else {{ panic!() }}; \
             for _ in 0..2 {{ show(y.words()[0], 3, y.address()); }} }}"
        )
        .unwrap();
    }

    for (name, text) in [
        ("config.h", String::new()),
        ("util.h", "#define CONST\n#define PURE\n".to_owned()),
        ("types.h", c_header(&specification)),
        (
            "test.c",
            format!(
                "#include <stdio.h>\n#include \"types.h\"\n\
                 static void show(uint64_t a, uint64_t b, uint64_t c) {{ printf(\"%lx %lx %lx\\n\", a, b, c); }}\n\
                 int main(void) {{\n{c}}}\n"
            ),
        ),
        (
            "test.rs",
            format!(
                "#![allow(dead_code, unused_parens)]\nmod types {{\n{}\n}}\nuse types::*;\n\
                 fn show(a: u64, b: u64, c: u64) {{ println!(\"{{a:x}} {{b:x}} {{c:x}}\"); }}\n\
                 fn main() {{\n{rust}}}\n",
                rust_module(&specification)
            ),
        ),
    ] {
        fs::write(file(name), text).unwrap();
    }
    output(
        Command::new("gcc")
            .args(["-w", "-I"])
            .arg(folder.path())
            .args([
                file("test.c").as_os_str(),
                "-o".as_ref(),
                file("c").as_os_str(),
            ]),
    );
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    output(
        Command::new(rustc)
            .args(["--edition", "2024", "-o"])
            .args([file("rust"), file("test.rs")]),
    );
    let from_c = output(&mut Command::new(file("c")));
    let from_rust = output(&mut Command::new(file("rust")));
    assert_eq!(from_c.lines().count(), 2 * expected);
    assert_eq!(from_c, from_rust);

    // What goes in comes out, and stays where the description says.
    let first = &pair.fields[0];
    for (lines, value) in from_c
        .lines()
        .collect::<Vec<_>>()
        .chunks(2)
        .zip(values(first, 64))
    {
        assert_eq!(lines[0], format!("{:x} {value:x} {value:x}", u64::MAX));
        assert_eq!(lines[0], lines[1]);
    }
}

#[test]
fn values_that_do_not_fit_are_caught_by_rust() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("test.rs");
    let program = folder.path().join("test");
    fs::write(
        &source,
        format!(
            "#![allow(dead_code, unused_parens)]\nmod types {{\n{}\n}}\n\
             fn main() {{ let last = std::env::args().last().unwrap().parse().unwrap(); types::Near::new(last); }}\n",
            rust_module(&sample())
        ),
    )
    .unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    output(
        Command::new(rustc)
            .args(["--edition", "2024", "-o"])
            .args([&program, &source]),
    );
    let accepts = |value: u64| {
        let run = Command::new(&program)
            .arg(value.to_string())
            .output()
            .unwrap();
        run.status.success()
    };
    assert!(accepts(0x1000) && accepts(0xffff_0000_0000_0000));
    // Lower than what is kept, and not canonical.
    assert!(!accepts(0x1001) && !accepts(0x0001_0000_0000_0000));
}
