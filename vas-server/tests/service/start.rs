// SPDX-License-Identifier: MIT OR Apache-2.0

use protocol::Error;
use vas_server::fake::Fake;
use vas_server::{Answers, Configuration, Server, StartError};

use crate::support::fake;

fn start(slots: u32, untyped_bits: &[u8], asid_pools: u32) -> Result<Server<Fake>, StartError> {
    start_with(&[], slots, untyped_bits, asid_pools)
}

fn start_with(
    chosen: &[(&str, &str)],
    slots: u32,
    untyped_bits: &[u8],
    asid_pools: u32,
) -> Result<Server<Fake>, StartError> {
    let mut fake = fake(slots, untyped_bits);
    let untypeds = fake.untypeds().to_vec();
    let configuration = Configuration {
        slots: fake.free_slots(),
        endpoint: Fake::ENDPOINT,
        vspace: Fake::VSPACE,
        asid_control: Fake::ASID_CONTROL,
        asid_pools,
        timer: Fake::TIMER,
        quotas: &[],
        untypeds: &untypeds,
    };
    let policies = Answers::new(&mut fake).choose(chosen).unwrap();
    Server::start(fake, policies, &configuration)
}

#[test]
fn a_fresh_server_tells_what_it_was_given() {
    let server = start(1002, &[20, 20, 16, 12, 12, 12], 2).unwrap();
    let statistics = server.statistics();
    let memory = (2 << 20) + (1 << 16) + 3 * (1 << 12);
    assert_eq!(statistics.memory_total, memory);
    // A page for each pool, two for the tables of the window and five for those of locks, and the
    // spare one.
    assert_eq!(statistics.memory_free, memory - 10 * 4096);
    assert_eq!(statistics.slots_total, 1002);
    assert_eq!(statistics.asids_total, 1024);
    assert_eq!(statistics.asids_free, 1024);
    assert_eq!(statistics.tables, 0);
    // One slot for each of them. Seven lie in the 64 KiB, which takes eight divisions.
    assert_eq!(statistics.slots_free, 1002 - 10 - 2 * 8);
}

#[test]
fn the_kernel_has_seven_pools_for_the_server() {
    let server = start(1000, &[20], vas_server::server::ASID_POOLS).unwrap();
    assert_eq!(server.statistics().asids_total, 3584);
    let error = start(1000, &[20], 8).map(|_| ()).unwrap_err();
    assert_eq!(error, StartError::AsidPools(Error::Internal { kernel: 8 }));
}

#[test]
fn a_server_without_memory_or_slots_does_not_start() {
    let error = start(1000, &[11], 1).map(|_| ()).unwrap_err();
    assert_eq!(error, StartError::AsidPools(Error::OutOfMemory));
    let error = start(1, &[20], 1).map(|_| ()).unwrap_err();
    assert_eq!(error, StartError::AsidPools(Error::OutOfSlots));
    assert!(
        error
            .to_string()
            .contains("not enough free capability slots")
    );
}

#[test]
fn a_policy_that_does_not_exist_is_refused_with_those_that_do() {
    let answers = Answers::new(&mut fake(100, &[]));
    let unknown = |question, answer| {
        let chosen = answers.choose(&[(question, answer)]);
        chosen.map(|_| ()).unwrap_err().to_string()
    };
    for (question, name, known) in [
        (
            "page_tables",
            "mirored",
            match crate::EXTENDED {
                true => "shared, mirrored",
                false => "mirrored, shared",
            },
        ),
        ("page_size", "4K", "small, large, huge, largest-fit"),
        (
            "placement",
            "aligned",
            "as-asked, slot-aligned, server-chooses",
        ),
        ("locks", "", "cooperative, enforced, none"),
        ("tlb_tags", "all", "none, per-attachment"),
        ("admission", "nobody", "everyone, promised-only"),
        ("lifetime", "Creator", "persistent, creator, last-attacher"),
    ] {
        assert_eq!(
            unknown(question, name),
            format!("no {question} policy is called {name:?}; there is: {known}")
        );
    }
    assert_eq!(
        unknown("colour", "red"),
        "no policy is about \"colour\"; there is: page_tables, page_size, placement, locks, \
         tlb_tags, admission, lifetime"
    );
}

#[test]
fn shared_tables_are_refused_at_start_by_a_kernel_that_cannot() {
    let start = start_with(&[("page_tables", "shared")], 1000, &[20], 1).map(|_| ());
    if crate::EXTENDED {
        assert_eq!(start, Ok(()));
    } else {
        assert_eq!(start, Err(StartError::TablesNotShared));
        let said = StartError::TablesNotShared.to_string();
        assert!(said.contains("only the extended kernel can"), "{said}");
    }
    assert!(start_with(&[("page_tables", "mirrored")], 1000, &[20], 1).is_ok());
}
