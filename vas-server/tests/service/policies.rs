// SPDX-License-Identifier: MIT OR Apache-2.0

//! What each policy does, and that a wrong one does no harm.

use protocol::address_map::{LOCAL, SLOT_BYTES};
use protocol::message::{
    Base, Command, Counts, Lifetime, LockMode, Quota, Statistics, VasCommand, VasCreate,
};
use protocol::{Error, Limit, Name, PageSize, limits};
use vas_server::Answers;
use vas_server::policy::QUESTIONS;
use vas_server::policy::placement::{Asked, PlacementPolicy};

use crate::support::*;

/// The first boundary between root-table slots above the first segment.
const BOUNDARY: u64 = BASE + SLOT_BYTES;

/// What is in force, in the order of [`QUESTIONS`].
fn in_force(statistics: &Statistics) -> [&Name; 7] {
    [
        &statistics.page_tables,
        &statistics.page_size,
        &statistics.placement,
        &statistics.locks,
        &statistics.tlb_tags,
        &statistics.admission,
        &statistics.lifetime,
    ]
}

#[test]
fn the_server_tells_the_policies_in_force() {
    let first = match crate::EXTENDED {
        true => "shared",
        false => "mirrored",
    };
    let defaults = [
        first,
        "small",
        "as-asked",
        "cooperative",
        "none",
        "everyone",
        "persistent",
    ];
    let others = [
        "mirrored",
        "largest-fit",
        "slot-aligned",
        "enforced",
        "per-attachment",
        "promised-only",
        "creator",
    ];
    let told = |world: &mut World| in_force(&world.statistics()).map(|name| name.to_string());
    assert_eq!(told(&mut World::new()), defaults);
    let chosen: Vec<_> = QUESTIONS.iter().copied().zip(others).collect();
    assert_eq!(told(&mut World::choosing(&chosen)), others);
    // Each by itself, too: no answer stands for another question.
    for (index, &one) in chosen.iter().enumerate() {
        let mut expected = defaults;
        expected[index] = others[index];
        assert_eq!(told(&mut World::choosing(&[one])), expected, "{one:?}");
    }
}

// Page sizes.

#[test]
fn row_29_segments_that_do_not_ask_have_the_pages_of_the_policy() {
    let one_byte = |page_size| [(1, page_size)].to_vec();
    for (policy, segments) in [
        ("small", one_byte(PageSize::Small)),
        ("large", one_byte(PageSize::Large)),
        ("huge", one_byte(PageSize::Huge)),
        (
            "largest-fit",
            PageSize::ALL.map(|page| (page.bytes(), page)).to_vec(),
        ),
    ] {
        let mut world = World::choosing(&[("page_size", policy), ("placement", "server-chooses")]);
        let process = world.bare_process(1);
        // With a base and without.
        for (text, base) in [("at", Base::At(BASE)), ("anywhere", Base::ForVases)] {
            for &(size, expected) in &segments {
                let request = alloc(&format!("{text} {size}"), base, size, None);
                let (granted, _) = world.try_segment(&process, &request).unwrap();
                assert_eq!(granted.page_size, expected, "{policy} {text} {size}");
                assert!(granted.base.is_multiple_of(expected.bytes()));
            }
        }
    }
}

// Placement.

/// How many page tables a VAS with 8 KiB at an address takes, the root included, as the server
/// tells it; and where the 8 KiB lie.
fn tables_of_8_kib(placement: &str, base: u64) -> (u64, u64) {
    let mut world = World::choosing(&[("placement", placement)]);
    let process = world.bare_process(1);
    let vas = world.vas(&process, "data");
    let request = alloc("heap", base, 8 * KIB, SMALL);
    let (granted, segment) = world.try_segment(&process, &request).unwrap();
    world.add(&process, vas, segment, READ_WRITE).unwrap();
    if !crate::EXTENDED {
        // Only attachments have tables; this process has no private memory in its own.
        world.attach(&process, vas, READ_WRITE).unwrap();
    }
    let statistics = world.stat_vas(&process, vas).unwrap();
    (statistics.table_bytes / (4 * KIB), granted.base)
}

