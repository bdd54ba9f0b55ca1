// SPDX-License-Identifier: MIT OR Apache-2.0

//! Executables: from ELF to pages.

use std::ops::Range;

use anyhow::{Context, Result, bail, ensure};
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, Object, ObjectSymbol};
use protocol::address_map::PAGE_BYTES;

/// An executable, laid out in pages.
#[derive(Debug)]
pub struct Program {
    /// Address of the first instruction.
    pub entry: u64,
    /// In order of address; no page belongs to two.
    pub segments: Vec<Segment>,
    /// Address of the linker's symbol `_end`.
    pub end_symbol: Option<u64>,
}

/// Pages that follow one another and have the same rights.
#[derive(Debug)]
pub struct Segment {
    /// First address: a multiple of 4 KiB.
    pub address: u64,
    /// Pages in memory. Those without contents are zero; only writable segments have such.
    pub memory_pages: u32,
    /// Whole pages of contents.
    pub contents: Vec<u8>,
    /// Whether the program may write to it.
    pub writable: bool,
    /// Whether it holds instructions.
    pub executable: bool,
}

impl Segment {
    /// First address behind it.
    pub fn end(&self) -> u64 {
        self.address + u64::from(self.memory_pages) * PAGE_BYTES
    }

    /// Pages of contents.
    pub fn file_pages(&self) -> u32 {
        (self.contents.len() as u64 / PAGE_BYTES) as u32
    }
}

impl Program {
    /// Lays an ELF file out in pages, all of which must lie in `allowed`.
    pub fn parse(bytes: &[u8], allowed: Range<u64>) -> Result<Self> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).context("no 64-bit ELF file")?;
        let header = file.elf_header();
        let machine = header.e_machine(LittleEndian);
        ensure!(machine == elf::EM_X86_64, "built for another machine");
        ensure!(
            header.e_type(LittleEndian) == elf::ET_EXEC,
            "not linked to a fixed address"
        );

        let mut segments: Vec<Segment> = Vec::new();
        for header in file.elf_program_headers() {
            match header.p_type(LittleEndian) {
                elf::PT_LOAD => {}
                elf::PT_INTERP | elf::PT_DYNAMIC => bail!("not linked statically"),
                elf::PT_TLS => bail!("has thread-local variables"),
                _ => continue,
            }
            if header.p_memsz(LittleEndian) == 0 {
                continue;
            }
            segments.push(load(header, bytes, &allowed)?);
        }
        segments.sort_by_key(|segment| segment.address);
        for pair in segments.windows(2) {
            ensure!(
                pair[0].end() <= pair[1].address,
                "two segments share the page at {:#x}",
                pair[1].address
            );
        }

        let entry = header.e_entry(LittleEndian);
        ensure!(
            segments
                .iter()
                .any(|segment| segment.executable
                    && (segment.address..segment.end()).contains(&entry)),
            "the entry point {entry:#x} is not in an executable segment"
        );
        let end_symbol = file
            .symbols()
            .find(|symbol| symbol.name() == Ok("_end"))
            .map(|symbol| symbol.address());
        Ok(Program {
            entry,
            segments,
            end_symbol,
        })
    }

    /// First address behind all its pages.
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }
}

fn load(
    header: &elf::ProgramHeader64<LittleEndian>,
    bytes: &[u8],
    allowed: &Range<u64>,
) -> Result<Segment> {
    let first = header.p_vaddr(LittleEndian);
    let end = first.saturating_add(header.p_memsz(LittleEndian));
    ensure!(
        allowed.start <= first && end <= allowed.end,
        "the segment at {first:#x} to {end:#x} lies outside {:#x} to {:#x}",
        allowed.start,
        allowed.end
    );
    let flags = header.p_flags(LittleEndian);
    let writable = flags.contains(elf::PF_W);
    let executable = flags.contains(elf::PF_X);
    ensure!(
        !(writable && executable),
        "the segment at {first:#x} is both writable and executable"
    );
    let data = header
        .data(LittleEndian, bytes)
        .ok()
        .with_context(|| format!("the segment at {first:#x} is cut short"))?;

    let address = first / PAGE_BYTES * PAGE_BYTES;
    let pages = (end - address).div_ceil(PAGE_BYTES);

    // Contents begin where the segment does within its first page.
    let mut contents = vec![0; (first - address) as usize];
    contents.extend(data);
    ensure!(
        data.len() as u64 <= header.p_memsz(LittleEndian),
        "the segment at {first:#x} has more contents than memory"
    );
    // Read-only pages are mapped from where they lie, so all of them need contents.
    let file_pages = match (data.is_empty(), writable) {
        (_, false) => pages,
        (true, true) => 0,
        (false, true) => (contents.len() as u64).div_ceil(PAGE_BYTES),
    };
    contents.resize((file_pages * PAGE_BYTES) as usize, 0);
    Ok(Segment {
        address,
        memory_pages: u32::try_from(pages).context("the segment is too long")?,
        contents,
        writable,
        executable,
    })
}

/// Executables for tests.
#[cfg(test)]
pub mod testing {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use object::write::elf::{FileHeader, ProgramHeader, Writer};
    use object::{Endianness, elf};

