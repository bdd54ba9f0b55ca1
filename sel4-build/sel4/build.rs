// SPDX-License-Identifier: MIT OR Apache-2.0
//! Generates the invocations from the kernel's own descriptions.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

use kernel::interfaces::{Definitions, rust_bindings};
use kernel::{Config, Series, source, user_types};

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    // The extended kernel's interface is that of the stock kernel and more; nothing in it
    // depends on those fields of the configuration that a system may choose.
    let config = Config::default();
    let source = source::patched(out, &Series::Extended)?;
    let definitions = Definitions::from_header(&config.header()?);
    fs::write(
        out.join("interfaces.rs"),
        rust_bindings(&source, &definitions)?,
    )?;
    fs::write(out.join("layouts.rs"), user_types(&config, &source, out)?)?;
    println!("cargo::rerun-if-changed=build.rs");
    // The crate `kernel` reads its patches when it runs, so they are input of this script.
    println!("cargo::rerun-if-changed=../kernel/patches");
    Ok(())
}
