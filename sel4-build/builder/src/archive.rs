// SPDX-License-Identifier: MIT OR Apache-2.0

//! The archive of a system: manifest, pages of programs, pages of files.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::{HEADER_BYTES, Header, encode_manifest};
use protocol::address_map::{IMAGE_BASE, PAGE_BYTES, stack_top};
use protocol::limits;

use crate::description::{Bytes, Source, System};
use crate::program::Program;

/// Most bytes of a manifest: more than a thousand components.
const MANIFEST_MAXIMUM: usize = 1 << 20;

/// Extents of private memory that a process has beside its program, files and stacks: IPC
/// buffers, start information, the pages that say who must take locks.
const OTHER_EXTENTS: usize = 3;

/// A program placed in the archive.
struct Placed {
    entry: u64,
    end: u64,
    segments: Vec<image::Segment>,
}

/// The pages behind the manifest.
#[derive(Default)]
struct Pages(Vec<u8>);

impl Pages {
    /// Adds `contents`, padded to whole pages, and says where they begin.
    fn add(&mut self, contents: &[u8]) -> u64 {
        let offset = self.0.len();
        self.0.extend(contents);
        let padded = self.0.len().next_multiple_of(PAGE_BYTES as usize);
        self.0.resize(padded, 0);
        offset as u64
    }
}

/// Where programs with so many stacks of that size may lie; the page below a stack is its guard.
fn program_range(threads: u8, stack: Bytes) -> Range<u64> {
    IMAGE_BASE..stack_top(threads.into(), stack.0)
}

/// Makes the archive of a checked description; `executables` says where the executable of
/// each source lies.
pub fn build(
    system: &System,
    executables: &BTreeMap<Source, std::path::PathBuf>,
) -> Result<Vec<u8>> {
    let mut pages = Pages::default();
    let mut placed = BTreeMap::new();
    let components = system.components.iter();
    let stacks = std::iter::once((1, system.server.stack))
        .chain(components.map(|component| (component.threads, component.stack)));
    for ((key, source), (threads, stack)) in system.sources().zip(stacks) {
        let allowed = program_range(threads, stack);
        let program = match placed.get(&source) {
            Some(program) => program,
            None => {
                let executable = executables
                    .get(&source)
                    .with_context(|| format!("{key}: it was not built"))?;
                let program = place(&mut pages, executable, allowed.clone())
                    .with_context(|| format!("{key}: {}", executable.display()))?;
                placed.entry(source).or_insert(program)
            }
        };
        // The same program may be another component with a larger stack.
        ensure!(
            program.end <= allowed.end,
            "{key}.stack: the program ends at {:#x}, the stack's guard page begins at {:#x}",
            program.end,
            allowed.end
        );
    }
    for component in &system.components {
        let segments = placed[&component.source()].segments.len();
        let stacks = usize::from(component.threads);
        let extents = segments + component.files.len() + stacks + OTHER_EXTENTS;
        ensure!(
            extents <= limits::PRIVATE_EXTENTS,
            "component.{}.files: {segments} segments and {} files are too many",
            component.name,
            component.files.len()
        );
    }

    let mut files = Vec::new();
    for file in &system.files {
        let contents = read(&file.path).with_context(|| format!("file.{}.path", file.name))?;
        files.push((pages.add(&contents), contents.len() as u64));
    }

    // Offsets depend on the size of the manifest, which does not depend on offsets.
    let size = encode(system, &placed, &files, 0)?.len();
    let base = (HEADER_BYTES + size).next_multiple_of(PAGE_BYTES as usize);
    let manifest = encode(system, &placed, &files, base as u64)?;
    ensure!(manifest.len() == size, "the size of the manifest changed");
    let header = Header {
        manifest_bytes: size as u64,
        total_bytes: (base + pages.0.len()) as u64,
    };
    let mut archive = header.encode().to_vec();
    archive.extend(manifest);
    archive.resize(base, 0);
    archive.extend(pages.0);
    Ok(archive)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| path.display().to_string())
}

fn place(pages: &mut Pages, executable: &Path, allowed: Range<u64>) -> Result<Placed> {
    let program = Program::parse(&read(executable)?, allowed)?;
    let segments = program.segments.iter().map(|segment| image::Segment {
        address: segment.address,
        memory_pages: segment.memory_pages,
        offset: pages.add(&segment.contents),
        file_pages: segment.file_pages(),
        writable: segment.writable,
        executable: segment.executable,
    });
    Ok(Placed {
        entry: program.entry,
        segments: segments.collect(),
        end: program.end(),
    })
}

