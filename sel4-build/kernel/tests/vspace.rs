// SPDX-License-Identifier: MIT OR Apache-2.0
//! Attacks on page tables, on the real kernel in QEMU: what the model says, it does.

mod root_task;
mod spaces;

use std::path::Path;

use heck::ToKebabCase;
use kernel::source::{Patch, Series};
use kernel::{Config, build_patched};
use root_task::{LIMIT, run};
use spaces::random::random;
use spaces::scope::{ALL, Scope, counterexample};
use spaces::script::Script;
use spaces::world::Operation::{self, *};
use spaces::world::Twin::Original;
use spaces::world::{HUGE, Kernel, LARGE, Measure, Slot};

/// Runs a script on a kernel with these patches, and gives what the root task printed.
fn play(script: &Script, patches: &[Patch]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    std::fs::write(&path, script.bytes()).unwrap();
    let kernel = build_patched(&Config::default(), patches, folder.path()).unwrap();
    let path = path.to_str().unwrap();
    run("vspace", &[("VSPACE_SCRIPT", path)], &kernel, LIMIT)
}

/// Fails unless the kernel did all of a script as the model does.
fn plays_as_the_model(script: &Script, series: Series) {
    let output = play(script, &series.patches().unwrap());
    let sequences = script.sequences.len();
    let all = output.contains(&format!("vspace: done, {sequences} sequences, "));
    if all && output.contains(" 0 differ") {
        println!("{output}");
        return;
    }
    let number = |line: &str| {
        line.split(['n', 'c', 'e', ' ', ','])
            .find_map(|word| word.parse().ok())
    };
    let first = output
        .lines()
        .find_map(|line| number(line.strip_prefix("differs: sequence ")?));
    let first: Option<&Vec<Operation>> =
        first.and_then(|number: usize| script.sequences.get(number));
    panic!("{output}\nfirst: {first:#?}");
}

// Every operation on every capability, alone and in pairs, wherever the thread is.

/// Tables for a small page, a large one or a huge one, with their home in root 0; on the
/// extended kernel attached to root 1 and, read-only, to root 2.
fn shared(kernel: Kernel, frame: u8) -> Vec<Operation> {
    let (root, place) = (Slot::Root(0), 0);
    let map = |table, root| Map { table, root, place };
    let scope = Scope {
        frames: if frame == HUGE {
            &[HUGE]
        } else {
            &[0, 1, LARGE]
        },
        ..ALL
    };
    let mut operations = scope.start();
    operations.push(map(Slot::Pdpt(0), root));
    let levels = match frame {
        HUGE => 0,
        LARGE => 1,
        _ => 2,
    };
    let levels = [Slot::Directory(Original), Slot::Table(Original)]
        .into_iter()
        .take(levels);
    operations.extend(levels.map(|table| map(table, root)));
    operations.push(MapFrame {
        frame: Slot::Frame(frame, Original),
        root,
        place,
        write: true,
    });
    if kernel.extended {
        for (copy, write) in [(0, true), (1, false)] {
            operations.push(Copy {
                from: Slot::Pdpt(0),
                to: Slot::Copy(copy),
                write,
            });
            operations.push(map(Slot::Copy(copy), Slot::Root(copy + 1)));
        }
    }
    operations.push(Copy {
        from: Slot::Root(1),
        to: Slot::Client(0),
        write: false,
    });
    operations
}

/// Unmap, delete, revoke, and revoke the memory, each on every capability that was used.
fn removals(frame: u8) -> Vec<Operation> {
    let slots = [
        Slot::Frame(frame, Original),
        Slot::Table(Original),
        Slot::Directory(Original),
        Slot::Pdpt(0),
        Slot::Copy(0),
        Slot::Copy(1),
        Slot::Root(0),
        Slot::Root(1),
        Slot::Root(2),
        Slot::Client(0),
        Slot::Pool,
    ];
    let mut operations = Vec::new();
    for slot in slots {
        operations.extend([Delete(slot), Revoke(slot)]);
        if slot.is_original() {
            operations.push(RevokeMemory(slot));
        }
        if slot.is_table() || slot.is_frame() {
            operations.push(Unmap(slot));
        }
    }
    operations
}

/// Makes the frame again where that can be, so that its memory is another's.
fn with_memory_used_again(attack: &[Operation], frame: u8) -> Vec<Operation> {
    let mut operations = attack.to_vec();
    operations.extend([
        RevokeMemory(Slot::Frame(frame, Original)),
        Make(Slot::Frame(frame, Original)),
    ]);
    operations
}

fn attacks(kernel: Kernel, frame: u8, pairs: bool) -> Script {
    let mut script = Script::new(kernel);
    let removals = removals(frame);
    for inside in [None, Some(0), Some(1), Some(2)] {
        let mut preparation = shared(kernel, frame);
        preparation.extend(inside.map(|root| Switch(Slot::Root(root))));
        for &first in &removals {
            script.add(&preparation, &with_memory_used_again(&[first], frame));
            for &second in removals.iter().filter(|_| pairs) {
                script.add(
                    &preparation,
                    &with_memory_used_again(&[first, second], frame),
                );
            }
        }
    }
    script
}

