// SPDX-License-Identifier: MIT OR Apache-2.0
//! What can go wrong, told so that the reader can mend it.

use std::path::{Path, PathBuf};

/// Why no kernel, header or binding could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// Cargo could not say where the package with the source lies.
    #[error("cargo metadata: {0}")]
    Metadata(#[from] cargo_metadata::Error),

    /// The package with the source is not among the dependencies.
    #[error("package {package} is not a dependency, so the seL4 source is missing")]
    SourceMissing {
        /// The package that was looked for.
        package: &'static str,
    },

    /// A field of [`Config`](crate::Config) has a value that no kernel can have.
    #[error("kernel configuration: {field} is {value}, but must be {must}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// Its value.
        value: u64,
        /// The values allowed.
        must: String,
    },

    /// A patch does not apply.
    #[error("patch {patch}: {file}: {reason}")]
    Patch {
        /// The patch's name.
        patch: String,
        /// The file that it would change.
        file: String,
        /// Which hunk failed, or what else is wrong.
        reason: String,
    },

    /// A `.bf` file is not well formed, or describes an impossible layout.
    #[error("{0}")]
    Bitfield(String),

    /// An interface description (XML) is not as expected.
    #[error("{}: {reason}", file.display())]
    Interface {
        /// The description.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// A tool of the C toolchain failed, or is missing.
    #[error("{tool} failed while {doing}:\n{output}")]
    Tool {
        /// The program.
        tool: String,
        /// What it was to do.
        doing: String,
        /// What it printed.
        output: String,
    },
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(at(path))
}

/// Writes a file, and the directories above it, unless it holds just that already.
pub(crate) fn write_if_changed(path: &Path, text: &str) -> Result<(), Error> {
    if std::fs::read(path).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(at(parent))?;
    }
    std::fs::write(path, text).map_err(at(path))
}

/// Adds the path to an input or output error.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
