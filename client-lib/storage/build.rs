// SPDX-License-Identifier: MIT OR Apache-2.0

//! Tells the crate which compiler and which crates decide how values lie in memory.

use std::path::Path;
use std::process::Command;

fn main() {
    let compiler = std::env::var("RUSTC").expect("cargo says what the compiler is");
    let version = Command::new(compiler).arg("--version").output();
    let version = version.expect("the compiler tells its version").stdout;
    let version = String::from_utf8_lossy(&version);
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the crate is");
    let lock = Path::new(&package)
        .ancestors()
        .map(|directory| directory.join("Cargo.lock"))
        .find(|lock| lock.exists())
        .expect("the workspace has a lock file");
    let text = std::fs::read_to_string(&lock).expect("the lock file can be read");
    let crates = dependencies(&text).join(" ");
    println!(
        "cargo::rustc-env=STORAGE_FORMAT={} {crates}",
        version.trim()
    );
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", lock.display());
}

/// Name and version of all crates that this one uses. Some of them lie in no segment, but none is
/// forgotten.
fn dependencies(lock: &str) -> Vec<String> {
    // Versions are named where there are more than one.
    let named = |package: &str, key: &str| {
        let value = package.split_once(&format!("\n{key} = \""))?.1;
        Some(value.split_once('"')?.0.to_owned())
    };
    let packages: Vec<&str> = lock.split("[[package]]").collect();
    let versioned = |dependency: &str| {
        let (name, version) = dependency.split_once(' ').unwrap_or((dependency, ""));
        let is_it = |package: &&&str| {
            named(package, "name").as_deref() == Some(name)
                && (version.is_empty() || named(package, "version").as_deref() == Some(version))
        };
        let package = packages.iter().find(is_it).expect("the lock file is whole");
        let version = named(package, "version").expect("a package has a version");
        format!("{name} {version}")
    };
    let this = |package: &&&str| named(package, "name").as_deref() == Some("storage");
    let this = packages.iter().find(this).expect("this crate is locked");
    let (_, list) = this
        .split_once("dependencies = [")
        .expect("this crate has dependencies");
    let list = list.split_once(']').map_or(list, |(list, _)| list);
    list.split('"').skip(1).step_by(2).map(versioned).collect()
}
