// SPDX-License-Identifier: MIT OR Apache-2.0

//! The archive: header, manifest, pages.

use core::fmt;
use core::mem::MaybeUninit;

use protocol::address_map::{IMAGE_BASE, PAGE_BYTES, STACK_TOP};
use protocol::limits;
use rkyv::api::low;
use rkyv::rancor::Failure;
use rkyv::ser::allocator::SubAllocator;
use rkyv::ser::writer::Buffer;

use crate::COMPONENT_PRIORITY;
use crate::manifest::{
    ArchivedComponent, ArchivedFile, ArchivedProgram, ArchivedSegment, ArchivedSystem, System,
};

/// "sel4-vas", and changes with the layout of archive or manifest.
const MAGIC: u64 = u64::from_le_bytes(*b"sel4vas5");

/// Bytes of the header; the manifest follows it.
pub const HEADER_BYTES: usize = 32;

/// Alignment that the manifest needs in memory.
const MANIFEST_ALIGNMENT: usize = 16;

/// The first bytes of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the manifest.
    pub manifest_bytes: u64,
    /// Bytes of the whole archive: a multiple of 4 KiB.
    pub total_bytes: u64,
}

impl Header {
    /// The header as bytes.
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (place, value) in
            bytes
                .chunks_exact_mut(8)
                .zip([MAGIC, self.manifest_bytes, self.total_bytes])
        {
            place.copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    /// Reads the header at the beginning of `bytes`.
    ///
    /// # Errors
    /// [`Error::Truncated`] if they are too few, [`Error::NoArchive`] if they are something
    /// else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let word = |index: usize| {
            let bytes = bytes.get(index * 8..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        if bytes.len() < HEADER_BYTES {
            return Err(Error::Truncated);
        }
        match (word(0), word(1), word(2)) {
            (Some(MAGIC), Some(manifest_bytes), Some(total_bytes)) => Ok(Header {
                manifest_bytes,
                total_bytes,
            }),
            _ => Err(Error::NoArchive),
        }
    }
}

/// Why an archive cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It does not begin with a header.
    NoArchive,
    /// It does not begin at an address that the manifest can be read at.
    Misaligned,
    /// It is shorter than its header says.
    Truncated,
    /// The manifest is not well formed.
    Manifest,
    /// The manifest is well formed but this part of it makes no sense.
    Invalid(&'static str),
    /// The buffer is too small for the manifest.
    NoSpace,
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoArchive => write!(out, "there is no archive"),
            Error::Misaligned => write!(out, "the archive is not aligned"),
            Error::Truncated => write!(out, "the archive is cut short"),
            Error::Manifest => write!(out, "the manifest is damaged"),
            Error::Invalid(what) => write!(out, "the manifest is wrong: {what}"),
            Error::NoSpace => write!(out, "the buffer is too small for the manifest"),
        }
    }
}

impl core::error::Error for Error {}

/// Writes the manifest of `system` to the beginning of `buffer` and says how many bytes it
/// takes, which does not depend on the values of numbers. `scratch` is working memory.
///
/// # Errors
/// [`Error::NoSpace`] if either is too small.
pub fn encode_manifest(
    system: &System<'_>,
    buffer: &mut [u8],
    scratch: &mut [MaybeUninit<u8>],
) -> Result<usize, Error> {
    let written = low::to_bytes_in_with_alloc::<_, _, Failure>(
        system,
        Buffer::from(buffer),
        SubAllocator::new(scratch),
    )
    .map_err(|_| Error::NoSpace)?;
    Ok(written.len())
}

/// An archive that has been checked.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    bytes: &'a [u8],
    system: &'a ArchivedSystem<'a>,
}

