// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which operations a model checker tries, and what must hold after each.

use stateright::{Checker, Model, Property};

use super::world::Operation::{self, *};
use super::world::{HUGE, Kernel, LARGE, Measure, Names, PDPTS, ROOTS, Slot, Twin, World};

/// What takes part: of each kind how many, or whether.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope {
    pub roots: u8,
    /// Copies of root caps.
    pub clients: u8,
    pub pdpts: u8,
    /// Copies of PDPT caps.
    pub copies: u8,
    /// PML4 indices.
    pub places: u8,
    pub directory: bool,
    pub table: bool,
    pub frames: &'static [u8],
    /// Copies of the caps of the directory, the page table and frames.
    pub twins: bool,
    /// Copies and mappings without the right to write, and changes of rights.
    pub read_only: bool,
}

impl Scope {
    fn slots(&self) -> Vec<Slot> {
        let twins = if self.twins { 2 } else { 1 };
        let twins = || [Twin::Original, Twin::Copy].into_iter().take(twins);
        let mut slots = vec![Slot::Pool];
        slots.extend((0..self.roots).map(Slot::Root));
        slots.extend((0..self.clients).map(Slot::Client));
        slots.extend((0..self.pdpts).map(Slot::Pdpt));
        slots.extend((0..self.copies).map(Slot::Copy));
        slots.extend(twins().filter(|_| self.directory).map(Slot::Directory));
        slots.extend(twins().filter(|_| self.table).map(Slot::Table));
        for &frame in self.frames {
            slots.extend(twins().map(|twin| Slot::Frame(frame, twin)));
        }
        slots
    }

    /// All operations on what takes part.
    pub fn operations(&self) -> Vec<Operation> {
        let slots = self.slots();
        let accesses: &[bool] = if self.read_only {
            &[true, false]
        } else {
            &[true]
        };
        let mut operations = vec![SwitchBack];
        for &slot in &slots {
            operations.push(Delete(slot));
            if slot.is_original() {
                operations.extend([Revoke(slot), RevokeMemory(slot), Make(slot)]);
            }
            if let Slot::Root(_) = slot {
                operations.extend((0..self.roots).map(|asid| Assign(slot, Some(asid))));
            }
            if slot.is_root() {
                operations.push(Switch(slot));
            }
            if slot.is_table() || slot.is_frame() {
                operations.push(Unmap(slot));
            }
            for &root in slots.iter().filter(|root| root.is_root()) {
                for place in 0..self.places {
                    if slot.is_table() {
                        operations.push(Map {
                            table: slot,
                            root,
                            place,
                        });
                    }
                    if slot.is_frame() {
                        let map = |&write| MapFrame {
                            frame: slot,
                            root,
                            place,
                            write,
                        };
                        operations.extend(accesses.iter().map(map));
                    }
                }
                if slot.is_frame() && self.read_only {
                    let remap = |&write| Remap {
                        frame: slot,
                        root,
                        write,
                    };
                    operations.extend(accesses.iter().map(remap));
                }
            }
            for &to in slots.iter().filter(|&&to| slot.fits_into(to)) {
                let copy = |&write| Copy {
                    from: slot,
                    to,
                    write,
                };
                operations.extend(accesses.iter().map(copy));
            }
        }
        operations
    }

    /// Where it begins: all is made, and the roots have ASIDs.
    pub fn start(&self) -> Vec<Operation> {
        let mut operations = Vec::new();
        for slot in self.slots().into_iter().filter(|slot| slot.is_original()) {
            operations.push(Make(slot));
            if slot.is_root() {
                operations.push(Assign(slot, None));
            }
        }
        operations
    }
}

/// One of everything, in two roots: what the others have more of.
const LEAST: Scope = Scope {
    roots: 2,
    clients: 0,
    pdpts: 1,
    copies: 1,
    places: 1,
    directory: false,
    table: false,
    frames: &[HUGE],
    twins: false,
    read_only: false,
};

/// Everything but the page of 1 GiB, which takes long to clear: what random sequences use.
pub const ALL: Scope = Scope {
    roots: 3,
    clients: 2,
    pdpts: 2,
    copies: 3,
    places: 2,
    directory: true,
    table: true,
    frames: &[0, 1, LARGE],
    twins: true,
    read_only: true,
};

/// What is looked at in every order. Two frames and two PDPTs with all levels below; three
/// roots, for ASIDs that move on; two addresses and rights; copies of all that has copies.
pub const SCOPES: [(&str, Scope); 5] = [
    (
        "two PDPTs, the levels below, two frames",
        Scope {
            pdpts: 2,
            directory: true,
            table: true,
            frames: &[0, 1],
            ..LEAST
        },
    ),
    (
        "three roots",
        Scope {
            roots: 3,
            copies: 2,
            ..LEAST
        },
    ),
    (
        "two addresses, rights",
        Scope {
            copies: 2,
            places: 2,
            read_only: true,
            ..LEAST
        },
    ),
    (
        "clients' copies of roots",
        Scope {
            clients: 1,
            read_only: true,
            ..LEAST
        },
    ),
    (
        "copies of all caps",
        Scope {
            directory: true,
            twins: true,
            frames: &[LARGE],
            ..LEAST
        },
    ),
];