#[test]
fn every_removal_and_every_two_leave_nothing_behind() {
    plays_as_the_model(&attacks(Kernel::EXTENDED, 0, true), Series::Extended);
}

#[test]
fn every_removal_and_every_two_leave_nothing_behind_on_the_stock_kernel() {
    plays_as_the_model(&attacks(Kernel::STOCK, 0, true), Series::Stock);
}

#[test]
fn every_removal_of_large_pages_leaves_nothing_behind() {
    plays_as_the_model(&attacks(Kernel::EXTENDED, LARGE, false), Series::Extended);
    plays_as_the_model(&attacks(Kernel::STOCK, LARGE, false), Series::Stock);
}

// Long random sequences.

fn random_script(kernel: Kernel) -> Script {
    let mut script = Script::new(kernel);
    for seed in 0..10 {
        script.add(&ALL.start(), &random(kernel, ALL, seed, 1000, |_| true));
    }
    script
}

#[test]
fn ten_thousand_random_operations_end_as_the_model_says() {
    plays_as_the_model(&random_script(Kernel::EXTENDED), Series::Extended);
}

#[test]
fn ten_thousand_random_operations_end_as_the_model_says_on_the_stock_kernel() {
    plays_as_the_model(&random_script(Kernel::STOCK), Series::Stock);
}

#[test]
fn a_kernel_that_differs_is_noticed() {
    let mut script = Script::new(Kernel::EXTENDED);
    script.add(&shared(Kernel::EXTENDED, 0), &[SwitchBack]);
    script.falsify();
    let output = play(&script, &Series::Extended.patches().unwrap());
    assert!(
        output.contains("vspace: done, 1 sequences, ") && output.contains("differs"),
        "{output}"
    );
}

// What each measure of the patches is for.

/// The model's shortest way to break the rule without a measure.
fn attack(measure: Measure) -> (Scope, Vec<Operation>) {
    let Some((_, scope, way)) = counterexample(measure, true) else {
        panic!("{measure:?}: no operation shows that it is missing");
    };
    (scope, way)
}

/// Replayed, it makes the kernel without the measure differ from the model that has it.
fn is_needed(measure: Measure) {
    let (scope, way) = attack(measure);
    println!("{measure:?}: {way:#?}");
    let mut script = Script::new(Kernel::EXTENDED);
    script.add(&scope.start(), &way);

    let mut patches = Series::Extended.patches().unwrap();
    let name = format!("{measure:?}").to_kebab_case();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/measures/{name}.patch"));
    let text = std::fs::read_to_string(file).unwrap();
    patches.push(Patch { name, text });
    let output = play(&script, &patches);
    assert!(
        output.contains("differs: "),
        "{measure:?} is missing, and nothing shows it\n{output}"
    );
}

#[test]
fn the_complete_kernel_withstands_all_these_attacks() {
    let mut script = Script::new(Kernel::EXTENDED);
    for &measure in SHOWN {
        let (scope, way) = attack(measure);
        script.add(&scope.start(), &way);
    }
    plays_as_the_model(&script, Series::Extended);
}

macro_rules! needed {
    ($($test:ident: $measure:ident,)*) => {
        $(#[test] fn $test() { is_needed(Measure::$measure); })*

        /// Those with a test.
        const SHOWN: &[Measure] = &[$(Measure::$measure),*];
    };
}

needed! {
    frame_caps_must_unmap_themselves: FrameCapsUnmapThemselves,
    copies_must_be_no_homes: CopiesAreNoHomes,
    read_only_copies_must_stay_so: ReadOnlyCopiesStaySo,
    walks_must_stop_at_attachments: WalksStopAtAttachments,
    attachments_must_lie_at_their_homes_address: AttachmentsLieAtTheirHomesAddress,
    homes_must_stay_while_attached: HomesStayWhileAttached,
    pdpts_must_be_cleared_with_their_home: PdptIsClearedWithItsHome,
    pdpts_must_be_cleared_with_their_homes_root: PdptIsClearedWithItsHomesRoot,
    every_pdpt_cap_must_unmap_itself: EveryPdptCapUnmapsItself,
    pages_must_be_flushed_in_every_root: PagesAreFlushedInEveryRoot,
    remapped_pages_must_be_flushed: RemappedPagesAreFlushed,
    page_tables_must_be_flushed: TablesAreFlushed,
    page_directories_must_be_flushed: DirectoriesAreFlushed,
    pdpts_must_be_flushed: PdptsAreFlushed,
    switch_only_roots_must_take_no_mappings: SwitchOnlyRootsTakeNoMappings,
}

/// No thread can look while these are missing: the root that it would look through is
/// gone, or the processor would need address-space tags. The model shows what they are for.
const NOT_SHOWN: [Measure; 4] = [
    Measure::RootsWithoutAsidAreEmpty,
    Measure::RootIsLoadedAgainWhenItsAsidGoes,
    Measure::TablesAreMappedUnderTheirRootsAsid,
    Measure::RootsAreFlushedEverywhere,
];

#[test]
fn every_measure_is_shown_or_said_not_to_be() {
    for measure in Measure::ALL {
        assert!(
            SHOWN.contains(&measure) != NOT_SHOWN.contains(&measure),
            "{measure:?}"
        );
    }
}