    /// A program header and what it is about.
    pub struct Part {
        /// What it is.
        pub kind: elf::ProgramType,
        /// Its rights.
        pub flags: elf::ProgramFlags,
        /// First address.
        pub address: u64,
        /// What is in the file.
        pub contents: Vec<u8>,
        /// Bytes in memory.
        pub memory: u64,
    }

    /// A segment of instructions at `address`.
    pub fn code(address: u64) -> Part {
        Part {
            kind: elf::PT_LOAD,
            flags: elf::PF_R | elf::PF_X,
            address,
            contents: vec![0xc3; 100],
            memory: 100,
        }
    }

    /// An ELF file without sections and symbols.
    pub fn executable(
        kind: elf::FileType,
        machine: elf::Machine,
        entry: u64,
        parts: &[Part],
    ) -> Vec<u8> {
        let mut file = Vec::new();
        let mut writer = Writer::new(Endianness::Little, true, &mut file);
        writer.reserve_file_header();
        writer.reserve_program_headers(parts.len() as u32);
        let offsets: Vec<_> = parts
            .iter()
            .map(|part| writer.reserve(part.contents.len() as u64, 1))
            .collect();
        writer
            .write_file_header(&FileHeader {
                os_abi: elf::ELFOSABI_NONE,
                abi_version: 0,
                e_type: kind,
                e_machine: machine,
                e_entry: entry,
                e_flags: elf::FileFlags(0),
            })
            .unwrap();
        writer.write_align_program_headers();
        for (part, offset) in parts.iter().zip(offsets) {
            writer.write_program_header(&ProgramHeader {
                p_type: part.kind,
                p_flags: part.flags,
                p_offset: offset,
                p_vaddr: part.address,
                p_paddr: part.address,
                p_filesz: part.contents.len() as u64,
                p_memsz: part.memory,
                p_align: 1,
            });
        }
        for part in parts {
            writer.write(&part.contents);
        }
        file
    }

