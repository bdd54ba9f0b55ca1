// SPDX-License-Identifier: MIT OR Apache-2.0

//! Damaged archives against what init reads them with.

#![no_main]

use std::mem::MaybeUninit;

use image::{
    Component, File, HEADER_BYTES, Header, Image, Policy, Program, Quota, Segment, Server, System,
    encode_manifest,
};
use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use protocol::address_map::{IMAGE_BASE, PAGE_BYTES};
use protocol::limits;

const PAGE: usize = PAGE_BYTES as usize;
/// Header and manifest, then a page of code, one of data, one of a file.
const BYTES: usize = 4 * PAGE;
/// Changes to one archive at most.
const CHANGES: usize = 8;

/// Memory at an address that an archive may lie at.
#[repr(align(4096))]
struct Aligned([u8; BYTES]);

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let mut archive = Box::new(Aligned([0; BYTES]));
    let manifest = write(&mut archive.0, &mut input);
    if input.is_empty() {
        Image::parse(&archive.0).expect("nothing is wrong with it");
    }
    for _ in 0..CHANGES {
        if input.is_empty() {
            break;
        }
        let place = input.int_in_range(0..=HEADER_BYTES + manifest - 1);
        archive.0[place.unwrap_or(0)] = input.arbitrary().unwrap_or(0);
    }
    let length = input.int_in_range(0..=BYTES).unwrap_or(0);
    // Nothing left to choose by: all of it.
    read(&archive.0[..BYTES - length]);
});

/// Writes an archive with which nothing is wrong, and says how long its manifest is.
fn write(archive: &mut [u8; BYTES], input: &mut Unstructured<'_>) -> usize {
    let segments = [
        Segment {
            address: IMAGE_BASE,
            memory_pages: 1,
            offset: PAGE_BYTES,
            file_pages: 1,
            writable: false,
            executable: true,
        },
        Segment {
            address: IMAGE_BASE + PAGE_BYTES,
            memory_pages: 2,
            offset: 2 * PAGE_BYTES,
            file_pages: 1,
            writable: true,
            executable: false,
        },
    ];
    let program = Program {
        entry: IMAGE_BASE + 16,
        segments: &segments,
    };
    let mut component = || Component {
        name: "reader",
        arguments: "one two",
        user: input.arbitrary().unwrap_or(0),
        groups: &[100, 200],
        priority: 100,
        threads: input.int_in_range(1..=limits::THREADS as u8).unwrap_or(2),
        stack_bytes: 4 * PAGE_BYTES,
        may_spawn: input.arbitrary().unwrap_or(true),
        files: &[0],
        endpoints: &[1],
        program,
    };
    let system = System {
        name: "fuzzed",
        server: Server {
            program,
            stack_bytes: 8 * PAGE_BYTES,
            slots_bits: 16,
            policies: &[Policy {
                question: "page_size",
                answer: "small",
            }],
        },
        main: 0,
        components: &[component(), component()],
        endpoints: 2,
        files: &[File {
            name: "input",
            offset: 3 * PAGE_BYTES,
            bytes: 5,
        }],
        quotas: &[Quota {
            user: 1000,
            memory: 1 << 20,
            slots: 16,
            sessions: 1,
            vases: 1,
            segments: 2,
            attachments: 3,
            handles: 4,
        }],
    };
    let mut scratch = [MaybeUninit::uninit(); PAGE];
    let manifest = encode_manifest(&system, &mut archive[HEADER_BYTES..PAGE], &mut scratch)
        .expect("it fits into a page");
    let header = Header {
        manifest_bytes: manifest as u64,
        total_bytes: BYTES as u64,
    };
    archive[..HEADER_BYTES].copy_from_slice(&header.encode());
    manifest
}

/// Reads all of it as init does, if it may be used at all.
fn read(bytes: &[u8]) {
    let Ok(image) = Image::parse(bytes) else {
        return;
    };
    assert!(image.total_bytes() <= bytes.len());
    let system = image.system();
    let main = system.main.to_native() as usize;
    let components = system.components.iter();
    assert!(main < components.len());
    let programs = components.map(|component| {
        assert!(image.component(&component.name).is_some());
        &component.program
    });
    for program in programs.chain([&system.server.program]) {
        for segment in program.segments.iter() {
            let pages = segment.file_pages.to_native() as usize;
            assert_eq!(image.segment_pages(segment).len(), pages * PAGE);
        }
    }
    for file in system.files.iter() {
        assert_eq!(image.file_bytes(file).len() as u64, file.bytes.to_native());
    }
}
