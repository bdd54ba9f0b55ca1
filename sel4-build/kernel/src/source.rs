// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where the seL4 source lies, and copies of it with our patches.
//!
//! The source stays in the registry package: Cargo pins it, and the repository holds
//! only what we change. A copy is made again only when its content would differ.

use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;
use diffy::patch_set::{FileOperation, ParseOptions, PatchSet};

use crate::error::{Error, at, read};

/// The package whose folder `seL4/` is the source.
const PACKAGE: &str = "sel4-sys";

/// What of the source an x86_64 kernel and its bindings can need.
const PARTS: [&str; 2] = ["include", "src"];
/// The part that describes the interface to user space.
const INTERFACE_PARTS: [&str; 3] = [
    "libsel4/include",
    "libsel4/arch_include/x86",
    "libsel4/sel4_arch_include/x86_64",
];
/// Folders that hold one subfolder per architecture, platform or word size, and the
/// subfolder that is ours.
const CHOICES: [(&str, &str); 4] = [
    ("include/arch", "x86"),
    ("include/plat", "pc99"),
    ("src/arch", "x86"),
    ("src/plat", "pc99"),
];

/// The file in a copy that says what it was made from.
const STAMP: &str = ".made-from";

/// Which of our patches a kernel gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Series {
    /// seL4 5.0.0 as released.
    Unpatched,
    /// The errata: defects of 5.0.0 mended, the interface as released.
    Stock,
    /// The errata and the extensions for many address spaces.
    Extended,
}

impl Series {
    /// The folders of the patches, in the order in which they apply.
    fn folders(self) -> &'static [&'static str] {
        match self {
            Series::Unpatched => &[],
            Series::Stock => &["errata"],
            Series::Extended => &["errata", "extended"],
        }
    }

    /// The patches of the series, in the order in which they apply.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if one cannot be read.
    pub fn patches(self) -> Result<Vec<Patch>, Error> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("patches");
        let mut patches = Vec::new();
        for folder in self.folders() {
            let path = root.join(folder);
            for file in sorted_entries(&path)? {
                if file
                    .extension()
                    .is_some_and(|extension| extension == "patch")
                {
                    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
                    patches.push(Patch {
                        name: format!("{folder}/{stem}"),
                        text: read(&file)?,
                    });
                }
            }
        }
        Ok(patches)
    }
}

/// One patch: a unified diff of any number of files, below a header in prose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Folder and number, as in `errata/01-name`.
    pub name: String,
    /// The header and the diff.
    pub text: String,
}

impl Patch {
    /// Changes the tree at `root`. Paths in the patch have one leading component more
    /// (`a/` and `b/`).
    ///
    /// # Errors
    ///
    /// [`Error::Patch`] names the patch, the file and the hunk that does not apply.
    fn apply(&self, root: &Path) -> Result<(), Error> {
        let fail = |file: &str, reason: String| Error::Patch {
            patch: self.name.clone(),
            file: file.to_owned(),
            reason,
        };
        for change in PatchSet::parse(&self.text, ParseOptions::unidiff()) {
            let change = change.map_err(|error| fail("", error.to_string()))?;
            let FileOperation::Modify { original, .. } = change.operation().strip_prefix(1) else {
                return Err(fail(
                    "",
                    "only changes of existing files are supported".into(),
                ));
            };
            let Some(diff) = change.patch().as_text() else {
                return Err(fail(&original, "a binary change".into()));
            };
            let path = root.join(&*original);
            let old =
                fs::read_to_string(&path).map_err(|error| fail(&original, error.to_string()))?;
            let new =
                diffy::apply(&old, diff).map_err(|error| fail(&original, error.to_string()))?;
            fs::write(&path, new).map_err(at(&path))?;
        }
        Ok(())
    }
}

/// Where the seL4 source of the registry package lies. It must not be changed.
///
/// Works in build scripts of other crates too.
///
/// # Errors
///
/// [`Error::Metadata`] if Cargo fails, for instance because the package is not there and
/// cannot be fetched.
pub fn locate() -> Result<PathBuf, Error> {
    let metadata = MetadataCommand::new()
        .manifest_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .exec()?;
    metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == PACKAGE)
        .and_then(|package| package.manifest_path.parent())
        .map(|folder| folder.join("seL4").into_std_path_buf())
        .filter(|source| source.is_dir())
        .ok_or(Error::SourceMissing { package: PACKAGE })
}

/// Makes a copy of the source in `out`, with the patches of `series`, and says where.
/// If there is one already and it is up to date, it is left alone.
///
/// # Errors
///
/// [`Error::Patch`] if a patch does not apply, [`Error::File`] if a file cannot be read
/// or written, and the errors of [`locate`].
pub fn patched(out: &Path, series: &Series) -> Result<PathBuf, Error> {
    patched_copy(&locate()?, out, &series.patches()?)
}

/// As [`patched`], from any source tree.
pub(crate) fn patched_copy(from: &Path, out: &Path, patches: &[Patch]) -> Result<PathBuf, Error> {
    let copy = out.join("source");
    let mut files = Vec::new();
    for part in PARTS.into_iter().chain(INTERFACE_PARTS) {
        let folder = from.join(part);
        if folder.is_dir() {
            list(from, &folder, &mut files)?;
        }
    }

    let mut hasher = blake3::Hasher::new();
    let mut frame = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    for patch in patches {
        frame(patch.name.as_bytes());
        frame(patch.text.as_bytes());
    }
    let mut contents = Vec::with_capacity(files.len());
    for file in &files {
        let path = from.join(file);
        let content = fs::read(&path).map_err(at(&path))?;
        frame(file.as_os_str().as_encoded_bytes());
        frame(&content);
        contents.push(content);
    }
    let stamp = hasher.finalize().to_hex();

    if fs::read(copy.join(STAMP)).is_ok_and(|old| old == stamp.as_bytes()) {
        return Ok(copy);
    }
    if copy.exists() {
        fs::remove_dir_all(&copy).map_err(at(&copy))?;
    }
    for (file, content) in files.iter().zip(contents) {
        let path = copy.join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        fs::write(&path, content).map_err(at(&path))?;
    }
    for patch in patches {
        patch.apply(&copy)?;
    }
    // Last, so that a copy left half made is made again.
    let path = copy.join(STAMP);
    fs::write(&path, stamp.as_bytes()).map_err(at(&path))?;
    Ok(copy)
}

/// The stamp of a copy that [`patched`] made: equal stamps, equal trees.
pub(crate) fn stamp(copy: &Path) -> Result<String, Error> {
    read(&copy.join(STAMP))
}

/// Adds the files below `folder`, relative to `root`, in order of their names.
fn list(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    let chosen = CHOICES
        .iter()
        .find(|(parent, _)| folder == root.join(parent))
        .map(|(_, ours)| *ours);
    for entry in sorted_entries(folder)? {
        if entry.is_dir() {
            if chosen.is_none_or(|ours| entry.ends_with(ours)) {
                list(root, &entry, files)?;
            }
        } else {
            files.extend(entry.strip_prefix(root).map(Path::to_owned));
        }
    }
    Ok(())
}

/// What a folder holds, in order of names, so that nothing depends on the file system.
pub(crate) fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(at(folder))?;
    entries.sort();
    Ok(entries)
}

#[cfg(test)]
mod tests;