#[test]
fn row_32_8_kib_across_a_boundary_of_slots_take_7_tables_unless_they_are_aligned() {
    let across = BOUNDARY - 4 * KIB;
    for placement in ["as-asked", "server-chooses"] {
        assert_eq!(tables_of_8_kib(placement, across), (7, across));
    }
    // A root, a PDPT, a page directory and a page table.
    assert_eq!(tables_of_8_kib("slot-aligned", across), (4, BOUNDARY));
    let below = BOUNDARY - 8 * KIB;
    for placement in ["as-asked", "slot-aligned"] {
        assert_eq!(tables_of_8_kib(placement, below), (4, below));
    }
}

#[test]
fn without_a_base_segments_are_put_side_by_side_and_fit_into_one_vas() {
    for placement in ["slot-aligned", "server-chooses"] {
        let mut world = World::choosing(&[("placement", placement)]);
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let attached = world.attach(&process, vas, READ_WRITE).unwrap();
        let mut bases = Vec::new();
        for (text, size, page_size, own_slots) in [
            ("first", 4 * KIB, SMALL, false),
            ("large", 2 * MIB, LARGE, false),
            ("second", 4 * KIB, SMALL, false),
            ("own", 4 * KIB, SMALL, true),
            ("third", 4 * KIB, SMALL, false),
        ] {
            let mut request = alloc(text, Base::ForVases, size, page_size);
            request.own_slots = own_slots;
            let (granted, segment) = world.try_segment(&process, &request).unwrap();
            world.add(&process, vas, segment, READ_WRITE).unwrap();
            assert_eq!(world.fake().load(attached.root, granted.base), Ok(0));
            bases.push(granted.base);
        }
        let (second, third) = (BASE + 4 * KIB, BASE + 8 * KIB);
        let expected = [BASE, BASE + 2 * MIB, second, BOUNDARY, third];
        assert_eq!(bases, expected, "{placement}");

        // What is freed is a gap again.
        let (_, second) = world.find_segment(&process, "second").unwrap();
        world.remove(&process, vas, second).unwrap();
        world.free(&process, second).unwrap();
        let request = alloc("fourth", Base::ForVases, 4 * KIB, SMALL);
        let (granted, _) = world.try_segment(&process, &request).unwrap();
        assert_eq!(granted.base, BASE + 4 * KIB);
        let request = alloc("local", Base::ForAttachments, 4 * KIB, SMALL);
        let (granted, _) = world.try_segment(&process, &request).unwrap();
        assert_eq!(granted.base, LOCAL.start);
    }
}

/// A request that is refused, and has changed nothing.
#[track_caller]
fn assert_refused(world: &mut World, request: protocol::message::SegAlloc, error: Error) {
    let process = world.bare_process(1);
    let before = world.picture(&process);
    let answer = world.try_segment(&process, &request).map(|_| ());
    assert_eq!(answer, Err(error));
    assert_eq!(world.picture(&process), before);
}

#[test]
fn a_base_that_the_policy_has_not_is_refused() {
    let mut world = World::choosing(&[("placement", "as-asked")]);
    for base in [Base::ForVases, Base::ForAttachments] {
        let request = alloc("heap", base, 1, SMALL);
        assert_refused(&mut world, request, Error::BaseNeeded);
    }
    let mut world = World::choosing(&[("placement", "server-chooses")]);
    for (base, slots) in [(Base::ForVases, 191), (Base::ForAttachments, 62)] {
        for size in [slots * SLOT_BYTES + 1, u64::MAX] {
            let request = alloc("heap", base, size, SMALL);
            assert_refused(&mut world, request, Error::NoRoom { size });
        }
        // It would fit, were there so much memory.
        let request = alloc("heap", base, slots * SLOT_BYTES, SMALL);
        assert_refused(&mut world, request, Error::OutOfMemory);
    }
    // What is wrong with a base that was asked for is said of it, not of where it is moved to.
    let mut world = World::choosing(&[("placement", "slot-aligned")]);
    let base = BOUNDARY - 1;
    let alignment = 4 * KIB;
    let request = alloc("heap", base, 8 * KIB, SMALL);
    assert_refused(&mut world, request, Error::Unaligned { base, alignment });
    let (base, size) = (LOCAL.end - 4 * KIB, 8 * KIB);
    let request = alloc("heap", base, size, SMALL);
    assert_refused(&mut world, request, Error::OutOfRange { base, size });
    // Where VASes' addresses end, those of attachments begin.
    let base = LOCAL.start - 4 * KIB;
    let request = alloc("heap", base, size, SMALL);
    assert_refused(&mut world, request, Error::OutOfRange { base, size });
}

