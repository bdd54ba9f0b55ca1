// SPDX-License-Identifier: MIT OR Apache-2.0

//! The same seeds on the fake kernel and, by the system `model`, on the real one in QEMU.
//!
//! Which seeds, the system description says. `MODEL_SEEDS="0 5000 300"` in the environment takes
//! others: the first, the one behind the last, and how many steps of each.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use model::{Action, Call, Played, Player, Reply, words};
use protocol::message::Operation;

use crate::random::play;

const KERNEL: &str = if crate::EXTENDED { "extended" } else { "stock" };

/// The description of the system, with the seeds that are to be played.
fn description() -> &'static str {
    static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
        let description = root().join("sel4-build/systems/model.toml");
        let description = std::fs::read_to_string(description).unwrap();
        match std::env::var("MODEL_SEEDS") {
            Ok(seeds) => description.replacen(arguments(&description), &seeds, 1),
            Err(_) => description,
        }
    });
    &DESCRIPTION
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn arguments(description: &str) -> &str {
    let behind = description.split_once("arguments = \"");
    let arguments = behind.and_then(|(_, behind)| behind.split_once('"'));
    arguments.expect("a component has arguments").0
}

/// A seed, a digest of its answers on the fake kernel, and all calls and answers.
type Seed = (u64, u64, Vec<Played>);

fn seeds() -> &'static [Seed] {
    static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| {
        let numbers = arguments(description()).split(' ').map(str::parse);
        let numbers: Result<Vec<u64>, _> = numbers.collect();
        let [first, end, steps] = numbers.unwrap()[..] else {
            panic!("three numbers are needed");
        };
        let played = |seed| {
            let mut player = Player::new();
            let words = words(seed, steps);
            let played = play(&mut player, 20_000, &[33, 22], &words, |_, _| {});
            (seed, player.answers(), played)
        };
        (first..end).map(played).collect()
    });
    &SEEDS
}

#[test]
fn the_real_kernel_gives_the_same_answers_as_the_fake_one() {
    let expected = seeds();
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("model-{KERNEL}.toml"));
    std::fs::write(&path, description()).unwrap();
    let output = Command::new(root().join("simulate.sh"))
        .args(["run", "--kernel", KERNEL])
        .arg(path)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let found = printed.lines().filter(|line| line.starts_with("seed "));
    let expected = expected
        .iter()
        .map(|(seed, answers, _)| format!("seed {seed}: answers {answers:016x}"));
    let all = format!("{printed}\n{errors}");
    assert!(found.eq(expected), "{all}");
    assert!(output.status.success(), "{all}");
}

/// What the specification says nothing about (in which order attachments are listed, locks, what
/// is free), or what only init does.
const NOT_PLAYED: &[Operation] = &[
    Operation::VasAttachments,
    Operation::VasLock,
    Operation::VasUnlock,
    Operation::VasSetConsistent,
    Operation::ServerStat,
    Operation::QuotaStat,
    Operation::SessionCreate,
    Operation::SessionEnd,
    Operation::Explain,
];

/// Why something is refused where memory and slots suffice and no limit is reached.
const REFUSALS: &[&str] = &[
    "StaleHandle",
    "WrongKind",
    "NotFound",
    "NameExists",
    "PermissionDenied",
    "ZeroSize",
    "Unaligned",
    "OutOfRange",
    "Overlap",
    "AlreadyAttached",
    "NotAttached",
    "InUse",
    "StaleAttachment",
    "CreatorEnded",
    "BaseNeeded",
];

/// The name of an operation, of an error or of what else a process does, without what it is about.
fn name(of: &dyn std::fmt::Debug) -> String {
    let text = format!("{of:?}");
    let end = text.find(|letter: char| !letter.is_alphanumeric());
    text[..end.unwrap_or(text.len())].into()
}

fn name_of(Call { action, .. }: &Call) -> String {
    match action {
        Action::Ask(request, _) => name(request),
        Action::Touch(_, touch) => name(touch),
        action => name(action),
    }
}

#[test]
fn the_seeds_ask_for_everything_and_are_refused_in_every_way() {
    let mut served = BTreeSet::new();
    let mut died = BTreeSet::new();
    let mut refused = BTreeSet::new();
    for Played { call, answer } in seeds().iter().flat_map(|(.., played)| played) {
        match answer {
            Ok(Reply::Died) => died.insert(name_of(call)),
            Ok(_) => served.insert(name_of(call)),
            Err(error) => refused.insert(name(error)),
        };
    }
    let operations = Operation::ALL.iter();
    let operations = operations.filter(|operation| !NOT_PLAYED.contains(operation));
    let others = ["Load", "Store", "Scan", "Pass", "Restart"].map(String::from);
    let expected: BTreeSet<String> = operations
        .map(|operation| name(operation))
        .chain(others)
        .collect();
    assert_eq!(served, expected);
    assert_eq!(died, BTreeSet::from(["Load", "Store"].map(String::from)));
    let expected: BTreeSet<String> = REFUSALS.iter().map(|&name| name.into()).collect();
    assert_eq!(refused, expected);
}