/// The manifest when pages begin at `base`.
fn encode(
    system: &System,
    placed: &BTreeMap<Source, Placed>,
    files: &[(u64, u64)],
    base: u64,
) -> Result<Vec<u8>> {
    let moved: BTreeMap<_, Vec<_>> = placed
        .iter()
        .map(|(source, program)| {
            let segments = program.segments.iter().map(|segment| image::Segment {
                offset: base + segment.offset,
                ..*segment
            });
            (source, segments.collect())
        })
        .collect();
    let program = |source: Source| image::Program {
        entry: placed[&source].entry,
        segments: &moved[&source],
    };
    let index = |index: Option<usize>| index.and_then(|index| u32::try_from(index).ok());

    let endpoints = system.endpoints();
    let mut given = Vec::new();
    for component in &system.components {
        let files = component.files.iter().map(|name| index(system.file(name)));
        let files: Option<Vec<u32>> = files.collect();
        let endpoint = |name| index(endpoints.iter().position(|known| *known == name));
        let endpoints: Option<Vec<u32>> = component.endpoints.iter().map(endpoint).collect();
        let given_to_it = files.zip(endpoints);
        given.push(given_to_it.context("a component has a file that is not there")?);
    }
    let components: Vec<_> = system
        .components
        .iter()
        .zip(&given)
        .map(|(component, (files, endpoints))| image::Component {
            name: &component.name,
            arguments: &component.arguments,
            user: component.user,
            groups: &component.groups,
            priority: component.priority,
            threads: component.threads,
            stack_bytes: component.stack.0,
            may_spawn: component.may_spawn,
            files,
            endpoints,
            program: program(component.source()),
        })
        .collect();
    let files: Vec<_> = system
        .files
        .iter()
        .zip(files)
        .map(|(file, (offset, bytes))| image::File {
            name: &file.name,
            offset: base + offset,
            bytes: *bytes,
        })
        .collect();
    let quotas: Vec<_> = system
        .quotas
        .iter()
        .map(|quota| image::Quota {
            user: quota.user,
            memory: quota.memory.0,
            slots: quota.slots,
            sessions: quota.sessions,
            vases: quota.vases,
            segments: quota.segments,
            attachments: quota.attachments,
            handles: quota.handles,
        })
        .collect();
    let policies: Vec<_> = system
        .server
        .policies()
        .map(|(question, answer)| image::Policy { question, answer })
        .collect();
    let manifest = image::System {
        name: &system.name,
        server: image::Server {
            program: program(system.server.source()),
            stack_bytes: system.server.stack.0,
            slots_bits: system.server.slots_bits,
            policies: &policies,
        },
        main: index(system.component(&system.main)).context("there is no main component")?,
        components: &components,
        endpoints: u32::try_from(endpoints.len())?,
        files: &files,
        quotas: &quotas,
    };
    let mut buffer = vec![0; MANIFEST_MAXIMUM];
    let mut scratch = vec![MaybeUninit::uninit(); MANIFEST_MAXIMUM];
    let length = encode_manifest(&manifest, &mut buffer, &mut scratch)?;
    buffer.truncate(length);
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::testing::{code, executable, linked};
    use image::Image;
    use object::elf;
    use protocol::address_map::STACK_TOP;
    use std::path::PathBuf;

    const DESCRIPTION: &str = r#"
name = "test"
memory = "64M"
main = "second"
[server]
page_tables = "mirrored"
page_size = "large"
[[component]]
name = "first"
package = "package"
binary = "shared"
user = 1
endpoints = ["other", "common"]
[[component]]
name = "second"
package = "package"
binary = "shared"
user = 2
groups = [7, 8]
arguments = "x"
files = ["long", "input"]
endpoints = ["common", "other"]
[[file]]
name = "input"
path = "input"
[[file]]
name = "long"
path = "long"
"#;

    /// A folder with a description, the files it names, and an executable.
    fn folder(description: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("test.toml"), description).unwrap();
        std::fs::write(folder.path().join("input"), "input").unwrap();
        std::fs::write(folder.path().join("long"), [b'l'; 5000]).unwrap();
        linked(
            folder.path(),
            "char zero[0x100000]; char data[1] = {'d'};
             void _start(void) { zero[0] = data[0]; for (;;); }",
        );
        folder
    }

    fn load(folder: &Path) -> System {
        System::load(&folder.join("test.toml"), folder).unwrap()
    }

    /// Every source is the one executable.
    fn executables(folder: &Path, system: &System) -> BTreeMap<Source, PathBuf> {
        let sources = system.sources().map(|(_, source)| source);
        sources
            .map(|source| (source, folder.join("program")))
            .collect()
    }

    /// The archive at an address where it can be read.
    fn aligned(archive: &[u8], memory: &mut Vec<u8>) -> Range<usize> {
        *memory = vec![0; archive.len() + 16];
        let start = memory.as_ptr().align_offset(16);
        memory[start..][..archive.len()].copy_from_slice(archive);
        start..start + archive.len()
    }

    #[test]
    fn what_was_described_is_in_the_archive() {
        let folder = folder(DESCRIPTION);
        let system = load(folder.path());
        let archive = build(&system, &executables(folder.path(), &system)).unwrap();
        let mut memory = Vec::new();
        let range = aligned(&archive, &mut memory);
        let image = Image::parse(&memory[range]).unwrap();
        assert_eq!(image.total_bytes(), archive.len());

        let found = image.system();
        assert_eq!(&*found.name, "test");
        assert_eq!(found.main.to_native(), 1);
        let policies = found.server.policies.iter();
        let policies = policies.map(|policy| (&*policy.question, &*policy.answer));
        assert!(policies.eq([("page_tables", "mirrored"), ("page_size", "large")]));
        let second = image.component("second").unwrap();
        assert_eq!(second.user.to_native(), 2);
        assert_eq!(*second.groups, [7, 8]);
        assert_eq!(&*second.arguments, "x");
        assert_eq!(found.endpoints.to_native(), 2);
        let first = image.component("first").unwrap();
        assert_eq!(first.endpoints[0], second.endpoints[1]);
        assert_eq!(first.endpoints[1], second.endpoints[0]);
        assert_ne!(first.endpoints[0], first.endpoints[1]);
        let contents: Vec<_> = second
            .files
            .iter()
            .map(|index| image.file_bytes(&found.files[index.to_native() as usize]))
            .collect();
        assert_eq!(contents, [&[b'l'; 5000][..], b"input"]);

        let file = std::fs::read(folder.path().join("program")).unwrap();
        let program = Program::parse(&file, IMAGE_BASE..STACK_TOP).unwrap();
        assert_eq!(second.program.entry.to_native(), program.entry);
        for (found, segment) in second.program.segments.iter().zip(&program.segments) {
            assert_eq!(found.address.to_native(), segment.address);
            assert_eq!(found.memory_pages.to_native(), segment.memory_pages);
            assert_eq!(image.segment_pages(found), segment.contents);
        }
    }

    #[test]
    fn components_that_run_the_same_binary_share_its_pages() {
        let folder = folder(DESCRIPTION);
        let system = load(folder.path());
        let archive = build(&system, &executables(folder.path(), &system)).unwrap();
        let mut memory = Vec::new();
        let range = aligned(&archive, &mut memory);
        let image = Image::parse(&memory[range]).unwrap();
        let offsets = |name: &str| -> Vec<u64> {
            let segments = &image.component(name).unwrap().program.segments;
            segments.iter().map(|s| s.offset.to_native()).collect()
        };
        assert_eq!(offsets("first"), offsets("second"));
    }

    #[track_caller]
    fn assert_refused(description: &str, reason: &str) {
        let folder = folder(description);
        let system = load(folder.path());
        let result = build(&system, &executables(folder.path(), &system));
        let told = format!("{:#}", result.expect_err("accepted"));
        assert!(told.contains(reason), "{told}");
    }

    #[test]
    fn a_program_that_reaches_into_its_stack_is_refused() {
        // The largest stack leaves room for it, so it is made larger, too.
        let large = DESCRIPTION.replace("user = 2", "user = 2\nstack = \"511M\"");
        let folder = folder(&large);
        linked(
            folder.path(),
            "char zero[0x60000000]; void _start(void) { zero[0] = 1; for (;;); }",
        );
        let system = load(folder.path());
        let result = build(&system, &executables(folder.path(), &system));
        let told = format!("{:#}", result.expect_err("accepted"));
        assert!(told.contains("component.second.stack"), "{told}");
    }

    #[test]
    fn more_extents_than_a_process_can_have_are_refused() {
        let names: Vec<_> = (0..limits::FILES).map(|n| format!("f{n}")).collect();
        let mut description = DESCRIPTION.replace(
            "files = [\"long\", \"input\"]",
            &format!("files = {names:?}"),
        );
        for name in names {
            description += &format!("[[file]]\nname = \"{name}\"\npath = \"input\"\n");
        }
        let most = limits::PRIVATE_EXTENTS - limits::FILES - OTHER_EXTENTS - 1;
        for (segments, accepted) in [(most, true), (most + 1, false)] {
            let parts: Vec<_> = (0..segments as u64)
                .map(|index| code(IMAGE_BASE + 2 * index * PAGE_BYTES))
                .collect();
            let program = executable(elf::ET_EXEC, elf::EM_X86_64, IMAGE_BASE, &parts);
            let folder = folder(&description);
            std::fs::write(folder.path().join("program"), program).unwrap();
            let system = load(folder.path());
            let result = build(&system, &executables(folder.path(), &system));
            assert_eq!(result.is_ok(), accepted, "{segments} segments");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let description = DESCRIPTION.replace("path = \"input\"", "path = \"missing\"");
        assert_refused(&description, "file.input.path: ");
    }
}
