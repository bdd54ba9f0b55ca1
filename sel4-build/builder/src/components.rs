// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compiles components with Cargo for seL4.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail, ensure};
use cargo_metadata::{Message, Metadata, MetadataCommand, PackageId};

use crate::description::Source;
use crate::tree::{Tree, cargo};

/// Given to Cargo even where it is the host, or its flags would reach build scripts too.
pub const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Fixed addresses, no C runtime, and segments that share no page. They are given through
/// the environment and with `--target`, so neither host programs nor build scripts get them.
pub const FLAGS: &[&str] = &[
    // The GNU linker: Debian has it, and its scripts define `_end`.
    "-Clinker-features=-lld",
    "-Crelocation-model=static",
    "-Clink-arg=-nostartfiles",
    "-Clink-arg=-nostdlib",
    "-Clink-arg=-static",
    "-Clink-arg=-no-pie",
    "-Clink-arg=-Wl,-z,max-page-size=4096,-z,norelro,-z,separate-code,-z,noexecstack",
    "-Clink-arg=-Wl,--build-id=none,-Ttext-segment=0x400000",
];

/// The profile, for packages whose workspace does not define it.
const PROFILE: &[&str] = &[
    "profile.guest.inherits='release'",
    "profile.guest.panic='abort'",
    "profile.guest.debug='line-tables-only'",
    "profile.guest.lto='thin'",
    "profile.guest.codegen-units=1",
];

const _: () = assert!(protocol::address_map::IMAGE_BASE == 0x40_0000);

/// The packages that components come from.
pub struct Packages<'a> {
    tree: &'a Tree,
    /// By the folder of those outside the repository.
    workspaces: BTreeMap<Option<PathBuf>, Metadata>,
}

/// A package, binary or feature that is not there.
#[derive(Debug)]
pub struct Missing {
    /// Which key of the component names it.
    pub key: &'static str,
    /// What is wrong.
    pub reason: String,
}

impl<'a> Packages<'a> {
    /// No packages yet.
    pub fn new(tree: &'a Tree) -> Self {
        Packages {
            tree,
            workspaces: BTreeMap::new(),
        }
    }

    /// Looks a binary up, so that [`Packages::build`] can compile it.
    pub fn add(&mut self, source: &Source) -> Result<(), Missing> {
        if !self.workspaces.contains_key(&source.path) {
            let metadata = MetadataCommand::new()
                .cargo_path(cargo())
                .manifest_path(self.manifest(&source.path))
                .no_deps()
                .exec()
                .map_err(|error| Missing {
                    key: "path",
                    reason: error.to_string(),
                })?;
            self.workspaces.insert(source.path.clone(), metadata);
        }
        find(&self.workspaces[&source.path], source).map(|_| ())
    }

    /// Compiles all of them and says where their executables are.
    pub fn build(&self, sources: &BTreeSet<Source>) -> Result<BTreeMap<Source, PathBuf>> {
        let mut executables = BTreeMap::new();
        for (path, metadata) in &self.workspaces {
            let sources = sources.iter().filter(|source| source.path == *path);
            self.build_workspace(metadata, path, sources, &mut executables)?;
        }
        Ok(executables)
    }

    fn manifest(&self, path: &Option<PathBuf>) -> PathBuf {
        path.as_ref().unwrap_or(&self.tree.root).join("Cargo.toml")
    }

    fn build_workspace<'s>(
        &self,
        metadata: &Metadata,
        path: &Option<PathBuf>,
        sources: impl Iterator<Item = &'s Source>,
        executables: &mut BTreeMap<Source, PathBuf>,
    ) -> Result<()> {
        let mut command = Command::new(cargo());
        command
            .args(["build", "--quiet", "--profile", "guest"])
            .args(["--target", TARGET])
            .args(["--message-format", "json-render-diagnostics"])
            .arg("--manifest-path")
            .arg(self.manifest(path))
            .arg("--target-dir")
            .arg(&self.tree.target)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        if path.is_some() {
            for value in PROFILE {
                command.args(["--config", value]);
            }
        }
        let mut wanted = BTreeMap::new();
        for source in sources {
            let id = find(metadata, source).map_err(|missing| anyhow!(missing.reason))?;
            command.args(["--package", &source.package, "--bin", &source.binary]);
            for feature in &source.features {
                let feature = format!("{}/{feature}", source.package);
                command.args(["--features", &feature]);
            }
            wanted.insert((id.clone(), source.binary.clone()), source);
        }

        let mut child = command.spawn().context("cannot start cargo")?;
        let output = child.stdout.take().context("cargo has no output")?;
        for message in Message::parse_stream(BufReader::new(output)) {
            let Message::CompilerArtifact(artifact) = message? else {
                continue;
            };
            if !artifact.fresh {
                eprintln!("    compiled {}", artifact.target.name);
            }
            if let Some(executable) = artifact.executable
                && let Some(source) = wanted.remove(&(artifact.package_id, artifact.target.name))
            {
                executables.insert(source.clone(), executable.into());
            }
        }
        ensure!(child.wait()?.success(), "cargo failed");
        if let Some((_, binary)) = wanted.into_keys().next() {
            bail!("cargo made no binary `{binary}`");
        }
        Ok(())
    }
}

