// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::message::{Lifetime, LockMode, ObjectStatistics, SegStatistics, VasStatistics};
use protocol::{Error, Mode, PageSize, Rights};

use crate::support::*;

/// The policy of this suite's kernel.
const PAGE_TABLES: &str = if crate::EXTENDED {
    "shared"
} else {
    "mirrored"
};

fn object(text: &str, mode: u16) -> ObjectStatistics {
    ObjectStatistics {
        name: name(text),
        owner: 1,
        group: Some(7),
        mode: Mode(mode),
        lifetime: Lifetime::Persistent,
    }
}

#[test]
fn a_vas_tells_what_it_is_and_what_it_has() {
    let mut world = World::new();
    let process = world.process(1, &[7, 8]);
    let other = world.process(2, &[]);
    let vas = world.try_vas(&process, "data", Mode(0o644)).unwrap();
    let mut expected = VasStatistics {
        object: object("data", 0o644),
        segments: 0,
        bytes: 0,
        attachments: 0,
        table_bytes: 4 * KIB * u64::from(MASTER),
        page_tables: name(PAGE_TABLES),
        tlb_tag: false,
        lock_mode: LockMode::Cooperative,
        roots: 0,
    };
    assert_eq!(world.stat_vas(&process, vas), Ok(expected.clone()));

    let small = world.segment(&process, "small", BASE, 12 * KIB);
    let request = alloc("large", BASE + 2 * MIB, 4 * MIB, LARGE);
    let (_, large) = world.try_segment(&process, &request).unwrap();
    for segment in [small, large] {
        world.add(&process, vas, segment, READ_WRITE).unwrap();
    }
    world.attach(&process, vas, READ_WRITE).unwrap();
    let (_, found) = world.find_vas(&other, "data").unwrap();
    world.attach(&other, found, READ_ONLY).unwrap();
    expected.segments = 2;
    expected.bytes = 4 * MIB + 12 * KIB;
    expected.attachments = 2;
    assert_eq!(
        world.stat_vas(&other, found).map(|found| found.bytes),
        Ok(expected.bytes)
    );
    // A root for each attachment. A PDPT, a page directory and a page table: once if they are
    // shared, with the master root; in each attachment, with those of private memory, if not.
    let tables = if crate::EXTENDED {
        2 + 1 + 3
    } else {
        2 * (1 + 3 + 5)
    };
    expected.table_bytes = tables * 4 * KIB;
    assert_eq!(world.stat_vas(&process, vas), Ok(expected.clone()));
    let all = u64::from(world.statistics().tables) * 4 * KIB;
    assert_eq!(expected.table_bytes, all);
}

#[test]
fn a_segment_tells_what_it_is_and_what_it_has() {
    let mut world = World::new();
    let process = world.process(1, &[7]);
    let mut request = alloc("heap", BASE, 5 * MIB, LARGE);
    request.mode = Mode(0o640);
    request.own_slots = true;
    request.lockable = true;
    let (_, segment) = world.try_segment(&process, &request).unwrap();
    let mut expected = SegStatistics {
        object: object("heap", 0o640),
        base: BASE,
        size: 6 * MIB,
        page_size: PageSize::Large,
        own_slots: true,
        lockable: true,
        vases: 0,
        // A root, a PDPT and a page directory, where a segment has its own.
        table_bytes: 12 * KIB * u64::from(MASTER),
    };
    assert_eq!(world.stat_segment(&process, segment), Ok(expected.clone()));
    for text in ["data", "view"] {
        let vas = world.vas(&process, text);
        world.add(&process, vas, segment, READ_ONLY).unwrap();
    }
    expected.vases = 2;
    assert_eq!(world.stat_segment(&process, segment), Ok(expected));
}

#[test]
fn what_an_object_is_and_has_is_told_only_to_who_may_read() {
    let mut world = World::new();
    let process = world.process(1, &[]);
    let other = world.process(2, &[]);
    world.try_vas(&process, "data", Mode(0o602)).unwrap();
    let mut request = alloc("heap", BASE, 1, SMALL);
    request.mode = Mode(0o602);
    world.try_segment(&process, &request).unwrap();
    let denied = Error::PermissionDenied {
        needs: Rights::READ,
    };
    let (_, vas) = world.find_vas(&other, "data").unwrap();
    assert_eq!(world.stat_vas(&other, vas), Err(denied.clone()));
    let (_, segment) = world.find_segment(&other, "heap").unwrap();
    assert_eq!(world.stat_segment(&other, segment), Err(denied));
}
