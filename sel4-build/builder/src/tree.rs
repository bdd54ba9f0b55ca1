// SPDX-License-Identifier: MIT OR Apache-2.0

//! Where things are on the host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::MetadataCommand;

/// The repository and the folder for what is built.
pub struct Tree {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's target directory.
    pub target: PathBuf,
}

impl Tree {
    /// The tree this program was built from.
    pub fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let metadata = MetadataCommand::new()
            .cargo_path(cargo())
            .manifest_path(manifest)
            .no_deps()
            .exec()?;
        Ok(Tree {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
        })
    }

    /// The folder of the system descriptions.
    fn systems(&self) -> PathBuf {
        self.root.join("sel4-build/systems")
    }

    /// The names of all systems.
    pub fn system_names(&self) -> Result<Vec<String>> {
        let folder = self.systems();
        let mut names = Vec::new();
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
                && let Some(name) = path.file_stem()
            {
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The description that the user means, and what paths in it are relative to: the
    /// repository, or the folder of a description that is not in it.
    pub fn description(&self, system: &str) -> Result<(PathBuf, PathBuf)> {
        if system.ends_with(".toml") {
            let file = Path::new(system);
            let file = file.canonicalize().with_context(|| system.to_owned())?;
            let folder = file.parent().unwrap_or(Path::new("/"));
            let base = match file.starts_with(&self.root) {
                true => self.root.clone(),
                false => folder.to_owned(),
            };
            return Ok((file, base));
        }
        let names = self.system_names()?;
        if !names.iter().any(|name| name == system) {
            bail!(
                "there is no system `{system}`; there are: {}",
                names.join(", ")
            );
        }
        let file = self.systems().join(format!("{system}.toml"));
        ensure!(file.is_file(), "{} is no file", file.display());
        Ok((file, self.root.clone()))
    }
}

/// The Cargo that runs us, or else the one on the path.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}