#[test]
fn an_address_space_full_of_segments_has_no_room() {
    let mut world = World::choosing(&[("placement", "server-chooses")]);
    let process = world.bare_process(1);
    let slots = LOCAL.end / SLOT_BYTES - LOCAL.start / SLOT_BYTES;
    for number in 0..slots {
        let mut request = alloc(&number.to_string(), Base::ForAttachments, 1, SMALL);
        request.own_slots = true;
        let (granted, _) = world.try_segment(&process, &request).unwrap();
        assert_eq!(granted.base, LOCAL.start + number * SLOT_BYTES);
    }
    let size = 1;
    let request = alloc("one more", Base::ForAttachments, size, SMALL);
    let size = 4 * KIB * size;
    assert_refused(&mut world, request, Error::NoRoom { size });
}

/// A policy that always answers the same, whatever it is.
struct Stubborn(u64);

impl PlacementPolicy for Stubborn {
    fn place(
        &self,
        _asked: &Asked,
        _taken: &mut dyn Iterator<Item = (u64, u64)>,
    ) -> Result<u64, Error> {
        Ok(self.0)
    }
}

#[test]
fn a_policy_from_elsewhere_is_used_and_a_wrong_one_does_no_harm() {
    const WRONG: u64 = LOCAL.start - 4096;
    static ANSWERS: [(&str, &Stubborn); 4] = [
        ("right", &Stubborn(BASE + 4096)),
        ("unaligned", &Stubborn(BASE + 1)),
        ("private", &Stubborn(0)),
        ("too far", &Stubborn(WRONG)),
    ];
    let size = 8 * KIB;
    for (name, expected) in [
        ("right", Ok(BASE + 4096)),
        (
            "unaligned",
            Err(Error::Unaligned {
                base: BASE + 1,
                alignment: 4096,
            }),
        ),
        ("private", Err(Error::OutOfRange { base: 0, size })),
        ("too far", Err(Error::OutOfRange { base: WRONG, size })),
    ] {
        let mut fake = fake(1000, &[24]);
        let mut answers = Answers::new(&mut fake);
        let own = ANSWERS.map(|(name, answer)| (name, answer as &dyn PlacementPolicy));
        answers.placement.extend(own);
        let policies = answers.choose(&[("placement", name)]).unwrap();
        let mut world = World::of(fake, policies, 1, &[]).unwrap();
        assert_eq!(world.statistics().placement.as_str(), name);
        for base in [Base::At(BASE), Base::ForVases] {
            let request = alloc("heap", base, size, SMALL);
            match expected.clone() {
                Ok(base) => {
                    let process = world.bare_process(1);
                    let (granted, segment) = world.try_segment(&process, &request).unwrap();
                    assert_eq!(granted.base, base);
                    world.free(&process, segment).unwrap();
                }
                Err(error) => assert_refused(&mut world, request, error),
            }
        }
    }
}

// Locks.

#[test]
fn a_new_vas_has_the_lock_mode_of_the_policy() {
    for (policy, mode) in [
        ("cooperative", LockMode::Cooperative),
        ("enforced", LockMode::Enforced),
        ("none", LockMode::None),
    ] {
        let mut world = World::choosing(&[("locks", policy)]);
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        assert_eq!(world.stat_vas(&process, vas).unwrap().lock_mode, mode);
    }
}

// TLB tags.

#[test]
fn row_33_a_vas_has_the_tag_hint_of_the_policy_until_vas_ctl_says_otherwise() {
    for (policy, tagged) in [("none", false), ("per-attachment", true)] {
        let mut world = World::choosing(&[("tlb_tags", policy)]);
        let process = world.process(1, &[]);
        let [vas, other] = ["data", "other"].map(|text| world.vas(&process, text));
        let told = |world: &mut World, vas| world.stat_vas(&process, vas).unwrap().tlb_tag;
        assert_eq!(told(&mut world, vas), tagged, "{policy}");
        for hint in [!tagged, tagged, !tagged] {
            let command = VasCommand::TlbTag(hint);
            world.control_vas(&process, vas, command).unwrap();
            assert_eq!(told(&mut world, vas), hint, "{policy}");
        }
        assert_eq!(told(&mut world, other), tagged, "{policy}");
    }
}

// Admission.

const COUNTS: Counts = Counts {
    sessions: 2,
    vases: 1,
    segments: 1,
    attachments: 1,
    handles: 8,
};