/// Checks that the package, binary and features are there.
fn find<'a>(metadata: &'a Metadata, source: &Source) -> Result<&'a PackageId, Missing> {
    let missing = |key, reason| Missing { key, reason };
    let Source {
        package: name,
        binary,
        ..
    } = source;
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name == *name)
        .ok_or_else(|| missing("package", format!("there is no package `{name}`")))?;
    let binaries = package.targets.iter().filter(|target| target.is_bin());
    let binaries: Vec<_> = binaries.map(|target| target.name.as_str()).collect();
    if !binaries.contains(&binary.as_str()) {
        let binaries = binaries.join("`, `");
        let reason = format!("package `{name}` has no binary `{binary}`, only `{binaries}`");
        return Err(missing("binary", reason));
    }
    for feature in &source.features {
        if !package.features.contains_key(feature) {
            let reason = format!("package `{name}` has no feature `{feature}`");
            return Err(missing("features", reason));
        }
    }
    Ok(&package.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::Program;
    use protocol::address_map::{IMAGE_BASE, STACK_TOP};

    fn source(path: Option<&std::path::Path>, package: &str, binary: &str) -> Source {
        Source {
            path: path.map(Into::into),
            package: package.into(),
            binary: binary.into(),
            features: BTreeSet::new(),
        }
    }

    /// A package that is not in this tree, and has the binary `lone`.
    fn outside() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("src")).unwrap();
        let manifest = "[package]\nname = \"outside\"\nedition = \"2024\"\n\
                        [features]\nmore = []\n\
                        [[bin]]\nname = \"lone\"\npath = \"src/main.rs\"\n";
        std::fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        let program = "#![no_std]\n#![no_main]\n\
                       #[panic_handler]\n\
                       fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }\n\
                       #[unsafe(no_mangle)]\n\
                       extern \"C\" fn _start() -> ! { loop {} }\n";
        std::fs::write(folder.path().join("src/main.rs"), program).unwrap();
        folder
    }

    #[test]
    fn a_package_outside_this_tree_becomes_a_static_program_at_the_image_base() {
        let folder = outside();
        let tree = Tree {
            root: "/no/such/tree".into(),
            target: folder.path().join("target"),
        };
        let source = source(Some(folder.path()), "outside", "lone");
        let mut packages = Packages::new(&tree);
        packages.add(&source).unwrap();
        let executables = packages.build(&[source.clone()].into()).unwrap();
        let file = std::fs::read(&executables[&source]).unwrap();
        let program = Program::parse(&file, IMAGE_BASE..STACK_TOP).unwrap();
        assert_eq!(program.segments[0].address, IMAGE_BASE);
    }

    #[test]
    fn what_is_not_there_is_refused_with_its_key() {
        let folder = outside();
        let tree = Tree {
            root: folder.path().into(),
            target: folder.path().join("target"),
        };
        let mut packages = Packages::new(&tree);
        assert!(packages.add(&source(None, "outside", "lone")).is_ok());

        let missing = packages.add(&source(None, "inside", "lone")).unwrap_err();
        assert_eq!(missing.key, "package");
        assert_eq!(missing.reason, "there is no package `inside`");

        let missing = packages.add(&source(None, "outside", "two")).unwrap_err();
        assert_eq!(missing.key, "binary");
        assert!(missing.reason.contains("only `lone`"), "{missing:?}");

        let mut featured = source(None, "outside", "lone");
        featured.features.insert("more".into());
        assert!(packages.add(&featured).is_ok());
        featured.features.insert("less".into());
        let missing = packages.add(&featured).unwrap_err();
        assert_eq!(missing.key, "features");
        assert!(missing.reason.contains("no feature `less`"), "{missing:?}");

        let nowhere = folder.path().join("nowhere");
        let missing = packages.add(&source(Some(&nowhere), "outside", "lone"));
        assert_eq!(missing.unwrap_err().key, "path");
    }
}
