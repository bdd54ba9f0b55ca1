// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::limits::COPY_BYTES;
use protocol::{Error, Kind, Rights};
use vas_server::fake::{Fault, Held};

use crate::support::*;

/// A VAS of a process with a segment that it may write to and one that it may only read.
fn scene() -> (World, Process, Held, [Held; 2]) {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let vas = world.vas(&process, "data");
    let heap = world.segment(&process, "heap", BASE, 8 * KIB);
    let text = world.segment(&process, "text", BASE + 8 * KIB, 8 * KIB);
    world.add(&process, vas, heap, READ_WRITE).unwrap();
    world.add(&process, vas, text, READ_ONLY).unwrap();
    (world, process, vas, [heap, text])
}

#[test]
fn a_cloned_vas_has_the_same_memory_and_roots() {
    let (mut world, process, vas, segments) = scene();
    world.set_root(&process, vas, "index", Some(BASE)).unwrap();
    let clone = world
        .clone_vas(&process, vas, "clone", CLOSED, READ_WRITE)
        .unwrap();
    let there = world.attach(&process, vas, READ_WRITE).unwrap();
    let here = world.attach(&process, clone, READ_WRITE).unwrap();
    world.fake().store(there.root, BASE, 5).unwrap();
    assert_eq!(world.fake().load(here.root, BASE), Ok(5));
    world.fake().store(here.root, BASE + 8, 6).unwrap();
    assert_eq!(world.fake().load(there.root, BASE + 8), Ok(6));
    let fault = Err(Fault::ReadOnly);
    assert_eq!(world.fake().store(here.root, BASE + 8 * KIB, 1), fault);
    assert_eq!(world.root(&process, clone, "index"), Ok(BASE));

    let object = world.stat_vas(&process, clone).unwrap().object;
    assert_eq!((object.name, object.mode), (name("clone"), CLOSED));
    for segment in segments {
        let statistics = world.stat_segment(&process, segment).unwrap();
        assert_eq!(statistics.vases, 2);
    }
}

#[test]
fn what_becomes_of_a_vas_does_not_matter_to_its_clone() {
    let (mut world, process, vas, [heap, text]) = scene();
    let before = world.statistics();
    let clone = world
        .clone_vas(&process, vas, "clone", OPEN, READ_WRITE)
        .unwrap();
    world.remove(&process, vas, heap).unwrap();
    world.delete_vas(&process, vas).unwrap();
    let attached = world.attach(&process, clone, READ_WRITE).unwrap();
    world.fake().store(attached.root, BASE, 5).unwrap();
    let in_use = Error::InUse { attachments: 1 };
    assert_eq!(world.free(&process, heap), Err(in_use));
    world.detach(&process, attached).unwrap();
    world.delete_vas(&process, clone).unwrap();
    // As with the VAS again.
    let vas = world.vas(&process, "data");
    world.add(&process, vas, heap, READ_WRITE).unwrap();
    world.add(&process, vas, text, READ_ONLY).unwrap();
    assert_eq!(world.statistics(), before);
}

#[test]
fn who_may_only_read_a_vas_cannot_clone_it() {
    let (mut world, process, vas, _) = scene();
    let command = protocol::message::Command::Mode(protocol::Mode(0o604));
    world.control_vas(&process, vas, command).unwrap();
    let reader = world.process(2, &[]);
    let (_, found) = world.find_vas(&reader, "data").unwrap();
    let needs = READ_ONLY.needs() | Rights::GRANT;
    assert_eq!(
        world.clone_vas(&reader, found, "clone", OPEN, READ_ONLY),
        Err(Error::PermissionDenied { needs })
    );
}

#[test]
fn a_clone_gives_no_more_access_than_its_maker_had() {
    let (mut world, process, vas, _) = scene();
    let rights = READ_ONLY.needs() | Rights::GRANT;
    let weaker = world.restrict(&process, vas, rights).unwrap();
    let needs = READ_WRITE.needs() | Rights::GRANT;
    assert_eq!(
        world.clone_vas(&process, weaker, "clone", OPEN, READ_WRITE),
        Err(Error::PermissionDenied { needs })
    );
    let clone = world
        .clone_vas(&process, weaker, "clone", OPEN, READ_ONLY)
        .unwrap();
    let attached = world.attach(&process, clone, READ_WRITE).unwrap();
    assert_eq!(world.fake().load(attached.root, BASE), Ok(0));
    let fault = Err(Fault::ReadOnly);
    assert_eq!(world.fake().store(attached.root, BASE, 1), fault);
}