/// A machine that admits by this policy, on which something is promised to user 1.
fn promising(admission: &str) -> World {
    let quota = Quota {
        user: 1,
        memory: MIB,
        slots: 1024,
        counts: COUNTS,
    };
    World::promising_and_choosing(&[24], &[quota], &[("admission", admission)]).unwrap()
}

#[test]
fn where_only_the_promised_are_admitted_others_make_nothing_and_see_all() {
    let mut world = promising("promised-only");
    let rich = world.process(1, &[]);
    let poor = world.process(2, &[]);
    let vas = world.vas(&rich, "data");
    let segment = world.segment(&rich, "heap", BASE, 4 * KIB);
    world.add(&rich, vas, segment, READ_WRITE).unwrap();
    world.attach(&rich, vas, READ_WRITE).unwrap();
    // More than is promised is a matter of the quota, not of the policy.
    let again = world.try_vas(&rich, "more", OPEN);
    assert_eq!(again, Err(Error::LimitReached(Limit::Vases)));

    // All rights are of no help.
    let (user, group) = (2, None);
    let given = world.control_vas(&rich, vas, Command::Owner { user, group });
    given.unwrap();
    let (_, found) = world.find_vas(&poor, "data").unwrap();
    world.find_segment(&poor, "heap").unwrap();
    assert_eq!(world.stat_vas(&poor, found).unwrap().segments, 1);
    let before = world.picture(&poor);
    let refused = Err(Error::NotAdmitted);
    let name = name("own");
    let made = world.call(&poor, &VasCreate { name, mode: OPEN }, &[]);
    assert_eq!(made.map(|_| ()), refused);
    let cloned = world.clone_vas(&poor, found, "clone", OPEN, READ_ONLY);
    assert_eq!(cloned.map(|_| ()), refused);
    let made = world.try_segment(&poor, &alloc("own", BASE, 1, SMALL));
    assert_eq!(made.map(|_| ()), refused);
    let attached = world.attach(&poor, found, READ_ONLY);
    assert_eq!(attached.map(|_| ()), refused);
    assert_eq!(world.picture(&poor), before);
}

#[test]
fn where_everyone_is_admitted_others_share_what_is_not_promised() {
    let mut world = promising("everyone");
    let poor = world.process(2, &[]);
    let vas = world.vas(&poor, "data");
    world.segment(&poor, "heap", BASE, 4 * KIB);
    world.attach(&poor, vas, READ_WRITE).unwrap();
    for number in 1..limits::VASES as u32 - COUNTS.vases {
        world.vas(&poor, &number.to_string());
    }
    let one_more = world.try_vas(&poor, "one more", OPEN);
    assert_eq!(one_more, Err(Error::LimitReached(Limit::Vases)));
}

// Lifetimes.

#[test]
fn what_is_made_has_the_lifetime_of_the_policy_until_it_is_changed() {
    for (policy, lifetime, survivors) in [
        ("persistent", Lifetime::Persistent, 2),
        ("creator", Lifetime::Creator, 0),
        ("last-attacher", Lifetime::LastAttacher, 0),
    ] {
        let mut world = World::choosing(&[("lifetime", policy)]);
        let witness = world.process(1, &[]);
        let process = world.process(1, &[]);
        let vas = world.vas(&process, "data");
        let segment = world.segment(&process, "heap", BASE, 1);
        let clone = world.clone_vas(&process, vas, "clone", OPEN, READ_ONLY);
        let clone = clone.unwrap();
        for vas in [vas, clone] {
            let object = world.stat_vas(&process, vas).unwrap().object;
            assert_eq!(object.lifetime, lifetime, "{policy}");
        }
        let object = world.stat_segment(&process, segment).unwrap().object;
        assert_eq!(object.lifetime, lifetime, "{policy}");

        // One is changed by hand, the others go as the policy says.
        let persistent = lives(Lifetime::Persistent);
        world.control_vas(&process, clone, persistent).unwrap();
        world.add(&process, vas, segment, READ_WRITE).unwrap();
        world.attach(&process, vas, READ_WRITE).unwrap();
        world.end(&process);
        let left = world.list_vases(&witness).len() + world.list_segments(&witness).len();
        assert_eq!(left, survivors + 1, "{policy}");
        assert!(world.find_vas(&witness, "clone").is_ok());
    }
}