    /// A program that the compiler and linker made as components are made.
    pub fn linked(folder: &Path, source: &str) -> PathBuf {
        let (c, program) = (folder.join("program.c"), folder.join("program"));
        std::fs::write(&c, source).unwrap();
        let link = crate::components::FLAGS
            .iter()
            .filter_map(|flag| flag.strip_prefix("-Clink-arg="));
        let status = Command::new("gcc")
            .args(["-fno-pic", "-fno-pie", "-ffreestanding", "-O1"])
            .args(link)
            .arg(c)
            .arg("-o")
            .arg(&program)
            .status()
            .unwrap();
        assert!(status.success());
        program
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{Part, code, executable, linked};
    use super::*;
    use protocol::address_map::{IMAGE_BASE, STACK_TOP};

    const ALLOWED: Range<u64> = IMAGE_BASE..STACK_TOP;

    fn parse(parts: &[Part]) -> Result<Program> {
        let entry = parts[0].address;
        let file = executable(elf::ET_EXEC, elf::EM_X86_64, entry, parts);
        Program::parse(&file, ALLOWED)
    }

    #[track_caller]
    fn assert_refused(result: Result<Program>, reason: &str) {
        let told = result.expect_err("accepted").to_string();
        assert!(told.contains(reason), "{told}");
    }

    fn data(address: u64, contents: &[u8], memory: u64) -> Part {
        Part {
            flags: elf::PF_R | elf::PF_W,
            address,
            contents: contents.to_vec(),
            memory,
            ..code(0)
        }
    }

    #[test]
    fn a_linked_program_is_laid_out_in_pages() {
        let folder = tempfile::tempdir().unwrap();
        let source = "
            const char text[5000] = {'t'};
            char data[100] = {'d'};
            char zero[20000];
            void _start(void) { zero[0] = data[0] + text[4999]; for (;;); }";
        let bytes = std::fs::read(linked(folder.path(), source)).unwrap();
        let program = Program::parse(&bytes, ALLOWED).unwrap();
        assert_eq!(program.segments[0].address, IMAGE_BASE);
        let entered: Vec<_> = program
            .segments
            .iter()
            .filter(|segment| segment.executable)
            .collect();
        assert_eq!(entered.len(), 1);
        assert!((entered[0].address..entered[0].end()).contains(&program.entry));
        for segment in &program.segments {
            assert!(segment.address.is_multiple_of(PAGE_BYTES));
            assert!(segment.writable || segment.file_pages() == segment.memory_pages);
            assert!(!(segment.writable && segment.executable));
        }
        let text = program.segments.iter().find(|s| s.contents.contains(&b't'));
        assert!(!text.unwrap().writable);
        let data = program.segments.last().unwrap();
        assert!(data.writable && data.contents.contains(&b'd'));
        assert!(data.memory_pages >= data.file_pages() + 4);
        assert!(program.end_symbol.unwrap() <= program.end());
    }

    #[test]
    fn contents_lie_where_the_program_expects_them_and_zeros_around_them() {
        let start = IMAGE_BASE + PAGE_BYTES + 0x10;
        let program = parse(&[code(IMAGE_BASE), data(start, &[7; 3], 3 * PAGE_BYTES)]).unwrap();
        let segment = &program.segments[1];
        assert_eq!(segment.address, IMAGE_BASE + PAGE_BYTES);
        assert_eq!(segment.memory_pages, 4);
        assert_eq!(segment.file_pages(), 1);
        assert_eq!(segment.contents[..0x10], [0; 0x10]);
        assert_eq!(segment.contents[0x10..0x13], [7; 3]);
        assert!(segment.contents[0x13..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn writable_memory_without_contents_takes_none_in_the_archive() {
        let program = parse(&[code(IMAGE_BASE), data(0x50_0000, &[], 5000)]).unwrap();
        assert_eq!(program.segments[1].memory_pages, 2);
        assert_eq!(program.segments[1].file_pages(), 0);
    }

    #[test]
    fn read_only_memory_has_all_its_contents() {
        let zeros = Part {
            flags: elf::PF_R,
            ..data(0x50_0000, &[], 5000)
        };
        let program = parse(&[code(IMAGE_BASE), zeros]).unwrap();
        assert_eq!(program.segments[1].contents, [0; 2 * PAGE_BYTES as usize]);
    }

    #[test]
    fn segments_are_in_order_of_address() {
        let program = parse(&[code(0x60_0000), data(0x50_0000, &[1], 1)]).unwrap();
        assert_eq!(program.segments[0].address, 0x50_0000);
        assert_eq!(program.end(), 0x60_1000);
    }

    #[test]
    fn headers_that_load_nothing_do_not_matter() {
        let stack = Part {
            kind: elf::PT_GNU_STACK,
            ..data(0, &[], 0)
        };
        let empty = data(0, &[], 0);
        let program = parse(&[code(IMAGE_BASE), stack, empty]).unwrap();
        assert_eq!(program.segments.len(), 1);
    }

    #[test]
    fn what_is_no_elf_file_is_refused() {
        assert_refused(Program::parse(b"#!/bin/sh\n", ALLOWED), "no 64-bit ELF");
        assert_refused(Program::parse(&[], ALLOWED), "no 64-bit ELF");
    }

    #[test]
    fn another_machine_or_kind_of_file_is_refused() {
        let parts = [code(IMAGE_BASE)];
        let file = executable(elf::ET_EXEC, elf::EM_AARCH64, IMAGE_BASE, &parts);
        assert_refused(Program::parse(&file, ALLOWED), "another machine");
        let file = executable(elf::ET_DYN, elf::EM_X86_64, IMAGE_BASE, &parts);
        assert_refused(Program::parse(&file, ALLOWED), "not linked to a fixed");
    }

    #[test]
    fn dynamic_linking_and_thread_local_variables_are_refused() {
        for (kind, reason) in [
            (elf::PT_INTERP, "not linked statically"),
            (elf::PT_DYNAMIC, "not linked statically"),
            (elf::PT_TLS, "thread-local"),
        ] {
            let part = Part { kind, ..code(0) };
            assert_refused(parse(&[code(IMAGE_BASE), part]), reason);
        }
    }

    #[test]
    fn segments_that_share_a_page_are_refused() {
        let parts = [code(IMAGE_BASE), data(IMAGE_BASE + 0x800, &[1], 1)];
        assert_refused(parse(&parts), "share the page at 0x400000");
        let parts = [code(IMAGE_BASE), data(IMAGE_BASE, &[1], 1)];
        assert_refused(parse(&parts), "share the page at 0x400000");
    }

    #[test]
    fn segments_outside_the_range_are_refused() {
        assert_refused(parse(&[code(IMAGE_BASE - 1)]), "lies outside");
        assert_refused(parse(&[code(STACK_TOP - 99)]), "lies outside");
        assert!(parse(&[code(STACK_TOP - 100)]).is_ok());
        let parts = [code(IMAGE_BASE), data(0x50_0000, &[], u64::MAX)];
        assert_refused(parse(&parts), "lies outside");
    }

    #[test]
    fn writable_instructions_are_refused() {
        let part = Part {
            flags: elf::PF_R | elf::PF_W | elf::PF_X,
            ..code(IMAGE_BASE)
        };
        assert_refused(parse(&[part]), "both writable and executable");
    }

    #[test]
    fn more_contents_than_memory_is_refused() {
        let part = data(0x50_0000, &[1; 10], 9);
        assert_refused(parse(&[code(IMAGE_BASE), part]), "more contents");
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let file = executable(elf::ET_EXEC, elf::EM_X86_64, 0, &[code(IMAGE_BASE)]);
        let result = Program::parse(&file[..file.len() - 1], ALLOWED);
        assert_refused(result, "cut short");
    }

    #[test]
    fn an_entry_point_outside_the_instructions_is_refused() {
        let parts = [code(IMAGE_BASE), data(0x50_0000, &[1], 1)];
        let file = executable(elf::ET_EXEC, elf::EM_X86_64, 0x50_0000, &parts);
        assert_refused(Program::parse(&file, ALLOWED), "entry point 0x500000");
    }
}