#[test]
fn the_name_of_a_clone_must_be_free() {
    let (mut world, process, vas, _) = scene();
    let before = world.picture(&process);
    assert_eq!(
        world.clone_vas(&process, vas, "data", OPEN, READ_WRITE),
        Err(Error::NameExists)
    );
    assert_eq!(world.picture(&process), before);
}

/// Stores in a segment through a VAS of its own.
fn in_vas(world: &mut World, process: &Process, segment: Held) -> Attached {
    let text = world.statistics().vases.to_string();
    let vas = world.vas(process, &text);
    world.add(process, vas, segment, READ_WRITE).unwrap();
    world.attach(process, vas, READ_WRITE).unwrap()
}

#[test]
fn content_is_copied_block_by_block_whatever_the_page_sizes_are() {
    for (from_pages, to_pages) in [
        (SMALL, SMALL),
        (SMALL, LARGE),
        (LARGE, SMALL),
        (LARGE, LARGE),
        (HUGE, LARGE),
        (HUGE, HUGE),
    ] {
        let mut world = World::new();
        let process = world.process(1, &[]);
        let size = 4 * MIB;
        let (_, from) = world
            .try_segment(&process, &alloc("from", BASE, size, from_pages))
            .unwrap();
        let (_, to) = world
            .try_segment(&process, &alloc("to", BASE, size, to_pages))
            .unwrap();
        let source = in_vas(&mut world, &process, from);
        let target = in_vas(&mut world, &process, to);
        let before = world.statistics();
        let offsets = [0, 8, 4 * KIB, COPY_BYTES - 8, COPY_BYTES, 2 * MIB, size - 8];
        for offset in offsets {
            let address = BASE + offset;
            world
                .fake()
                .store(source.root, address, 1 + offset)
                .unwrap();
            world.fake().store(target.root, address, 9).unwrap();
        }
        // What is zero in the source becomes so.
        world.fake().store(target.root, BASE + 16, 9).unwrap();

        world.copy(&process, from, to, 0).unwrap();
        assert_eq!(world.fake().load(target.root, BASE + COPY_BYTES), Ok(9));
        for offset in (0..size).step_by(COPY_BYTES as usize) {
            world.copy(&process, from, to, offset).unwrap();
        }
        for offset in offsets {
            let found = world.fake().load(target.root, BASE + offset);
            assert_eq!(found, Ok(1 + offset));
        }
        assert_eq!(world.fake().load(target.root, BASE + 16), Ok(0));
        world.fake().store(target.root, BASE, 2).unwrap();
        assert_eq!(world.fake().load(source.root, BASE), Ok(1));
        assert_eq!(world.statistics(), before);
    }
}

#[test]
fn only_what_both_segments_have_is_copied() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let short = world.segment(&process, "short", BASE, COPY_BYTES + 8 * KIB);
    let long = world.segment(&process, "long", BASE, 3 * COPY_BYTES);
    let source = in_vas(&mut world, &process, long);
    let target = in_vas(&mut world, &process, short);
    let last = BASE + COPY_BYTES + 8 * KIB - 8;
    world.fake().store(source.root, last, 3).unwrap();
    world.copy(&process, long, short, COPY_BYTES).unwrap();
    assert_eq!(world.fake().load(target.root, last), Ok(3));
    for (from, to) in [(long, short), (short, long)] {
        let (base, size) = (2 * COPY_BYTES, COPY_BYTES);
        assert_eq!(
            world.copy(&process, from, to, base),
            Err(Error::OutOfRange { base, size })
        );
    }
    let alignment = COPY_BYTES;
    for base in [8, COPY_BYTES - 8, u64::MAX] {
        assert_eq!(
            world.copy(&process, long, short, base),
            Err(Error::Unaligned { base, alignment })
        );
    }
    world.copy(&process, long, long, 0).unwrap();
}

#[test]
fn copying_needs_to_read_the_one_and_to_write_the_other() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let from = world.segment(&process, "from", BASE, 1);
    let to = world.segment(&process, "to", BASE, 1);
    let rest = |rights: Rights| Rights::all() - rights;
    let not_readable = world.restrict(&process, from, rest(Rights::READ)).unwrap();
    let not_writable = world.restrict(&process, to, rest(Rights::WRITE)).unwrap();
    let denied = |needs| Err(Error::PermissionDenied { needs });
    assert_eq!(
        world.copy(&process, not_readable, to, 0),
        denied(Rights::READ)
    );
    assert_eq!(
        world.copy(&process, from, not_writable, 0),
        denied(Rights::WRITE)
    );
    let vas = world.vas(&process, "data");
    assert_eq!(
        world.copy(&process, from, vas, 0),
        Err(Error::WrongKind {
            position: 1,
            expected: Kind::Segment,
            found: Kind::Vas
        })
    );
}
