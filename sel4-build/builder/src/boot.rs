// SPDX-License-Identifier: MIT OR Apache-2.0

//! The boot image: init with the archive behind it, as one ELF file.
//!
//! The kernel copies the segments of the one boot module into memory that it maps for init
//! in one piece (seL4 manual, "System Bootstrapping"), so the archive goes in as one more
//! segment, at the first page behind init's last.

use anyhow::{Context, Result, ensure};
use object::write::elf::{FileHeader, ProgramHeader, Writer};
use object::{Endianness, elf};
use protocol::address_map::{IMAGE_BASE, PAGE_BYTES, SLOT_BYTES};

use crate::program::{Program, Segment};

/// A boot image.
pub struct BootImage {
    /// The ELF file.
    pub file: Vec<u8>,
    /// Pages of memory that the kernel maps for it.
    pub pages: u64,
}

/// Makes the boot image of init's ELF file and an archive of whole pages.
pub fn image(init: &[u8], archive: Vec<u8>) -> Result<BootImage> {
    let mut init = Program::parse(init, IMAGE_BASE..SLOT_BYTES)?;
    let address = init.end();
    let symbol = init.end_symbol.context("no symbol `_end`")?;
    ensure!(
        symbol.next_multiple_of(PAGE_BYTES) == address,
        "its symbol `_end` is {symbol:#x}, but its last page ends at {address:#x}"
    );
    init.segments.push(Segment {
        address,
        memory_pages: u32::try_from(archive.len() as u64 / PAGE_BYTES)?,
        contents: archive,
        writable: false,
        executable: false,
    });

    let mut file = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut file);
    writer.reserve_file_header();
    writer.reserve_program_headers(init.segments.len() as u32);
    let offsets: Vec<u64> = init
        .segments
        .iter()
        .map(|segment| writer.reserve(segment.contents.len() as u64, PAGE_BYTES))
        .collect();
    writer.write_file_header(&FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_X86_64,
        e_entry: init.entry,
        e_flags: elf::FileFlags(0),
    })?;
    writer.write_align_program_headers();
    for (segment, offset) in init.segments.iter().zip(offsets) {
        let mut flags = elf::PF_R;
        if segment.writable {
            flags |= elf::PF_W;
        }
        if segment.executable {
            flags |= elf::PF_X;
        }
        writer.write_program_header(&ProgramHeader {
            p_type: elf::PT_LOAD,
            p_flags: flags,
            p_offset: offset,
            p_vaddr: segment.address,
            p_paddr: segment.address,
            p_filesz: segment.contents.len() as u64,
            p_memsz: u64::from(segment.memory_pages) * PAGE_BYTES,
            p_align: PAGE_BYTES,
        });
    }
    for segment in &init.segments {
        writer.write_align(PAGE_BYTES);
        writer.write(&segment.contents);
    }
    Ok(BootImage {
        file,
        pages: (init.end() - init.segments[0].address) / PAGE_BYTES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::testing::{code, executable, linked};

    #[test]
    fn the_archive_is_one_more_segment_behind_the_last_byte_of_init() {
        let folder = tempfile::tempdir().unwrap();
        let source = "
            char data[5000] = {'d'};
            char zero[20000];
            void _start(void) { zero[0] = data[0]; for (;;); }";
        let init = std::fs::read(linked(folder.path(), source)).unwrap();
        let before = Program::parse(&init, IMAGE_BASE..SLOT_BYTES).unwrap();
        let archive = [b'a'; 3 * PAGE_BYTES as usize];
        let image = image(&init, archive.to_vec()).unwrap();

        let after = Program::parse(&image.file, IMAGE_BASE..SLOT_BYTES).unwrap();
        assert_eq!(after.entry, before.entry);
        assert_eq!(image.pages, (after.end() - IMAGE_BASE) / PAGE_BYTES);
        let (last, others) = after.segments.split_last().unwrap();
        assert_eq!(others.len(), before.segments.len());
        for (after, before) in others.iter().zip(&before.segments) {
            assert_eq!(after.address, before.address);
            assert_eq!(after.memory_pages, before.memory_pages);
            assert_eq!(after.contents, before.contents);
            assert_eq!(after.writable, before.writable);
            assert_eq!(after.executable, before.executable);
        }
        let symbol = before.end_symbol.unwrap();
        assert_eq!(last.address, symbol.next_multiple_of(PAGE_BYTES));
        assert_eq!(last.contents, archive);
        assert!(!last.writable && !last.executable);
    }

    #[test]
    fn an_init_that_cannot_find_the_archive_is_refused() {
        let parts = [code(IMAGE_BASE)];
        let init = executable(elf::ET_EXEC, elf::EM_X86_64, IMAGE_BASE, &parts);
        let error = image(&init, Vec::new()).err().unwrap();
        assert_eq!(error.to_string(), "no symbol `_end`");
    }
}