impl<'a> Image<'a> {
    /// Checks the archive at the beginning of `bytes`, which may be more than the archive.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::parse(bytes)?;
        if !bytes.as_ptr().addr().is_multiple_of(MANIFEST_ALIGNMENT) {
            return Err(Error::Misaligned);
        }
        let total = usize::try_from(header.total_bytes).map_err(|_| Error::Truncated)?;
        let bytes = bytes.get(..total).ok_or(Error::Truncated)?;
        let manifest = usize::try_from(header.manifest_bytes)
            .ok()
            .and_then(|length| bytes.get(HEADER_BYTES..)?.get(..length))
            .ok_or(Error::Truncated)?;
        let system =
            low::access::<ArchivedSystem<'a>, Failure>(manifest).map_err(|_| Error::Manifest)?;
        let image = Image { bytes, system };
        image.check()?;
        Ok(image)
    }

    /// The manifest.
    pub fn system(&self) -> &'a ArchivedSystem<'a> {
        self.system
    }

    /// Bytes of the whole archive.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The component of that name.
    pub fn component(&self, name: &str) -> Option<&'a ArchivedComponent<'a>> {
        self.system
            .components
            .iter()
            .find(|component| &*component.name == name)
    }

    /// The contents of a segment of this archive: whole pages.
    pub fn segment_pages(&self, segment: &ArchivedSegment) -> &'a [u8] {
        let bytes = u64::from(segment.file_pages.to_native()) * PAGE_BYTES;
        self.range(segment.offset.to_native(), bytes)
            .unwrap_or_default()
    }

    /// The contents of a file of this archive: its bytes, without the padding.
    pub fn file_bytes(&self, file: &ArchivedFile<'_>) -> &'a [u8] {
        self.range(file.offset.to_native(), file.bytes.to_native())
            .unwrap_or_default()
    }

    /// Bytes at a multiple of 4 KiB, if the archive has them.
    fn range(&self, offset: u64, bytes: u64) -> Option<&'a [u8]> {
        if !offset.is_multiple_of(PAGE_BYTES) {
            return None;
        }
        self.bytes
            .get(usize::try_from(offset).ok()?..)?
            .get(..usize::try_from(bytes).ok()?)
    }

    fn check(&self) -> Result<(), Error> {
        let require = |holds: bool, what| {
            if holds {
                Ok(())
            } else {
                Err(Error::Invalid(what))
            }
        };
        let system = self.system;
        let main = system.main.to_native() as usize;
        require(main < system.components.len(), "main")?;

        let server = &system.server;
        require(
            (1..=limits::SERVER_SLOTS_BITS).contains(&server.slots_bits),
            "server.slots_bits",
        )?;
        self.check_program(&server.program, server.stack_bytes.to_native(), 1)?;

        require(system.quotas.len() <= limits::QUOTAS, "quotas")?;
        for component in system.components.iter() {
            require(is_name(&component.name), "component.name")?;
            require(
                component.arguments.len() <= limits::ARGUMENT_BYTES,
                "component.arguments",
            )?;
            require(component.groups.len() <= limits::GROUPS, "component.groups")?;
            require(
                (1..=COMPONENT_PRIORITY).contains(&component.priority),
                "component.priority",
            )?;
            require(
                component.files.len() <= limits::FILES
                    && component
                        .files
                        .iter()
                        .all(|index| (index.to_native() as usize) < system.files.len()),
                "component.files",
            )?;
            require(
                component.endpoints.len() <= limits::ENDPOINTS
                    && component
                        .endpoints
                        .iter()
                        .all(|index| index.to_native() < system.endpoints.to_native()),
                "component.endpoints",
            )?;
            require(
                (1..=limits::THREADS as u8).contains(&component.threads),
                "component.threads",
            )?;
            self.check_program(
                &component.program,
                component.stack_bytes.to_native(),
                component.threads,
            )?;
        }
        for file in system.files.iter() {
            require(is_name(&file.name), "file.name")?;
            let pages = file
                .bytes
                .to_native()
                .checked_next_multiple_of(PAGE_BYTES)
                .and_then(|bytes| self.range(file.offset.to_native(), bytes));
            require(pages.is_some(), "file.offset")?;
        }
        Ok(())
    }

    fn check_program(
        &self,
        program: &ArchivedProgram<'_>,
        stack_bytes: u64,
        threads: u8,
    ) -> Result<(), Error> {
        let require = |holds: bool, what| {
            if holds {
                Ok(())
            } else {
                Err(Error::Invalid(what))
            }
        };
        require(
            stack_bytes > 0 && stack_bytes.is_multiple_of(PAGE_BYTES),
            "stack_bytes",
        )?;
        // A guard page lies below each stack.
        let limit = stack_bytes
            .checked_add(PAGE_BYTES)
            .and_then(|bytes| bytes.checked_mul(threads.into()))
            .and_then(|bytes| STACK_TOP.checked_sub(bytes))
            .ok_or(Error::Invalid("stack_bytes"))?;
        let mut free_from = IMAGE_BASE;
        let mut entry_found = false;
        for segment in program.segments.iter() {
            let address = segment.address.to_native();
            let memory_pages = segment.memory_pages.to_native();
            let file_pages = segment.file_pages.to_native();
            require(
                address >= free_from && address.is_multiple_of(PAGE_BYTES),
                "segment.address",
            )?;
            let end = address
                .checked_add(u64::from(memory_pages) * PAGE_BYTES)
                .filter(|end| *end <= limit)
                .ok_or(Error::Invalid("segment.memory_pages"))?;
            require(
                file_pages == memory_pages || (segment.writable && file_pages < memory_pages),
                "segment.file_pages",
            )?;
            let bytes = u64::from(file_pages) * PAGE_BYTES;
            require(
                self.range(segment.offset.to_native(), bytes).is_some(),
                "segment.offset",
            )?;
            let entry = program.entry.to_native();
            entry_found |= segment.executable && (address..end).contains(&entry);
            free_from = end;
        }
        require(entry_found, "program.entry")
    }
}

