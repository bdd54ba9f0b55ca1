// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tells the crate which compiler compiles it.

use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").expect("cargo says what the compiler is");
    let version = Command::new(compiler).arg("--version").output();
    let version = version.expect("the compiler tells its version").stdout;
    let version = String::from_utf8_lossy(&version);
    println!("cargo::rustc-env=STORAGE_COMPILER={}", version.trim());
    println!("cargo::rerun-if-changed=build.rs");
}