/// The shortest way by which the rule is broken without a measure, from where the scope
/// begins; in the smallest scope, on the simplest processor, that has one. If `shown`, so that
/// a thread sees it.
pub fn counterexample(measure: Measure, shown: bool) -> Option<(Kernel, Scope, Vec<Operation>)> {
    let scopes = [
        LEAST,
        Scope { places: 2, ..LEAST },
        Scope {
            directory: true,
            frames: &[LARGE],
            ..LEAST
        },
        Scope {
            copies: 0,
            directory: true,
            table: true,
            frames: &[0],
            ..LEAST
        },
        Scope {
            copies: 0,
            twins: true,
            ..LEAST
        },
        Scope {
            copies: 0,
            clients: 1,
            read_only: true,
            ..LEAST
        },
        Scope {
            copies: 2,
            read_only: true,
            ..LEAST
        },
    ];
    let kernels = [Kernel::EXTENDED, Kernel::TAGGED]
        .into_iter()
        .take(if shown { 1 } else { 2 });
    kernels.into_iter().find_map(|kernel| {
        let kernel = Kernel {
            without: Some(measure),
            ..kernel
        };
        scopes.into_iter().find_map(|scope| {
            Checked::shortest(kernel, scope, shown).map(|way| (kernel, scope, way))
        })
    })
}

/// A scope on a kernel, for the model checker.
pub struct Checked {
    kernel: Kernel,
    scope: Scope,
    /// Whether only what a thread sees counts.
    shown: bool,
    operations: Vec<Operation>,
    names: Vec<Names>,
}

impl Checked {
    /// Checks all that can be reached, and says how many states that were, or the shortest
    /// way to what is wrong.
    pub fn all(kernel: Kernel, scope: Scope) -> Result<usize, (&'static str, Vec<Operation>)> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let names = Names::all(&scope);
        Checked::run(kernel, scope, false, names, threads)
    }

    /// The shortest way to what is wrong, if there is one: with things called by their names.
    pub fn shortest(kernel: Kernel, scope: Scope, shown: bool) -> Option<Vec<Operation>> {
        // One thread, which sees the shortest first.
        Checked::run(kernel, scope, shown, Vec::new(), 1)
            .err()
            .map(|(_, way)| way)
    }

    fn run(
        kernel: Kernel,
        scope: Scope,
        shown: bool,
        names: Vec<Names>,
        threads: usize,
    ) -> Result<usize, (&'static str, Vec<Operation>)> {
        let operations = scope.operations();
        let checker = Checked {
            kernel,
            scope,
            shown,
            operations,
            names,
        }
        .checker()
        .threads(threads);
        let checked = checker.spawn_bfs().join();
        match checked.discoveries().into_iter().next() {
            Some((what, path)) => Err((what, path.into_actions())),
            None => Ok(checked.unique_state_count()),
        }
    }
}

/// A world, and whether the rule held before the thread ran on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seen {
    world: World,
    held: bool,
}

const RULE: &str = "the safety rule";

impl Model for Checked {
    type State = Seen;
    type Action = Operation;

    fn init_states(&self) -> Vec<Seen> {
        let mut world = World::new();
        for operation in self.scope.start() {
            world.step(self.kernel, operation);
        }
        vec![Seen { world, held: true }]
    }

    fn actions(&self, _: &Seen, actions: &mut Vec<Operation>) {
        actions.extend(&self.operations);
    }

    fn next_state(&self, last: &Seen, operation: Operation) -> Option<Seen> {
        let mut world = last.world;
        world.step(self.kernel, operation);
        let held = world.violation(self.kernel).is_none();
        world.reschedule(self.kernel);
        // A way that is shown has to call things by their names.
        if held && !self.names.is_empty() && world.violation(self.kernel).is_none() {
            world = world.normal();
        }
        if world == last.world {
            return None;
        }
        let renamed = self
            .names
            .iter()
            .map(|names| world.renamed(self.kernel, names));
        let world = renamed.min().unwrap_or(world);
        Some(Seen { world, held })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![Property::always(RULE, |checked: &Checked, seen: &Seen| {
            if checked.shown {
                return !seen.world.shows_violation();
            }
            seen.held && seen.world.violation(checked.kernel).is_none()
        })];
        if self.kernel.extended && self.kernel.without.is_none() {
            properties.push(Property::always(
                "the invariants",
                |_: &Checked, seen: &Seen| seen.world.broken_invariant().is_none(),
            ));
        }
        properties
    }
}

impl Names {
    /// All ways to rename what takes part.
    fn all(scope: &Scope) -> Vec<Names> {
        let small = scope.frames.iter().filter(|&&frame| frame < 2).count();
        let mut names = Vec::new();
        for roots in orders::<ROOTS>(scope.roots.into()) {
            for asids in orders::<ROOTS>(scope.roots.into()) {
                for pdpts in orders::<PDPTS>(scope.pdpts.into()) {
                    for frames in orders::<2>(small) {
                        names.push(Names {
                            roots,
                            asids,
                            pdpts,
                            frames,
                        });
                    }
                }
            }
        }
        names
    }
}

/// All orders of the first `moved` of N numbers; the others stay where they are.
fn orders<const N: usize>(moved: usize) -> Vec<[u8; N]> {
    let mut all = vec![std::array::from_fn(|number| number as u8)];
    for last in 1..moved {
        for index in 0..all.len() {
            for other in 0..last {
                let mut order: [u8; N] = all[index];
                order.swap(other, last);
                all.push(order);
            }
        }
    }
    all
}