fn is_name(text: &str) -> bool {
    protocol::Name::new(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{Component, File, Policy, Program, Quota, Segment, Server};
    use protocol::address_map::stack_top;

    const PAGE: usize = PAGE_BYTES as usize;
    /// Where the pages of the test archives begin.
    const PAGES: u64 = PAGE_BYTES;

    /// One page of code, two of data of which one has contents, one file of 5 bytes.
    const SEGMENTS: [Segment; 2] = [
        Segment {
            address: IMAGE_BASE,
            memory_pages: 1,
            offset: PAGES,
            file_pages: 1,
            writable: false,
            executable: true,
        },
        Segment {
            address: IMAGE_BASE + PAGE_BYTES,
            memory_pages: 2,
            offset: PAGES + PAGE_BYTES,
            file_pages: 1,
            writable: true,
            executable: false,
        },
    ];
    const PROGRAM: Program = Program {
        entry: IMAGE_BASE + 16,
        segments: &SEGMENTS,
    };
    const FILE: File = File {
        name: "input",
        offset: PAGES + 2 * PAGE_BYTES,
        bytes: 5,
    };
    const COMPONENT: Component = Component {
        name: "reader",
        arguments: "one two",
        user: 1000,
        groups: &[100, 200],
        priority: 100,
        threads: 3,
        stack_bytes: 4 * PAGE_BYTES,
        may_spawn: true,
        files: &[0],
        endpoints: &[1],
        program: PROGRAM,
    };
    const SYSTEM: System = System {
        name: "test",
        server: Server {
            program: PROGRAM,
            stack_bytes: 8 * PAGE_BYTES,
            slots_bits: 16,
            policies: &[Policy {
                question: "page_size",
                answer: "small",
            }],
        },
        main: 0,
        components: &[COMPONENT],
        endpoints: 2,
        files: &[FILE],
        quotas: &[Quota {
            user: 1000,
            memory: 1 << 20,
            slots: 5,
            sessions: 6,
            vases: 1,
            segments: 2,
            attachments: 3,
            handles: 4,
        }],
    };

    /// An archive where the manifest can be read.
    #[derive(Clone)]
    #[repr(align(4096))]
    struct Archive([u8; 5 * PAGE]);

    impl Archive {
        fn of(system: &System<'_>) -> Box<Self> {
            let mut archive = Box::new(Archive([0; 5 * PAGE]));
            let mut scratch = [MaybeUninit::uninit(); 4096];
            let manifest =
                encode_manifest(system, &mut archive.0[HEADER_BYTES..PAGE], &mut scratch).unwrap();
            let header = Header {
                manifest_bytes: manifest as u64,
                total_bytes: 4 * PAGE_BYTES,
            };
            archive.0[..HEADER_BYTES].copy_from_slice(&header.encode());
            archive.0[PAGE..2 * PAGE].fill(0xc3);
            archive.0[2 * PAGE..3 * PAGE].fill(0xda);
            archive.0[3 * PAGE..][..5].copy_from_slice(b"hello");
            archive
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let archive = Archive::of(&SYSTEM);
        let image = Image::parse(&archive.0).unwrap();
        assert_eq!(image.total_bytes(), 4 * PAGE);

        let system = image.system();
        assert_eq!(&*system.name, "test");
        assert_eq!(system.main.to_native(), 0);
        assert_eq!(system.server.slots_bits, 16);
        let policy = &system.server.policies[0];
        assert_eq!(&*policy.question, "page_size");
        assert_eq!(&*policy.answer, "small");
        assert_eq!(system.server.stack_bytes.to_native(), 8 * PAGE_BYTES);

        let component = image.component("reader").unwrap();
        assert_eq!(&*component.arguments, "one two");
        assert_eq!(component.user.to_native(), 1000);
        assert_eq!(*component.groups, [100, 200]);
        assert_eq!(component.priority, 100);
        assert_eq!(component.threads, 3);
        assert_eq!(component.stack_bytes.to_native(), 4 * PAGE_BYTES);
        assert!(component.may_spawn);
        assert_eq!(*component.files, [0]);
        assert_eq!(*component.endpoints, [1]);
        assert_eq!(component.program.entry.to_native(), IMAGE_BASE + 16);

        let [code, data] = &*component.program.segments else {
            panic!("not two segments");
        };
        assert!(code.executable && !code.writable);
        assert!(data.writable && !data.executable);
        assert_eq!(data.address.to_native(), IMAGE_BASE + PAGE_BYTES);
        assert_eq!(data.memory_pages.to_native(), 2);
        assert_eq!(image.segment_pages(code), [0xc3; PAGE]);
        assert_eq!(image.segment_pages(data), [0xda; PAGE]);
        assert_eq!(image.file_bytes(&system.files[0]), b"hello");
    }

    #[test]
    fn an_unknown_component_is_not_found() {
        let archive = Archive::of(&SYSTEM);
        let image = Image::parse(&archive.0).unwrap();
        assert!(image.component("writer").is_none());
    }

    #[test]
    fn the_size_of_a_manifest_does_not_depend_on_its_numbers() {
        let segments = SEGMENTS.map(|segment| Segment {
            offset: 0,
            ..segment
        });
        let program = Program {
            entry: 0,
            segments: &segments,
        };
        let system = System {
            components: &[Component {
                program,
                ..COMPONENT
            }],
            ..SYSTEM
        };
        let length = |system| {
            let mut buffer = [0; PAGE];
            let mut scratch = [MaybeUninit::uninit(); 4096];
            encode_manifest(system, &mut buffer, &mut scratch).unwrap()
        };
        assert_eq!(length(&system), length(&SYSTEM));
    }

    #[test]
    fn a_manifest_that_does_not_fit_is_refused() {
        let mut scratch = [MaybeUninit::uninit(); 4096];
        let result = encode_manifest(&SYSTEM, &mut [0; 64], &mut scratch);
        assert_eq!(result, Err(Error::NoSpace));
    }

    #[test]
    fn memory_without_an_archive_is_refused() {
        let archive = Archive([0; 5 * PAGE]);
        assert_eq!(Image::parse(&archive.0).err(), Some(Error::NoArchive));
        assert_eq!(Image::parse(&[]).err(), Some(Error::Truncated));
    }

    #[test]
    fn a_truncated_archive_is_refused() {
        let archive = Archive::of(&SYSTEM);
        for length in [8, HEADER_BYTES, 100, PAGE, 4 * PAGE - 1] {
            let result = Image::parse(&archive.0[..length]);
            assert_eq!(result.err(), Some(Error::Truncated), "{length}");
        }
    }

    #[test]
    fn a_misaligned_archive_is_refused() {
        let archive = Archive::of(&SYSTEM);
        let mut moved = Archive([0; 5 * PAGE]);
        moved.0[8..][..4 * PAGE].copy_from_slice(&archive.0[..4 * PAGE]);
        assert_eq!(Image::parse(&moved.0[8..]).err(), Some(Error::Misaligned));
    }

    #[test]
    fn a_damaged_archive_is_refused_or_safe_to_read() {
        let mut archive = Archive::of(&SYSTEM);
        let manifest = Header::parse(&archive.0).unwrap().manifest_bytes as usize;
        let mut refused = 0;
        for position in 0..HEADER_BYTES + manifest {
            for bit in 0..8 {
                archive.0[position] ^= 1 << bit;
                match Image::parse(&archive.0) {
                    Err(_) => refused += 1,
                    Ok(image) => {
                        for component in image.system().components.iter() {
                            for segment in component.program.segments.iter() {
                                let pages = segment.file_pages.to_native() as usize;
                                assert_eq!(image.segment_pages(segment).len(), pages * PAGE);
                            }
                        }
                    }
                }
                archive.0[position] ^= 1 << bit;
            }
        }
        assert!(refused > 0);
        assert!(Image::parse(&archive.0).is_ok());
    }

    /// What is said of a system that differs from the good one in this.
    fn refusal(system: System<'_>) -> Option<Error> {
        Image::parse(&Archive::of(&system).0).err()
    }

    fn component_refusal(component: Component<'_>) -> Option<Error> {
        refusal(System {
            components: &[component],
            ..SYSTEM
        })
    }

    fn segment_refusal(change: impl Fn(&mut [Segment; 2])) -> Option<Error> {
        let mut segments = SEGMENTS;
        change(&mut segments);
        component_refusal(Component {
            program: Program {
                segments: &segments,
                ..PROGRAM
            },
            ..COMPONENT
        })
    }

    #[test]
    fn indices_out_of_range_are_refused() {
        assert_eq!(
            refusal(System { main: 1, ..SYSTEM }),
            Some(Error::Invalid("main"))
        );
        assert_eq!(
            component_refusal(Component {
                files: &[1],
                ..COMPONENT
            }),
            Some(Error::Invalid("component.files"))
        );
        assert_eq!(
            component_refusal(Component {
                endpoints: &[1, 2],
                ..COMPONENT
            }),
            Some(Error::Invalid("component.endpoints"))
        );
    }

    #[test]
    fn values_that_the_protocol_does_not_allow_are_refused() {
        let long = "a".repeat(limits::ARGUMENT_BYTES + 1);
        for (component, what) in [
            (
                Component {
                    name: "",
                    ..COMPONENT
                },
                "component.name",
            ),
            (
                Component {
                    arguments: &long,
                    ..COMPONENT
                },
                "component.arguments",
            ),
            (
                Component {
                    groups: &[0; limits::GROUPS + 1],
                    ..COMPONENT
                },
                "component.groups",
            ),
            (
                Component {
                    priority: 0,
                    ..COMPONENT
                },
                "component.priority",
            ),
            (
                Component {
                    priority: COMPONENT_PRIORITY + 1,
                    ..COMPONENT
                },
                "component.priority",
            ),
            (
                Component {
                    stack_bytes: 0,
                    ..COMPONENT
                },
                "stack_bytes",
            ),
            (
                Component {
                    stack_bytes: 4097,
                    ..COMPONENT
                },
                "stack_bytes",
            ),
            (
                Component {
                    stack_bytes: u64::MAX - 4095,
                    ..COMPONENT
                },
                "stack_bytes",
            ),
            (
                Component {
                    threads: 0,
                    ..COMPONENT
                },
                "component.threads",
            ),
            (
                Component {
                    threads: limits::THREADS as u8 + 1,
                    ..COMPONENT
                },
                "component.threads",
            ),
            (
                Component {
                    files: &[0; limits::FILES + 1],
                    ..COMPONENT
                },
                "component.files",
            ),
            (
                Component {
                    endpoints: &[0; limits::ENDPOINTS + 1],
                    ..COMPONENT
                },
                "component.endpoints",
            ),
        ] {
            assert_eq!(component_refusal(component), Some(Error::Invalid(what)));
        }
    }

    #[test]
    fn a_program_that_cannot_be_mapped_is_refused() {
        let invalid = |what| Some(Error::Invalid(what));
        assert_eq!(segment_refusal(|_| ()), None);
        assert_eq!(
            segment_refusal(|segments| segments[0].address = IMAGE_BASE - PAGE_BYTES),
            invalid("segment.address")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].address += 1),
            invalid("segment.address")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].address = IMAGE_BASE),
            invalid("segment.address")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].memory_pages = u32::MAX),
            invalid("segment.memory_pages")
        );
        // The last page below the guard page is free, the guard page is not.
        let last = usize::from(COMPONENT.threads) - 1;
        let stack = stack_top(last, COMPONENT.stack_bytes) - COMPONENT.stack_bytes;
        let guard = stack - PAGE_BYTES;
        assert_eq!(
            segment_refusal(|segments| segments[1].address = guard - 2 * PAGE_BYTES),
            None
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].address = guard - PAGE_BYTES),
            invalid("segment.memory_pages")
        );
        assert_eq!(
            segment_refusal(|segments| segments[0].memory_pages = 2),
            invalid("segment.file_pages")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].file_pages = 3),
            invalid("segment.file_pages")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].offset += 1),
            invalid("segment.offset")
        );
        assert_eq!(
            segment_refusal(|segments| segments[1].offset = 4 * PAGE_BYTES),
            invalid("segment.offset")
        );
        assert_eq!(
            segment_refusal(|segments| segments[0].executable = false),
            invalid("program.entry")
        );
    }

    #[test]
    fn a_file_beyond_the_archive_is_refused() {
        for file in [
            File {
                offset: 4 * PAGE_BYTES,
                ..FILE
            },
            File { offset: 1, ..FILE },
            File {
                bytes: u64::MAX,
                ..FILE
            },
        ] {
            assert_eq!(
                refusal(System {
                    files: &[file],
                    ..SYSTEM
                }),
                Some(Error::Invalid("file.offset"))
            );
        }
    }
}
