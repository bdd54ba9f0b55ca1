// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds a kernel from the command line: `build OUT [stock|extended|unpatched] [debug]`.

use std::path::PathBuf;
use std::time::Instant;

use kernel::{Config, Series};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = PathBuf::from(
        arguments
            .next()
            .ok_or("build OUT [stock|extended|unpatched] [debug]")?,
    );
    let series = match arguments.next().as_deref() {
        None | Some("extended") => Series::Extended,
        Some("stock") => Series::Stock,
        Some("unpatched") => Series::Unpatched,
        Some(other) => return Err(format!("no series {other}").into()),
    };
    let config = match arguments.next().as_deref() {
        None => Config::default(),
        Some("debug") => Config::debug(),
        Some(other) => return Err(format!("no configuration {other}").into()),
    };
    let start = Instant::now();
    let kernel = kernel::build(&config, series, &out)?;
    println!(
        "{} (rebuilt: {}, {:.2?})",
        kernel.image.display(),
        kernel.rebuilt,
        start.elapsed()
    );
    Ok(())
}
