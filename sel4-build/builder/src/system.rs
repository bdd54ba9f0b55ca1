// SPDX-License-Identifier: MIT OR Apache-2.0

//! From a description to what QEMU boots.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use kernel::{Config, Kernel, Series};
use protocol::address_map::PAGE_BYTES;

use crate::components::Packages;
use crate::description::{self, Bytes, INPUT, Source, System};
use crate::progress::step;
use crate::tree::Tree;
use crate::{archive, boot};

/// What may differ from the description.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// A kernel that checks itself and prints.
    pub debug: bool,
    /// Another kernel.
    pub kernel: Option<description::Kernel>,
    /// Instead of the file `input`.
    pub input: Option<PathBuf>,
}

/// A system that has been built.
pub struct Built {
    /// Its description.
    pub system: System,
    /// The kernel.
    pub kernel: Kernel,
    /// The boot image.
    pub image: PathBuf,
    /// init's executable, with symbols.
    pub init: PathBuf,
}

/// Builds the system of that name.
pub fn build(tree: &Tree, name: &str, changes: &Changes) -> Result<Built> {
    let (file, base) = tree.description(name)?;
    let mut system = System::load(&file, &base)?;
    if let Some(input) = &changes.input {
        let index = system.file(INPUT).with_context(|| {
            format!("system `{}` has no file `{INPUT}` to replace", system.name)
        })?;
        system.files[index].path = std::path::absolute(input)?;
    }

    system.kernel = changes.kernel.unwrap_or(system.kernel);

    let init = Source {
        path: None,
        package: "init".into(),
        binary: "init".into(),
        features: BTreeSet::new(),
    };
    let wrong = |key: String, reason: String| description::Error {
        file: file.clone(),
        key,
        reason,
    };
    system
        .check()
        .map_err(|found| wrong(found.key, found.reason))?;
    let mut packages = Packages::new(tree);
    packages
        .add(&init)
        .map_err(|missing| anyhow!(missing.reason))?;
    for (key, source) in system.sources() {
        packages
            .add(&source)
            .map_err(|missing| wrong(format!("{key}.{}", missing.key), missing.reason))?;
    }
    for given in &system.files {
        std::fs::metadata(&given.path).map_err(|error| {
            let key = format!("file.{}.path", given.name);
            wrong(key, format!("{}: {error}", given.path.display()))
        })?;
    }

    let config = match changes.debug {
        true => Config::debug(),
        false => Config::default(),
    };
    let series = match system.kernel {
        description::Kernel::Stock => Series::Stock,
        description::Kernel::Extended => Series::Extended,
    };
    let variant = match changes.debug {
        true => format!("{}-debug", system.kernel),
        false => system.kernel.to_string(),
    };
    let folder = tree.target.join("kernel").join(&variant);
    let kernel = step("kernel", &format!("seL4 5.0.0, {variant}"), || {
        Ok(kernel::build(&config, series, &folder)?)
    })?;

    let mut sources: BTreeSet<_> = system.sources().map(|(_, source)| source).collect();
    sources.insert(init.clone());
    let names: Vec<_> = sources
        .iter()
        .map(|source| source.binary.as_str())
        .collect();
    let executables = step("components", &names.join(", "), || packages.build(&sources))?;

    let archive =
        archive::build(&system, &executables).with_context(|| format!("{}", file.display()))?;
    let archive_bytes = archive.len() as u64;
    let executable = executables[&init].clone();
    let contents = std::fs::read(&executable).with_context(|| executable.display().to_string())?;
    let image = boot::image(&contents, archive).context("init")?;
    // Each page takes a slot of the root CNode, of which init needs some itself.
    let slots = 1 << config.root_cnode_bits;
    ensure!(
        image.pages <= slots / 2,
        "{}: init and the archive take {} of memory, but the kernel has slots for {}",
        file.display(),
        mebibytes(image.pages * PAGE_BYTES),
        Bytes(slots / 2 * PAGE_BYTES),
    );

    let folder = tree
        .target
        .join("systems")
        .join(file.file_stem().unwrap_or_default());
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let path = folder.join("image.elf");
    std::fs::write(&path, &image.file).with_context(|| path.display().to_string())?;
    eprintln!(
        "image: {}, of which {} archive",
        mebibytes(image.file.len() as u64),
        mebibytes(archive_bytes)
    );
    Ok(Built {
        system,
        kernel,
        image: path,
        init: executable,
    })
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}
